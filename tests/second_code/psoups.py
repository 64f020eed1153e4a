"""P-SOUPS by Gram matrices: factors of specialists, averaged apart and together, in two bases."""

from __future__ import annotations

import numpy as np

from .instance import mp, number, total
from .linear import solve_system
from .pair import Pair, farthest
from .sampling import _raised_most, _where
from .sharper import matched
from .solve import Truth, divergence, earned


def _blocks(truth: Truth) -> list:
    """The rows: for each step and each block of contexts that share their next contexts, those next."""
    world, A = truth.world, truth.world.vocab
    used = set(world.used())
    size = A**world.order
    return [
        [(t, n) if (t, n) in used else None for n in range(y, y + A)]
        for t in range(world.steps) for y in range(0, size, A)
    ]  # fmt: skip


def _matrix(truth: Truth, k: int, blocks) -> list:
    rows = []
    for block in blocks:
        values = [truth.Q[k][at] / truth.world.beta for at in block if at is not None]
        mean = total(values) / len(values) if values else mp.mpf(0)
        rows.append([
            mp.mpf(0) if at is None else truth.Q[k][at] / truth.world.beta - mean for at in block
        ])  # fmt: skip
    return rows


def _factors(X):
    """``B = XV/√s`` and ``A = √s Vᵀ`` from the eigenvectors V of XᵀX, in falling order of s."""
    width = len(X[0])
    gram = mp.matrix(width, width)
    for i in range(width):
        for j in range(width):
            gram[i, j] = total(row[i] * row[j] for row in X)
    values, vectors = mp.eigsy(gram)
    B, A = [[] for _ in X], []
    for e in reversed(range(width)):
        s = mp.sqrt(max(values[e], mp.mpf(0)))
        v = [vectors[i, e] for i in range(width)]
        first = next(x for x in v if abs(x) >= max(map(abs, v)) / 2)
        v = [-x if first < 0 else x for x in v]
        tiny = s < mp.mpf(10) ** -25  # the direction of a constant: its factors are 0
        for row, out in zip(X, B, strict=True):
            out.append(
                mp.mpf(0)
                if tiny
                else total(x * y for x, y in zip(row, v, strict=True)) / mp.sqrt(s)
            )
        A.append([mp.mpf(0) if tiny else mp.sqrt(s) * x for x in v])
    return B, A


def _product(B, A):
    columns = list(zip(*A, strict=True))
    return [[total(x * y for x, y in zip(row, c, strict=True)) for c in columns] for row in B]


def _mean(weights, matrices):
    return [[total(w * m[i][j] for w, m in zip(weights, matrices, strict=True))
             for j in range(len(matrices[0][0]))] for i in range(len(matrices[0]))]  # fmt: skip


def _all(truth: Truth):
    """Blocks, weights, the factors of each specialist, and those after the toolkit's changes of basis."""
    world, blocks = truth.world, _blocks(truth)
    pairs = [_factors(_matrix(truth, k, blocks)) for k in range(world.K)]
    A = world.vocab
    draws = np.random.default_rng(0x50).uniform(-0.35, 0.35, size=(world.K, A, A))
    turned = []
    for (B, right), draw in zip(pairs, draws, strict=True):
        G = [[mp.mpf(float(np.eye(A)[i, j] + draw[i, j])) for j in range(A)] for i in range(A)]
        turned.append((_product(B, G), solve_system(G, right)))
    return blocks, [number(c) for c in world.w], pairs, turned


def _policy(truth: Truth, blocks, rows):
    logits = {
        at: x for block, row in zip(blocks, rows, strict=True)
        for at, x in zip(block, row, strict=True) if at is not None
    }  # fmt: skip
    return truth.policy(logits)


def _value(truth: Truth, policy):
    world, r = truth.world, truth.world.rewards[-1]
    return earned(
        world, policy,
        lambda t, s, n: number(r[n])
        - world.beta * mp.log(policy[t, s][n] / truth.ref[t, s][n]),
    )[truth.start]  # fmt: skip


def gauge(truth: Truth, mix, seen) -> Pair:
    blocks, w, pairs, turned = _all(truth)
    before, after = (
        _policy(truth, blocks, _product(_mean(w, [B for B, _ in x]), _mean(w, [A for _, A in x])))
        for x in (pairs, turned)
    )
    exact = _policy(truth, blocks, _mean(w, [_product(*pair) for pair in pairs]))
    distances = {at: divergence(before[at], after[at]) for at in truth.world.places()}
    pair = farthest(distances, ("t", "s"))
    terms = {"V, products averaged": _value(truth, exact), "V, factors averaged": _value(truth, before),
             "V, after G": _value(truth, after)}  # fmt: skip
    return Pair(pair.lhs, pair.rhs, pair.where, terms)


def delta(truth: Truth, mix, seen) -> Pair:
    blocks, w, _, turned = _all(truth)
    merged = _policy(truth, blocks, _mean(w, [_product(*pair) for pair in turned]))
    soup = matched(truth)
    place, n = _raised_most(soup)
    ref = truth.ref[place][n]
    logs = mp.log(merged[place][n] / ref), mp.log(soup.policy[place][n] / ref)
    return Pair(*logs, _where(truth.world, place, n))
