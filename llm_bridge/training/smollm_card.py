"""What the two banks on SmolLM2 are worth on held-out questions, and the card that says so.

Judged on the adapters as they are shipped (float16), on the base model in float32.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from bounds.records.output import Record
from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError

from ..answers import Answer
from ..backend import torch, transformers
from ..bank import Bank
from ..decoding import draw_rows
from ..forward import logits_of
from ..loading import load_bank
from ..measure.linear_share import centred_ratios, drawn_tokens, linear_share
from ..texts import shown
from .default_bank import accuracies, held_out
from .reference import Reference, first_layer, log_ratios
from .smollm_bank import ATTRIBUTES, ORDERS, USER, USER_WEIGHTS, Plan, train_banks
from .smollm_text import card

Tensor = Any
ANSWERS = 4  # a question, to judge by
FITTED = (96, 192, 288, 384, 480, 576, 640, 768, 960, 1152)  # states
SHOWN = 6  # questions, the shortest, whose answers the card shows
LONGEST = 28  # tokens of those
LIMIT = 10_000_000  # bytes of all adapters


def make_banks(
    model: str, out: Path, work: Path, plan: Plan, *, workers: int = 1,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Train both banks, judge them, write ``facts.json`` and the card; return the facts.

    Raises InstanceError if adapters take more than ``LIMIT`` bytes.
    """
    trained = train_banks(model, out, work, plan, workers=workers, on_progress=on_progress)
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    if size > LIMIT:
        raise InstanceError.of("size of the banks", size, f"must be ≤ {LIMIT} bytes", "lower ranks")
    judged, reference = {}, Reference(min(plan.layers.layers, default=0))
    for done, kind in enumerate(plan.recipes):
        on_progress("judging a bank", done, len(plan.recipes))
        adapters = {name: str(out / kind / name) for name in ATTRIBUTES}
        bank = load_bank(model, adapters, bespoke=f"{USER}={out / kind / USER}")
        judged[kind] = judge_bank(bank, plan, reference)
    on_progress("judging a bank", len(plan.recipes), len(plan.recipes))
    facts = {
        "plan": asdict(plan), "user": USER_WEIGHTS, "bytes": size, "trained": trained,
        "banks": judged,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }  # fmt: skip
    (out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(facts), encoding="utf-8")
    return facts


def judge_bank(bank: Bank, plan: Plan, reference: Reference) -> Record:
    """Accuracies of a bank, its log-ratios, how linear they are, what it writes.

    reference: what is known of answers on this base model in float32.
    """
    begun = process_time()
    test = plan.data("test").standardised(plan.data("train"))
    answers, drawn = held_out(bank, test, plan.seed, ANSWERS)
    ratios = np.asarray(log_ratios(bank, answers, reference))
    asked = sorted((shown(item.prompt) for item in test.items), key=len)[:SHOWN]
    firsts = np.cumsum([0, *map(len, drawn[:-1])])
    return {
        "accuracy": accuracies(bank.policies[1:], ratios, test, drawn, ORDERS),
        "log-ratio, rms nats": dict(zip(
            bank.policies[1:], np.sqrt((ratios**2).mean(axis=1)).tolist(), strict=True
        )),
        "answers": len(answers), "questions": len(test.items),
        "linearity": linearity(bank, [answers[i] for i in firsts], reference, plan.seed),
        "asked": asked, "writes": samples(bank, asked),
        "cpu seconds": process_time() - begun,
    }  # fmt: skip


@torch.no_grad()
def linearity(
    bank: Bank, answers: Sequence[Answer], reference: Reference, seed: int
) -> dict[str, Any]:
    """Held-out R² of log-ratios on the reference's state, by how many states are fitted.

    Judged on the last third of the answers, fitted on states of the others, which belong to other
    questions; on up to 2048 tokens, drawn.
    """
    columns = drawn_tokens(bank, np.random.default_rng([seed, 29]))
    states, logits = [], []
    for start in range(0, len(answers), 16):
        part = answers[start : start + 16]
        known = reference.of(bank, part)
        states.append(torch.cat([k.states for k in known]))
        rows = []
        for policy in bank.policies:
            with bank.using(policy) as base:
                inner = states[-1] if policy == bank.policies[0] else reference.taken(
                    bank, part, known, first_layer(bank, policy)
                ).states  # fmt: skip
                rows.append(logits_of(base, inner)[:, columns])
        logits.append(torch.stack(rows))
    psi = torch.cat(states).double().cpu()
    fields = centred_ratios(torch.cat(logits, dim=1))
    two_thirds = sum(len(a.places) for a in answers[: 2 * len(answers) // 3])
    order = torch.from_numpy(np.random.default_rng([seed, 31]).permutation(two_thirds))
    unseen = torch.arange(two_thirds, len(psi))
    curve = {}
    for n in (n for n in FITTED if n <= two_thirds):
        share, _ = linear_share(psi, fields, order[:n], unseen)
        curve[str(n)] = dict(zip(bank.policies[1:], share.tolist(), strict=True))
    return {"width": bank.width, "judged on": len(unseen), "tokens": len(columns), "R²": curve}


def samples(bank: Bank, prompts: Sequence[str]) -> dict[str, list[str]]:
    """What each policy writes after the prompts, its likeliest token each time, to the end of the line."""
    rows = [[bank.encode(prompt)] for prompt in prompts]
    found = {}
    for policy in bank.policies:
        with bank.using(policy) as base:
            drawn = draw_rows(bank, base, rows, likeliest, tokens=LONGEST, seed=0)
        texts = [bank.tokenizer.decode(ids, skip_special_tokens=True) for ids in drawn]
        found[policy] = [text.strip().partition("\n")[0] for text in texts]
    return found


def likeliest(z: Tensor, ids: Tensor) -> Tensor:
    """The mixture of a single row that draws its likeliest token."""
    return torch.full_like(z[0], -torch.inf).scatter(1, z[0].argmax(dim=1, keepdim=True), 0.0)
