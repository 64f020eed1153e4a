"""Draws: sequences from a policy, answers from ref, rejection samplers, and what losses fit to them."""

from __future__ import annotations

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from .. import kernels
from ..arrays import Array, IntArray
from ..errors import InstanceError
from ..worlds.reach import Mask
from ..worlds.token_mdp import TokenMDP
from . import sparse
from .policy import LARGEST, Policy

NEWTON_STEPS = 200
CONDITION_LIMIT = 1e10  # of a Hessian, beyond which its inverse keeps too few digits


def sample(mdp: TokenMDP, G: Array, n: int, seed: int = 0) -> IntArray:
    """Return n sequences of tokens [n, T] drawn from the policy with logits G [T, S].

    After ``eos`` a sequence repeats it. Raises InstanceError without a finite horizon, where
    sequences have no common length.
    """
    if mdp.horizon is None:
        raise InstanceError.of("horizon", None, "sequences need an end", "set a finite horizon")
    ladder = np.cumsum(Policy(mdp, G).table, axis=2)
    rng = np.random.default_rng(seed)
    context = np.full(n, mdp.start_context)
    tokens = np.empty((n, mdp.horizon), dtype=np.int64)
    for t in range(mdp.horizon):
        rungs = ladder[t, context]
        # scaled by the last rung, a height below 1 stays below it however the sum was rounded
        height = rng.random((n, 1)) * rungs[:, -1:]
        tokens[:, t] = (rungs <= height).sum(axis=1)
        if mdp.eos is not None:
            tokens[mdp.ended[context], t] = mdp.eos
        context = (context * mdp.vocab_size + tokens[:, t]) % mdp.n_contexts
    return tokens


def rejection_sampler(target: Policy, ratio: Policy, shift: Array) -> tuple[Array, Array]:
    """Compare what a rejection sampler draws with ``target``, both [T, S].

    It draws a from ref and accepts it with probability ``min(1, exp(h(s') + shift(s)))``, h [T, S]
    the logits of ``ratio``. Returned: the total variation and the chance that a draw is accepted.
    """
    mdp, room = target.mdp, kernels.sampling.SHIFT_ROOM
    if not mdp.dense:
        return sparse.rejection_sampler(target.logits, ratio.logits, shift, mdp)
    exponent = ratio.to_states(shift, ratio.blocks[0])
    scale = np.exp(np.clip(exponent, -room, room))
    apart, accepted = np.empty_like(shift), np.empty_like(shift)
    weights = ratio.weights, scale, target.weights, target.scales[0]
    kernels.sampling.accepted_laws(mdp.columns, *weights, apart, accepted)
    for table in (apart, accepted):
        kernels.scans.fill(table.ravel(), mdp.reach.absent, 0.0)
    lost = (accepted <= kernels.sampling.ACCEPT_FLOOR) | (target.scales[0] >= LARGEST)
    rows = mdp.reach.states & (lost | (np.abs(exponent) > room))
    if rows.any():
        arrays = ratio.logits, shift, target.logits, apart, accepted
        kernels.sampling.accepted_rows(mdp.ref, rows, *arrays)
    return apart, accepted


def printed_bound_offsets(V: Array, means: Array, beta: float) -> Array:
    """``KL(ref‖π_k) − V_k/β`` [K, T, S] in nats: of §4's printed log-ratio less its log-bound.

    V: [K, T, S] soft values, means: [K, T, S] ``E_ref Q_k``, reward units. Both the ratio and the
    bound are linear in the weights; ``KL(ref‖π_k) = (V_k − E_ref Q_k)/β``.
    """
    return np.asarray(((V - means) - V) / beta)


def draw_answers(mdp: TokenMDP, heights: Array) -> tuple[IntArray, Mask]:
    """Draw n answers of at most N tokens from ref, from the start context.

    heights: [n, N] uniform on [0, 1), one for each token. Returns contexts [n, N+1], s_0 .. s_N,
    and going [n, N], which of the steps were taken: after ``eos`` a path rests where it ended.
    """
    if heights.ndim != 2 or not ((heights >= 0.0) & (heights < 1.0)).all():
        raise ValueError("heights must be [n, N] in [0, 1)")  # the kernel would read beyond a row
    n, N = heights.shape
    contexts, going = np.empty((n, N + 1), dtype=np.int64), np.empty((n, N), dtype=np.bool_)
    if not mdp.dense:
        return _draw_by_rows(mdp, heights, contexts, going)
    ladder = np.cumsum(mdp.ref, axis=1)
    kernels.sampling.draw_answers(ladder, mdp.ended, mdp.start_context, heights, contexts, going)
    return contexts, going


def _draw_by_rows(
    mdp: TokenMDP, heights: Array, contexts: IntArray, going: Mask
) -> tuple[IntArray, Mask]:
    """The same, all answers a step at a time, by the rows that they are in."""
    contexts[:], going[:] = mdp.start_context, False
    for step, height in enumerate(heights.T):
        going[:, step] = ~mdp.ended[contexts[:, step]]
        active = np.flatnonzero(going[:, step])
        if not active.size:
            break
        law, nexts = mdp.rows.padded(contexts[active, step])
        rungs = np.cumsum(law, axis=1)
        # a height below 1 stays below the last rung, also when rounded
        token = (rungs[:, :-1] <= height[active, None] * rungs[:, -1:]).sum(axis=1)
        contexts[active, step + 1 :] = nexts[np.arange(len(active)), token, None]
    return contexts, going


def log_norms(mdp: TokenMDP, Q: Array, beta: float, t: IntArray, s: IntArray) -> Array:
    """Return ``log E_ref exp(Q_k/β)`` [K, m] in nats at the m states (t, s).

    Q: [K, T, S] on next contexts, in the units of beta; t, s: [m].
    """
    _check_places(Q, t, s)
    if not mdp.dense:
        law, nexts = mdp.rows.padded(s)
        return np.asarray(scipy.special.logsumexp(Q[:, t[:, None], nexts] / beta, axis=2, b=law))
    norms = np.empty((len(Q), len(s)))
    kernels.sampling.log_norms(mdp.ref, Q, beta, t, s, norms)
    return norms


def at_states(mdp: TokenMDP, Q: Array, t: IntArray, s: IntArray) -> tuple[Array, Array]:
    """``ref`` [m, n] and Q [K, m, n] of the tokens allowed at m states (t, s), rows filled up with 0."""
    _check_places(Q, t, s)
    law, nexts = mdp.rows.padded(s)
    return law, np.where(law > 0, Q[:, t[:, None], nexts], 0.0)


def loss_minimisers(data: Array, Q: Array, beta: float, nexts: IntArray, t: IntArray) -> Array:
    """Return the v [K, m] that minimise ``E_data[e^{q−v} − (q − v) − 1]``, ``q = Q_k/β``, in nats.

    data: [K, m, A], laws of the next token at m states, whose next contexts are nexts [m] and the
    A − 1 that follow it, in row t [m] of Q [K, T, S].
    """
    K, m, A = data.shape
    _check_places(Q, t, nexts + A - 1)
    if (K, m) != (len(Q), len(nexts)):
        raise ValueError(f"data of shape {data.shape} for {len(Q)} rewards and {len(nexts)} states")
    v = np.empty((K, m))
    kernels.sampling.loss_minimisers(data, Q, beta, nexts, t, v)
    return v


def fit_answers(U: Array, margins: Array, rounding: float) -> tuple[Array, float]:
    """Minimise ``f = Σ_i σ(m_i) ℓ(z_i) + σ(−m_i) ℓ(−z_i)`` over ``z = Uθ`` from 0, ``ℓ = −log σ``.

    U: [N, r] of full column rank; margins: [N] = m, known to ``rounding``. Returns z [N] at the
    minimiser and a radius: no z_i is further from its exact value (infinite: it may be).

    Newton's steps are damped by ``log(1+D)/D``, D the largest change of a z_i. Along a step
    ``|f‴| ≤ D f″``, so the damped step minimises an upper bound of f: it descends from anywhere.
    By the same property a point of decrement ``d = ‖f′‖_{H⁻¹}`` is within ``−log(1 − ρd)`` of the
    minimiser, ``ρ = max_i ‖u_i‖_{H⁻¹}``. Slopes off by ``σ′(z_i)δ_i`` add at most ``√Σσ′δ²`` to d,
    by Cauchy–Schwarz.
    """
    if U.shape[:1] != margins.shape:
        raise ValueError(f"{len(U)} rows and {margins.shape} margins")
    expit, theta = scipy.special.expit, np.zeros(U.shape[1])
    won, lost = expit(margins), expit(-margins)
    for _ in range(NEWTON_STEPS):
        z = U @ theta
        up, down = expit(z), expit(-z)
        # σ(z) − σ(m) by whichever tails are small: they keep their digits
        miss = np.where(margins > 0, lost - down, up - won)
        values, axes = np.linalg.eigh(U.T @ (U * (up * down)[:, None]))
        if not values[0] * CONDITION_LIMIT > values[-1]:
            return z, np.inf
        along = (axes.T @ (U.T @ miss)) / np.sqrt(values)
        decrement, noise = np.sqrt(along @ along), rounding * np.sqrt(np.sum(up * down))
        step = axes @ (along / np.sqrt(values))
        largest = float(np.abs(U @ step).max())
        if decrement <= noise or largest == 0.0:
            break
        theta -= np.log1p(largest) / largest * step
    spread = (U @ axes) / np.sqrt(values)
    reach = float(np.sqrt((spread**2).sum(axis=1).max()) * (decrement + noise))
    return z, -float(np.log1p(-reach)) if reach < 0.5 else np.inf


def _check_places(Q: Array, t: IntArray, s: IntArray) -> None:
    """Refuse places (t, s) outside the tables Q [K, T, S]: a kernel would read beyond them."""
    inside = (t >= 0) & (t < Q.shape[1]) & (s >= 0) & (s < Q.shape[2])
    if t.shape != s.shape or not inside.all():
        raise ValueError(f"places outside tables of shape {Q.shape}")
