"""One policy of the form ``π ∝ ref·exp(G)``, held as weights of next contexts.

All A rows of a block share the exponentials of its A next contexts, so a policy is a table of S
weights a step and a normaliser a state; what it does (means, divergences, values, occupancies) are
products with the blocks of ref, or with its rows where it is sparse. Where a normaliser is so small
that terms may have underflowed, the compiled row-by-row recursions of toymdp.kernels.rows or sparse
take over, which rescale each row by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import kernels
from ..cached import cached_property
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP
from . import sparse, until_eos
from .backward import frozen

LARGEST = 1.0 / kernels.ROW_FLOOR  # a normaliser's reciprocal beyond which terms may be lost


@dataclass(frozen=True, eq=False)
class Occupancy:
    """How often a policy is where.

    states: [T, S] probability (until ``eos``: expected visits) of s at step t.
    nexts: [T, S] the same of the next context s' reached by the step-t action.
    """

    states: Array
    nexts: Array


@dataclass(frozen=True, eq=False)
class Policy:
    """The policy ``π(a|t,s) ∝ ref(a|s)·exp(logits[t, s'])``.

    logits: [T, S] on next contexts, in nats. All results are zero outside the reachable states.
    """

    mdp: TokenMDP
    logits: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "logits", np.ascontiguousarray(self.logits))

    @cached_property
    def blocks(self) -> tuple[Array, Array, Array]:
        """The largest logit and the range of each block [T, S/A], and the logits less it [T, S]."""
        if not self.mdp.dense:
            return sparse.centre(self.mdp, self.logits)
        T, S = self.logits.shape
        top, span = np.empty((2, T, S // self.mdp.vocab_size))
        centred = np.empty((T, S))
        kernels.blocks.centre(self.logits, top, span, centred)
        return top, span, centred

    @cached_property
    def weights(self) -> Array:
        """[T, S]: ``exp`` of the centred logits."""
        return np.asarray(np.exp(self.blocks[2]))

    @cached_property
    def scales(self) -> tuple[Array, Array]:
        """The reciprocal and the logarithm of ``E_ref`` of the weights [T, S]; 0 where no state."""
        sums, absent = self._reference_mean(self.weights), self.mdp.reach.absent
        kernels.scans.fill(sums.ravel(), absent, 1.0)
        with np.errstate(divide="ignore", over="ignore"):  # what underflows is not read
            logs = np.log(sums)
            inverse = np.reciprocal(sums, out=sums)
        kernels.scans.fill(inverse.ravel(), absent, 0.0)
        return inverse, logs

    @cached_property
    def plain(self) -> bool:
        """Whether no reachable row of weights may have lost terms to underflow."""
        return bool(self.scales[0].max() < LARGEST)

    @cached_property
    def log_partition(self) -> Array:
        """``log E_ref e^G`` [T, S] in nats."""
        if not self.plain:
            return self._by_rows(np.empty((0, *self.logits.shape)))[0]
        return self.to_states(self.scales[1], self.blocks[0])

    def to_states(self, f: Array, of_block: Array) -> Array:
        """``f + of_block`` [T, S] for f on states and of_block [T, S/A]; 0 where none is."""
        T, S = self.logits.shape
        if self.mdp.dense:
            table = (f.reshape(T, self.mdp.vocab_size, -1) + of_block[:, None, :]).reshape(T, S)
        else:
            table = f + sparse.of_next_block(self.mdp, of_block)
        kernels.scans.fill(table.ravel(), self.mdp.reach.absent, 0.0)
        return table

    @cached_property
    def importance_ratio(self) -> tuple[Array, Array]:
        """``log max_a π/ref`` ≥ 0 and ``log min_a π/ref`` ≤ 0 [T, S] over allowed tokens.

        ``max π/ref = 1/E_ref[e^{G − max G}]``. Where most of the mass is near the maximum its
        logarithm is ``−log1p(−E_ref[1 − e^{G − max G}])``, in which nothing cancels; elsewhere the
        sum itself has the digits.
        """
        if not self.mdp.dense:
            return sparse.ratio_extremes(self.mdp, self.logits)
        mdp, (_, span, centred) = self.mdp, self.blocks
        missing = self._reference_mean(-np.expm1(centred))
        near = -np.log1p(-np.minimum(missing, 0.5))
        upper = np.where(missing < 0.5, near, -self.scales[1])
        lower = np.minimum(self.to_states(upper, -span), 0.0)
        kernels.scans.fill(upper.ravel(), mdp.reach.absent, 0.0)
        rows = mdp.reach.states & ~(mdp.reach.full & (self.scales[0] < LARGEST))
        if rows.any():
            kernels.ratios.ratio_extremes(mdp.ref, rows, self.logits, upper, lower)
        return upper, lower

    def _reference_mean(self, f: Array) -> Array:
        """``E_ref f`` [T, S] of f [T, S] on next contexts, 0 where nothing is allowed."""
        if not self.mdp.dense:
            return sparse.sums(self.mdp, f)
        means, once = np.empty_like(f), np.ones((1, f.shape[1]))
        kernels.blocks.tilted_sums(self.mdp.columns, once, f, means)
        return means

    def _weighted_sums(self, f: Array) -> Array:
        """``E_ref`` of weights·f [T, S] for f [T, S] on next contexts."""
        if not self.mdp.dense:
            return self._reference_mean(self.weights * f)
        sums = np.empty_like(f)
        kernels.blocks.tilted_sums(self.mdp.columns, self.weights, f, sums)
        return sums

    def _by_rows(self, F: Array) -> tuple[Array, Array]:
        if not self.mdp.dense:
            return sparse.means(self.mdp, self.logits, F)
        log_z, means = np.empty_like(self.logits), np.empty_like(F)
        states = self.mdp.reach.states
        kernels.rows.tilted_means(self.mdp.ref, states, self.logits, F, log_z, means)
        return log_z, means

    def mean(self, f: Array) -> Array:
        """``E_π f`` [T, S] of f [T, S] on next contexts."""
        f = np.ascontiguousarray(f)
        if not self.plain:
            return np.asarray(self._by_rows(f[None])[1][0])
        sums = self._weighted_sums(f)
        sums *= self.scales[0]
        return sums

    def divergence(self, other: Policy, *, fine: bool = True) -> Array:
        """``KL(π ‖ other)`` [T, S] in nats.

        ``E_π[G − H] + log E_ref e^H − log E_ref e^G``, in which the scales of the blocks cancel.
        fine: measure again what is tiny, where the logits are less than 0.1 apart from terms that
        do not cancel. Otherwise, and without it, the error is that of rounding the logits.
        """
        mdp, states = self.mdp, self.mdp.reach.states
        kl = np.empty_like(self.logits)
        if not (self.plain and other.plain):
            if not mdp.dense:
                return sparse.divergence(mdp, self.logits, other.logits, states)
            kernels.rows.divergences(mdp.ref, states, self.logits, other.logits, kl)
            return kl
        (inverse, log_sums), centred = self.scales, (self.blocks[2], other.blocks[2])
        if mdp.dense:
            tables = mdp.columns, self.weights, *centred, inverse, log_sums, other.scales[1]
            kernels.blocks.tilted_divergence(*tables, kl)
        else:
            kl = np.maximum(self.mean(centred[0] - centred[1]) + (other.scales[1] - log_sums), 0.0)
        near = states & (kl < kernels.NEAR)
        if fine and near.any():
            logits = self.logits, other.logits
            if not mdp.dense:
                return np.where(near, sparse.divergence(mdp, *logits, near), kl)
            log_z = self.log_partition, other.log_partition
            kernels.blocks.near_divergence(
                mdp.columns, self.weights, *logits, inverse, *log_z, near, kl
            )
        return kl

    @cached_property
    def chain(self) -> until_eos.Chain:
        """What the policy does until ``eos``, where there is no horizon."""
        return until_eos.policy_chain(self.mdp, self.law(0))

    def value(self, payoff: Array, extra: Array | None = None) -> Array:
        """``U[t, s] = E_π Σ (payoff[t', s'] + extra[t', s'])`` from (t, s) on, as [T+1, S].

        payoff: [T, S] on next contexts; extra: [T, S] on states. Until ``eos`` both rows of the
        result hold the stationary value.
        """
        mdp = self.mdp
        extra = np.zeros_like(self.logits) if extra is None else np.ascontiguousarray(extra)
        payoff = frozen(np.atleast_2d(payoff))  # as rewards are: one kind of array, one kernel
        if mdp.horizon is None:
            value = self.chain.total(self.mean(payoff)[0] + extra[0])
            return np.stack([value, value])
        if not (mdp.dense or self.plain):
            return sparse.value(mdp, self.logits, payoff, extra)
        U = np.zeros((mdp.steps + 1, mdp.n_contexts))
        if self.plain:
            tables = self.weights, self.scales[0], payoff, extra, U
            if mdp.dense:
                kernels.blocks.tilted_backward(mdp.columns, *tables)
            else:
                sparse.weighted_backward(mdp, *tables)
        else:
            payoff = frozen(np.broadcast_to(payoff, self.logits.shape))
            kernels.rows.evaluate_backward(mdp.ref, mdp.reach.states, self.logits, payoff, extra, U)
        return U

    @cached_property
    def occupancy(self) -> Occupancy:
        """Where the policy goes from the start context."""
        mdp = self.mdp
        states = mdp.reach.states
        d, n = np.zeros_like(self.logits), np.zeros_like(self.logits)
        if mdp.horizon is None:
            d[0, self.chain.states] = self.chain.visits
        else:
            d[0, mdp.start_context] = 1.0
        if not (mdp.dense or self.plain):
            return Occupancy(*sparse.occupancy(mdp, self.logits, d[0]))
        if self.plain:
            tables = self.weights, self.scales[0], d, n
            if mdp.dense:
                kernels.blocks.tilted_forward(mdp.columns, *tables)
            else:
                sparse.weighted_forward(mdp, *tables)
        else:
            kernels.rows.occupancy_forward(mdp.ref, states, self.logits, d, n)
        return Occupancy(d, n)

    def push(self, x: Array) -> Array:
        """``Σ_s x[t, s]·π(s'|t, s)`` [T, S] of x [T, S] on states."""
        if self.plain:
            return sparse.weighted_push(self.mdp, self.weights, self.scales[0], x)
        return sparse.push(self.mdp, self.logits, x)

    def law(self, t: int) -> Array:
        """``π(a|t,s)`` at step t as [E], an entry for each allowed token of each context (``mdp.rows``)."""
        mdp = self.mdp
        if not mdp.dense:
            return sparse.law(mdp, self.logits, t)
        rows, table = mdp.rows, self.table[t]
        whole = len(rows.ref) == table.size
        return np.asarray(table.ravel() if whole else table[rows.owners, rows.tokens])

    @cached_property
    def table(self) -> Array:
        """``π(a|t,s)`` as [T, S, A]; zero rows at unreachable states. Raises NoTable if sparse."""
        mdp, ref, A = self.mdp, self.mdp.ref, self.mdp.vocab_size
        T = len(self.logits)
        if self.plain:
            law = np.empty((T, mdp.n_contexts, A))
            weights = self.weights.reshape(T, 1, -1, A)
            np.multiply(ref.reshape(A, -1, A), weights, out=law.reshape(T, A, -1, A))
            law *= self.scales[0][..., None]
            return law
        with np.errstate(divide="ignore"):
            logits = np.log(ref).reshape(1, A, -1, A) + self.logits.reshape(T, 1, -1, A)
        logits = logits.reshape(T, mdp.n_contexts, A)
        live = mdp.reach.states[..., None]
        top = np.where(live, logits.max(axis=2, keepdims=True), 0.0)
        weights = np.where(live, np.exp(np.where(live, logits - top, -np.inf)), 0.0)
        total = weights.sum(axis=2, keepdims=True)
        return np.asarray(weights / np.where(total > 0, total, 1.0))
