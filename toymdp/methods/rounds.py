"""Feedback in rounds: what the user compares next are answers of the soup learnt so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ..exact.tables import tilt
from ..learning.feedback import Feedback, Mode
from .collect import draw_pairs, label
from .explicit import fit
from .method import Bases, Domain


def by_soups(
    domain: Domain, bases: Bases, user: int, sizes: Sequence[int], mode: Mode, seed: int
) -> Feedback:
    """A user's pairs, ``sizes[0]`` of ref's answers, then up to each size of the soup's at λ̂ so far.

    λ̂ is that of ``ss-explicit`` with prior mean 0. The first n pairs are those that a run of n saw.
    """
    known = label(domain, draw_pairs(domain, sizes[0], seed), user, mode, seed)
    for turn, (done, size) in enumerate(pairwise(sizes), 1):
        logits = fit(domain, bases, known, seed).logits or ()
        tables = tuple(tilt(mdp, G) for mdp, G in zip(domain.worlds, logits, strict=True))
        own = seed + 7919 * turn
        drawn = draw_pairs(domain, size - done, own, tables=tables)
        more = label(domain, drawn, user, mode, own)
        known = replace(known.followed_by(more), source="soup")
    return known
