"""Two banks on SmolLM2-135M-Instruct, a model that speaks English: how they are trained.

``layers`` adapts all linear maps of the last ten layers, ``output`` the output layer alone, the case
the theory assumes. Both have the same four policies, trained on the same pairs of TruthfulQA answers:
three specialists that conflict, and a bespoke user. Only adapters are written; their base is the model
that ``soupcheck llm fetch-smollm`` writes. What they are worth is judged in ``smollm_card``.

A task is one policy for both banks.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time

from bounds.records.output import Record
from bounds.runs.engine import run
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp.files import read_json, write_whole

from ..answers import fits
from ..backend import quiet_transformers, torch
from ..base_content import content_of
from ..loading import add_adapters, end_tokens, load_model, save_adapter
from ..preferences import Pair, ScoredSet, pairs_of, truthfulqa
from .adapter import Recipe, train_adapter
from .reference import Reference

ATTRIBUTES, USER = ("truthful", "informative", "concise"), "user"
# the bespoke user: in units of each attribute's standard deviation
USER_WEIGHTS = {"truthful": 0.5, "informative": 0.3, "concise": 0.2}
ORDERS = {name: {name: 1.0} for name in ATTRIBUTES} | {USER: USER_WEIGHTS}
RECIPES = {
    "layers": Recipe(beta=0.2, rate=5e-4, steps=50, batch=8, rank=8, layers=tuple(range(20, 30))),
    "output": Recipe(beta=0.2, rate=1e-3, steps=100, batch=8, rank=8, target="output"),
}


@dataclass(frozen=True)
class Plan:
    """What is trained, and on what.

    layers, output: recipes of the two banks. length: longest pair in tokens, prompt included.
    per_prompt, most: pairs a question, and in all. questions: at most so many of them to train on, and to
    judge by. dtype: of the base model while layers are adapted; adapters are float32 whatever it is, and the
    output layer is always adapted in float32.
    """

    layers: Recipe = RECIPES["layers"]
    output: Recipe = RECIPES["output"]
    length: int = 48
    per_prompt: int = 1
    most: int = 400
    questions: int | None = None
    dtype: str = "bfloat16"
    seed: int = 0

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each bank."""
        return {"layers": self.layers, "output": self.output}

    def data(self, part: str) -> ScoredSet:
        """The judgements of the three attributes: "train", or "test", whose questions are others."""
        every = truthfulqa(part).only(ATTRIBUTES)
        return ScoredSet(every.names, every.items[: self.questions])

    def pairs(self, name: str) -> list[Pair]:
        """Pairs of one policy's order on which two attributes disagree."""
        return pairs_of(
            self.data("train").standardised(), ORDERS[name], per_prompt=self.per_prompt,
            seed=self.seed + list(ORDERS).index(name), contentious=True,
        )  # fmt: skip


def train_banks(
    model: str, out: Path, work: Path, plan: Plan, *, workers: int = 1,
    on_progress: OnProgress = silent,
) -> list[Record]:  # fmt: skip
    """Train every policy of both banks; adapters go to ``out/BANK/NAME``; a record for each.

    work: folder of checkpoints; a killed run goes on from there. workers: processes, a policy each,
    that share the cores.
    """
    tasks = [
        Task.of(train_policy, model=model, out=str(out), work=str(work), name=name, plan=plan)
        for name in ORDERS
    ]
    found = run(tasks, "training a policy for both banks", on_progress, workers)
    return [record for _, records in found for record in records]


def train_policy(model: str, out: str, work: str, name: str, plan: Plan) -> list[Record]:
    """Train one policy for both banks, one thread; a record for each bank.

    A bank whose record lies in ``work`` for this very plan is finished, and passed over.
    """
    asked = json.loads(json.dumps(asdict(plan)))
    records: list[Record] = []
    left = []
    for kind, recipe in plan.recipes.items():
        place = Path(work) / f"{kind}-{name}.json"
        stored = read_json(place) if place.is_file() else {}
        if stored.get("plan") == asked and (Path(out) / kind / name).is_dir():
            records.append(stored)
        else:
            left.append((kind, recipe, place))
    if not left:
        return records
    torch.set_num_threads(1)  # a second one would wait for the first more than it helps
    quiet_transformers()
    begun = process_time()
    base, tokenizer = load_model(model, dtype=plan.dtype)
    content = content_of(Path(model))
    reference = Reference(min(plan.layers.layers, default=0))
    for kind, recipe, place in left:
        if recipe.target == "output" and base.dtype != torch.float32:
            # read again, and its reference too: in bfloat16 both are rounded too coarsely
            base, _ = load_model(model)
            reference = Reference(base.config.num_hidden_layers)
        bank = add_adapters(
            base,
            [name],
            recipe.lora(base),
            tokenizer=tokenizer,
            eos=end_tokens(base),
            seed=plan.seed,
        )
        bank, lengths = replace(bank, length=plan.length), Counter[str]()
        pairs = [
            p for p in plan.pairs(name) if fits(bank, p.prompt, (p.chosen, p.rejected), lengths)
        ]
        course = train_adapter(
            bank, name, pairs[: plan.most], recipe, reference=reference, every=10,
            checkpoint=Path(work) / f"{kind}-{name}.safetensors",
        )  # fmt: skip
        folder = Path(out) / kind / name
        save_adapter(bank, name, folder, "SmolLM2-135M-Instruct", torch.float16, record=content)
        now = process_time()
        record: Record = {
            "bank": kind, "policy": name, "pairs": len(pairs[: plan.most]), **lengths, **asdict(course),
            "parameters": sum(p.numel() for p in bank.factors(name).values()),
            "cpu seconds": now - begun, "plan": asked,
        }  # fmt: skip
        write_whole(place, json.dumps(record).encode())
        records.append(record)
        begun = now
        base = bank.model.unload()
    return records
