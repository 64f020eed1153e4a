"""What is sharper than the printed bounds: the logit error's moments, disagreement, first order."""

from __future__ import annotations

import numpy as np

from .instance import length, mp, number, total
from .pair import VANISHES, Nothing, Pair, tightest
from .solve import Mix, Truth, divergence, earned
from .theorem import _span_bound, kl_sides


def _errors(mix: Mix, place) -> dict:
    """The logit error of each allowed next context."""
    t, s = place
    truth, beta = mix.truth, mix.world.beta
    return {n: truth.Q[-1][t, n] / beta - mix.logits[t, n] for _, n, _ in mix.world.moves[s]}


def _spread(mix: Mix, place):
    """Mean less least, largest less mean, and variance of the logit error under the soup.

    Sums of terms of one sign: a token of chance e^-10000 keeps its digits.
    """
    law, e = mix.policy[place], _errors(mix, place)
    low, high = min(e.values()), max(e.values())
    below = total(p * (e[n] - low) for n, p in law.items())
    above = total(p * (high - e[n]) for n, p in law.items())
    return below, above, total(p * (e[n] - low - below) ** 2 for n, p in law.items())


def _named(mix: Mix, of_kl, name: str) -> Pair:
    pair = _span_bound(mix, of_kl)
    return Pair(pair.lhs, pair.rhs, None, {f"β E Σ {name}": mix.world.beta * mix.expected(of_kl)})


def bennett(truth: Truth, mix: Mix, seen) -> Pair:
    of_kl = {}
    for place in mix.world.places():
        _, b, v = _spread(mix, place)
        whole = b * b + v
        of_kl[place] = (
            mp.log((b * b * mp.exp(-v / b) + v * mp.exp(b)) / whole) if b > 0 else mp.mpf(0)
        )
    return _named(mix, of_kl, "two-point cumulant")


def chord(truth: Truth, mix: Mix, seen) -> Pair:
    of_kl = {}
    for place in mix.world.places():
        x, y, _ = _spread(mix, place)
        of_kl[place] = mp.log((y * mp.exp(-x) + x * mp.exp(y)) / (x + y)) if x else mp.mpf(0)
    return _named(mix, of_kl, "chord")


def mean_shift(truth: Truth, mix: Mix, seen) -> Pair:
    of_kl = {}
    for place in mix.world.places():
        e = _errors(mix, place)
        p, q = mix.policy[place], truth.bases[-1][place]
        of_kl[place] = total((q[n] - p[n]) * e[n] for n in e)
    return _named(mix, of_kl, "mean shift")


def _feature_shift(mix: Mix, place):
    t, _ = place
    p, q, psi = mix.policy[place], mix.truth.bases[-1][place], mix.world.psi
    width = len(next(iter(psi.values())))
    return length([total((q[n] - p[n]) * psi[t, n][i] for n in p) for i in range(width)])


def mean_shift_features(truth: Truth, mix: Mix, seen) -> Pair:
    n = mix.logit_length / mix.world.beta_prime
    of_kl = {place: _feature_shift(mix, place) * n for place in mix.world.places()}
    return _named(mix, of_kl, "shift of the features")


def kl_mean_shift(truth: Truth, mix: Mix, seen) -> Pair:
    n = mix.logit_length / mix.world.beta_prime
    sides = {
        place: (
            divergence(truth.bases[-1][place], mix.policy[place]),
            _feature_shift(mix, place) * n,
        )
        for place in mix.world.places()
    }
    return tightest(sides, ("t", "s"))


def constant_norm(truth: Truth, mix: Mix, seen) -> Pair:
    world = mix.world
    if world.horizon is None:
        raise Nothing("no horizon")
    c = max(world.norm(place) for place in world.used())
    T, n = world.horizon, mix.logit_length / world.beta_prime
    last = c * world.beta * n
    terms = {"T c n": T * c * n, "last term of (10)": last}
    return Pair(mix.gap, min(2 * T, T * c * n / 2) * last, None, terms)


def any_logits(truth: Truth, mix: Mix, seen) -> Pair:
    """Noise as the toolkit draws it; fields are indexed [k][t][s']."""
    world = mix.world
    shape = (world.K, world.steps, world.vocab**world.order)
    noise = np.random.default_rng(0x13).uniform(-0.5, 0.5, size=shape)
    pairs = []
    for size in (0.03, 0.3, 3.0):
        scale = size * float(world.beta)
        off = [
            {(t, n): mp.mpf(float(scale * noise[k, t, n])) for t, n in world.used()}
            for k in range(world.K)
        ]
        spans = []
        for field in off:
            for t, s in world.places():
                values = [field[t, n] for _, n, _ in world.moves[s]]
                spans.append(max(values) - min(values))
        delta = max(spans)
        moved = Truth.__new__(Truth)
        moved.world, moved.V = world, truth.V
        moved.Q = [
            {place: q[place] + f[place] for place in q}
            for q, f in zip(truth.Q[:-1], off, strict=True)
        ] + [truth.Q[-1]]
        learnt = Mix(moved, mix.lam)
        rate = {}
        for place in world.places():
            e = _errors(mix, place).values()
            away = divergence(learnt.policy[place], moved.ref[place])
            rate[place] = world.beta * (max(e) - min(e) + delta / world.beta) ** 2 / 8
            rate[place] += (learnt.price() - world.beta) * away if learnt.size else 0
        pairs.append(Pair(learnt.gap, learnt.expected(rate), None, {"δ": delta}))
    return min(pairs, key=lambda pair: pair.rhs - pair.lhs)


# -- disagreement ----------------------------------------------------------------------------------


def matched(truth: Truth) -> Mix:
    """The soup at (β'/β)w."""
    world = truth.world
    return Mix(truth, [world.beta_prime / world.beta * number(c) for c in world.w])


def _disagreement(truth: Truth) -> dict:
    world = truth.world
    w = [number(c) for c in world.w]
    return {
        place: total(c * v[place] for c, v in zip(w, truth.V[:-1], strict=True))
        - truth.V[-1][place]
        for place in world.places()
    }


def _ahead(truth: Truth) -> dict:
    """D after the action: by (t, s')."""
    D, world = _disagreement(truth), truth.world
    return {(t, n): D.get((world.after(t), n), mp.mpf(0)) for t, n in world.used()}


def disagreement(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    rates = {
        place: total(
            number(c) * divergence(truth.bases[-1][place], policy[place])
            for c, policy in zip(
                [*world.w, 1 - sum(world.w)], [*truth.bases[:-1], truth.ref], strict=True
            )
        )
        for place in world.places()
    }
    summed = earned(world, truth.bases[-1], lambda t, s, n: rates[t, s])
    D = _disagreement(truth)
    if max(*map(abs, D.values()), *map(abs, summed.values())) < VANISHES:
        raise Nothing("the specialists agree everywhere")
    at = seen.where["t"], seen.where["s"]
    return Pair(D[at], world.beta * summed[at])


def kl_matched(truth: Truth, mix, seen) -> Pair:
    soup, D, world = matched(truth), _ahead(truth), truth.world
    sides = {}
    for t, s in world.places():
        p, q = soup.policy[t, s], truth.bases[-1][t, s]
        shift = total((p[n] - q[n]) * D[t, n] for n in p)
        sides[t, s] = divergence(q, p), shift / world.beta
    return tightest(sides, ("t", "s"))


def kl_matched_norms(truth: Truth, mix, seen) -> Pair:
    soup = matched(truth)
    sides = {}
    for (t, s), pair in kl_sides(soup, truth.ref).items():
        norms = [truth.mean_norm(law[t, s], t) for law in (soup.policy, truth.bases[-1], truth.ref)]
        if norms[0] <= norms[1] + norms[2]:
            sides[t, s] = pair
    return tightest(sides, ("t", "s"))


def _reward_span(truth: Truth, field):
    values = [field[n] for _, n in truth.world.used()]
    if truth.world.ended:
        values.append(0)
    return number(max(values) - min(values))


def apriori(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    if world.horizon is None:
        raise Nothing("no horizon")
    r = world.rewards
    variance = total(
        number(c) * _reward_span(truth, [x - y for x, y in zip(r[k], r[-1], strict=True)]) ** 2
        for k, c in enumerate(world.w)
    )
    rhs = total(j**4 for j in range(world.horizon)) * variance**2 / (512 * world.beta**3)
    terms = {"σ": mp.sqrt(variance), "gap at (β'/β)w": matched(truth).gap}
    return Pair(mix.gap, rhs, None, terms)


def _spans(truth: Truth, field) -> dict:
    world = truth.world
    spans = {}
    for t, s in world.places():
        values = [field[t, n] for _, n, _ in world.moves[s]]
        spans[t, s] = max(values) - min(values)
    return spans


def apriori_state_wise(truth: Truth, mix, seen) -> Pair:
    soup, spans = matched(truth), _spans(truth, _ahead(truth))
    rate = {place: x**2 / (8 * truth.world.beta) for place, x in spans.items()}
    return Pair(soup.gap, soup.expected(rate))


def learnt(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    w = np.array([float(c) for c in world.w])
    rng, ahead = np.random.default_rng(0x14), _spans(truth, _ahead(truth))
    spans = [_spans(truth, q) for q in truth.Q[:-1]]
    pairs = []
    for n in (10.0, 100.0, 1000.0):
        guess = rng.dirichlet(n * w + 1.0 / len(w))
        lam = float(world.beta_prime) / float(world.beta) * guess
        soup = Mix(truth, lam.tolist())
        off = total(abs(mp.mpf(float(g)) - number(c)) for g, c in zip(guess, world.w, strict=True))
        rate = {
            p: (ahead[p] + off * max(x[p] for x in spans)) ** 2 / (8 * world.beta) for p in ahead
        }
        pairs.append(Pair(soup.gap, soup.expected(rate), None, {"‖ŵ − w‖₁": off}))
    return min(pairs, key=lambda pair: pair.rhs - pair.lhs)


# -- Lemma 1 ---------------------------------------------------------------------------------------


def completeness(truth: Truth, mix, seen) -> Pair:
    world, used = truth.world, truth.world.used()
    m = seen.where["k"]
    at = used.index((seen.where["t"], seen.where["s'"]))
    Q = [truth.Q[m][place] for place in used]
    V = [truth.V[m].get((world.after(t), n), mp.mpf(0)) for t, n in used]
    r = [number(world.rewards[m][n]) for _, n in used]
    residuals = [truth.span.residual(x)[at] for x in (Q, V, r)]
    return Pair(residuals[0], residuals[1] + residuals[2])


def _first_order(truth: Truth):
    world = truth.world
    if world.horizon is None or world.horizon == 1:
        raise Nothing("no horizon of two steps")
    for k, reward in enumerate(world.rewards[:-1]):
        returned = earned(world, truth.ref, lambda t, s, n, r=reward: number(r[n]))
        span = _reward_span(truth, reward)
        for t, n in world.used():
            left = world.horizon - t - 1
            if left and n not in world.ended:
                excess = truth.V[k][t + 1, n] - returned[t + 1, n]
                yield (k, t, n), excess, left**2 * span**2 / (8 * world.beta)


def first_order(truth: Truth, mix, seen) -> Pair:
    sides = {place: (excess, bound) for place, excess, bound in _first_order(truth)}
    return tightest(sides, ("k", "t", "s'"))


def first_order_lower(truth: Truth, mix, seen) -> Pair:
    sides = {place: (mp.mpf(0), excess) for place, excess, _ in _first_order(truth)}
    return tightest(sides, ("k", "t", "s'"))
