"""Rewards from labels: logistic regressions on n-gram indicators of the next context."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .vocabulary import BOS, FloatArray, IntArray

Mask = NDArray[np.bool_]

STRENGTHS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # of the L2 penalty, strongest first
SELECTION_ROUNDS = 2  # n-grams overlap: the second half is judged beside the first


def split_groups(group: IntArray, among: Mask, rng: np.random.Generator) -> Mask:
    """A mask of the texts of 80 % of the groups that occur among ``among`` (at least one less)."""
    present = rng.permutation(np.unique(group[among]))
    return among & np.isin(group, present[: min(round(0.8 * len(present)), len(present) - 1)])


def fit(X: Any, y: FloatArray, l2: float, start: FloatArray) -> FloatArray:
    """L2-regularised logistic regression: [d+1], the free intercept last. ``start`` the same."""
    design = scipy.sparse.hstack([X, np.ones((X.shape[0], 1))]).tocsr()
    back = design.T.tocsr()
    penalty = np.append(np.full(X.shape[1], l2), 0.0)
    # Counts are nearly collinear: in coordinates q = root.T @ p, where the curvature is about 1,
    # L-BFGS needs tens of steps instead of hundreds. 0.2 is p(1-p) of a text of no clear class.
    root = np.linalg.cholesky(0.2 * (back @ design).toarray() + np.diag(penalty))
    inverse = scipy.linalg.solve_triangular(root, np.eye(len(penalty)), lower=True)
    moment = back @ y  # y @ z = moment @ p, and no long dot product starts BLAS threads

    def loss(q: FloatArray) -> tuple[float, FloatArray]:
        p = q @ inverse
        z = design @ p
        value = np.logaddexp(0, z).sum() - moment @ p + 0.5 * (penalty * p) @ p
        slope = inverse @ (back @ scipy.special.expit(z) - moment + penalty * p)
        return float(value) / len(y), slope / len(y)

    options = {"maxiter": 500, "gtol": 1e-8, "ftol": 1e-14}
    best = scipy.optimize.minimize(loss, start @ root, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(best.x @ inverse)


def design_matrix(
    nxt: IntArray,
    text_of: IntArray,
    train: Mask,
    y: FloatArray,
    A: int,
    L: int,
    width: int,
    *,
    unigrams: bool,
) -> tuple[Any, list[tuple[int, int]]]:
    """Counts per text [N, grams] of at most ``width`` n-grams, each as (length m, code mod A**m).

    unigrams: all A of them come first; else they are chosen like the others. One is chosen by its score
    test (Rao) beside the features already in: the squared slope of the log-likelihood over its
    information left after the others, summed over attributes.
    """
    n = len(train)
    base = [(1, a) for a in range(A)] if unigrams else []
    X = counts(text_of, nxt % A, n, A)[:, : len(base)]
    budget = width - len(base)
    grams: list[tuple[int, int]] = []
    columns = []
    for m in range(1 + unigrams, L + 1):
        code, column = np.unique(nxt % A**m, return_inverse=True)
        table = counts(text_of, column, n, len(code))
        # Too rare says nothing; (<s>,<s>,x) says what (<s>,x) says.
        texts_with = np.asarray((table[train] > 0).sum(axis=0)).ravel()
        some = code >= (1 if m == 1 else A ** (m - 2))
        common = np.flatnonzero((texts_with >= max(2, min(10, n // 50))) & some)
        columns.append(table[:, common])
        grams += [(m, int(c)) for c in code[common]]
    if not grams or budget <= 0:
        return X, base
    candidates = scipy.sparse.hstack(columns).tocsr()
    inside, squared = candidates[train], candidates[train].power(2)
    chosen: list[int] = []
    for i in range(SELECTION_ROUNDS):
        design = scipy.sparse.hstack([X, candidates[:, chosen]]).tocsr()[train]
        bordered = scipy.sparse.hstack([design, np.ones((design.shape[0], 1))]).tocsr()
        score = np.zeros(len(grams))
        for k in range(y.shape[1]):
            p = fit(design, y[train, k], 1.0, np.zeros(design.shape[1] + 1))
            law = scipy.special.expit(bordered @ p)
            variance = law * (1 - law)
            weighted = bordered.multiply(variance[:, None]).tocsr()
            information = (weighted.T @ bordered).toarray() + 1e-3 * np.eye(len(p))
            cross = (weighted.T @ inside).toarray()
            left = squared.T @ variance - np.einsum(
                "ij,ij->j", cross, np.linalg.solve(information, cross)
            )
            slope = inside.T @ (y[train, k] - law)
            score += np.where(left > 0.25, slope**2 / np.maximum(left, 0.25), 0.0)
        score[chosen] = 0.0
        take = budget // SELECTION_ROUNDS if i < SELECTION_ROUNDS - 1 else budget - len(chosen)
        best = np.argsort(-score, kind="stable")[:take]
        chosen += [int(j) for j in best if score[j] > 0]
    return scipy.sparse.hstack([X, candidates[:, chosen]]).tocsr(), base + [
        grams[j] for j in chosen
    ]


def fit_reward(X: Any, y: FloatArray, train: Mask, inner: Mask) -> tuple[FloatArray, float, float]:
    """Weights [d], intercept and the L2 strength with the least log-loss on ``train & ~inner``."""
    p = np.zeros(X.shape[1] + 1)
    outer = train & ~inner
    best, best_loss, best_start = STRENGTHS[0], np.inf, p
    for l2 in STRENGTHS:
        p = fit(X[inner], y[inner], l2, p)
        z = X[outer] @ p[:-1] + p[-1]
        loss = float(np.mean(np.logaddexp(0, z) - y[outer] * z))
        if loss < best_loss:
            best, best_loss, best_start = l2, loss, p
    p = fit(X[train], y[train], best, best_start)
    return p[:-1], float(p[-1]), best


def indicators(contexts: IntArray, A: int, grams: list[tuple[int, int]]) -> FloatArray:
    """Indicators [n, grams] of the n-grams at the end of contexts [n], given by their codes."""
    psi = np.zeros((len(contexts), len(grams)))
    for j, (m, code) in enumerate(grams):
        psi[contexts % A**m == code, j] = 1.0
    return psi


def reachable_next(ref: FloatArray, order: int, horizon: int) -> Mask:
    """Contexts [S] that some token of steps 1..horizon leads to from the start (index 0)."""
    n_context, size = ref.shape
    allowed = (ref > 0).reshape(size, n_context // size, size)
    current = np.zeros(n_context, dtype=bool)
    current[BOS] = True
    reached = np.zeros(n_context, dtype=bool)
    for _ in range(horizon):
        # s = (x, y) and a lead to (y, a), whatever the oldest token x.
        current = (allowed & current.reshape(size, -1)[:, :, None]).any(axis=0).ravel() & ~reached
        reached |= current
        if not current.any():
            break
    return reached


def held_out_scores(
    y: Mask, logit: FloatArray, train: Mask, fresh: Mask
) -> dict[str, float | None]:
    """Held-out scores; ``auc_fresh`` leaves out the texts that also occur in training."""
    held = ~train
    major = bool(y[train].mean() >= 0.5)
    return {
        "accuracy": float(np.mean((logit > 0)[held] == y[held])),
        "accuracy_majority": float(np.mean(y[held] == major)),
        "auc": auc(y[held], logit[held]),
        "auc_fresh": auc(y[fresh], logit[fresh]),
    }


def auc(y: Mask, logit: FloatArray) -> float | None:
    """Area under the ROC curve (Mann-Whitney, ties one half); None if a class is missing."""
    n1 = int(y.sum())
    if n1 in (0, len(y)):
        return None
    return float((scipy.stats.rankdata(logit)[y].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def counts(text_of: IntArray, column: IntArray, n: int, width: int) -> Any:
    """Sparse counts [n, width] of each column in each text."""
    shape = (n, width)
    return scipy.sparse.csr_matrix((np.ones(len(column)), (text_of, column)), shape=shape)
