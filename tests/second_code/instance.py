"""One token MDP as plain numbers: the exact rationals of its file, and what ref reaches."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import mpmath

mp = mpmath.mp.clone()  # a context of its own: the precision of others is left alone
mp.dps = 60
Number = Any  # an mpf of this context
Place = tuple[int, int]  # (t, s), or (t, s') for what belongs to an action


def number(x: Fraction) -> Number:
    """A rational at 60 digits."""
    return mp.mpf(x.numerator) / x.denominator


def total(terms) -> Number:
    """A sum, 0 where there is nothing."""
    return mp.fsum(terms)


@dataclass(frozen=True)
class World:
    """The numbers of an instance, and what follows from the support of ref.

    moves: of each context that goes on, the allowed ``(token, next context, probability)``.
    states, nexts: reachable contexts and next contexts of each step (one step until ``eos``).
    rewards: K tables and that of the user last. psi: the features of each reachable (t, s').
    """

    vocab: int
    order: int
    horizon: int | None
    start: int
    ended: frozenset[int]
    bos: int | None
    moves: dict[int, list[tuple[int, int, Number]]]
    states: list[list[int]]
    nexts: list[list[int]]
    rewards: list[list[Fraction]]
    w: list[Fraction]
    beta: Number
    beta_prime: Number
    psi: dict[Place, list[Number]]
    per_step: bool
    start_feature: list[Number] | None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> World:
        """From the keys of ``token-mdp/1``."""
        A, L, T = fields["vocab_size"], fields["order"], fields["horizon"]
        S = A**L
        eos = fields.get("eos")
        ended = frozenset(s for s in range(S) if eos is not None and s % A == eos)
        start = 0
        for token in fields["start"]:
            start = start * A + token
        moves = {}
        for s in range(S):
            weights = [Fraction(float(x)) for x in fields["ref_weights"][s]]
            if s not in ended and sum(weights):
                moves[s] = [
                    (a, (s * A + a) % S, number(x / sum(weights)))
                    for a, x in enumerate(weights) if x
                ]  # fmt: skip
        states, nexts = _reach(moves, start, T, ended)
        w = [Fraction(float(x)) for x in fields["w"]]
        rewards = [[Fraction(float(x)) for x in row] for row in fields["rewards"]]
        rewards.append([sum(c * r[s] for c, r in zip(w, rewards, strict=True)) for s in range(S)])
        features = fields["features"]
        values = features.get("values")
        per_step = features["per_step"] if values is None else values.ndim == 3
        begin = fields.get("start_feature")
        return cls(
            A, L, T, start, ended, fields.get("bos"), moves, states, nexts, rewards, w,
            mp.mpf(float(fields["beta"])), mp.mpf(float(fields["beta_prime"])),
            _features(features, S, nexts, per_step), per_step,
            None if begin is None else [mp.mpf(float(x)) for x in begin],
        )  # fmt: skip

    @property
    def K(self) -> int:
        return len(self.w)

    @property
    def steps(self) -> int:
        return len(self.states)

    def after(self, t: int) -> int:
        """The step after t: until ``eos`` one step stands for all."""
        return t + 1 if self.horizon is not None else t

    def places(self) -> list[Place]:
        """Reachable (t, s)."""
        return [(t, s) for t, contexts in enumerate(self.states) for s in contexts]

    def used(self) -> list[Place]:
        """Reachable (t, s')."""
        return [(t, n) for t, contexts in enumerate(self.nexts) for n in contexts]

    def norm(self, place: Place) -> Number:
        """``‖psi(t, s')‖₂``."""
        return self._norms[place]

    @cached_property
    def _norms(self) -> dict[Place, Number]:
        return {place: length(row) for place, row in self.psi.items()}


def length(vector: list[Number]) -> Number:
    """Euclidean norm."""
    return mp.sqrt(total(x * x for x in vector))


def _reach(moves, start, horizon, ended):
    """Breadth first from the start."""
    if horizon is None:
        seen, todo, nexts = {start}, [start], set()
        while todo:
            for _, n, _ in moves[todo.pop()]:
                nexts.add(n)
                if n not in seen and n not in ended:
                    seen.add(n)
                    todo.append(n)
        return [sorted(seen)], [sorted(nexts)]
    states, nexts, now = [], [], {start}
    for _ in range(horizon):
        states.append(sorted(now))
        ahead = {n for s in now for _, n, _ in moves[s]}
        nexts.append(sorted(ahead))
        now = ahead - ended
    return states, nexts


def _features(spec, S, nexts, per_step):
    psi = {}
    for t, contexts in enumerate(nexts):
        for n in contexts:
            if spec["kind"] == "dense":
                row = spec["values"][t][n] if per_step else spec["values"][n]
                psi[t, n] = [mp.mpf(float(x)) for x in row]
                continue
            row = [mp.mpf(0)] * (S * len(nexts) if per_step else S)
            row[t * S + n if per_step else n] = mp.mpf(float(_scale(spec["scale"], t, n)))
            psi[t, n] = row
    return psi


def _scale(scale, t, n):
    """The scale of a one-hot: one number, one for each context, or one for each step as well."""
    dimensions = getattr(scale, "ndim", 0)
    if dimensions == 0:
        return scale
    return scale[n] if dimensions == 1 else scale[t][n]
