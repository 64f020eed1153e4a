"""What the displays of Appendix A.1 leave free, judged over all of it, and what they do not.

(13) names a mu that may be any function of ω, the Gaussian kernel a vector ν_ref(a) that is given up
to what ref does not see. Beside each stands the narrow reading: one vector, the given vectors.
"""

from __future__ import annotations

import numpy as np

from toymdp import TokenMDP
from toymdp.worlds.features import Dense, IntArray

from ..claim import Claim
from ..facts.linear_fit import RANK_TOLERANCE
from ..facts.token_mdp import InstanceFacts
from ..sides import EPS, Array, NotApplicable, Sides, Undecidable
from .hypotheses import (
    DECODABLE,
    DISTINCT_FEATURES,
    SOFTMAX_REFERENCE,
    forward_rows,
    reference_rows,
)
from .lemma1_proof import of_instance, residual_of, times, token_vectors

MAX_CONTINUATIONS = 4_000_000  # rows times L-token continuations that (13) is evaluated on
ROWS = 256  # evenly spaced rows at which (13) is solved for mu


def _forward_laws(instance: InstanceFacts, contexts: IntArray) -> Array:
    """``log P(a_{t+1..t+L} | s')`` [n, A**L] after the given contexts. Raises Undecidable if too many."""
    mdp = instance.mdp
    many = mdp.vocab_size**mdp.order
    if len(contexts) * many > MAX_CONTINUATIONS:
        text = f"{len(contexts)} contexts times {many} continuations are too many to tabulate"
        raise Undecidable(text)
    with np.errstate(divide="ignore"):
        log_ref = np.log(mdp.ref)
    law, ahead = np.zeros((len(contexts), 1)), contexts[:, None]
    for _ in range(mdp.order):
        law = (law[:, :, None] + log_ref[ahead]).reshape(len(contexts), -1)
        ahead = (ahead[:, :, None] * mdp.vocab_size + np.arange(mdp.vocab_size)) % mdp.n_contexts
        ahead = ahead.reshape(len(contexts), -1)
    return law


def _squared_distances(rows: Array) -> Array:
    """``‖psi_i − psi_j‖²`` [n, n] of rows [n, d], or of one-hots by their scales [n]."""
    if rows.ndim == 1:
        apart = np.add.outer(rows**2, rows**2)
        np.fill_diagonal(apart, 0.0)
        return apart
    return np.array([((rows - row) ** 2).sum(axis=1) for row in rows])


@of_instance
def forward_law(instance: InstanceFacts) -> Sides:
    """(13) as printed: ``P(a_{t+1..t+L}|s,a) ∝ ⟨φ_ω(s,a), μ_ω(a_{t+1..t+L})⟩``, μ any function of ω.

    True for pairwise distinct ψ. Proof. For a continuation c take ``μ_ω(c) = Σ_j α_j(c)
    e^{iMω·psi_j + …}``, frequencies at multiples of the rows: by (11) ``⟨φ_ω(psi_i), μ_ω(c)⟩`` is, up to
    a factor of i alone, ``Σ_j K_ij α_j(c)`` with ``K_ij = e^{−M‖psi_i − psi_j‖²/2}``. A Gaussian Gram
    matrix of distinct points is positive definite, and at ``M = 2 log(2n)/min‖psi_i − psi_j‖²`` it is
    so by sight: off the diagonal a row adds up to less than 1/2. Solve ``Kα(c) = P(c|·)``.

    What is false is the next display, one exponential in place of that sum: ss.proof.single-exponential.
    Solved at up to 256 evenly spaced rows; lhs: the law that α gives, rhs: the law itself, where they
    differ most or, if that is rounding, where it is largest.
    """
    rows, contexts = instance.once(forward_rows)
    if len(rows) == 0:
        raise NotApplicable(f"no action has L = {instance.mdp.order} more steps before the horizon")
    every = -(-len(rows) // ROWS)
    rows, contexts = rows[::every], contexts[::every]
    law = np.exp(_forward_laws(instance, contexts))
    mass = law.sum(axis=1)  # below 1 where eos may come before L more tokens have
    if not mass.any():
        raise NotApplicable(f"every episode ends before L = {instance.mdp.order} more tokens")
    rows, contexts, law = rows[mass > 0], contexts[mass > 0], law[mass > 0] / mass[mass > 0, None]
    apart = _squared_distances(rows)
    nearest = float(apart.min(where=apart > 0, initial=np.inf))
    kernel = np.exp(-np.log(2.0 * len(rows)) * apart / nearest)
    found = kernel @ np.linalg.lstsq(kernel, law)[0]
    found /= found.sum(axis=1, keepdims=True)
    error = 64 * EPS * len(rows)
    off = np.abs(found - law)
    i, c = np.unravel_index(int(np.argmax(off if off.max() > error else law)), law.shape)
    where = {"s'": int(contexts[i]), "continuation": int(c)}
    return Sides(float(found[i, c]), float(law[i, c]), 1.0, where=where, error=error)


@of_instance
def forward_law_by_one_vector(instance: InstanceFacts) -> Sides:
    """(13) with ``e^{ψ((s,a))·mu}`` for the inner product: one vector mu for each continuation.

    ``log P(a_{t+1..t+L} | s_{t+1})``, centred over the A**L continuations, would have to lie in the
    column space of ψ over the reachable next contexts with L steps to come. lhs: largest residual
    in nats. At L = 1 this is ss.asm0 at those contexts.
    """
    rows, contexts = instance.once(forward_rows)
    if len(rows) == 0:
        raise NotApplicable(f"no action has L = {instance.mdp.order} more steps before the horizon")
    law = _forward_laws(instance, contexts)
    possible = np.isfinite(law)
    if not (possible == possible[:1]).all():
        return Sides(1.0, 0.0, 1.0, note="a continuation is possible after some contexts only")
    law = law[:, possible[0]]
    law -= law.mean(axis=1, keepdims=True)
    residual, error = residual_of(rows, law)
    return Sides(float(np.abs(residual).max()), 0.0, float(np.abs(law).max()), error=error)


# -- the Gaussian kernel -----------------------------------------------------------------------------


def _to_kernel(inner: Array, squares: Array, logits: Array, turn: float, note: str = "") -> Sides:
    """Distance (nats) of ``log ref`` [n, A] from ``ψ(s)·ν(a) − ‖ν(a)‖²/2``, up to a constant of s.

    inner: ``ψ(s)·ν(a)`` [n, A]. squares: ``‖ν(a)‖²`` [A]. turn: how much further than by rounding
    ν may be off.
    """
    apart = inner - 0.5 * squares - logits
    apart -= apart.mean(axis=1, keepdims=True)
    size = float(np.abs(inner).max() + 0.5 * squares.max() + np.abs(logits).max())
    error = 64 * EPS * (1 + len(logits) ** 0.5) * turn * size
    return Sides(float(np.abs(apart).max()), 0.0, size, error=error, note=note)


def _kernel_of(rows: Array, nu: Array, logits: Array, turn: float, note: str = "") -> Sides:
    return _to_kernel(times(rows, nu), (nu**2).sum(axis=0), logits, turn, note)


@of_instance
def gaussian_given(instance: InstanceFacts) -> Sides:
    """A.1 at the least-norm ν_ref: ``ref ∝ exp(−‖ψ(s) − ν_ref(a)‖²/2)``.

    ``−‖ψ − ν‖²/2 = ψ·ν − ‖ν‖²/2 − ‖ψ‖²/2``, so it needs ``‖ν_ref(a)‖`` constant. lhs: the
    largest distance of the two log-laws (nats).
    """
    rows, logits, _ = instance.once(reference_rows)
    if len(rows) == 0:
        raise NotApplicable("no context has a feature")
    return _kernel_of(rows, token_vectors(rows, logits), logits, 1.0)


@of_instance
def gaussian(instance: InstanceFacts) -> Sides:
    """A.1 for some vectors ν': ``ref ∝ exp(−‖ψ(s) − ν'(a)‖²/2)``, ref a softmax of ``ψ(s)·ν(a)``.

    ν' must give ``ψ(s)·ν'(a) − ‖ν'(a)‖²/2 = ψ(s)·ν(a) + κ(s)``. With y(a) the least-norm ν:

    * some direction is orthogonal to every ψ(s): components along it make all ``‖ν'(a)‖`` equal
      and no product differs. Always true;
    * ψ(s)·u = 1 for all s: ``ν' = y + k + c_a u`` with ``c_a = ‖ν'‖²/2``, a quadratic equation for
      each token. At ``k = −τu`` its discriminant ``1 − 2y·u + 2τ‖u‖² + (y·u)² − ‖u‖²‖y‖²`` is positive
      for τ large enough. Always true;
    * else the products decide ν' up to one common shift k, for a difference of two half squares is a
      constant, which is not in the span: true iff the y(a) lie on one sphere, whose centre is −k.

    lhs: the largest distance of the two log-laws (nats), in the last case at the k of least squares.
    """
    rows, logits, _ = instance.once(reference_rows)
    if len(rows) == 0:
        raise NotApplicable("no context has a feature")
    y = token_vectors(rows, logits)
    width = _width(instance.mdp)
    sigma = np.sort(np.abs(rows))[::-1] if rows.ndim == 1 else np.linalg.svd(rows, compute_uv=False)
    sigma = sigma[sigma > RANK_TOLERANCE * sigma[0]]
    if len(sigma) < width:
        squares = np.full(y.shape[1], (y**2).sum(axis=0).max())
        note = "a direction is orthogonal to every ψ(s)"
        return _to_kernel(times(rows, y), squares, logits, 1.0, note)
    turn = float(sigma[0] / sigma[-1])
    left, error = residual_of(rows, np.ones((len(rows), 1)))
    missed = float(np.abs(left).max())
    if missed <= error:
        return _kernel_of(
            rows, _on_constants(rows, y), logits, turn, "constants are linear in ψ(s)"
        )
    if missed <= 8 * error:
        raise Undecidable("whether constants are linear in ψ(s) is within rounding")
    half, middle = 0.5 * (y**2).sum(axis=0), y.mean(axis=1, keepdims=True)
    k = np.linalg.lstsq((y - middle).T, half.mean() - half)[0]
    return _kernel_of(rows, y + k[:, None], logits, turn, "one common shift is free")


def _width(mdp: TokenMDP) -> int:
    """Coordinates of ψ."""
    features = mdp.features
    if isinstance(features, Dense):
        return int(features.values.shape[-1])
    return int(mdp.vocab_size**mdp.order) * (mdp.steps if features.per_step else 1)


def _on_constants(rows: Array, y: Array) -> Array:
    """``y + c u − τu`` with ``ψ(s)·u = 1`` and c half its square [D, A]."""
    n = len(rows)
    u = 1.0 / rows if rows.ndim == 1 else np.linalg.lstsq(rows, np.ones(n))[0]
    along, square, of_y = u @ y, float(u @ u), (y**2).sum(axis=0)
    tau = float((square * of_y - along**2 + 2.0 * along).max()) / (2.0 * square)
    shifted = y - tau * u[:, None]  # the least discriminant is 1
    q = u @ shifted
    root = np.sqrt(np.maximum((1.0 - q) ** 2 - square * (shifted**2).sum(axis=0), 0.0))
    c = (shifted**2).sum(axis=0) / (1.0 - q + root)
    return np.asarray(shifted + c * u[:, None])


TABLE = (
    Claim(
        "ss.eq13", "SS (13)",
        r"P^{ref}(a_{t+1:t+L}|s_t,a_t) \propto \langle\phi_\omega(s_t,a_t),\mu_\omega(a_{t+1:t+L})"
        r"\rangle_{N(\omega)},\ \mu \text{ any function of } \omega",
        "proved", "equality", "instance", forward_law,
        "a Gaussian Gram matrix of distinct points is positive definite",
        hypotheses=(DECODABLE, DISTINCT_FEATURES), reported=(SOFTMAX_REFERENCE,),
        title="the law of continuations as an inner product",
    ),
    Claim(
        "ss.eq13.single-vector", "SS (13)",
        r"P^{ref}(a_{t+1:t+L}|s_t,a_t) \propto \exp(\psi((s_t,a_t))^\top\mu(a_{t+1:t+L}))",
        "refuted", "equality", "instance", forward_law_by_one_vector,
        "a product of softmaxes at different contexts has log-normalisers that are not linear",
        hypotheses=(SOFTMAX_REFERENCE, DECODABLE),
        true_when="L = 1, or mu may be any function of ω", true_by=("ss.eq13",),
        title="the law of continuations as one exponential",
    ),
    Claim(
        "ss.gaussian", "SS App. A.1",
        r"\pi_{ref}(a|s) \propto \exp(-\tfrac12\|\psi(s)-\nu'(a)\|^2) \text{ for some } \nu'",
        "refuted", "equality", "instance", gaussian,
        "where ψ(s) fills the space and constants are not linear in it, the tokens must lie on a sphere",
        hypotheses=(SOFTMAX_REFERENCE,),
        true_when="a direction is orthogonal to every ψ(s), or constants are linear in ψ(s), or the "
        "tokens' vectors lie on one sphere (the row's own three cases, proved there)",
        title="ref as a Gaussian kernel, for some vectors",
    ),
    Claim(
        "ss.gaussian.given", "SS App. A.1",
        r"\pi_{ref}(a|s) \propto \exp(-\tfrac12\|\psi(s)-\nu_{ref}(a)\|^2)",
        "refuted", "equality", "instance", gaussian_given,
        "needs ‖ν_ref(a)‖ constant", hypotheses=(SOFTMAX_REFERENCE,),
        true_when="‖ν_ref(a)‖ is the same for all tokens",
        title="ref as a Gaussian kernel, at the given vectors",
    ),
)  # fmt: skip
