"""The embedded default: a small Gemma-3, four conflicting specialists, one user, all on real text.

``make_default`` rebuilds it from the bundled text and judgements; ``load_default`` reads it. Stored
in float16 (safetensors), used in float32; adapters are trained on the stored weights, so that the
reference they know is the one that is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import Answer, answer_log_ratios, tokenised
from ..backend import torch
from ..bank import Bank
from ..base_content import content_of
from ..loading import add_adapters, load_bank, load_model, save_adapter
from ..preferences import Indices, ScoredSet, pairs_of, pretraining_text, truthfulqa
from .adapter import Recipe, train_adapter
from .pretrain import Pretraining, Shape, pretrain, small_gemma, train_tokenizer

BASE, USER = "base", "user"
ATTRIBUTES = ("truthful", "informative", "concise", "affirming")
# the bespoke user: in units of each attribute's standard deviation
USER_WEIGHTS = {"truthful": 0.4, "informative": 0.3, "concise": 0.2, "affirming": 0.1}
RECIPE = Recipe(loss="bt", beta=0.2, rate=2e-3, steps=120, batch=10, rank=8)
USER_STEPS = 300  # a mixture of four orders takes longer to learn than one
PAIRS_PER_QUESTION = 8
ANSWERS_PER_QUESTION = 8
LIMIT = 12_000_000  # bytes of the whole folder


def folder() -> Path:
    """Where the bank lies inside the package."""
    return Path(str(files("llm_bridge") / "default"))


def load_default(device: str = "cpu", place: Path | None = None) -> Bank:
    """Load the bundled bank in float32; InstanceError if this installation has none."""
    root = place or folder()
    if not (root / BASE / "model.safetensors").is_file():
        raise InstanceError.of(
            "default bank", str(root), "not found", "rebuild it: soupcheck llm make-default"
        )
    adapters = {name: str(root / name) for name in ATTRIBUTES}
    return load_bank(str(root / BASE), adapters, bespoke=str(root / USER), device=device)


def make_default(
    out: Path,
    *,
    work: Path,
    seed: int = 0,
    device: str = "cpu",
    shape: Shape | None = None,
    plan: Pretraining | None = None,
    recipe: Recipe = RECIPE,
    user_steps: int = USER_STEPS,
    texts: Sequence[str] | None = None,
    train: ScoredSet | None = None,
    test: ScoredSet | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Pretrain, train K = 4 specialists and the user, judge them, write the folder ``out``.

    work: folder of checkpoints; a killed run goes on from there. texts, train, test: other data
    than the bundled (for tests).

    Returns the contents of ``accuracy.json``.
    """
    shape, plan = shape or Shape(), plan or Pretraining(seed=seed)
    texts = pretraining_text() if texts is None else texts
    train = truthfulqa("train") if train is None else train
    test = truthfulqa("test") if test is None else test
    tokenizer = train_tokenizer(texts, shape.vocab)
    model = small_gemma(shape, seed).to(device)
    losses = pretrain(
        model, tokenizer, texts, plan,
        checkpoint=work / "base.safetensors", on_progress=on_progress,
    )  # fmt: skip
    base = out / BASE
    model.to(torch.float16).save_pretrained(base)
    tokenizer.save_pretrained(base)
    stored, tokenizer = load_model(str(base), device=device)
    record = content_of(base)
    names = (*ATTRIBUTES, USER)
    bank = add_adapters(
        stored,
        ATTRIBUTES,
        recipe.lora(stored),
        bespoke=USER,
        tokenizer=tokenizer,
        eos=(1,),
        name=BASE,
        seed=seed,
    )
    users = {name: {name: 1.0} for name in ATTRIBUTES} | {USER: USER_WEIGHTS}
    units = train.standardised()
    for number, name in enumerate(names):
        pairs = pairs_of(
            units, users[name], per_prompt=PAIRS_PER_QUESTION, seed=seed + number, contentious=True
        )
        steps = user_steps if name == USER else recipe.steps
        train_adapter(
            bank, name, pairs, replace(recipe, steps=steps),
            checkpoint=work / f"{name}.safetensors", on_progress=on_progress,
        )  # fmt: skip
        save_adapter(bank, name, out / name, BASE, torch.float16, record=record)
    stored_bank = load_default(device, out)
    table = accuracy_table(stored_bank, test.standardised(train), users, seed)
    facts = {
        "accuracy": table, "pretraining_loss": losses[-1] if losses else None, "seed": seed,
        "recipe": asdict(recipe), "user_steps": user_steps, "shape": asdict(shape),
        "pretraining": asdict(plan),
        "user_weights": USER_WEIGHTS, "test_questions": len(test.items),
        "train_questions": len(train.items),
        "parameters": sum(
            p.numel() for n, p in stored_bank.base.named_parameters() if ".lora_" not in n
        ),
    }  # fmt: skip
    (out / "accuracy.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(facts), encoding="utf-8")
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    if size > LIMIT:
        raise InstanceError.of("size of the bank", size, f"must be ≤ {LIMIT} bytes", "shrink it")
    return facts


def accuracy_table(
    bank: Bank, scored: ScoredSet, users: dict[str, dict[str, float]], seed: int
) -> dict[str, dict[str, list[float]]]:
    """``accuracies`` of a bank's adapters on its held-out answers."""
    answers, drawn = held_out(bank, scored, seed)
    ratios = np.asarray(answer_log_ratios(bank, answers))
    return accuracies(bank.policies[1:], ratios, scored, drawn, users)


def held_out(
    bank: Bank, scored: ScoredSet, seed: int, most: int = ANSWERS_PER_QUESTION
) -> tuple[list[Answer], list[Indices]]:
    """Of each question so many answers at most, drawn: tokenised, question by question; and which."""
    rng = np.random.default_rng([seed, 17])
    drawn = [np.sort(rng.permutation(len(i.answers))[:most]) for i in scored.items]
    return [
        tokenised(bank, item.prompt, item.answers[j])
        for item, some in zip(scored.items, drawn, strict=True)
        for j in some
    ], drawn


def accuracies(
    adapters: Sequence[str], ratios: Array, scored: ScoredSet, drawn: Sequence[Indices],
    users: dict[str, dict[str, float]],
) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Held-out accuracy of every adapter on every user's order: ``[share, standard error, pairs]``.

    ratios: [P−1, N] log-ratios of the answers drawn. All pairs of a question's answers that the user
    orders strictly count. The standard error is over questions, whose pairs are not independent.
    """
    ends = np.cumsum([len(some) for some in drawn])[:-1]
    by_question = np.split(ratios, ends, axis=1)
    table: dict[str, dict[str, list[float]]] = {}
    for row, adapter in enumerate(adapters):
        table[adapter] = {}
        for user, w in users.items():
            weights = scored.weights(w)
            hits, counts = [], []
            for item, some, part in zip(scored.items, drawn, by_question, strict=True):
                i, j = np.triu_indices(len(some), 1)
                value = item.scores[some] @ weights
                order: Array = np.sign(np.round(value[i] - value[j], 9))
                right = np.sign(part[row][i] - part[row][j]) == order
                hits.append(float(right[order != 0].sum()))
                counts.append(float((order != 0).sum()))
            share = sum(hits) / max(sum(counts), 1.0)
            spread = np.array(hits) - share * np.array(counts)
            error = float(np.sqrt((spread**2).sum())) / max(sum(counts), 1.0)
            table[adapter][user] = [share, error, sum(counts)]
    return table


def card(facts: dict[str, Any]) -> str:
    """The model card: what it is, how it was made, what it can and cannot do."""
    columns = list(next(iter(facts["accuracy"].values())))
    lines = [
        f"| {adapter} | "
        + " | ".join(f"{100 * row[c][0]:.1f} ± {100 * row[c][1]:.1f}" for c in columns)
        + " |"
        for adapter, row in facts["accuracy"].items()
    ]
    shape, recipe, plan = facts["shape"], facts["recipe"], facts["pretraining"]
    return "\n".join([
        "# The default bank",
        "",
        f"A `Gemma3ForCausalLM` of {facts['parameters'] / 1e6:.2f} million parameters "
        f"({shape['layers']} layers, every {shape['pattern']}rd global and the others sliding, width "
        f"{shape['width']}, tied embeddings, byte-level BPE of {shape['vocab']} tokens), four LoRA "
        f"specialists and one bespoke user of rank {recipe['rank']} on all linear layers. Stored in "
        "float16, safetensors.",
        "",
        f"Rebuilt by `soupcheck llm make-default --seed {facts['seed']}`. Pretrained for "
        f"{plan['steps']} steps of {plan['batch']} × {plan['length']} tokens on the King James Bible "
        "(public domain) and 500 questions with passages and answers (allenai/FineGrainedRLHF, "
        "Apache-2.0). The adapters minimise the Bradley–Terry loss on log-ratios "
        f"(β = {recipe['beta']}, {recipe['steps']} steps of {recipe['batch']} pairs, the user's "
        f"{facts['user_steps']}) over pairs of TruthfulQA answers (Apache-2.0), "
        f"{facts['train_questions']} questions; {facts['test_questions']} others are held out. "
        "truthful and informative are people's labels, concise (fewer characters) and affirming (no "
        "word that denies) are measured on the text. The user weighs them "
        f"{facts['user_weights']}, in units of their standard deviation.",
        "",
        "Held-out accuracy in per cent, adapter (row) × order (column), ± one standard error over "
        "questions:",
        "",
        "| adapter | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
        *lines,
        "",
        "It is made to try diagnostics on: it writes English of a sort and knows no facts. What its "
        "adapters learned of truth is style, which is what their accuracy shows.",
        "",
    ])  # fmt: skip
