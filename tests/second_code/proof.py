"""The steps of Theorem 1's proof (Appendix A.2), and the penalty Δ_k of (17), (18)."""

from __future__ import annotations

from fractions import Fraction

from .instance import length, mp, number, total
from .pair import Nothing, Pair, tightest
from .solve import Mix, Truth, earned, hard_minimum

SAME = mp.mpf(10) ** -12  # ratios closer than this, as a share, are one value


# -- importance ratios -----------------------------------------------------------------------------


def ratios(truth: Truth, k: int, place) -> list:
    """``π_k/ref`` of the allowed tokens, with the probability of each under ref."""
    law = truth.bases[k][place]
    return [(p, law[n] / p) for _, n, p in truth.world.moves[place[1]]]


def renyi_divergence(truth: Truth, k: int, place):
    """``log E_ref[1/x]·E_ref[x]``, x = π_k/ref."""
    both = ratios(truth, k, place)
    return mp.log(total(p / x for p, x in both) * total(p * x for p, x in both))


def delta_of(truth: Truth, k: int, place):
    """``log (M̄ + M̲ − 1)/(M̄ M̲)``."""
    x = [x for _, x in ratios(truth, k, place)]
    return mp.log((max(x) + min(x) - 1) / (max(x) * min(x)))


def penalty(mix: Mix, place, which: str):
    """``(β²/β') Σ_k D_k max(0, −λ_k)``."""
    truth, world = mix.truth, mix.world
    of = {"delta": delta_of, "renyi": renyi_divergence}[which]
    costs = (max(mp.mpf(0), -c) * of(truth, k, place) for k, c in enumerate(mix.lam))
    return world.beta**2 / world.beta_prime * total(costs)


def _number_of_values(truth: Truth, k: int, place) -> int:
    count, last = 0, None
    for x in sorted(x for _, x in ratios(truth, k, place)):
        if last is None or x - last > SAME * x:
            count += 1
        last = x
    return count


def _every(truth: Truth):
    return [(k, t, s) for k in range(truth.world.K) for t, s in truth.world.places()]


def delta(truth: Truth, mix, seen) -> Pair:
    sides = {
        (k, t, s): (renyi_divergence(truth, k, (t, s)), delta_of(truth, k, (t, s)))
        for k, t, s in _every(truth)
        if _number_of_values(truth, k, (t, s)) != 2
    }
    if not sides:
        raise Nothing("every ratio takes two values")
    return tightest(sides, ("k", "t", "s"))


def delta_tight(truth: Truth, mix, seen) -> Pair:
    two = [at for at in _every(truth) if _number_of_values(truth, at[0], at[1:]) == 2]
    if not two:
        raise Nothing("no ratio takes two values")
    at = tuple(seen.where[name] for name in ("k", "t", "s"))
    assert at in two
    return Pair(renyi_divergence(truth, at[0], at[1:]), delta_of(truth, at[0], at[1:]))


def _anchored(truth: Truth, anchor) -> Pair:
    sides = {}
    for k, t, s in _every(truth):
        x = [x for _, x in ratios(truth, k, (t, s))]
        low, a = min(x), anchor(min(x), max(x))
        if len(x) > 1:
            rhs = mp.log((2 * a - 1) / (low * (2 * a - low)))
            sides[k, t, s] = renyi_divergence(truth, k, (t, s)), rhs
    return tightest(sides, ("k", "t", "s"))


def anchor_least(truth: Truth, mix, seen) -> Pair:
    return _anchored(truth, lambda low, high: max(low, high / 2))


def anchor_largest(truth: Truth, mix, seen) -> Pair:
    return _anchored(truth, lambda low, high: high)


# -- the steps -------------------------------------------------------------------------------------


def exact(mix: Mix) -> list[Fraction]:
    """λ as rationals."""
    return [Fraction(float(x)) for x in mix.lam]


def least_cost(mix: Mix) -> list[Fraction]:
    """``Σ_k |λ_k|(r_w − r_k)`` by next context, exact: ties are ties."""
    rewards = mix.world.rewards
    return [
        sum(abs(c) * (rewards[-1][n] - rewards[k][n]) for k, c in enumerate(exact(mix)))
        for n in range(len(rewards[-1]))
    ]


def nonnegative(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    full = abs(world.beta * mix.size / world.beta_prime - 1) < SAME
    if full and min(mix.lam) >= 0:
        raise Nothing("the same expression")
    V = [v[truth.start] for v in truth.V[:-1]]
    lhs = world.beta / world.beta_prime * total(c * v for c, v in zip(mix.lam, V, strict=True))
    return Pair(lhs, total(abs(c) * v for c, v in zip(mix.lam, V, strict=True)) / mix.size)


def _by_specialists(mix: Mix):
    """``Σ_k |λ_k|/|λ|₁ E_{π_k} Σ (r_w − r_k)``."""
    truth, world = mix.truth, mix.world
    r = world.rewards
    return total(
        abs(c) / mix.size
        * earned(
            world, truth.bases[k], lambda t, s, n, k=k: number(r[-1][n] - r[k][n])
        )[truth.start]
        for k, c in enumerate(mix.lam)
    )  # fmt: skip


def step_a(truth: Truth, mix: Mix, seen) -> Pair:
    lhs = hard_minimum(truth.world, least_cost(mix))[0] / mix.size
    return Pair(lhs, _by_specialists(mix))


def step_a_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    lhs = mp.mpf(0)
    for k, c in enumerate(mix.lam):
        cost = [u - r for u, r in zip(world.rewards[-1], world.rewards[k], strict=True)]
        lhs += abs(c) / mix.size * hard_minimum(world, cost)[0]
    return Pair(lhs, _by_specialists(mix))


def _excess(mix: Mix, place):
    """``(β²/β')|λ|₁ log E_ref exp(Σ λ_k Q_k/(β|λ|₁)) − (β/β') Σ λ_k V_k``."""
    truth, world = mix.truth, mix.world
    power = mix.combined([c / (world.beta * mix.size) for c in mix.lam])
    first = world.beta**2 / world.beta_prime * mix.size * truth.log_mean(place, power)
    values = total(c * truth.V[k][place] for k, c in enumerate(mix.lam))
    return first - world.beta / world.beta_prime * values


def _excess_against(mix: Mix, which: str) -> Pair:
    places = mix.world.places()
    return tightest({p: (_excess(mix, p), penalty(mix, p, which)) for p in places}, ("t", "s"))


def step_b(truth: Truth, mix: Mix, seen) -> Pair:
    return _excess_against(mix, "delta")


def renyi(truth: Truth, mix: Mix, seen) -> Pair:
    return _excess_against(mix, "renyi")


def jensen(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    p = world.beta_prime / (world.beta * mix.size)
    if abs(p - 1) < SAME:
        raise Nothing("the power is 1")
    power = {place: p * x for place, x in mix.logits.items()}
    sides = {
        place: (
            world.beta * truth.log_mean(place, mix.logits),
            world.beta / p * truth.log_mean(place, power),
        )
        for place in world.places()
    }
    return tightest(sides, ("t", "s"))


def _lipschitz(mix: Mix, laws) -> Pair:
    truth, world = mix.truth, mix.world
    sides = {}
    for place in world.places():
        drop = truth.V[-1][place] - world.beta * truth.log_mean(place, mix.logits)
        norm = truth.mean_norm(laws[place], place[0])
        sides[place] = drop, norm * world.beta / world.beta_prime * mix.logit_length
    return tightest(sides, ("t", "s"))


def lipschitz(truth: Truth, mix: Mix, seen) -> Pair:
    return _lipschitz(mix, truth.ref)


def lipschitz_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    return _lipschitz(mix, truth.bases[-1])


def mean_length(truth: Truth, laws, place, *, absolute: bool = False):
    """``‖E psi‖`` under a law, or ``‖E |psi|‖``."""
    psi, t = truth.world.psi, place[0]
    width = len(next(iter(psi.values())))
    size = abs if absolute else (lambda x: x)
    return length([
        total(p * size(psi[t, n][i]) for n, p in laws[place].items()) for i in range(width)
    ])  # fmt: skip


def lipschitz_norm_of_mean(truth: Truth, mix: Mix, seen) -> Pair:
    return _by_lengths(mix, lambda p: mean_length(truth, truth.ref, p, absolute=True))


def lipschitz_norm_of_mean_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    return _by_lengths(mix, lambda p: mean_length(truth, truth.bases[-1], p))


def _by_lengths(mix: Mix, norm) -> Pair:
    truth, world = mix.truth, mix.world
    sides = {}
    for place in world.places():
        drop = truth.V[-1][place] - world.beta * truth.log_mean(place, mix.logits)
        sides[place] = drop, norm(place) * world.beta / world.beta_prime * mix.logit_length
    return tightest(sides, ("t", "s"))


# -- the steps of (14) -----------------------------------------------------------------------------


def _kl_step(mix: Mix, norm) -> Pair:
    truth, world = mix.truth, mix.world
    bespoke = {place: q / world.beta for place, q in truth.Q[-1].items()}
    sides = {}
    for place in world.places():
        rise = truth.log_mean(place, mix.logits) - truth.log_mean(place, bespoke)
        sides[place] = rise, norm(place) * mix.logit_length / world.beta_prime
    return tightest(sides, ("t", "s"))


def kl_step(truth: Truth, mix: Mix, seen) -> Pair:
    return _kl_step(mix, lambda p: truth.mean_norm(truth.ref[p], p[0]))


def kl_step_norm_of_mean(truth: Truth, mix: Mix, seen) -> Pair:
    return _kl_step(mix, lambda p: mean_length(truth, truth.ref, p, absolute=True))


def kl_step_repaired(truth: Truth, mix: Mix, seen) -> Pair:
    return _kl_step(mix, lambda p: mean_length(truth, mix.policy, p))


def kl_mean(truth: Truth, mix: Mix, seen) -> Pair:
    world = truth.world
    sides = {}
    for place in world.places():
        t, law = place[0], truth.bases[-1][place]
        lhs = total(p * (truth.Q[-1][t, n] / world.beta - mix.logits[t, n]) for n, p in law.items())
        norm = mean_length(truth, truth.bases[-1], place)
        sides[place] = lhs, norm * mix.logit_length / world.beta_prime
    return tightest(sides, ("t", "s"))
