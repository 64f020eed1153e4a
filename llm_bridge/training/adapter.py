"""Training one specialist as a LoRA adapter on the frozen reference.

A short loop of our own: the base model's parameters never move, its log-probabilities are computed
once, only the adapter's factors (and, for the binary loss, a linear value head on the reference's
states) are optimised. AdamW, linear warm-up, cosine decay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError

from ..answers import Answer, answer_log_probs, answer_log_ratios, taken_tokens, tokenised
from ..backend import peft, torch, transformers
from ..bank import REF, Bank, peft_name
from ..preferences import Labelled, Pair
from .checkpoint import load_state, save_state
from .losses import binary_gumbel, bradley_terry

Tensor = Any
WARM_UP = 0.1  # share of the steps


@dataclass(frozen=True)
class Recipe:
    """How a specialist is trained.

    loss: "bt" (Bradley–Terry on log-ratios) or "binary" (with the Gumbel loss). beta: reward units
    per nat. steps, batch: batches of that many pairs. rank: of the LoRA factors (the paper's is
    100). target: "all" linear layers, or the "output" layer only, the case the theory assumes.
    """

    loss: Literal["bt", "binary"] = "bt"
    beta: float = 0.1
    rate: float = 2e-4
    steps: int = 400
    batch: int = 16
    rank: int = 100
    target: Literal["all", "output"] = "all"
    seed: int = 0

    def lora(self, base: Any) -> Any:
        """The adapter's configuration on a base model: scaling 1, no dropout, no bias.

        Linear layers are those of the decoder, fused experts among them; not what routes to experts,
        nor towers for images.
        """
        modules = dict(base.named_modules())
        head = base.get_output_embeddings()
        inside = set(base.get_decoder().modules())
        transposed = transformers.pytorch_utils.Conv1D
        kinds: tuple[Any, ...] = (torch.nn.Linear, transposed)
        if self.target == "output":
            linear = {name: m for name, m in modules.items() if m is head}
            fused = []
        else:
            linear = {n: m for n, m in modules.items() if m in inside and isinstance(m, kinds)}
            fused = [
                f"{name}.{key}"
                for name, m in modules.items()
                if m in inside and name not in linear
                for key, p in m.named_parameters(recurse=False)
                if p.ndim == 3
            ]
        return peft.LoraConfig(
            r=self.rank, lora_alpha=self.rank, lora_dropout=0.0, bias="none",
            target_modules=sorted(linear), target_parameters=fused or None, task_type="CAUSAL_LM",
            fan_in_fan_out=all(isinstance(m, transposed) for m in linear.values()),
        )  # fmt: skip


def accuracy(bank: Bank, pairs: Sequence[Pair]) -> Tensor:
    """Share of pairs each adapter's implicit reward orders as people did: [P−1]; ties count half."""
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    margin = answer_log_ratios(bank, answers).reshape(len(bank.policies) - 1, -1, 2)
    apart = margin[:, :, 0] - margin[:, :, 1]
    return (torch.sign(apart) * 0.5 + 0.5).mean(dim=1)


def batches(lengths: Sequence[int], batch: int, epoch: int, seed: int) -> list[list[int]]:
    """Index batches of one epoch: shuffled, of similar length within each."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    groups = []
    for start in range(0, len(order), 16 * batch):
        block = sorted(order[start : start + 16 * batch].tolist(), key=lambda i: lengths[i])
        groups += [block[i : i + batch] for i in range(0, len(block), batch)]
    return [groups[i] for i in rng.permutation(len(groups))]


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then half a cosine."""
    warm = max(1.0, WARM_UP * steps)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))


def train_adapter(
    bank: Bank,
    name: str,
    pairs: Sequence[Pair] | Sequence[Labelled],
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    every: int = 50,
    on_progress: OnProgress = silent,
) -> list[float]:
    """Train adapter ``name`` of the bank in place; return the loss at each step taken.

    pairs: comparisons or, for the binary loss, single answers too. checkpoint: file to continue from and
    to write every ``every`` steps.
    Raises InstanceError for no pairs, or a loss that is not finite.
    """
    if not pairs:
        raise InstanceError.of("pairs", 0, "there is nothing to train on", "check filter and file")
    if recipe.loss == "bt" and any(len(p.texts) != 2 for p in pairs):
        raise InstanceError.of(
            "--loss", "bt", "compares two answers", "say --loss binary for labels"
        )
    answers = [[(tokenised(bank, p.prompt, t), good) for t, good in p.texts] for p in pairs]
    lengths = [max(len(a.ids) for a, _ in some) for some in answers]
    torch.manual_seed(recipe.seed)
    head = None
    if recipe.loss == "binary":
        head = torch.nn.Linear(bank.width, 1, device=bank.device)
        torch.nn.init.zeros_(head.weight)
    weights = bank.factors(name)
    if head is not None:
        weights |= {f"value.{n}": p for n, p in head.named_parameters()}
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.rate, weight_decay=0.0)
    digest = hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]
    run = json.dumps({"adapter": name, "pairs": digest, **asdict(recipe)}, sort_keys=True)
    done = load_state(checkpoint, weights, optimizer, run) if checkpoint is not None else 0
    losses: list[float] = []
    plan: list[list[int]] = []
    epoch, first = 0, 0
    active = list(bank.model.base_model.active_adapters)
    bank.model.base_model.set_adapter([peft_name(name)])
    try:
        for step in range(recipe.steps):
            if step - first >= len(plan):
                first, plan = step, batches(lengths, recipe.batch, epoch, recipe.seed)
                epoch += 1
            if step < done:
                continue
            part = [answers[i] for i in plan[step - first]]
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * schedule(step, recipe.steps)
            loss = _loss(bank, name, part, recipe, head)
            if not math.isfinite(loss.item()):
                raise InstanceError.of(
                    f"loss of {name}", loss.item(), f"at step {step}, not finite", "lower --rate"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if checkpoint is not None and (step + 1) % every == 0:
                save_state(checkpoint, weights, optimizer, step + 1, run)
            on_progress(f"training {name}", step + 1, recipe.steps)
    finally:
        bank.model.base_model.set_adapter(active, True)
        bank.model.requires_grad_(False)
    return losses


def _loss(
    bank: Bank, name: str, part: Sequence[Sequence[tuple[Answer, float]]], recipe: Recipe, head: Any
) -> Tensor:
    """Loss of one batch; the adapter is active, the reference is read with all adapters off.

    part: for each pair (chosen, 1), (rejected, 0); for the binary loss single labelled answers too.
    """
    flat = [answer for some in part for answer, _ in some]
    if recipe.loss == "bt":
        with torch.no_grad(), bank.using(REF):
            reference = answer_log_probs(bank, flat)
        bank.model.base_model.set_adapter([peft_name(name)])
        ratio = (answer_log_probs(bank, flat) - reference).reshape(-1, 2)
        return bradley_terry(ratio[:, 0], ratio[:, 1], recipe.beta)
    with torch.no_grad(), bank.using(REF):
        reference_tokens = taken_tokens(bank, flat)
    bank.model.base_model.set_adapter([peft_name(name)])
    taken = taken_tokens(bank, flat)
    rows, states = taken.row, reference_tokens.states.float()
    # Q_θ = β(logit_θ − logit_ref) of the token taken, V_θ a linear map of the reference's state
    each = recipe.beta * (taken.logit - reference_tokens.logit)
    n = max(len(a.places) for a in flat)
    column = torch.cat([torch.arange(len(a.places)) for a in flat]).to(rows.device)
    shape = (len(flat), n)
    q, v, on = (torch.zeros(shape, device=rows.device) for _ in range(3))
    q = q.index_put((rows, column), each)
    v = v.index_put((rows, column), head(states)[:, 0])
    on = on.index_put((rows, column), torch.ones_like(each))
    labels = torch.tensor([good for some in part for _, good in some], device=rows.device)
    binary, gumbel = binary_gumbel(q, v, on, labels, recipe.beta)
    return binary + gumbel
