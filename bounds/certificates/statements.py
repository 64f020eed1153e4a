"""Both sides of the inequalities in balls, at one λ or over a box of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flint import arb, fmpq

from .instance import Instance
from .maximisers import best_nonnegative
from .objective import Box
from .values import ZERO, Field, Logits, Tilt, Values, extremes, hard_minimum, length, total


@dataclass(frozen=True)
class Point:
    """A λ, or a box of them, as ``u = βλ/β'``: n = |u|₁, v = |u|/n. J where it is enclosed."""

    u: list[arb]
    v: list[arb]
    zero: bool  # whether u = 0 may be among them
    J: arb | None = None

    @classmethod
    def of(cls, box: Box, J: arb) -> Point:
        """The point of a box."""
        return cls(box.u, box.v, box.sides[0][0] == 0, J)

    @classmethod
    def exact(cls, world: Instance, lam: list[fmpq]) -> Point:
        """The point of one λ."""
        size = sum(map(abs, lam), fmpq(0))
        v = [arb(abs(x) / size) if size != 0 else ZERO for x in lam]
        return cls([arb(world.beta * x / world.beta_prime) for x in lam], v, size == 0)


@dataclass(frozen=True)
class Sides:
    """Both sides at one place: the claim says ``lhs ≤ rhs`` there (``lhs = 0`` of an equality)."""

    lhs: arb
    rhs: arb
    where: dict[str, int]


# -- what several claims share ---------------------------------------------------------------------


def states(values: Values) -> Iterator[tuple[int, int]]:
    """Reachable (t, s)."""
    for t, contexts in enumerate(values.world.states):
        for s in contexts:
            yield t, s


def user_tilt(values: Values, t: int, s: int, k: int) -> Tilt:
    """π_k, or π_w for k = K."""
    return values.tilt(s, values.at(t, s, values.Q[k]))


def soup_tilt(values: Values, t: int, s: int, u: list[arb]) -> Tilt:
    """``π~_λ ∝ ref·exp(Σ u_k Q_k/β)``."""
    q = [values.at(t, s, Q) for Q in values.Q[:-1]]
    A = range(len(q[0]))
    logits = [[total([c * (k[a] - k[b]) for c, k in zip(u, q, strict=True)]) for b in A] for a in A]
    return values.tilt_by(s, Logits(logits))


def logit_length(values: Values, u: list[arb]) -> arb:
    """``‖ν_w − Σ u_k ν_k‖/β``, the last factor of (9) in nats."""
    rows = zip(*values.logit_nus, strict=True)
    return length([w - total([c * x for c, x in zip(u, k, strict=True)]) for *k, w in rows])


def reference_norm(values: Values, t: int, s: int) -> arb:
    """``E_ref‖ψ((s,·))‖``."""
    return total([p * x for p, x in zip(values.p[s], values.at(t, s, values.norms), strict=True)])


def mean_length(values: Values, t: int, s: int, law: list[arb], *, absolute: bool = False) -> arb:
    """``‖E ψ((s,·))‖`` under a law; absolute: of ``E |ψ|``, coordinate by coordinate."""
    mean: dict[int, arb] = {}
    for p, x in zip(law, values.next[s], strict=True):
        for i, c in values.world.psi[t, x].items():
            mean[i] = mean.get(i, ZERO) + p * arb(abs(c) if absolute else c)
    return length(list(mean.values()))


# -- the sides -------------------------------------------------------------------------------------


def _kl_at(values: Values, point: Point, t: int, s: int, size: arb) -> Sides:
    bespoke = user_tilt(values, t, s, values.world.K)
    norm = bespoke.mean(values.at(t, s, values.norms)) + reference_norm(values, t, s)
    lhs = bespoke.divergence(soup_tilt(values, t, s, point.u))
    return Sides(lhs, norm * size, {"t": t, "s": s})


def kl(values: Values, point: Point | None) -> Iterator[Sides]:
    """(9) at the start: ``KL(π_w‖π~) ≤ (E_{π_w}‖ψ‖ + E_ref‖ψ‖)·‖ν_w − Σ u_k ν_k‖/β``."""
    assert point is not None
    yield _kl_at(values, point, 0, values.world.start, logit_length(values, point.u))


def kl_any(values: Values, point: Point | None) -> Iterator[Sides]:
    """(14): the same at every reachable state."""
    assert point is not None
    size = logit_length(values, point.u)
    for t, s in states(values):
        yield _kl_at(values, point, t, s, size)


def vanishes(values: Values, point: Point | None) -> Iterator[Sides]:
    """``KL(π_w‖π~) = 0`` at the start."""
    assert point is not None
    t, s = 0, values.world.start
    bespoke = user_tilt(values, t, s, values.world.K)
    yield Sides(bespoke.divergence(soup_tilt(values, t, s, point.u)), ZERO, {"t": t, "s": s})


def simplex(values: Values, point: Point | None) -> Iterator[Sides]:
    """``J(λ*) ≤ max J(λ)`` over λ ≥ 0; the latter is enclosed once for all boxes."""
    assert point is not None
    assert point.J is not None
    known = values.__dict__
    if "nonnegative" not in known:
        known["nonnegative"] = best_nonnegative(values)
    yield Sides(point.J, known["nonnegative"], {"t": 0, "s": values.world.start})


def kl_norm_of_mean(values: Values, point: Point | None) -> Iterator[Sides]:
    """(14) as printed: ``KL(π_w‖π~) ≤ (‖E_{π_w} ψ‖ + ‖E_ref |ψ|‖)·‖ν_w − Σ u_k ν_k‖/β``."""
    assert point is not None
    size = logit_length(values, point.u)
    for t, s in states(values):
        bespoke = user_tilt(values, t, s, values.world.K)
        norm = mean_length(values, t, s, bespoke.pi)
        norm += mean_length(values, t, s, values.p[s], absolute=True)
        lhs = bespoke.divergence(soup_tilt(values, t, s, point.u))
        yield Sides(lhs, norm * size, {"t": t, "s": s})


def gap(values: Values, point: Point | None) -> Iterator[Sides]:
    """(10) at the start, in reward units:

    ``V_w − J ≤ E_π_[Σ‖ψ‖]·‖Σ_k (w_k − v_k) ν_rk‖ + β Σ_k Δ_k max(0, −u_k)
    + E_ref‖ψ‖·‖ν_w − Σ u_k ν_k‖``.

    π_ minimises ``E Σ_t Σ_k (w_k − v_k) r_k``; where several policies may, the one with the longest
    features, which makes the right side largest.
    """
    assert point is not None
    assert point.J is not None
    if point.zero:
        return
    world, beta, begin = values.world, values.beta, (0, values.world.start)
    mismatch = [arb(w) - v for w, v in zip(world.w, point.v, strict=True)]
    cost = values.mix(mismatch, values.rewards)
    nus = zip(*values.reward_nus, strict=True)
    error = length([total([c * x for c, x in zip(mismatch, nu, strict=True)]) for nu in nus])
    _, path = hard_minimum(values, cost, values.norms)
    penalty = ZERO
    for k, share in enumerate(point.u):
        ratios = [x / p for x, p in zip(user_tilt(values, *begin, k).pi, values.p[world.start],
                                        strict=True)]  # fmt: skip
        low, high = extremes(ratios)
        delta = ((high + low - 1) / (high * low)).log()
        penalty += beta * delta * (-share).max(ZERO)
    last = reference_norm(values, *begin) * beta * logit_length(values, point.u)
    rhs = path * error + penalty + last
    yield Sides(beta * values.V[-1][begin] - point.J, rhs, {"t": 0, "s": world.start})


def proof_a(values: Values, point: Point | None) -> Iterator[Sides]:
    """``min_π E_π Σ_k v_k X_k ≤ Σ_k v_k E_{π_k} X_k``, ``X_k = Σ_t (r_w − r_k)``."""
    assert point is not None
    world = values.world
    each: list[Field] = [
        {p: arb(world.rewards_w[p[1]] - r[p[1]]) for p in world.used} for r in world.rewards
    ]
    least, _ = hard_minimum(values, values.mix(point.v, tuple(each)), values.norms)
    by_specialist = [values.expectation(Q, x) for Q, x in zip(values.Q, each, strict=False)]
    rhs = total([v * x for v, x in zip(point.v, by_specialist, strict=True)])
    yield Sides(least, rhs, {"t": 0, "s": world.start})


def _partition_drop(values: Values, point: Point, t: int, s: int) -> arb:
    """``log E_ref e^{Q_w/β} − log E_ref e^{Σ u_k Q_k/β}``."""
    soup = soup_tilt(values, t, s, point.u)
    mixed = [Q[t, values.next[s][soup.anchor]] for Q in values.Q[:-1]]
    log_z = soup.log_z + total([c * x for c, x in zip(point.u, mixed, strict=True)])
    return values.V[-1][t, s] - log_z


def _lipschitz(values: Values, point: Point | None, *, of_mean: bool, unit: arb) -> Iterator[Sides]:
    """A drop of log-partitions against ``E_ref‖ψ‖`` (of_mean: ``‖E_ref |ψ|‖``) times the logit error.

    unit: what both are multiplied by, β for C(s), −1 for the sign that (9) needs.
    """
    assert point is not None
    size = logit_length(values, point.u)
    for t, s in states(values):
        norm = reference_norm(values, t, s)
        if of_mean:
            norm = mean_length(values, t, s, values.p[s], absolute=True)
        drop = _partition_drop(values, point, t, s)
        yield Sides(unit * drop, abs(unit) * norm * size, {"t": t, "s": s})


def proof_lipschitz(values: Values, point: Point | None) -> Iterator[Sides]:
    """``V_w − β log E_ref e^{Σ u_k Q_k/β} ≤ E_ref‖ψ‖·‖ν_w − Σ u_k ν_k‖`` at every state."""
    yield from _lipschitz(values, point, of_mean=False, unit=values.beta)


def proof_norm_of_mean(values: Values, point: Point | None) -> Iterator[Sides]:
    """The same with ``‖E_ref |ψ|‖``."""
    yield from _lipschitz(values, point, of_mean=True, unit=values.beta)


def kl_step(values: Values, point: Point | None) -> Iterator[Sides]:
    """``log E_ref e^{Σ u_k Q_k/β} − V_w/β ≤ E_ref‖ψ‖·‖ν_w − Σ u_k ν_k‖/β`` at every state."""
    yield from _lipschitz(values, point, of_mean=False, unit=arb(-1))


def kl_step_norm_of_mean(values: Values, point: Point | None) -> Iterator[Sides]:
    """The same with ``‖E_ref |ψ|‖``."""
    yield from _lipschitz(values, point, of_mean=True, unit=arb(-1))


def proof_nonneg(values: Values, point: Point | None) -> Iterator[Sides]:
    """``Σ u_k V_k ≤ Σ v_k V_k`` at the start, with V_k of any sign."""
    assert point is not None
    V = [values.beta * x[0, values.world.start] for x in values.V[:-1]]
    lhs, rhs = (total([c * x for c, x in zip(cs, V, strict=True)]) for cs in (point.u, point.v))
    yield Sides(lhs, rhs, {"t": 0, "s": values.world.start})


def delta_anchor(values: Values, point: Point | None) -> Iterator[Sides]:
    """``log E_ref[1/x]E_ref[x] ≤ log (2a − 1)/(m(2a − m))`` at the anchor ``a = max(m, M/2)``.

    m and M are the extremes of ``x = π_k/ref``, of mean 1; ``|x − a| ≤ a`` holds at this anchor.
    """
    for k in range(values.world.K):
        for t, s in states(values):
            ratios = [
                x / p for x, p in zip(user_tilt(values, t, s, k).pi, values.p[s], strict=True)
            ]
            low, high = extremes(ratios)
            twice = (2 * low).max(high)
            lhs = total([p / x for p, x in zip(values.p[s], ratios, strict=True)]).log()
            rhs = ((twice - 1) / (low * (twice - low))).log()
            yield Sides(lhs, rhs, {"k": k, "t": t, "s": s})
