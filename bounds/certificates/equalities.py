"""The equalities: each yields differences that the claim says are 0.

One that says X is linear in the features is broken by an exact vector y with ``yᵀΨ = 0`` and
``y·X ≠ 0``.
"""

from __future__ import annotations

from collections.abc import Iterator

from flint import arb, arb_mat, fmpq, fmpq_mat

from .hypotheses import left_null, state_rows
from .instance import matrix
from .statements import Point, Sides, soup_tilt, states, user_tilt
from .values import ZERO, Values, extremes, total


def eq7_logit(values: Values, point: Point | None) -> Iterator[Sides]:
    """``KL(π_k‖softmax(log ref + Q_k)) = 0`` at every reachable state."""
    for k in range(values.world.K):
        for t, s in states(values):
            typed = values.tilt(s, [values.beta * x for x in values.at(t, s, values.Q[k])])
            yield Sides(
                user_tilt(values, t, s, k).divergence(typed), ZERO, {"k": k, "t": t, "s": s}
            )


def _residuals(rows: fmpq_mat, fields: list[list[arb]]) -> Iterator[tuple[int, int, arb]]:
    """Every residual of every field: ``y·X`` for exact y with ``yᵀΨ = 0``; its place and size."""
    for i, y in enumerate(left_null(rows)):
        exact = [arb(c) for c in y]
        if any(y):
            for m, X in enumerate(fields):
                yield m, i, abs(total([c * x for c, x in zip(exact, X, strict=True)]))


def lemma1(values: Values, point: Point | None) -> Iterator[Sides]:
    """(6): ``Q = ψ·ν`` with one ν for all steps, for every Q_k and Q_w."""
    yield from _lemma1(values, values.world.used)


def lemma1_per_step(values: Values, point: Point | None) -> Iterator[Sides]:
    """(6) with a ν_t for each step."""
    for t in range(values.world.steps):
        yield from _lemma1(values, [p for p in values.world.used if p[0] == t])


def _lemma1(values: Values, places: list[tuple[int, int]]) -> Iterator[Sides]:
    fields = [[values.beta * Q[p] for p in places] for Q in values.Q]
    for m, i, residual in _residuals(values.world.rows(places), fields):
        yield Sides(residual, ZERO, {"k": m, "t": places[i][0], "s'": places[i][1]})


def single_exponential(values: Values, point: Point | None) -> Iterator[Sides]:
    """``∫_b e^{ψ(s)·ν_ref(b)} db = e^{ψ(s)·ν}``: then mean_a log ref(a|s) is linear in ψ(s)."""
    rows, contexts = state_rows(values.world)
    laws = [values.world.row_of[s] for s in contexts]
    logs = [total([arb(x / sum(law, fmpq(0))).log() for x in law]) / len(law) for law in laws]
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
                    ahead[s] = extremes(Q)[largest]
                for i in reversed(range(t + 1, t + world.order)):
                    step = {}
                    for s in world.states[i]:
                        inside = [
                            arb(r[y] / world.beta) + ahead.get(y, ZERO) for y in values.next[s]
                        ]
                        policy = values.tilt(s, inside)
                        step[s] = policy.log_z + inside[policy.anchor]
                    ahead = step
                typed = arb(r[x]) + beta * ahead[x]
                yield Sides(abs(typed - beta * values.Q[k][t, x]), ZERO, {"k": k, "t": t, "s'": x})


def forward_law(values: Values, point: Point | None) -> Iterator[Sides]:
    """(13): the law of the next L tokens is a softmax linear in ψ((s,a))."""
    world = values.world
    places = [
        (t, s) for t, s in world.used if t + world.order < world.steps and s not in world.ended
    ]
    rows, contexts = state_rows(world, places)
    laws = []
    for s in contexts:
        law = [(s, ZERO)]
        for _ in range(world.order):
            law = [
                (y, x + p.log())
                for z, x in law
                # nothing follows eos: a continuation that ends early does not have L tokens
                for y, p in zip(values.next.get(z, ()), values.p.get(z, ()), strict=True)
            ]
        mean = total([x for _, x in law]) / len(law)
        laws.append([x - mean for _, x in law])
    if rows:
        for c, i, residual in _residuals(matrix(rows), [list(x) for x in zip(*laws, strict=True)]):
            yield Sides(residual, ZERO, {"continuation": c, "s'": contexts[i]})


def _to_kernel(values: Values, *, shift: bool) -> Iterator[Sides]:
    """Distance of ``log ref`` from ``ψ(s)·ν(a) − ‖ν(a)‖²/2``, up to a constant of s, ν by least squares.

    shift: with the common shift that makes the ``‖ν(a)‖²`` most alike, and nothing where exact
    elimination finds more freedom than that. Nothing where the rows have not full column rank.
    """
    rows, contexts = state_rows(values.world)
    psi = matrix(rows) if rows else fmpq_mat(0, 1)
    if psi.rank() < values.world.width:
        return
    ones = fmpq_mat([[*row, fmpq(1)] for row in psi.tolist()])
    if shift and ones.rank() == psi.rank():
        return
    laws = [[arb(x / sum(values.world.row_of[s], fmpq(0))).log() for x in values.world.row_of[s]]
            for s in contexts]  # fmt: skip
    logs = [[x - total(law) / len(law) for x in law] for law in laws]
    balls = arb_mat([[arb(x) for x in row] for row in psi.tolist()])
    inverse = (psi.transpose() * psi).inv() * psi.transpose()
    nu = arb_mat([[arb(x) for x in row] for row in inverse.tolist()]) * arb_mat(logs)
    columns = [list(column) for column in zip(*nu.tolist(), strict=True)]
    if shift:
        middle = [total(list(row)) / len(columns) for row in nu.tolist()]
        off = arb_mat([[x - m for x, m in zip(column, middle, strict=True)] for column in columns])
        half = [total([x * x for x in column]) / 2 for column in columns]
        mean = total(half) / len(half)
        normal, right = off.transpose() * off, arb_mat([[mean - x] for x in half])
        try:
            k = normal.solve(off.transpose() * right)
        except ZeroDivisionError:  # fewer tokens than a sphere always passes through
            return
        columns = [[x + k[i, 0] for i, x in enumerate(column)] for column in columns]
    for i, s in enumerate(contexts):
        apart = []
        for a, column in enumerate(columns):
            inner = total([balls[i, j] * x for j, x in enumerate(column)])
            apart.append(inner - total([x * x for x in column]) / 2 - logs[i][a])
        mean = total(apart) / len(apart)
        for a, x in enumerate(apart):
            yield Sides(abs(x - mean), ZERO, {"s": s, "a": a})


def gaussian(values: Values, point: Point | None) -> Iterator[Sides]:
    """``ref ∝ exp(−‖ψ(s) − ν'(a)‖²/2)`` for some ν': then the tokens lie on one sphere."""
    yield from _to_kernel(values, shift=True)


def gaussian_given(values: Values, point: Point | None) -> Iterator[Sides]:
    """The same at the ν of least squares."""
    yield from _to_kernel(values, shift=False)


def explicit(values: Values, point: Point | None) -> Iterator[Sides]:
    """§4, explicit: logits ``logit_ref + Σ λ_k Q_k/β`` have the soup of (7) as their policy (KL)."""
    assert point is not None
    ratio = arb(values.world.beta_prime / values.world.beta)
    for t, s in states(values):
        typed = soup_tilt(values, t, s, [ratio * x for x in point.u])
        lhs = typed.divergence(soup_tilt(values, t, s, point.u))
        yield Sides(lhs, ZERO, {"t": t, "s": s})


def implicit(values: Values, point: Point | None) -> Iterator[Sides]:
    """§4, implicit: what the printed rejection sampler accepts has the law of the soup.

    With ``h = Σ λ_k Q_k/β²`` its law is ``∝ ref·min(1, e^{h − E_ref h})``; total variation.
    """
    assert point is not None
    world = values.world
    weights = [x * arb(world.beta_prime / world.beta**2) for x in point.u]
    for t, s in states(values):
        fields = [values.at(t, s, Q) for Q in values.Q[:-1]]
        h = [
            total([c * x for c, x in zip(weights, q, strict=True)])
            for q in zip(*fields, strict=True)
        ]
        mean = total([p * x for p, x in zip(values.p[s], h, strict=True)])
        accepted = [p * (x - mean).min(ZERO).exp() for p, x in zip(values.p[s], h, strict=True)]
        soup = soup_tilt(values, t, s, point.u).pi
        apart = [abs(x / total(accepted) - y) for x, y in zip(accepted, soup, strict=True)]
        yield Sides(total(apart) / 2, ZERO, {"t": t, "s": s})
