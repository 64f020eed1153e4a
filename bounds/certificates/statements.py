"""The hypotheses, decided in exact rationals, and both sides of each claim in balls.

Balls cannot prove an equality. Where a claim needs the nu of Lemma 1 the feature rows of the
reachable (t, s') must be linearly independent, which rational elimination decides; then every nu
exists. Where a claim denies an equality, an exact vector y with ``yᵀΨ = 0`` is shown to have
``y·X ≠ 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flint import arb, fmpq, fmpq_mat

from .instance import Instance, matrix
from .maximisers import Box
from .values import ZERO, Tilt, Values, length, square, total

Outcome = tuple[bool | None, str]
Field = dict[tuple[int, int], arb]


@dataclass(frozen=True)
class Point:
    """A λ, or a box of them, as ``ν = βλ/β'``: n = |ν|₁, v = |ν|/n. J where it is enclosed."""

    nu: list[arb]
    v: list[arb]
    zero: bool  # whether ν = 0 may be among them
    J: arb | None = None

    @classmethod
    def of(cls, box: Box, J: arb) -> Point:
        """The point of a box."""
        return cls(box.nu, box.v, box.sides[0][0] == 0, J)

    @classmethod
    def exact(cls, world: Instance, lam: list[fmpq]) -> Point:
        """The point of one λ."""
        size = sum(map(abs, lam), fmpq(0))
        v = [arb(abs(x) / size) if size else ZERO for x in lam]
        return cls([arb(world.beta * x / world.beta_prime) for x in lam], v, size == 0)


@dataclass(frozen=True)
class Sides:
    """Both sides at one place: the claim says ``lhs ≤ rhs`` there (``lhs = 0`` of an equality)."""

    lhs: arb
    rhs: arb
    where: dict[str, int]


Evaluate = Callable[[Values, Point | None], Iterator[Sides]]


@dataclass(frozen=True)
class Statement:
    """A claim that can be certified: where it is judged, its hypotheses and its sides.

    at: "instance", "every" (the witness gives λ) or "optimum" (λ*). The claim is broken if at one
    of the places that ``sides`` yields lhs > rhs.
    """

    at: str
    hypotheses: tuple[str, ...]
    sides: Evaluate


# -- exact linear algebra --------------------------------------------------------------------------


def left_null(rows: fmpq_mat) -> list[list[fmpq]]:
    """Rows of ``I − B(BᵀB)⁻¹Bᵀ``, B a column basis: they span ``{y: yᵀΨ = 0}``, exactly.

    As a matrix it maps a field to its least-squares residual on the features.
    """
    n, (echelon, rank) = rows.nrows(), rows.rref()
    pivots = [next(j for j in range(rows.ncols()) if echelon[i, j] != 0) for i in range(rank)]
    one = fmpq_mat(n, n, [fmpq(int(i == j)) for i in range(n) for j in range(n)])
    if not pivots:
        return list(one.tolist())
    B = fmpq_mat([[rows[i, j] for j in pivots] for i in range(n)])
    return list((one - B * (B.transpose() * B).inv() * B.transpose()).tolist())


def independent(world: Instance) -> Outcome:
    """Feature rows of the reachable (t, s') are linearly independent: every nu exists."""
    single = [next(iter(row)) for row in world.psi.values() if len(row) == 1]
    if len(single) == len(world.psi):
        rank = len(set(single))
    else:
        rank = world.rows(world.used).rank()
    if rank == len(world.used):
        return True, "rows independent, so every nu exists"
    return None, f"feature rows have rank {rank} < {len(world.used)}: balls cannot prove equality"


def linear_rewards(world: Instance) -> Outcome:
    """Every r_k lies in the span of the features, one vector for all steps; exact."""
    if independent(world)[0]:
        return True, ""
    null = left_null(world.rows(world.used))
    for k, r in enumerate(world.rewards):
        for y in null:
            if sum((c * r[s] for c, (_, s) in zip(y, world.used, strict=True)), fmpq(0)) != 0:
                return False, f"r_{k} is not linear in the features"
    return True, ""


def softmax(world: Instance) -> Outcome:
    """``ref = softmax(psi(s)·nu(a))`` at every reachable context that has a feature; exact.

    With ``yᵀΨ = 0``, y integer, it says ``Π_s (ref(a|s)/ref(b|s))^{y_s} = 1`` for all tokens a, b.
    """
    if any(min(world.row_of[s]) == 0 for s in world.moves):
        return False, "a forbidden token, which no softmax has"
    rows, contexts = state_rows(world)
    for y in left_null(matrix(rows)) if rows else []:
        scale = 1
        for c in y:
            scale = scale * int(c.q) // _gcd(scale, int(c.q))
        powers = [int(c.p) * (scale // int(c.q)) for c in y]
        if max(map(abs, powers)) > 10_000:
            return None, "feature rows with no small integer relation"
        first = [world.row_of[s][0] for s in contexts]
        for a in range(1, len(world.row_of[world.start])):
            found = fmpq(1)
            for s, b, power in zip(contexts, first, powers, strict=True):
                found *= (world.row_of[s][a] / b) ** power
            if found != 1:
                away = float(abs(arb(found).log()) / scale)
                return False, f"log ref leaves the span of psi(s) by about {away:.2g} nats"
    return True, ""


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def state_rows(
    world: Instance, places: list[tuple[int, int]] | None = None
) -> tuple[list[dict[int, fmpq]], list[int]]:
    """Features psi(s) and contexts s of reachable states; the start only where it has a feature.

    places: the (t, s') to list instead of all that are states later. Steps that share a row do so
    once.
    """
    later = [(t, s) for t, s in world.used if t + 1 < world.steps and s not in world.ended]
    chosen = later if places is None else places
    if not world.per_step:
        chosen = list({s: (t, s) for t, s in chosen}.values())
    rows, contexts = [world.psi[p] for p in chosen], [s for _, s in chosen]
    if places is None and world.start_feature is not None:
        rows, contexts = [*rows, world.start_feature], [*contexts, world.start]
    return rows, contexts


def nonnegative_rewards(world: Instance) -> Outcome:
    """``r_k ≥ 0`` on reachable contexts; exact."""
    bad = [(k, s) for k, r in enumerate(world.rewards) for _, s in world.used if r[s] < 0]
    return (False, f"r_{bad[0][0]} is negative at context {bad[0][1]}") if bad else (True, "")


def constant_norm(world: Instance) -> Outcome:
    """``‖psi‖²`` is one rational on all reachable (t, s')."""
    norms = {square(row) for row in world.psi.values()}
    return (True, "") if len(norms) == 1 else (False, f"{len(norms)} different feature norms")


HYPOTHESES: dict[str, Callable[[Instance], Outcome]] = {
    "ss.asm0": softmax,
    "ss.asm1": linear_rewards,
    "ss.asm2": lambda world: (True, "a token MDP knows the last L tokens only"),
    "q-linear": independent,
    "rewards-nonnegative": nonnegative_rewards,
    "features-constant-norm": constant_norm,
}


def lambda_in_domain(world: Instance, lam: list[fmpq] | None) -> Outcome:
    """``β|λ|₁ ≤ β'``, exact; λ* (None) is taken from the domain."""
    inside = lam is None or world.beta * sum(map(abs, lam), fmpq(0)) <= world.beta_prime
    return inside, "" if inside else "β|λ|₁ > β'"


def lambda_nonzero(world: Instance, lam: list[fmpq] | None) -> Outcome:
    """λ ≠ 0; of λ* the boxes decide, for one that holds 0 never breaks such a claim."""
    return lam is None or any(lam), "" if lam is None or any(lam) else "λ = 0"


# -- what several claims share ---------------------------------------------------------------------


def states(values: Values) -> Iterator[tuple[int, int]]:
    """Reachable (t, s)."""
    for t, found in enumerate(values.world.states):
        for s in found:
            yield t, s


def user_tilt(values: Values, t: int, s: int, k: int) -> Tilt:
    """π_k, or π_w for k = K."""
    return values.tilt(s, values.at(t, s, values.Q[k]))


def soup_tilt(values: Values, t: int, s: int, nu: list[arb]) -> Tilt:
    """``π~_λ ∝ ref·exp(Σ ν_k Q_k/β)``."""
    q = [values.at(t, s, Q) for Q in values.Q[:-1]]
    A = range(len(q[0]))
    return Tilt(values.p[s], [[total([c * (k[a] - k[b]) for c, k in zip(nu, q, strict=True)])
                               for b in A] for a in A])  # fmt: skip


def logit_length(values: Values, nu: list[arb]) -> arb:
    """``‖nu_w − Σ ν_k nu_k‖/β``, the last factor of (9) in nats."""
    found = [values.coordinates(Q) for Q in values.Q]
    return length([w - total([c * x for c, x in zip(nu, k, strict=True)]) for *k, w in zip(*found, strict=True)])


def reference_norm(values: Values, t: int, s: int) -> arb:
    """``E_ref‖psi((s,·))‖``."""
    return total([p * x for p, x in zip(values.p[s], values.at(t, s, values.norms), strict=True)])


# -- the sides -------------------------------------------------------------------------------------


def _kl_at(values: Values, point: Point, t: int, s: int, size: arb) -> Sides:
    bespoke = user_tilt(values, t, s, values.world.K)
    norm = bespoke.mean(values.at(t, s, values.norms)) + reference_norm(values, t, s)
    lhs = bespoke.divergence(soup_tilt(values, t, s, point.nu))
    return Sides(lhs, norm * size, {"t": t, "s": s})


def kl(values: Values, point: Point | None) -> Iterator[Sides]:
    """(9) at the start: ``KL(π_w‖π~) ≤ (E_{π_w}‖psi‖ + E_ref‖psi‖)·‖nu_w − Σ ν_k nu_k‖/β``."""
    assert point is not None
    yield _kl_at(values, point, 0, values.world.start, logit_length(values, point.nu))


def kl_any(values: Values, point: Point | None) -> Iterator[Sides]:
    """(14): the same at every reachable state."""
    assert point is not None
    size = logit_length(values, point.nu)
    for t, s in states(values):
        yield _kl_at(values, point, t, s, size)


def gap(values: Values, point: Point | None) -> Iterator[Sides]:
    """(10) at the start, in reward units:

    ``V_w − J ≤ E_π_[Σ‖psi‖]·‖Σ_k (w_k − v_k) nu_rk‖ + β Σ_k Δ_k max(0, −ν_k)
    + E_ref‖psi‖·‖nu_w − Σ ν_k nu_k‖``.

    π_ minimises ``E Σ_t Σ_k (w_k − v_k) r_k``; where several policies may, the one with the longest
    features, which makes the right side largest.
    """
    assert point is not None
    assert point.J is not None
    if point.zero:
        return
    world, beta, begin = values.world, values.beta, (0, values.world.start)
    mismatch = [arb(w) - v for w, v in zip(world.w, point.v, strict=True)]
    fields = [{p: arb(r[p[1]]) for p in world.used} for r in world.rewards]
    cost = values.mix(mismatch, tuple(fields))
    nus = zip(*map(values.coordinates, fields), strict=True)
    error = length([total([c * x for c, x in zip(mismatch, nu, strict=True)]) for nu in nus])
    least: dict[tuple[int, int], arb] = {}
    path: dict[tuple[int, int], arb] = {}
    for t, s in reversed(list(states(values))):
        costs = [cost[t, x] + least.get((t + 1, x), ZERO) for x in values.next[s]]
        paths = [values.norms[t, x] + path.get((t + 1, x), ZERO) for x in values.next[s]]
        least[t, s] = costs[0]
        for c in costs[1:]:
            least[t, s] = least[t, s].min(c)
        chosen = [x for c, x in zip(costs, paths, strict=True) if not c > least[t, s]]
        path[t, s] = chosen[0]
        for x in chosen[1:]:
            path[t, s] = path[t, s].union(x)
    penalty = ZERO
    for k, nu in enumerate(point.nu):
        ratios = [x / p for x, p in zip(user_tilt(values, *begin, k).pi, values.p[world.start],
                                        strict=True)]  # fmt: skip
        high, low = ratios[0], ratios[0]
        for x in ratios[1:]:
            high, low = high.max(x), low.min(x)
        delta = ((high + low - 1) / (high * low)).log()
        penalty += beta * delta * (-nu).max(ZERO)
    last = reference_norm(values, *begin) * beta * logit_length(values, point.nu)
    yield Sides(values.V[-1][begin] * beta - point.J, path[begin] * error + penalty + last, {"t": 0, "s": world.start})


def proof_a(values: Values, point: Point | None) -> Iterator[Sides]:
    """``min_π E_π Σ_k v_k X_k ≤ Σ_k v_k E_{π_k} X_k``, ``X_k = Σ_t (r_w − r_k)``."""
    assert point is not None
    world = values.world
    each: list[Field] = [
        {p: arb(world.reward_w(p[1]) - r[p[1]]) for p in world.used} for r in world.rewards
    ]
    cost, least = values.mix(point.v, tuple(each)), {}
    for t, s in reversed(list(states(values))):
        costs = [cost[t, x] + least.get((t + 1, x), ZERO) for x in values.next[s]]
        least[t, s] = costs[0]
        for c in costs[1:]:
            least[t, s] = least[t, s].min(c)
    own = [values.expectation(Q, x) for Q, x in zip(values.Q, each, strict=False)]
    rhs = total([v * x for v, x in zip(point.v, own, strict=True)])
    yield Sides(least[0, world.start], rhs, {"t": 0, "s": world.start})


def proof_lipschitz(values: Values, point: Point | None) -> Iterator[Sides]:
    """``V_w − β log E_ref e^{Σ ν_k Q_k/β} ≤ E_ref‖psi‖·‖nu_w − Σ ν_k nu_k‖`` at every state."""
    assert point is not None
    size = logit_length(values, point.nu)
    for t, s in states(values):
        here = soup_tilt(values, t, s, point.nu)
        mixed = [Q[t, values.next[s][here.anchor]] for Q in values.Q[:-1]]
        log_z = here.log_z + total([c * x for c, x in zip(point.nu, mixed, strict=True)])
        lhs = values.V[-1][t, s] - log_z
        rhs = reference_norm(values, t, s) * size
        yield Sides(values.beta * lhs, values.beta * rhs, {"t": t, "s": s})


def proof_nonneg(values: Values, point: Point | None) -> Iterator[Sides]:
    """``Σ ν_k V_k ≤ Σ v_k V_k`` at the start, with V_k of any sign."""
    assert point is not None
    V = [values.beta * x[0, values.world.start] for x in values.V[:-1]]
    lhs, rhs = (total([c * x for c, x in zip(cs, V, strict=True)]) for cs in (point.nu, point.v))
    yield Sides(lhs, rhs, {"t": 0, "s": values.world.start})


def delta_anchor(values: Values, point: Point | None) -> Iterator[Sides]:
    """``log E_ref[1/x]E_ref[x] ≤ log (2a − 1)/(m(2a − m))`` at the anchor ``a = max(m, M/2)``.

    m and M are the extremes of ``x = π_k/ref``, of mean 1; ``|x − a| ≤ a`` holds at this anchor.
    """
    for k in range(values.world.K):
        for t, s in states(values):
            ratios = [x / p for x, p in zip(user_tilt(values, t, s, k).pi, values.p[s], strict=True)]
            low, high = ratios[0], ratios[0]
            for x in ratios[1:]:
                low, high = low.min(x), high.max(x)
            twice = (2 * low).max(high)
            lhs = total([p / x for p, x in zip(values.p[s], ratios, strict=True)]).log()
            rhs = ((twice - 1) / (low * (twice - low))).log()
            yield Sides(lhs, rhs, {"k": k, "t": t, "s": s})


def eq7_logit(values: Values, point: Point | None) -> Iterator[Sides]:
    """``KL(π_k‖softmax(log ref + Q_k)) = 0`` at every reachable state."""
    for k in range(values.world.K):
        for t, s in states(values):
            typed = values.tilt(s, [values.beta * x for x in values.at(t, s, values.Q[k])])
            yield Sides(user_tilt(values, t, s, k).divergence(typed), ZERO, {"k": k, "t": t, "s": s})


def _residuals(rows: fmpq_mat, fields: list[list[arb]]) -> Iterator[tuple[int, int, arb]]:
    """Every residual of every field: ``y·X`` for exact y with ``yᵀΨ = 0``; its place and size."""
    for i, y in enumerate(left_null(rows)):
        exact = [arb(c) for c in y]
        if any(y):
            for m, X in enumerate(fields):
                yield m, i, abs(total([c * x for c, x in zip(exact, X, strict=True)]))


def lemma1(values: Values, point: Point | None) -> Iterator[Sides]:
    """(6): ``Q = psi·nu`` with one nu for all steps, for every Q_k and Q_w."""
    yield from _lemma1(values, values.world.used)


def lemma1_per_step(values: Values, point: Point | None) -> Iterator[Sides]:
    """(6) with a nu_t for each step."""
    for t in range(values.world.steps):
        yield from _lemma1(values, [p for p in values.world.used if p[0] == t])


def _lemma1(values: Values, places: list[tuple[int, int]]) -> Iterator[Sides]:
    fields = [[values.beta * Q[p] for p in places] for Q in values.Q]
    for m, i, residual in _residuals(values.world.rows(places), fields):
        yield Sides(residual, ZERO, {"k": m, "t": places[i][0], "s'": places[i][1]})


def single_exponential(values: Values, point: Point | None) -> Iterator[Sides]:
    """``∫_b e^{psi(s)·nu_ref(b)} db = e^{psi(s)·nu}``: then mean_a log ref(a|s) is linear in psi(s)."""
    rows, contexts = state_rows(values.world)
    probabilities = [[arb(x / sum(row)) for x in row] for row in map(values.world.row_of.get, contexts)]
    logs = [total([p.log() for p in row]) / len(row) for row in probabilities]
    for _, i, residual in _residuals(matrix(rows), [logs]):
        yield Sides(residual, ZERO, {"s": contexts[i]})


def unrolling(values: Values, point: Point | None) -> Iterator[Sides]:
    """(12) as typed, with a_{t+L} free: at its least and its largest Q(s_{t+L}, a_{t+L})."""
    world, beta = values.world, values.beta
    for k, r in enumerate(world.rewards):
        for largest in (False, True):
            for t, x in world.used:
                if t + world.order >= world.steps or x in world.ended:
                    continue
                ahead = {}
                for s in world.states[t + world.order]:
                    Q = [beta * q for q in values.at(t + world.order, s, values.Q[k])]
                    end = Q[0]
                    for q in Q[1:]:
                        end = end.max(q) if largest else end.min(q)
                    ahead[s] = end
                for i in reversed(range(t + 1, t + world.order)):
                    step = {}
                    for s in world.states[i]:
                        inside = [arb(r[y] / world.beta) + ahead.get(y, ZERO) for y in values.next[s]]
                        here = values.tilt(s, inside)
                        step[s] = here.log_z + inside[here.anchor]
                    ahead = step
                typed = arb(r[x]) + beta * ahead[x]
                yield Sides(abs(typed - beta * values.Q[k][t, x]), ZERO, {"k": k, "t": t, "s'": x})


def forward_law(values: Values, point: Point | None) -> Iterator[Sides]:
    """(13): the law of the next L tokens is a softmax linear in psi((s,a))."""
    world = values.world
    places = [(t, s) for t, s in world.used if t + world.order < world.steps and s not in world.ended]
    rows, contexts = state_rows(world, places)
    laws = []
    for s in contexts:
        law = [(s, ZERO)]
        for _ in range(world.order):
            law = [(y, x + p.log()) for z, x in law for y, p in zip(values.next[z], values.p[z], strict=True)]
        mean = total([x for _, x in law]) / len(law)
        laws.append([x - mean for _, x in law])
    if rows:
        for c, i, residual in _residuals(matrix(rows), [list(x) for x in zip(*laws, strict=True)]):
            yield Sides(residual, ZERO, {"continuation": c, "s'": contexts[i]})


_THEOREM = ("ss.asm1", "ss.asm2", "q-linear", "lambda-in-domain")
_GAP = (*_THEOREM, "lambda-nonzero", "rewards-nonnegative")
STATEMENTS: dict[str, Statement] = {
    "ss.lemma1": Statement("instance", ("ss.asm1", "ss.asm2"), lemma1),
    "ss.lemma1.per-step": Statement("instance", ("ss.asm1", "ss.asm2"), lemma1_per_step),
    "ss.proof.single-exponential": Statement("instance", ("ss.asm0",), single_exponential),
    "ss.eq12": Statement("instance", ("ss.asm2",), unrolling),
    "ss.eq13": Statement("instance", ("ss.asm0", "ss.asm2"), forward_law),
    "ss.eq7.logit": Statement("instance", (), eq7_logit),
    "ss.delta.anchor": Statement("instance", (), delta_anchor),
    "ss.thm1.kl": Statement("optimum", _THEOREM, kl),
    "ss.thm1.kl.any": Statement("every", _THEOREM[:3], kl_any),
    "ss.thm1.gap": Statement("optimum", _GAP, gap),
    "ss.thm1.gap.constant-norm": Statement("optimum", (*_GAP, "features-constant-norm"), gap),
    "ss.proof.A": Statement("every", ("lambda-nonzero",), proof_a),
    "ss.proof.nonneg.without": Statement("every", ("lambda-in-domain", "lambda-nonzero"), proof_nonneg),
    "ss.proof.C.lipschitz": Statement("every", ("ss.asm1", "q-linear", "lambda-in-domain"), proof_lipschitz),
}
