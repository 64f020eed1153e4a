"""What the reference says of training answers, computed once, and the states an adapter goes on from.

The reference never moves, nor do the layers below the first one that an adapter changes. So its
log-probabilities are kept, and the states that enter that layer: a step then runs only the layers
above (for an adapter on the output layer, none). Answers beyond a fixed number of bytes are computed
anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..answers import Answer, Taken, taken_from, taken_tokens
from ..backend import torch
from ..bank import REF, Bank, pad
from ..forward import layers_of, states_entering, states_from, states_of

Tensor = Any
KEPT = 2**31  # bytes of states


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one answer: of its n tokens logit and log_z [n], the states [n, d] they were taken
    from, and what enters a layer at all of its places [len, d] (None: not kept).
    """

    logit: Tensor
    log_z: Tensor
    states: Tensor
    entering: Tensor | None

    @property
    def size(self) -> int:
        """Bytes of its states."""
        parts = [self.states] if self.entering is None else [self.states, self.entering]
        return sum(t.numel() * t.element_size() for t in parts)


class Reference:
    """The reference on answers, for adapters whose first changed layer is ``layer`` or a later one.

    layer 0: no states below it are kept; L, the number of layers: the last ones. kept: most bytes of states.
    """

    def __init__(self, layer: int = 0, kept: int = KEPT):
        self.layer, self.room = layer, kept
        self.known: dict[tuple[int, ...], Known] = {}

    @torch.no_grad()
    def of(self, bank: Bank, answers: Sequence[Answer]) -> list[Known]:
        """What is known of each answer; what is not known yet takes one pass of the reference."""
        fresh = {(*a.ids, a.begin): a for a in answers if (*a.ids, a.begin) not in self.known}
        found = dict(zip(fresh, self._read(bank, [*fresh.values()]), strict=True)) if fresh else {}
        for key, known in found.items():
            if known.size <= self.room:
                self.room -= known.size
                self.known[key] = known
        return [found.get(k) or self.known[k] for k in ((*a.ids, a.begin) for a in answers)]

    def _read(self, bank: Bank, answers: Sequence[Answer]) -> list[Known]:
        ids, mask = pad([a.ids for a in answers], bank.device)
        with bank.using(REF) as base:
            if 0 < self.layer < len(layers_of(base) or ()):
                entering, last = states_entering(base, self.layer, ids, mask)
            else:
                entering, last = None, states_of(base, ids, mask)
            taken = taken_tokens(bank, answers, hidden=last)
        lengths = [len(a.places) for a in answers]
        rows = zip(taken.logit.split(lengths), taken.log_z.split(lengths),
                   taken.states.split(lengths), strict=True)  # fmt: skip
        found = []
        for i, (logit, log_z, states) in enumerate(rows):
            into = None if entering is None else entering[i, : len(answers[i].ids)].clone()
            # copies: a part of the batch would keep the whole of it
            found.append(Known(logit.clone(), log_z.clone(), states.clone(), into))
        return found

    def goes_on(self, bank: Bank, answers: Sequence[Answer], layer: int) -> bool:
        """Whether a pass of an adapter that changes ``layer`` first can begin at the states kept.

        Architectures whose layers take more than states (of the tokens, of other layers) fail it: the
        active policy's pass is compared with the whole one on these answers, up to rounding.
        """
        if not 0 < self.layer <= layer:
            return False
        if layer == len(layers_of(bank.base)):
            return True  # the last states by definition
        known = self._read(bank, answers)  # in this very batch: the same arithmetic
        if any(k.entering is None for k in known):
            return False
        with torch.no_grad():
            short = self.taken(bank, answers, known, layer)
            whole = taken_tokens(bank, answers)
        unit = torch.finfo(short.states.dtype).eps
        return all(
            float((a - b).abs().max()) <= 8 * unit * (1.0 + float(b.abs().max()))
            for a, b in ((short.logit, whole.logit), (short.log_z, whole.log_z))
        )

    def taken(
        self, bank: Bank, answers: Sequence[Answer], known: Sequence[Known], layer: int | None
    ) -> Taken:
        """What the active policy, which changes ``layer`` first, says of the answers' tokens.

        layer: None for a whole pass.
        """
        if layer is None:
            return taken_tokens(bank, answers)
        if layer == len(layers_of(bank.base)):  # the output layer: its states are the reference's
            return taken_from(bank, answers, torch.cat([k.states for k in known]))
        ids, mask = pad([a.ids for a in answers], bank.device)
        rows: list[Tensor] = [k.entering for k in known]
        entering = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return taken_tokens(
            bank, answers, hidden=states_from(bank.base, self.layer, entering, ids, mask)
        )


@torch.no_grad()
def log_ratios(
    bank: Bank, answers: Sequence[Answer], reference: Reference, batch: int = 16
) -> Tensor:
    """``answer_log_ratios`` [P−1, N] in nats, from the states that the reference keeps."""
    order = sorted(range(len(answers)), key=lambda i: len(answers[i].ids))
    found = torch.zeros((len(bank.policies) - 1, len(answers)))
    begins: dict[str, int | None] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        part = [answers[i] for i in chosen]
        known = reference.of(bank, part)
        for row, name in enumerate(bank.policies[1:]):
            with bank.using(name):
                if name not in begins:
                    layer = first_layer(bank, name)
                    begins[name] = layer if reference.goes_on(bank, part, layer) else None
                taken = reference.taken(bank, part, known, begins[name])
            found[row, chosen] = (taken.totals(len(part)) - totals(taken, known)).cpu()
    return found


def totals(taken: Taken, known: Sequence[Known]) -> Tensor:
    """``log ref(answer | prompt)`` [B] of the answers whose tokens were ``taken``."""
    logit, log_z = (torch.cat([getattr(k, key) for k in known]) for key in ("logit", "log_z"))
    return replace(taken, logit=logit, log_z=log_z).totals(len(known))


def first_layer(bank: Bank, name: str) -> int:
    """The first of the decoder's L layers that an adapter changes; L for the output layer alone.

    0 if it changes what is in no layer and no output layer, such as the embedding, or where layers are in
    no plain list.
    """
    layers = layers_of(bank.base)
    if layers is None:
        return 0
    changed = {id(bank.model.get_parameter(n)) for n in bank.factors(name)}
    for i, layer in enumerate(layers):
        if any(id(p) in changed for p in layer.parameters()):
            return i if not _outside(bank, layers, changed) else 0
    return 0 if _outside(bank, layers, changed) else len(layers)


def _outside(bank: Bank, layers: Any, changed: set[int]) -> bool:
    """Whether factors lie in the decoder but in none of its layers."""
    inside = {id(p) for p in layers.parameters()}
    return any(id(p) in changed - inside for p in bank.base.get_decoder().parameters())
