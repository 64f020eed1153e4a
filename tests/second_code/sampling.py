"""Section 4: what its losses fit, and what its soups draw from."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from .instance import World, mp, number, total
from .linear import dot, orthonormal, solve_system
from .pair import Nothing, Pair, farthest
from .solve import Mix, Truth, divergence

SEED, DRAWS, PAIRED, LONGEST = 0x54, 64, 48, 2000  # how the toolkit draws answers from ref
ZERO = mp.mpf(0)
NO_STEP = mp.mpf(10) ** -12
FAR = 10**5  # nats


def answers(world: World) -> list[tuple[int, ...]]:
    """The distinct paths of contexts that 64 seeded draws from ref take, in their order."""
    heights = np.random.default_rng(SEED).random((DRAWS, world.horizon or LONGEST))
    paths: dict[tuple[int, ...], None] = {}
    for row in heights:
        path = [world.start]
        for height in row:
            if path[-1] in world.ended:
                break
            height, passed = mp.mpf(float(height)), ZERO
            for _, n, p in world.moves[path[-1]]:
                passed += p
                if passed > height:
                    path.append(n)
                    break
        if world.horizon is not None or path[-1] in world.ended:
            paths.setdefault(tuple(path))
    return list(paths)


def _steps(world: World, path):
    """``(t, s, s')`` along a path; until ``eos`` every step is row 0."""
    for t, (s, n) in enumerate(pairwise(path)):
        yield (0 if world.horizon is None else t), s, n


def earned_along(world: World, k: int, path):
    return total(number(world.rewards[k][n]) for _, _, n in _steps(world, path))


def _log_ratio_along(truth: Truth, k: int, path):
    """``β Σ log π_k/ref`` along a path."""
    world = truth.world
    return world.beta * total(
        mp.log(truth.bases[k][t, s][n] / truth.ref[t, s][n]) for t, s, n in _steps(world, path)
    )


def returns(truth: Truth, mix, seen) -> Pair:
    world, paths = truth.world, answers(truth.world)
    best = (mp.mpf(-1), None)
    spreads = (mp.mpf(-1), None)
    for k in range(world.K):
        offsets = []
        for path in paths:
            steps = list(_steps(world, path))
            values = total(truth.V[k].get((world.after(t), n), ZERO) for t, _, n in steps)
            summed = total(truth.Q[k][t, n] for t, _, n in steps) - values
            true = earned_along(world, k, path)
            best = max(best, (abs(summed - true), (summed, true)), key=lambda x: x[0])
            by_policy = _log_ratio_along(truth, k, path)
            offsets.append((by_policy - true, by_policy, true))
        high, low = max(offsets), min(offsets)
        spread = high[0] - low[0]
        if spread > spreads[0]:
            spreads = spread, (high[1] - low[1], high[2] - low[2])
    terms = {"off by, Q and V": best[0], "off by, pairs": spreads[0]}
    sides = spreads[1] if spreads[0] > best[0] else best[1]
    return Pair(*sides, None, terms)


def gumbel(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    distances, offsets = {}, []
    for k in range(world.K):
        for t, s in world.places():
            q = {n: (p, truth.Q[k][t, n] / world.beta) for _, n, p in world.moves[s]}
            once = mp.log(total(p * mp.exp(x) for p, x in q.values()))
            twice = mp.log(total(p * mp.exp(2 * x) for p, x in q.values()))
            distances[t, s, k] = world.beta * once, truth.V[k][t, s]
            offsets.append(world.beta * (twice - 2 * once))
    place = max(distances, key=lambda at: abs(distances[at][0] - distances[at][1]))
    terms = {"states": mp.mpf(len(world.places())), "largest offset, data from π_k": max(offsets)}
    return Pair(*distances[place], dict(zip(("t", "s", "k"), place, strict=True)), terms)


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def bradley_terry(truth: Truth, mix, seen) -> Pair:
    """Newton's method on the loss, in coordinates of the directions that the pairs show."""
    world = truth.world
    paths = answers(world)[:PAIRED]
    returned = [[_log_ratio_along(truth, k, path) for k in range(world.K)] for path in paths]
    true = [earned_along(world, world.K, path) for path in paths]
    pairs = [(i, j) for i in range(len(paths)) for j in range(i + 1, len(paths))]
    X = [[a - b for a, b in zip(returned[i], returned[j], strict=True)] for i, j in pairs]
    chance = [sigmoid(true[i] - true[j]) for i, j in pairs]
    basis = orthonormal(X)
    if not basis:
        raise Nothing("no two answers differ")
    reduced = [[dot(x, b) for b in basis] for x in X]
    w = [number(c) for c in world.w]
    theta = [dot(w, b) for b in basis]
    for _ in range(60):
        sigmas = [sigmoid(dot(y, theta)) for y in reduced]
        slope = [
            total((q - p) * y[i] for q, p, y in zip(sigmas, chance, reduced, strict=True))
            for i in range(len(basis))
        ]
        curvature = [
            [total(q * (1 - q) * y[i] * y[j] for q, y in zip(sigmas, reduced, strict=True))
             for j in range(len(basis))]
            for i in range(len(basis))
        ]  # fmt: skip
        move = [x for (x,) in solve_system(curvature, [[x] for x in slope])]
        theta = [x - y for x, y in zip(theta, move, strict=True)]
        if max(map(abs, move)) < mp.mpf(10) ** -30:
            break
    apart = max(abs(dot(y, theta) - dot(x, w)) for x, y in zip(X, reduced, strict=True))
    full = [world.beta_prime / world.beta * c for c in w]
    terms = {"pairs": mp.mpf(len(pairs)), "gap at (β'/β)w": Mix(truth, full).gap}
    if world.beta_prime >= world.beta:
        terms["gap at λ = w"] = Mix(truth, w).gap
    return Pair(apart, ZERO, None, terms)


def _first_choice(truth: Truth):
    """ref at the start, and each specialist's rewards of the tokens there."""
    world = truth.world
    moves = world.moves[world.start]
    return [p for _, _, p in moves], [
        [number(world.rewards[k][n]) for _, n, _ in moves] for k in range(world.K)
    ]


def _joint(p, r, beta):
    """Q and V by Newton's method on both, halved where a step does not lower the loss."""
    n = len(r)

    def loss(x):
        q, v = x[:n], x[n]
        if max(q) - v > FAR * beta or max(map(abs, q)) > FAR:
            return mp.inf  # far from r, between the least and the largest of which both lie
        return total(
            w * (mp.log(1 + mp.exp(-y)) * sigmoid(c) + mp.log(1 + mp.exp(y)) * sigmoid(-c)
                 + mp.exp((y - v) / beta) - (y - v) / beta)
            for w, y, c in zip(p, q, r, strict=True)
        )  # fmt: skip

    x = [*r, max(r)]
    for _ in range(1000):
        q, v = x[:n], x[n]
        lift = [mp.exp((y - v) / beta) for y in q]
        slope = [w * (sigmoid(y) - sigmoid(c) + (e - 1) / beta)
                 for w, y, c, e in zip(p, q, r, lift, strict=True)]  # fmt: skip
        slope.append(-total(w * (e - 1) for w, e in zip(p, lift, strict=True)) / beta)
        H = [[mp.mpf(0)] * (n + 1) for _ in range(n + 1)]
        for i in range(n):
            stiff = p[i] * lift[i] / beta**2
            H[i][i] = p[i] * sigmoid(q[i]) * sigmoid(-q[i]) + stiff
            H[i][n] = H[n][i] = -stiff
            H[n][n] += stiff
        move = [y for (y,) in solve_system(H, [[y] for y in slope])]
        if max(map(abs, move)) < mp.mpf(10) ** -40:
            return x[:n], x[n]
        step = mp.mpf(1)
        while loss([y - step * d for y, d in zip(x, move, strict=True)]) > loss(x):
            step /= 2
            if step < NO_STEP and max(map(abs, move)) < mp.mpf(10) ** -20:
                return x[:n], x[n]  # the loss is flat to the last digit
            if step < NO_STEP:
                raise Nothing("no step lowers the loss")
        x = [y - step * d for y, d in zip(x, move, strict=True)]
    raise Nothing("Newton's method does not end")


def composite(truth: Truth, mix, seen) -> Pair:
    p, rewards = _first_choice(truth)
    if all(max(r) == min(r) for r in rewards):
        raise Nothing("all tokens earn the same")
    pairs = []
    for k, r in enumerate(rewards):
        q, v = _joint(p, r, truth.world.beta)
        a = max(range(len(r)), key=lambda i: abs(q[i] - r[i]))
        # two tokens may be as far from r as one another
        if seen is not None and seen.where is not None and seen.where["k"] == k:
            b = seen.where["token"]
            a = b if abs(abs(q[a] - r[a]) - abs(q[b] - r[b])) < mp.mpf(10) ** -12 * abs(r[a]) else a
        pairs.append(Pair(q[a], r[a], {"k": k, "token": a}, {"V": v}))
    return max(pairs, key=lambda pair: abs(pair.lhs - pair.rhs))


def composite_repaired(truth: Truth, mix, seen) -> Pair:
    """At Q = r both slopes of the binary loss and, at the soft value, that of the Gumbel loss vanish."""
    p, rewards = _first_choice(truth)
    beta, r = truth.world.beta, rewards[seen.where["k"]]
    v = beta * mp.log(total(w * mp.exp(x / beta) for w, x in zip(p, r, strict=True)))
    slope = total(w * (mp.exp((x - v) / beta) - 1) for w, x in zip(p, r, strict=True))
    return Pair(v + slope, v)


def _to_soup(mix: Mix, logits) -> Pair:
    truth = mix.truth
    distances = {
        place: divergence(truth.tilt(place, logits), mix.policy[place])
        for place in mix.world.places()
    }
    return farthest(distances, ("t", "s"))


def explicit(truth: Truth, mix: Mix, seen) -> Pair:
    return _to_soup(mix, mix.combined([c / truth.world.beta for c in mix.lam]))


def _log_ratio(mix: Mix, weights, place, n):
    """``Σ_k weights_k log π_k/ref`` of one token."""
    truth = mix.truth
    ref = truth.ref[place][n]
    return total(c * mp.log(truth.bases[k][place][n] / ref) for k, c in enumerate(weights))


def _raised_most(mix: Mix):
    """The state where the soup is farthest from ref, and the token (its next context) of largest ratio."""
    ref = mix.truth.ref
    away = {place: divergence(law, ref[place]) for place, law in mix.policy.items()}
    place = max(away, key=lambda at: away[at])
    law = mix.policy[place]
    return place, max(law, key=lambda n: law[n] / ref[place][n])


def _where(world: World, place, n) -> dict[str, int]:
    (token,) = [a for a, follows, _ in world.moves[place[1]] if follows == n]
    return {"t": place[0], "s": place[1], "a": token}


def explicit_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    """Logs of both laws over ref at the token the soup raises most: the laws are the same."""
    world = truth.world
    weights = [c * world.beta / world.beta_prime for c in mix.lam]
    place, n = _raised_most(mix)
    parts = {m: p * mp.exp(_log_ratio(mix, weights, place, m)) for m, p in truth.ref[place].items()}
    ref = truth.ref[place][n]
    mixed = mp.log(parts[n] / total(parts.values()) / ref)
    return Pair(mixed, mp.log(mix.policy[place][n] / ref), _where(world, place, n))


def _sampler(mix: Mix, weights, log_bound) -> Pair:
    """Draw from ref, accept with chance ``min(1, ratio/M)``: how far from the soup that is."""
    truth, world = mix.truth, mix.world
    distances, chances = {}, {}
    for place in world.places():
        logs = {n: _log_ratio(mix, weights, place, n) for n in truth.ref[place]}
        bound = log_bound(place, logs)
        kept = {n: p * min(mp.mpf(1), mp.exp(logs[n] - bound)) for n, p in truth.ref[place].items()}
        chances[place] = total(kept.values())
        distances[place] = (
            total(abs(x / chances[place] - mix.policy[place][n]) for n, x in kept.items()) / 2
        )
    pair = farthest(distances, ("t", "s"))
    terms = {"acceptance at start": chances[truth.start], "least acceptance": min(chances.values())}
    return replace(pair, terms=terms)


def implicit(truth: Truth, mix: Mix, seen) -> Pair:
    beta = truth.world.beta
    weights = [c / beta for c in mix.lam]

    def log_bound(place, logs):
        away = (divergence(truth.ref[place], truth.bases[k][place]) for k in range(len(mix.lam)))
        return -total(c / beta * x for c, x in zip(mix.lam, away, strict=True))

    return _sampler(mix, weights, log_bound)


def implicit_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    """How often the token that the soup raises most is drawn and kept, among all that are kept."""
    world = truth.world
    weights = [c * world.beta / world.beta_prime for c in mix.lam]
    by_variation = _sampler(mix, weights, lambda place, logs: max(logs.values()))
    assert by_variation.lhs < ZERO + mp.mpf(10) ** -40  # the laws are the same everywhere
    place, n = _raised_most(mix)
    ratios = {m: mp.exp(_log_ratio(mix, weights, place, m)) for m in truth.ref[place]}
    kept = {m: p * ratios[m] / max(ratios.values()) for m, p in truth.ref[place].items()}
    drawn = kept[n] / total(kept.values())
    return Pair(drawn, mix.policy[place][n], _where(world, place, n), by_variation.terms)
