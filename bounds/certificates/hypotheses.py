"""The hypotheses of the claims, decided in exact rationals, never in balls.

Balls cannot prove an equality. Where a claim needs the ν of Lemma 1 the feature rows of the
reachable (t, s') must be linearly independent, which rational elimination decides: then every ν
exists.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lcm

from flint import arb, arb_mat, fmpq, fmpq_mat

from .instance import Instance, matrix, square
from .values import Values

Outcome = tuple[bool | None, str]


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
    """Feature rows of the reachable (t, s') are linearly independent: every ν exists."""
    single = [next(iter(row)) for row in world.psi.values() if len(row) == 1]
    one_hot = len(single) == len(world.psi)  # the rank is read off, for any number of rows
    rank = len(set(single)) if one_hot else world.rows(world.used).rank()
    if rank == len(world.used):
        return True, "rows independent, so every ν exists"
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
    """``ref = softmax(ψ(s)·ν(a))`` at every reachable context that has a feature; exact.

    With ``yᵀΨ = 0``, y integer, it says ``Π_s (ref(a|s)/ref(b|s))^{y_s} = 1`` for all tokens a, b.
    """
    if any(min(world.row_of[s]) == 0 for s in world.moves):
        return False, "a forbidden token, which no softmax has"
    rows, contexts = state_rows(world)
    for y in left_null(matrix(rows)) if rows else []:
        scale = lcm(*(int(c.q) for c in y))
        powers = [int(c * scale) for c in y]
        if max(map(abs, powers)) > 10_000:
            return None, "feature rows with no small integer relation"
        first = [world.row_of[s][0] for s in contexts]
        for a in range(1, len(world.row_of[world.start])):
            product = fmpq(1)
            for s, b, power in zip(contexts, first, powers, strict=True):
                product *= (world.row_of[s][a] / b) ** power
            if product != 1:
                away = float(abs(arb(product).log()) / scale)
                return False, f"log ref leaves the span of ψ(s) by about {away:.2g} nats"
    return True, ""


def state_rows(
    world: Instance, places: list[tuple[int, int]] | None = None
) -> tuple[list[dict[int, fmpq]], list[int]]:
    """Features ψ(s) and contexts s of reachable states; the start only where it has a feature.

    places: the (t, s') to list instead of all that are states later. A row that several steps
    share is listed once.
    """
    later = [(t, s) for t, s in world.used if t + 1 < world.steps and s not in world.ended]
    chosen = later if places is None else places
    if not world.per_step:
        chosen = list({s: (t, s) for t, s in chosen}.values())
    rows, contexts = [world.psi[p] for p in chosen], [s for _, s in chosen]
    if places is None and world.start_feature is not None:
        rows, contexts = [*rows, world.start_feature], [*contexts, world.start]
    return rows, contexts


def logits_span(world: Instance) -> Outcome:
    """The specialists' logits span all that a policy can have: as many directions as there are.

    Balls prove that the rows of differences ``Q_k(t, x_a) − Q_k(t, x_0)`` [D, K] are independent; then
    π_w's logits, whatever they are, are a combination.
    """
    values = Values(world)
    pairs = {(t, x, values.next[s][0]) for t, states in enumerate(world.states) for s in states
             for x in values.next[s][1:]}  # fmt: skip
    rows = [[Q[t, x] - Q[t, y] for Q in values.Q[:-1]] for t, x, y in sorted(pairs)]
    if len(rows) > world.K:
        return (
            None,
            f"{len(rows)} directions, more than {world.K} specialists: balls cannot prove it",
        )
    M = arb_mat(rows)
    if rows and not (M * M.transpose()).det() > 0:
        return None, "the specialists' logits may be dependent"
    return True, f"the specialists' logits have all {len(rows)} directions"


def nonnegative_rewards(world: Instance) -> Outcome:
    """``r_k ≥ 0`` on reachable contexts; exact."""
    bad = [(k, s) for k, r in enumerate(world.rewards) for _, s in world.used if r[s] < 0]
    return (False, f"r_{bad[0][0]} is negative at context {bad[0][1]}") if bad else (True, "")


def constant_norm(world: Instance) -> Outcome:
    """``‖ψ‖²`` is one rational on all reachable (t, s')."""
    norms = {square(row) for row in world.psi.values()}
    return (True, "") if len(norms) == 1 else (False, f"{len(norms)} different feature norms")


def lambda_in_domain(world: Instance, lam: list[fmpq] | None) -> Outcome:
    """``β|λ|₁ ≤ β'``, exact; λ* (None) is taken from the domain."""
    inside = lam is None or world.beta * sum(map(abs, lam), fmpq(0)) <= world.beta_prime
    return inside, "" if inside else "β|λ|₁ > β'"


def lambda_nonzero(world: Instance, lam: list[fmpq] | None) -> Outcome:
    """λ ≠ 0. For λ* the boxes decide: one that contains 0 never breaks such a claim."""
    return lam is None or any(lam), "" if lam is None or any(lam) else "λ = 0"


HYPOTHESES: dict[str, Callable[[Instance, list[fmpq] | None], Outcome]] = {
    "ss.asm0": lambda world, lam: softmax(world),
    "ss.asm1": lambda world, lam: linear_rewards(world),
    "ss.asm2": lambda world, lam: (True, "a token MDP knows the last L tokens only"),
    "q-linear": lambda world, lam: independent(world),
    "logits-span": lambda world, lam: logits_span(world),
    "rewards-nonnegative": lambda world, lam: nonnegative_rewards(world),
    "features-constant-norm": lambda world, lam: constant_norm(world),
    "lambda-in-domain": lambda_in_domain,
    "lambda-nonzero": lambda_nonzero,
}
