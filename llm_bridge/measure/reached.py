"""States behind prefixes: a prefix that begins another is read off the other's pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..backend import torch
from ..bank import Bank, pad

Tensor = Any


@dataclass(frozen=True, eq=False)
class Reached:
    """Prefixes and the states behind them. hidden: [P, N, d], of every policy."""

    prefixes: Sequence[Sequence[int]]
    hidden: Tensor

    def first(self, n: int) -> Reached:
        """The first n of them."""
        return Reached(self.prefixes[:n], self.hidden[:, :n])


def longest_runs(prefixes: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The prefixes that begin no other of them, shortest first; and which of these each prefix begins.

    In order of their tokens a prefix stands right before those that it begins.
    """
    every = sorted({tuple(p) for p in prefixes}, reverse=True)
    run: dict[tuple[int, ...], tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    for prefix in every:
        last = last if last[: len(prefix)] == prefix else prefix
        run[prefix] = last
    runs = sorted(set(run.values()), key=lambda r: (len(r), r))
    place = {r: i for i, r in enumerate(runs)}
    return runs, [place[run[tuple(p)]] for p in prefixes]


@torch.no_grad()
def reach(bank: Bank, prefixes: Sequence[Sequence[int]], batch: int = 32) -> Reached:
    """States behind prefixes, by one pass over each text that they are prefixes of."""
    runs, of = longest_runs(prefixes)
    last = torch.tensor([len(p) - 1 for p in prefixes])
    owner = torch.tensor(of)
    hidden: Tensor = None
    for start in range(0, len(runs), batch):
        part = runs[start : start + batch]
        states = bank.hidden(*pad(part, bank.device))
        mine = ((owner >= start) & (owner < start + len(part))).nonzero()[:, 0]
        found = states[:, (owner[mine] - start).to(bank.device), last[mine].to(bank.device)]
        if hidden is None:
            hidden = found.new_empty((len(found), len(prefixes), found.shape[2]))
        hidden[:, mine.to(bank.device)] = found
    return Reached(prefixes, hidden)
