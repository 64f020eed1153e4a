"""What claims ask of one solved token MDP: typed, computed once, freed with its owner.

``Facts(sol)`` owns everything that is derived from a solution. Its ``second`` are the facts of the
same instance solved by another method: what moves between the two is rounding. What depends on the
instance alone, whatever solved it, is ``InstanceFacts`` and shared by the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from toymdp import Solution, SoupOptimum, TokenMDP, soup_optimum
from toymdp.cached import cached_property
from toymdp.exact.policy import Policy
from toymdp.exact.scans import extrema, largest
from toymdp.exact.solution import other_road

from .. import formulas
from ..sides import EPS, Array, Mask
from .linear_fit import FeatureFit, Fit
from .once import ComputesOnce


@dataclass(frozen=True, eq=False)
class InstanceFacts(ComputesOnce):
    """What is true of an instance whatever solves it.

    given: a soup optimum found before. seed: of the ascents' starts where none was.
    """

    mdp: TokenMDP
    given: SoupOptimum | None = None
    seed: int = 0

    @cached_property
    def features(self) -> FeatureFit:
        """The features of the reachable next contexts, ready to fit fields on them."""
        return FeatureFit(self.mdp)

    @cached_property
    def optimum(self) -> SoupOptimum:
        """λ* of (8)."""
        return soup_optimum(self.mdp, seed=self.seed) if self.given is None else self.given


@dataclass(frozen=True, eq=False)
class Facts(ComputesOnce):
    """Everything that claims ask of a solution; arrays are indexed as in ``Solution``.

    states: [T, S] where statements about every state are judged; None: every reachable state.
    instance: what is shared with the facts of another solution of the same instance.
    other: the same instance solved by another method, if it is known already.
    """

    sol: Solution
    states: Mask | None = None
    instance: InstanceFacts = field(default=None, kw_only=True)  # type: ignore[assignment]
    other: Solution | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given: InstanceFacts | None = self.instance
        if given is None:
            object.__setattr__(self, "instance", InstanceFacts(self.sol.mdp))
        others = [self.instance.mdp, *([] if self.other is None else [self.other.mdp])]
        if any(mdp is not self.sol.mdp for mdp in others):
            raise ValueError("sol, instance and other are of different instances")
        if self.states is not None:  # a copy: it does not follow the caller's array
            object.__setattr__(self, "states", np.array(self.states, dtype=bool))

    # -- the instance and its second solution ------------------------------------------------

    @property
    def mdp(self) -> TokenMDP:
        """The instance."""
        return self.sol.mdp

    @property
    def depth(self) -> int:
        """Number of backups between the start and the end, for rounding estimates."""
        return self.mdp.steps

    @property
    def start(self) -> tuple[int, int]:
        """``(t, s)`` of the start context."""
        return 0, self.mdp.start_context

    @property
    def optimum(self) -> SoupOptimum:
        """λ* of (8); the same for both solutions."""
        return self.instance.optimum

    @property
    def features(self) -> FeatureFit:
        """The features of the reachable next contexts; the same for both solutions."""
        return self.instance.features

    @cached_property
    def judged(self) -> Mask:
        """[T, S]: the reachable states at which statements about every state are judged."""
        reachable = self.mdp.reach.states
        return reachable if self.states is None else reachable & self.states

    @property
    def states_judged(self) -> str:
        """Where that is, in words."""
        if self.states is None:
            return "every reachable state"
        return " and ".join(f"t = {t}, s = {s}" for t, s in np.argwhere(self.states).tolist())

    @cached_property
    def solved_again(self) -> Solution:
        """The same instance solved by another method."""
        return other_road(self.sol) if self.other is None else self.other

    @cached_property
    def second(self) -> Facts:
        """The facts of the second solution: what differs is rounding."""
        return Facts(self.solved_again, self.states, instance=self.instance, other=self.sol)

    def at(self, t: int, s: int) -> Facts:
        """The same facts, with statements about every state judged at (t, s) alone."""
        only = np.zeros(self.sol.Q_w.shape, dtype=bool)
        only[t, s] = True
        return Facts(self.sol, only, instance=self.instance, other=self.solved_again)

    # -- policies ----------------------------------------------------------------------------

    @cached_property
    def exponents(self) -> Array:
        """``Q_k/β`` [K, T, S], the specialists' logits over ref, in nats."""
        return np.asarray(self.sol.Q / self.mdp.beta)

    @cached_property
    def specialists(self) -> tuple[Policy, ...]:
        """The specialists ``π_k``, eq (2)."""
        return tuple(Policy(self.mdp, q) for q in self.exponents)

    @cached_property
    def bespoke(self) -> Policy:
        """The bespoke policy ``π_w``, eq (2) for ``r_w``."""
        return Policy(self.mdp, self.sol.Q_w / self.mdp.beta)

    @cached_property
    def reference(self) -> Policy:
        """``ref`` itself."""
        return Policy(self.mdp, np.zeros_like(self.sol.Q_w))

    @cached_property
    def specialist_totals(self) -> tuple[Array, Array]:
        """``E_{π_k} Σ r_j`` [K, K] and ``E_{π_k} Σ‖ψ‖`` [K] from the start context."""
        norms = np.where(self.mdp.reach.nexts, self.features.norms, 0.0)
        visits = [specialist.occupancy.nexts for specialist in self.specialists]
        rewards = np.stack([self.mdp.rewards @ n.sum(axis=0) for n in visits])
        return rewards, np.array([float((n * norms).sum()) for n in visits])

    @cached_property
    def specialist_values(self) -> Array:
        """``V_w^{π_k}`` [K] at the start: each specialist's value for ``r_w`` at β."""
        beta = self.mdp.beta
        return np.array([self.regularised_value(p, beta) for p in self.specialists])

    def regularised_value(
        self, policy: Policy, temperature: float, kl_ref: Array | None = None
    ) -> float:
        """``E_π[Σ r_w − temperature·KL(π‖ref)]`` from the start, by policy evaluation.

        kl_ref: ``KL(π‖ref)`` [T, S] where it is known.
        """
        kl_ref = policy.divergence(self.reference) if kl_ref is None else kl_ref
        return float(policy.value(self.mdp.reward_w, -temperature * kl_ref)[self.start])

    # -- features ----------------------------------------------------------------------------

    @property
    def reward_fit(self) -> Fit:
        """ν of r_1..r_K and r_w."""
        return self.features.rewards

    @cached_property
    def value_fit(self) -> Fit:
        """ν of Q_1..Q_K and Q_w."""
        values = np.concatenate([self.sol.Q, self.sol.Q_w[None]])
        until_eos = self.mdp.horizon is None
        return self.features.fit(values, self.size_of_values if until_eos else self.mdp.beta)

    @cached_property
    def reference_norm(self) -> Array:
        """``E_ref‖ψ((s,·))‖₂`` [T, S]."""
        return self.reference.mean(self.features.norms)

    @cached_property
    def bespoke_norm(self) -> Array:
        """``E_{π_w}‖ψ((s,·))‖₂`` [T, S]."""
        return self.bespoke.mean(self.features.norms)

    # -- importance ratios -------------------------------------------------------------------

    @cached_property
    def ratio_extremes(self) -> tuple[Array, Array]:
        """``log M̄_k`` ≥ 0 and ``log M̲_k`` ≤ 0 [K, T, S], the extremes of ``log π_k/ref``."""
        pairs = [specialist.importance_ratio for specialist in self.specialists]
        return np.stack([upper for upper, _ in pairs]), np.stack([lower for _, lower in pairs])

    @cached_property
    def deltas(self) -> Array:
        """``Δ_k`` [K, T, S] of (18)."""
        return np.asarray(formulas.delta(*self.ratio_extremes))

    @cached_property
    def renyi_divergences(self) -> Array:
        """``D₂(ref‖π_k)`` [K, T, S] = ``log E_ref e^{q} + log E_ref e^{−q}``, q = Q_k/β."""
        pairs = [
            (policy.log_partition, Policy(self.mdp, -policy.logits).log_partition)
            for policy in self.specialists
        ]
        return np.stack([np.maximum(formulas.renyi(*pair), 0.0) for pair in pairs])

    # -- what rounding is measured by ----------------------------------------------------------

    @cached_property
    def size_of_values(self) -> float:
        """The scale that the rounding of a value is a share of: that of one step, and of all steps.

        With a horizon the sums have ``depth`` terms, and the verdict's floor knows. Until ``eos`` a
        value solves a linear system: with ``z = exp(V/β)``, ``z = Mz + b``, a relative error η of
        each weight moves ``log z(s)`` by at most η for each step that the optimal policy takes from
        s, since ``∂log z(s)/∂log M_ij`` is how often it is expected to go from i to j.
        """
        return self._size_of_a_step * self.steps

    @cached_property
    def size_of_returns(self) -> float:
        """The scale of what policies earn, which is known no better than their logits are.

        Rounding a logit of size Q/β moves what the policy earns by as much of the range of Q. It
        counts where that range is many β.
        """
        return self.size_of_values * self._logit_ranges

    @cached_property
    def _size_of_a_step(self) -> float:
        """The largest |Q| and |r| at reachable places, plus β.

        A log-sum-exp is exact to a unit in the last place of its argument near 1, so a value is
        never known to better than β times that, however small the rewards are. Until ``eos`` a
        weight is the exponential of a sum in which the logarithm of ref is rounded as well.
        """
        mdp, used = self.mdp, self.mdp.reach.nexts
        values = max(largest(q, used) for q in (*self.sol.Q, self.sol.Q_w))
        rewards = float(np.abs(mdp.rewards[:, used.any(axis=0)]).max())
        logs = 1.0
        if mdp.horizon is None:
            chances = mdp.rows.ref[mdp.reach.any_state[mdp.rows.owners]]
            logs -= float(np.log(chances.min()))
        return max(values, rewards) + logs * mdp.beta

    @cached_property
    def _logit_ranges(self) -> float:
        ranges = [logit_range(policy) for policy in (*self.specialists, self.bespoke)]
        return 1.0 + max(ranges) / 8.0

    @cached_property
    def steps(self) -> float:
        """Expected steps until ``eos`` of the slowest optimal policy from any reachable context, ≥ 1.

        1 with a horizon. Raises SolverError where a policy ends so rarely that nothing can be told.
        """
        if self.mdp.horizon is not None:
            return 1.0
        one = np.ones(self.mdp.n_contexts)
        each = [p.chain.total(one).max() for p in (*self.specialists, self.bespoke)]
        return max(1.0, *map(float, each))

    def value_error(self, policy: Policy, value: float, step: float | None = None) -> float:
        """Rounding radius of what a policy earns until ``eos``, beyond that of its terms; else 0.

        What is solved with is 1 − P, known to a unit in the last place of 1: the longer the policy
        goes on, the less is known of when it ends, and its value is off by as much of all that it
        adds up. value: what it earns. step: the most that one step earns, in the same units; None:
        reward units, the largest step of the instance.
        """
        if self.mdp.horizon is not None:
            return 0.0
        steps = float(policy.occupancy.states.sum())
        sizes = (self._size_of_a_step if step is None else step) * self._logit_ranges
        return 8 * EPS * steps * (steps * sizes + abs(value))

    @property
    def size_of_divergences(self) -> float:
        """Rounding scale of divergences (nats): logits are differences of values over β."""
        return 1.0 + self.size_of_values / self.mdp.beta


def logit_range(policy: Policy) -> float:
    """Largest range of a policy's logits over the allowed tokens of a reachable state, in nats."""
    low, high = extrema(policy.mdp, policy.logits)
    return float((high - low).max())
