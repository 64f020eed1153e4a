"""What the basis spans, by subsets of it and orthogonal directions; what feedback cannot tell apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .instance import length, mp, number, total
from .linear import LeastSquares, dot, orthonormal
from .pair import Nothing, Pair, farthest
from .psoups import _value
from .sampling import PAIRED, _log_ratio_along, answers, earned_along, sigmoid
from .solve import Mix, Truth, divergence

NONE = mp.mpf(10) ** -30


def _centred(truth: Truth, Q) -> list:
    """``log π/ref`` at every reachable token, less its mean over the tokens of the state."""
    world, logits = truth.world, []
    for t, s in world.places():
        row = [Q[t, n] / world.beta for _, n, _ in world.moves[s]]
        logits += [x - total(row) / len(row) for x in row]
    return logits


def least_fit(truth: Truth):
    """The shortest fitting c in the 1-norm: the best of all fits by independent subsets of the basis."""
    K = truth.world.K
    basis, target = [_centred(truth, Q) for Q in truth.Q[:-1]], _centred(truth, truth.Q[-1])
    best = None
    for size in range(K + 1):
        for chosen in combinations(range(K), size):
            columns = [basis[k] for k in chosen]
            if len(orthonormal(columns)) < size:
                continue
            part = []
            if size:
                part = LeastSquares([list(row) for row in zip(*columns, strict=True)]).nu(target)
            c = [mp.mpf(0)] * K
            for k, x in zip(chosen, part, strict=True):
                c[k] = x
            fitted = [total(x * b[i] for x, b in zip(c, basis, strict=True))
                      for i in range(len(target))]  # fmt: skip
            fits = max(abs(x - y) for x, y in zip(fitted, target, strict=True)) < NONE
            if fits and (best is None or total(map(abs, c)) < total(map(abs, best)) - NONE):
                best = c
    return best


def vanishes(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    lhs = divergence(truth.bases[-1][truth.start], mix.policy[truth.start])
    return Pair(lhs, mp.mpf(0), {"t": 0, "s": world.start})


def vanishes_repaired(truth: Truth, mix, seen) -> Pair:
    c, world = least_fit(truth), truth.world
    if c is None:  # the hypothesis is false: c of the toolkit is a fit of least squares
        return Pair(seen.lhs, mp.mpf(0))
    soup = Mix(truth, [world.beta_prime / world.beta * x for x in c])
    distances = {
        place: divergence(truth.bases[-1][place], soup.policy[place]) for place in world.places()
    }
    pair = farthest(distances, ("t", "s"))
    terms = {"least |c|₁": total(map(abs, c))}
    if "gap at |c|₁ = 1" in seen.terms:
        terms["gap at |c|₁ = 1"] = mp.mpf(0)
    return Pair(pair.lhs, pair.rhs, None, terms)


def null_space(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    places = sorted({n for _, n in world.used()})
    columns = [[number(world.rewards[k][n]) for k in range(world.K)] for n in places]
    z = [mp.mpf(float(x)) for x in np.random.default_rng(0x5B).normal(size=world.K)]
    for b in orthonormal(columns):
        c = dot(z, b)
        z = [x - c * y for x, y in zip(z, b, strict=True)]
    size = total(map(abs, z))
    if length(z) < NONE:
        raise Nothing("independent rewards")
    z = [x / size for x in z]
    paths = answers(world)[:PAIRED]
    returned = [[_log_ratio_along(truth, k, path) for k in range(world.K)] for path in paths]
    true = [earned_along(world, world.K, path) for path in paths]
    w = [number(c) for c in world.w]

    def loss(lam):
        terms = []
        for i in range(len(paths)):
            for j in range(i + 1, len(paths)):
                margin = dot(lam, [a - b for a, b in zip(returned[i], returned[j], strict=True)])
                p = sigmoid(true[i] - true[j])
                terms.append(-p * mp.log(sigmoid(margin)) - (1 - p) * mp.log(sigmoid(-margin)))
        return total(terms) / len(terms)

    half = [x / 2 for x in w]
    moved = [(x + y) / 2 for x, y in zip(w, z, strict=True)]
    full = world.beta_prime / world.beta
    terms = {
        f"V of the soup at {name}": _value(truth, Mix(truth, [full * x for x in lam]).policy)
        for name, lam in (("w/2", half), ("(w + z)/2", moved))
    }
    return Pair(loss(moved), loss(half), None, terms)
