"""The maximum a posteriori of Bradley–Terry: one home for claims, methods and the bridge.

A pair shows ``x_n = R(first) − R(second)`` [K]; the user prefers the first answer with chance
``σ(λ·x_n)`` (Spectral Souping §4, the loss ``−log σ(Σ_k λ_k(R_k(w) − R_k(l)))``). Targets p_n in
[0, 1] are 1 where the first was preferred, 0 where the second was, ½ for a tie, or the chance itself.

    loss(λ) = Σ_n [−p_n log σ(λ·x_n) − (1 − p_n) log σ(−λ·x_n)] + ½ (λ − m)ᵀP(λ − m)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..errors import SolverError
from ..threads import one_blas_thread

NEWTON_STEPS = 200
WIDE = 100  # columns beyond which no Hessian is formed
DECREMENT = (
    1e-14  # of the loss, nats: the step taken from there squares it, which is below rounding
)
RANK_TOLERANCE = 1e-10  # of the clearest direction: what pairs show less than this is none
# prior precisions that cross-validation chooses from, as multiples of the mean square of X
RIDGES = tuple(10.0**i for i in range(-3, 4))
FOLDS = 5
# the same for the scores of a softmax, which have no unit; and what its climbs may cost
CLIMB_RIDGES = (0.01, 0.1, 1.0, 10.0)
CLIMB = {"maxiter": 60, "ftol": 1e-7, "gtol": 1e-5}
LAST_CLIMB = {"maxiter": 500, "ftol": 1e-11, "gtol": 1e-7}
# x -> scores of all pairs, and what carries a gradient by them back to x
Smooth = Callable[[Array], tuple[Array, Callable[[Array], Array]]]
Bounds = list[tuple[float | None, float | None]]


class SeparableError(SolverError):
    """No finite λ is the most likely: the labels can be separated."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """mean: [K], the maximum; covariance: [K, K], the inverse Hessian there (Laplace)."""

    mean: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Chosen:
    """A fit whose prior was chosen by cross-validation.

    mean: [K]. precision: of the isotropic prior, 1/s². ridge: the same over the mean square of X.
    held_out: mean log-likelihood of a held-out pair, nats. rank: directions that the pairs show.
    """

    mean: Array
    precision: float
    ridge: float
    held_out: float
    rank: int


def loss(scores: Array, targets: Array) -> float:
    """``Σ_n`` of the Bradley–Terry loss in nats, without the prior, at scores ``λ·x_n`` [N]."""
    return float((np.logaddexp(0.0, -scores) + (1.0 - targets) * scores).sum())


def fit(X: Array, targets: Array, mean: Array, precision: Array) -> Posterior:
    """The maximum a posteriori under N(mean, P⁻¹) and its Laplace covariance.

    X: [N, K]; targets: [N] in [0, 1]; mean: [K]; precision: [K, K] = P, symmetric and positive
    definite. Raises SolverError as ``minimise`` does.
    """
    lam = minimise(X, targets, mean, precision)
    return Posterior(lam, laplace(X, lam, precision))


def laplace(X: Array, lam: Array, precision: Array) -> Array:
    """The covariance [K, K] of the posterior at its maximum λ: the inverse of the loss's Hessian."""
    z = X @ lam
    curvature = scipy.special.expit(z) * scipy.special.expit(-z)
    return np.asarray(np.linalg.inv(precision + (X.T * curvature) @ X))


def minimise(
    X: Array,
    targets: Array,
    mean: Array,
    precision: Array,
    start: Array | None = None,
    offset: Array | float = 0.0,
    *,
    rough: bool = False,
) -> Array:
    """The minimum [K] of the loss at scores ``offset + Xλ``.

    Damped Newton steps; the loss is convex, strictly so where P or the pairs make it. start: where
    to begin, the prior mean by default. rough: with many columns, to few digits (a choice among priors
    needs no more). Raises SolverError if 200 steps do not bring the Newton
    decrement to rounding: an iteration cap is never silent.
    """
    lam = np.array(mean if start is None else start, dtype=np.float64)

    def objective(at: Array) -> float:
        apart = at - mean
        return loss(offset + X @ at, targets) + float(0.5 * apart @ precision @ apart)

    if X.shape[1] > WIDE:
        return _by_gradients(X, targets, mean, precision, lam, offset, rough)
    now = objective(lam)
    for _ in range(NEWTON_STEPS):
        z = offset + X @ lam
        chance = scipy.special.expit(z)
        gradient = precision @ (lam - mean) + X.T @ (chance - targets)
        hessian = precision + (X.T * (chance * scipy.special.expit(-z))) @ X
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        if decrement <= DECREMENT * (1.0 + now):
            return np.asarray(lam - step)
        size, ahead = 1.0, objective(lam - step)
        while ahead > now - 0.25 * size * decrement and size > 1e-8:
            size *= 0.5
            ahead = objective(lam - size * step)
        if size <= 1e-8:  # rounding of the loss hides any further decrease
            return np.asarray(lam - step)
        lam, now = lam - size * step, ahead
    raise SolverError(
        f"λ is not at rest after {NEWTON_STEPS} Newton steps (decrement {decrement:.2g}): "
        "give it a prior"
    )


def _by_gradients(
    X: Array, targets: Array, mean: Array, precision: Array, start: Array, offset: Array | float,
    rough: bool,
) -> Array:  # fmt: skip
    """The same by a quasi-Newton method: Hessians of many columns would cost more than they save."""

    def both(lam: Array) -> tuple[float, Array]:
        apart = lam - mean
        z, pull = offset + X @ lam, precision @ apart
        slope = pull + X.T @ (scipy.special.expit(z) - targets)
        return loss(z, targets) + float(0.5 * apart @ pull), slope

    limits = {"maxiter": 60, "ftol": 1e-7} if rough else {"maxiter": 5000, "ftol": 1e-15}
    end = scipy.optimize.minimize(
        both, start, jac=True, method="L-BFGS-B", options=limits | {"gtol": 1e-7}
    )
    left = float(np.abs(end.jac).max())
    if not rough and not left <= 1e-4 * np.abs(X).max() * len(X) ** 0.5:
        raise SolverError(f"λ is not at rest after {end.nit} steps (slope {left:.2g})")
    return np.asarray(end.x)


def _reduced(X: Array) -> tuple[Array, Array]:
    """Coordinates Z [N, r] of the rows of X, and directions D [K, r] with ``X = Z Dᵀ``.

    With an isotropic prior the minimum never leaves m + span(rows of X), so that r numbers are enough.
    """
    U, size, Vt = np.linalg.svd(X, full_matrices=False)
    keep = size > RANK_TOLERANCE * max(float(size.max(initial=0.0)), np.finfo(float).tiny)
    return U[:, keep] * size[keep], np.ascontiguousarray(Vt[keep].T)


def unpenalised(X: Array, targets: Array) -> Array:
    """The most likely λ [K] without a prior; of several, the shortest.

    Raises SeparableError where there is none: some λ orders every pair that has a winner right, or
    leaves it undecided, and one of them right.
    """
    Z, D = _reduced(X)
    if Z.shape[1] == 0:
        return np.zeros(X.shape[1])
    if _separable(Z, targets):
        raise SeparableError(
            "the labels can be separated, so no finite λ is the most likely: "
            "give a prior, or a budget"
        )
    r = Z.shape[1]
    return np.asarray(D @ minimise(Z, targets, np.zeros(r), np.zeros((r, r))))


def _separable(Z: Array, targets: Array) -> bool:
    """Whether some z leaves every pair without a winner at 0, none wrong, and one right."""
    sides = np.where(targets == 1.0, 1.0, np.where(targets == 0.0, -1.0, 0.0))
    undecided = Z[sides == 0.0]
    if len(undecided) and np.linalg.matrix_rank(undecided) == Z.shape[1]:
        return False  # z = 0 alone leaves them there
    signed = Z * sides[:, None]
    answer = scipy.optimize.linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(Z)),
        A_eq=undecided if len(undecided) else None,
        b_eq=np.zeros(len(undecided)) if len(undecided) else None,
        bounds=(-1.0, 1.0), method="highs",
    )  # fmt: skip
    return bool(answer.status == 0 and -answer.fun > 1e-9 * float(np.abs(signed).sum()))


@one_blas_thread()
def cross_validated(X: Array, targets: Array, mean: Array) -> Chosen:
    """The maximum a posteriori under N(mean, s²I), s chosen by the likelihood of held-out pairs.

    Pair n belongs to fold n mod 5, so that folds of a prefix are parts of those of the whole. Of
    priors that do equally well the narrowest is taken. X: [N, K], N ≥ 2; targets: [N]; mean: [K].
    """
    Z, D = _reduced(X)
    N, r = Z.shape
    square = float(np.mean(X**2))
    if r == 0:
        return Chosen(np.array(mean), np.inf, np.inf, float(np.log(0.5)), 0)
    offset, rest, prior = X @ mean, np.zeros(r), square * np.eye(r)  # Xλ = Xm + Zz at λ = m + Dz
    fold = np.arange(N) % min(FOLDS, N)
    held_out = np.zeros(len(RIDGES))
    for f in range(min(FOLDS, N)):
        train, z = fold != f, rest
        for i, ridge in reversed(list(enumerate(RIDGES))):
            pairs = Z[train], targets[train], rest, ridge * prior
            z = minimise(*pairs, start=z, offset=offset[train], rough=True)
            held_out[i] -= loss(offset[~train] + Z[~train] @ z, targets[~train])
    best = int(np.flatnonzero(held_out >= held_out.max() - 1e-12 * abs(held_out.max()))[-1])
    z = minimise(Z, targets, rest, RIDGES[best] * prior, offset=offset)
    precision = RIDGES[best] * square
    return Chosen(np.asarray(mean + D @ z), precision, RIDGES[best], held_out[best] / N, r)


def on_simplex(X: Array, targets: Array, mean: Array) -> Array:
    """The most likely λ [K] on the simplex; ``mean`` [K], on it too, is where the climb starts.

    Convex on a compact set, so an optimum exists whatever the labels are.
    """
    Z, D = _reduced(X)

    def both(lam: Array) -> tuple[float, Array]:
        z = Z @ (D.T @ lam)
        return loss(z, targets) / len(X), D @ (Z.T @ (scipy.special.expit(z) - targets)) / len(X)

    return minimise_on_simplex(both, mean)


@one_blas_thread()
def minimise_on_simplex(objective: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    """The minimum [K] of a convex function, given with its gradient, over the simplex.

    Raises SolverError if the sequential quadratic program ends more than a millionth above it.
    """
    whole = {"type": "eq", "fun": lambda x: x.sum() - 1.0, "jac": np.ones_like}
    end = scipy.optimize.minimize(
        objective, start, jac=True, bounds=[(0.0, 1.0)] * len(start), constraints=[whole],
        method="SLSQP", options={"ftol": 1e-13, "maxiter": 500},
    )  # fmt: skip
    x = np.maximum(end.x, 0.0)
    x = np.asarray(x / x.sum())
    # what any point of the simplex can gain at most, the function being convex: the solver's own
    # status also speaks of line searches that rounding ended
    value, slope = objective(x)
    gap = float(slope @ x - slope.min())
    if not gap <= 1e-6 * (1.0 + abs(value)):
        raise SolverError(f"no optimum on the simplex within {gap:.2g}: {end.message}")
    return x


@dataclass(frozen=True, eq=False)
class Climbed:
    """A fit of scores that are not linear in what is learnt.

    best: [n] parameters. ridge: chosen. spread: of the penalised loss over the starts, nats a pair.
    """

    best: Array
    ridge: float
    spread: float


@one_blas_thread()
def climb(
    scores: Smooth, targets: Array, starts: Array, free: int = 0, bounds: Bounds | None = None,
    ridges: tuple[float, ...] = CLIMB_RIDGES,
) -> Climbed:  # fmt: skip
    """Parameters of any smooth scores by Bradley–Terry and an isotropic prior, by cross-validation.

    scores: x [n] -> (scores [N] of all pairs, gradient by them [N] -> gradient by x [n]).
    starts: [R, n]; the prior ``N(0, s²I)`` is on all but the last ``free`` entries, and
    cross-validation chooses s from the first start alone, 1/s² from the ridges (they are taken as
    they are: parameters of a softmax have no unit). bounds: of each entry.

    The loss need not be convex: the best of the starts is returned, with the spread among them.
    """
    N = len(targets)
    mask = np.ones(starts.shape[1])
    mask[len(mask) - free :] = 0.0

    def ended(train: Array, ridge: float, start: Array, limits: Any) -> tuple[Array, float]:
        def both(x: Array) -> tuple[float, Array]:
            z, back = scores(x)
            fit = float((train * (np.logaddexp(0.0, -z) + (1.0 - targets) * z)).sum())
            slope = back(train * (scipy.special.expit(z) - targets))
            return fit + 0.5 * ridge * float(mask @ x**2), slope + ridge * mask * x

        end = scipy.optimize.minimize(
            both, start, jac=True, method="L-BFGS-B", bounds=bounds, options=limits
        )
        return end.x, float(end.fun)

    fold, first = np.arange(N) % min(FOLDS, N), starts[0]
    held_out = np.zeros(len(ridges))
    for f in range(min(FOLDS, N)) if len(ridges) > 1 else ():
        x, rest = first, fold == f
        for i, ridge in reversed(list(enumerate(ridges))):
            x = ended(np.where(rest, 0.0, 1.0), ridge, x, CLIMB)[0]
            held_out[i] -= loss(scores(x)[0][rest], targets[rest])
    best = int(np.flatnonzero(held_out >= held_out.max() - 1e-12 * abs(held_out.max()))[-1])
    ends = [ended(np.ones(N), ridges[best], start, LAST_CLIMB) for start in starts]
    values = [value for _, value in ends]
    return Climbed(ends[int(np.argmin(values))][0], ridges[best], float(np.ptp(values)) / N)
