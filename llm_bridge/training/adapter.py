"""Training one specialist as a LoRA adapter on the frozen reference.

A short loop of our own: the base model's parameters never move; what it says of an answer and what
enters the first adapted layer are computed once (``Reference``); only the adapter's factors (and, for
the binary loss, a linear value head on the reference's states) are optimised. AdamW, linear warm-up,
cosine decay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.validators import integer

from ..answers import Answer, answer_log_ratios, tokenised
from ..backend import peft, torch, transformers
from ..bank import Bank, peft_name
from ..forward import layers_of
from ..preferences import Labelled, Pair
from .checkpoint import load_state, save_state
from .losses import binary_gumbel, bradley_terry
from .reference import Reference, first_layer, totals

Tensor = Any
WARM_UP = 0.1  # share of the steps


@dataclass(frozen=True)
class Recipe:
    """How a specialist is trained.

    loss: "bt" (Bradley–Terry on log-ratios) or "binary" (with the Gumbel loss). beta: reward units
    per nat. steps, batch: batches of that many pairs. rank: of the LoRA factors (the paper's is
    100). target: "all" linear layers, or the "output" layer only, the case the theory assumes. layers:
    of the decoder, whose linear layers are meant, from 0 (none named: all of them).
    """

    loss: Literal["bt", "binary"] = "bt"
    beta: float = 0.1
    rate: float = 2e-4
    steps: int = 400
    batch: int = 16
    rank: int = 100
    target: Literal["all", "output"] = "all"
    seed: int = 0
    layers: tuple[int, ...] = ()

    def lora(self, base: Any) -> Any:
        """The adapter's configuration on a base model: scaling 1, no dropout, no bias.

        Linear layers are those of the decoder, fused experts among them; not what routes to experts,
        nor towers for images. Raises InstanceError for a layer that is not there.
        """
        modules = dict(base.named_modules())
        head = base.get_output_embeddings()
        inside = set(self._parts(base))
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

    def _parts(self, base: Any) -> Iterator[Any]:
        """The modules of the layers named, or of the decoder."""
        if not self.layers:
            yield from base.get_decoder().modules()
            return
        layers = layers_of(base)
        if layers is None:
            rule = "has layers in no plain list"
            raise InstanceError.of("--layers", type(base).__name__, rule, "leave it out")
        for i in self.layers:
            yield from layers[integer("--layers", i, 0, len(layers) - 1)].modules()


@dataclass(frozen=True)
class Course:
    """How a training went, at each step taken: the loss, and ``log π/ref`` of its answers, root mean square.

    begins: the layer at whose kept states steps began (as many as there are layers: the output layer), or
    None where passes were whole.
    """

    losses: list[float]
    rms: list[float]
    begins: int | None


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
    reference: Reference | None = None,
    checkpoint: Path | None = None,
    every: int = 50,
    on_progress: OnProgress = silent,
) -> Course:
    """Train adapter ``name`` of the bank in place; return how the steps that were taken went.

    pairs: comparisons or, for the binary loss, single answers too. reference: what is known of answers
    from trainings on the same base model. checkpoint: file to continue from and to write every
    ``every`` steps and at the end.
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
    layer = first_layer(bank, name)
    reference = reference or Reference(layer)
    losses: list[float] = []
    drift: list[float] = []
    begins: int | None = None
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
            flat = [answer for some in part for answer, _ in some]
            if not losses and reference.goes_on(bank, flat, layer):
                begins = layer
            loss, rms = _loss(bank, part, recipe, head, reference, begins)
            if not math.isfinite(loss.item()):
                raise InstanceError.of(
                    f"loss of {name}", loss.item(), f"at step {step}, not finite", "lower --rate"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            drift.append(rms)
            if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == recipe.steps):
                save_state(checkpoint, weights, optimizer, step + 1, run)
            on_progress(f"training {name}", step + 1, recipe.steps)
    finally:
        bank.model.base_model.set_adapter(active, True)
        bank.model.requires_grad_(False)
    return Course(losses, drift, begins)


def _loss(
    bank: Bank, part: Sequence[Sequence[tuple[Answer, float]]], recipe: Recipe, head: Any,
    reference: Reference, begins: int | None,
) -> tuple[Tensor, float]:  # fmt: skip
    """Loss of one batch under the active adapter, and the root mean square of its answers' log-ratios.

    part: for each pair (chosen, 1), (rejected, 0); for the binary loss single labelled answers too.
    begins: the first layer that the adapter changes, if a pass can go on from the reference's states.
    """
    flat = [answer for some in part for answer, _ in some]
    known = reference.of(bank, flat)
    taken = reference.taken(bank, flat, known, begins)
    ratio = taken.totals(len(flat)) - totals(taken, known)
    rms = float(ratio.detach().square().mean().sqrt())
    if recipe.loss == "bt":
        pair = ratio.reshape(-1, 2)
        return bradley_terry(pair[:, 0], pair[:, 1], recipe.beta), rms
    rows, states = taken.row, torch.cat([k.states for k in known]).float()
    # Q_θ = β(logit_θ − logit_ref) of the token taken, V_θ a linear map of the reference's state
    each = recipe.beta * (taken.logit - torch.cat([k.logit for k in known]))
    n = max(len(a.places) for a in flat)
    column = torch.cat([torch.arange(len(a.places)) for a in flat]).to(rows.device)
    shape = (len(flat), n)
    q, v, on = (torch.zeros(shape, device=rows.device) for _ in range(3))
    q = q.index_put((rows, column), each)
    v = v.index_put((rows, column), head(states)[:, 0])
    on = on.index_put((rows, column), torch.ones_like(each))
    labels = torch.tensor([good for some in part for _, good in some], device=rows.device)
    binary, gumbel = binary_gumbel(q, v, on, labels, recipe.beta)
    return binary + gumbel, rms
