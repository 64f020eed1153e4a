"""Theorem 1: the bounds (9) and (10), their repairs, and what is true of J."""

from __future__ import annotations

from itertools import product

from .instance import mp, number, total
from .pair import Nothing, Pair, tightest
from .proof import least_cost, mean_length, penalty
from .solve import Mix, Truth, Unbounded, divergence, earned, hard_minimum


def kl_sides(mix: Mix, other, places=None):
    """``KL(π_w‖soup)`` and ``(1/β')(E_{π_w}‖psi‖ + E_other‖psi‖)·‖…‖`` at every state, or at some."""
    truth, world = mix.truth, mix.world
    sides = {}
    for place in places or world.places():
        bespoke = truth.bases[-1][place]
        norms = truth.mean_norm(bespoke, place[0]) + truth.mean_norm(other[place], place[0])
        rhs = norms * mix.logit_length / world.beta_prime
        sides[place] = divergence(bespoke, mix.policy[place]), rhs
    return sides


def kl_at_start(truth: Truth, mix: Mix, seen) -> Pair:
    terms = {
        "E_w‖psi‖": truth.mean_norm(truth.bases[-1][truth.start], 0),
        "E_ref‖psi‖": truth.mean_norm(truth.ref[truth.start], 0),
        "logit error": mix.logit_length,
    }
    place = {"t": 0, "s": truth.world.start}
    sides = kl_sides(mix, truth.ref, [truth.start])[truth.start]
    return Pair(*sides, place, terms)


def kl_everywhere(truth: Truth, mix: Mix, seen) -> Pair:
    return tightest(kl_sides(mix, truth.ref), ("t", "s"))


def kl_constant_norm(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    sides = {}
    for (t, s), pair in kl_sides(mix, truth.ref).items():
        norms = [world.norm((t, n)) for _, n, _ in world.moves[s]]
        if max(norms) - min(norms) < mp.mpf(10) ** -12 * max(norms):
            sides[t, s] = pair
    return tightest(sides, ("t", "s"))


def kl_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    return tightest(kl_sides(mix, mix.policy), ("t", "s"))


def kl_norm_of_mean(truth: Truth, mix: Mix, seen) -> Pair:
    sides = {}
    for place in truth.world.places():
        norms = mean_length(truth, truth.bases[-1], place) + mean_length(
            truth, truth.ref, place, absolute=True
        )
        lhs = divergence(truth.bases[-1][place], mix.policy[place])
        sides[place] = lhs, norms * mix.logit_length / truth.world.beta_prime
    return tightest(sides, ("t", "s"))


def _printed_terms(mix: Mix) -> dict:
    truth, world = mix.truth, mix.world
    shares = [abs(x) / mix.size for x in mix.lam]
    nu = truth.reward_nu
    error = mp.sqrt(total(
        total((number(world.w[k]) - shares[k]) * nu[k][i] for k in range(world.K)) ** 2
        for i in range(len(nu[0]))
    ))  # fmt: skip
    _, path = hard_minimum(world, least_cost(mix))
    norm = truth.mean_norm(truth.ref[truth.start], 0)
    logit = world.beta / world.beta_prime * mix.logit_length
    return {
        "reward term": path * error, "penalty": penalty(mix, truth.start, "delta"),
        "logit term": norm * logit, "E_min Σ‖psi‖": path, "reward error": error,
        "E_ref‖psi‖": norm, "logit error": logit,
    }  # fmt: skip


def gap_printed(truth: Truth, mix: Mix, seen) -> Pair:
    terms = _printed_terms(mix)
    rhs = terms["reward term"] + terms["penalty"] + terms["logit term"]
    return Pair(mix.gap, rhs, {"t": 0, "s": truth.world.start}, terms)


def gap_minimal(truth: Truth, mix: Mix, seen) -> Pair:
    world, nu = truth.world, truth.reward_nu
    first = total(
        abs(mix.lam[k]) / mix.size * truth.paths[k]
        * mp.sqrt(total((x - y) ** 2 for x, y in zip(nu[-1], nu[k], strict=True)))
        for k in range(world.K)
    )  # fmt: skip
    cost = penalty(mix, truth.start, "delta")
    last = truth.mean_norm(truth.bases[-1][truth.start], 0)
    last *= world.beta / world.beta_prime * mix.logit_length
    terms = {"reward term": first, "penalty": cost, "logit term": last}
    return Pair(mix.gap, first + cost + last, None, terms)


def gap_identity(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    to_w = {p: divergence(mix.policy[p], truth.bases[-1][p]) for p in world.places()}
    to_ref = {p: divergence(mix.policy[p], truth.ref[p]) for p in world.places()}
    first = world.beta * mix.expected(to_w)
    second = (mix.price() - world.beta) * mix.expected(to_ref) if mix.size else mp.mpf(0)
    terms = {"β E Σ KL(soup‖π_w)": first, "(β'/|λ|₁ − β) E Σ KL(soup‖ref)": second}
    return Pair(mix.gap, first + second, None, terms)


def _span_bound(mix: Mix, of_kl) -> Pair:
    """``E_soup Σ [β of_kl + (β'/|λ|₁ − β) KL(soup‖ref)]``, of_kl a bound on ``KL(soup‖π_w)``."""
    truth, world = mix.truth, mix.world
    rate = {}
    for p in world.places():
        away = divergence(mix.policy[p], truth.ref[p])
        rate[p] = world.beta * of_kl[p] + ((mix.price() - world.beta) * away if mix.size else 0)
    return Pair(mix.gap, mix.expected(rate))


def gap_sharp(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    of_kl = {}
    for t, s in world.places():
        e = [truth.Q[-1][t, n] / world.beta - mix.logits[t, n] for _, n, _ in world.moves[s]]
        of_kl[t, s] = (max(e) - min(e)) ** 2 / 8
    pair = _span_bound(mix, of_kl)
    return Pair(pair.lhs, pair.rhs, None, {"β E Σ span²/8": world.beta * mix.expected(of_kl)})


def gap_sharp_features(truth: Truth, mix: Mix, seen) -> Pair:
    world, n = truth.world, mix.logit_length / truth.world.beta_prime
    of_kl = {}
    for t, s in world.places():
        rows = [world.psi[t, x] for _, x, _ in world.moves[s]]
        diameter = max(
            mp.sqrt(total((x - y) ** 2 for x, y in zip(a, b, strict=True)))
            for a in rows for b in rows
        )  # fmt: skip
        norms = truth.mean_norm(mix.policy[t, s], t) + truth.mean_norm(truth.bases[-1][t, s], t)
        of_kl[t, s] = min((diameter * n) ** 2 / 8, norms * n)
    return _span_bound(mix, of_kl)


def upper(truth: Truth, mix: Mix, seen) -> Pair:
    return Pair(mp.mpf(0), mix.gap)


def simplex(truth: Truth, mix: Mix, seen) -> Pair:
    """J(λ), and J at the λ ≥ 0 that the toolkit names: none of a grid of them is better."""
    if all(x >= 0 for x in mix.lam):
        raise Nothing("no negative weight")
    world = truth.world
    if world.horizon is None:
        raise Unbounded
    full = world.beta_prime / world.beta
    named = Mix(truth, [seen.terms[f"best λ_{k} in the simplex"] for k in range(world.K)])
    assert all(x >= 0 for x in named.lam)
    assert named.size <= full * (1 + mp.mpf(10) ** -12)
    steps = product(range(3), repeat=world.K)
    grid = [[full * x / 2 for x in at] for at in steps if sum(at) <= 2]
    assert max(Mix(truth, at).value for at in grid) <= named.value + mp.mpf(10) ** -9
    return Pair(mix.value, named.value)


def one_hot(truth: Truth, mix: Mix, seen) -> Pair:
    """``V_w^{π_k} ≤ J(λ)`` for the best specialist."""
    world = truth.world
    r, values = world.rewards[-1], []
    for policy in truth.bases[:-1]:
        gains = earned(
            world, policy,
            lambda t, s, n, policy=policy: number(r[n])
            - world.beta * mp.log(policy[t, s][n] / truth.ref[t, s][n]),
        )  # fmt: skip
        values.append(gains[truth.start])
    k = max(range(world.K), key=lambda i: values[i])
    terms = {f"V_w^π_{i}": v for i, v in enumerate(values)}
    return Pair(values[k], mix.value, {"k": k}, terms)


def _parametrised(truth: Truth, mix: Mix) -> dict:
    """J, the gap, and the right sides of (9) and (10)."""
    return {
        "J": mix.value, "gap": mix.gap,
        "right side of (9)": kl_at_start(truth, mix, None).rhs,
        "right side of (10)": gap_printed(truth, mix, None).rhs,
    }  # fmt: skip


def parametrisation(truth: Truth, mix: Mix, seen) -> Pair:
    """They are the same at (4λ, 4β'): the terms, and the one that moves most on both sides."""
    if not mix.size:
        raise Nothing("λ = 0")
    before = _parametrised(truth, mix)
    after = _parametrised(truth.moved, Mix(truth.moved, [4 * c for c in mix.lam]))
    name = max(before, key=lambda n: abs(before[n] - after[n]))
    return Pair(before[name], after[name], None, before)
