"""Features for a found instance: those that make the printed right side small, in exact numbers.

See bounds.search.objectives for why these are the best of their class.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np

from toymdp import Solution, TokenMDP
from toymdp.exact.policy import Policy

from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import Array

UNIT = 1 << 20  # constant-norm features are multiples of 1/UNIT
SQUARED_NORM = 2 * UNIT**2 + 2  # of all of them, in units of 1/UNIT²; 2 mod 8, see three_squares
HEADROOM = 1.001  # of sup|e|: keeps every one-hot part above 0, hence rows independent
STEPS = 16  # norms that differ are multiples of 1/STEPS
FLOORS = (1e-2, 1e-4, 1e-6)  # smallest scale at the place, relative to the largest
FAR = (1.0, 1e2, 1e4, 1e6)  # scale of all other places, likewise


def logit_error(sol: Solution, lam: Array) -> Array:
    """``Q_w − (β/β')Σ λ_k Q_k`` [T, S] in reward units, 0 where unreachable."""
    return np.asarray(
        np.where(sol.mdp.reach.nexts, sol.mdp.beta * Soup(Facts(sol), lam).logit_error, 0.0)
    )


def masses(sol: Solution, lam: Array, names: tuple[str, ...], t: int, s: int) -> Array:
    """Sum [A] over ``names`` (ref, user, soup) of what the policies give the tokens at (t, s)."""
    logits = {
        "ref": np.zeros_like(sol.Q_w),
        "user": sol.Q_w / sol.mdp.beta,
        "soup": Soup(Facts(sol), lam).logits,
    }
    each = [Policy(sol.mdp, logits[name]).table[t, s] for name in names]
    return np.asarray(np.sum(each, axis=0))


def one_hot_variants(
    sol: Solution, lam: Array, names: tuple[str, ...], place: tuple[int, int]
) -> Iterator[TokenMDP]:
    """The instance with one-hot scales for the bound at ``place`` = (t, s), by floor and distance.

    At its tokens ``c_a ∝ (e_a²/m_a)^{1/3}``, elsewhere large: the larger, the less the other places
    weigh in the norm, and the more what is left of a reward mismatch weighs in (10)'s first term.
    """
    mdp = sol.mdp
    t, s = place
    tokens = np.flatnonzero(mdp.reach.allowed[s])
    nexts = (s * mdp.vocab_size + tokens) % mdp.n_contexts
    e = np.abs(logit_error(sol, lam))
    mass = masses(sol, lam, names, t, s)[tokens]
    shape = np.cbrt(e[t, nexts] ** 2 / np.maximum(mass, 1e-300))
    if not shape.max() > 0:
        return
    for floor in FLOORS:
        near = np.maximum(shape / shape.max(), floor)
        for far in FAR:
            scale = np.full(e.shape, far)
            scale[t, nexts] = near
            yield mdp.replace(features={"kind": "tabular", "per_step": True, "scale": scale})


def three_squares(n: int) -> tuple[int, int, int]:
    """``n = b² + c² + d²`` with d nearly as large as it can be; worked: 14 = 1 + 4 + 9.

    By Legendre there is one unless n is 4^i(8j + 7). SQUARED_NORM − a² never is, being 1, 2 or 6
    mod 8. Raises ValueError if there is none.
    """
    for d in range(isqrt(n), 0, -1):
        rest = n - d * d
        for c in range(isqrt(rest), isqrt(rest // 2) - 1, -1):
            b = isqrt(rest - c * c)
            if b * b == rest - c * c:
                return b, c, d
    raise ValueError(f"{n} is no sum of three squares with a positive one")


def unit_rows(x: Array) -> Array:
    """Rows [n, n+3] = (x_i·√N, b_i, c_i, d_i·one-hot)/UNIT of one norm √N/UNIT, near √2, exactly.

    x: [n] in (−1, 1), rounded to the next multiple. The squares are summed without rounding, and
    d_i > 0 makes the rows independent.
    """
    size = float(np.sqrt(SQUARED_NORM))
    rows = np.zeros((len(x), len(x) + 3))
    for i, value in enumerate(x):
        a = round(float(value) * size)
        b, c, d = three_squares(SQUARED_NORM - a * a)
        rows[i, :3] = a, b, c
        rows[i, 3 + i] = d
    return rows / UNIT


def constant_norm(sol: Solution, lam: Array) -> Iterator[TokenMDP]:
    """The instance with independent features of one norm, at which ``‖nu_e‖`` is near sup|e|."""
    yield from norms_within(sol, lam, 1.0)


def norms_within(sol: Solution, lam: Array, ratio: float) -> Iterator[TokenMDP]:
    """The instance with features of norms n√2, n in [1, ratio], at which ``‖nu_e‖`` is near ν/√2.

    With ``ν = sup|e|/ratio`` and ``n = max(1, |e|/ν)`` (rounded up to sixteenths) rows
    ``n·(e/(nν), …)`` read e off with one coordinate. Where norms differ, one-hots of norm n come too:
    a bound further off, in a world that is quicker read.
    """
    mdp = sol.mdp
    used = mdp.reach.nexts
    e = logit_error(sol, lam)
    largest = float(np.abs(e).max())
    if not largest > 0:
        return
    floor = largest / ratio
    norms = np.minimum(np.ceil(STEPS * np.maximum(np.abs(e) / floor, 1.0)) / STEPS, ratio)
    rows = norms[used][:, None] * unit_rows((e / norms)[used] / (HEADROOM * floor))
    values = np.zeros((*used.shape, rows.shape[1]))
    values[used] = rows
    features: dict[str, Any] = {"kind": "dense", "values": values}
    yield mdp.replace(features=features)
    if ratio > 1.0:
        yield mdp.replace(features={"kind": "tabular", "per_step": True, "scale": norms})
