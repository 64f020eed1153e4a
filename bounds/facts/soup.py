"""One soup of a solved instance, with what the claims ask of it computed once."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from threading import get_ident

import numpy as np

from toymdp import Solution
from toymdp.cached import cached_property
from toymdp.exact.policy import Occupancy, Policy
from toymdp.exact.scans import extrema, largest, mixture
from toymdp.soup.optimum import SoupOptimum

from ..claim import EPS, Array, Mask
from ..formulas import gap_rate
from .linear_fit import feature_span, value_fits


@dataclass(frozen=True, eq=False)
class Soup:
    """``π~_λ ∝ ref·exp(Σ λ_k Q_k/β')`` of eq (7) on one solution."""

    sol: Solution
    lam: Array

    @property
    def beta_prime(self) -> float:
        """The soup's temperature β'."""
        assert self.sol.mdp.beta_prime is not None
        return self.sol.mdp.beta_prime

    @property
    def size(self) -> float:
        """``|λ|₁``."""
        return float(np.abs(self.lam).sum())

    @property
    def temperature(self) -> float:
        """``β'/|λ|₁`` of (8), infinite at λ = 0."""
        return self.beta_prime / self.size if self.size > 0 else float("inf")

    @cached_property
    def logits(self) -> Array:
        """``Σ λ_k Q_k/β'`` [T, S]."""
        return mixture(self.lam / self.beta_prime, self.sol.Q)

    @cached_property
    def policy(self) -> Policy:
        """The soup itself."""
        return Policy(self.sol.mdp, self.logits)

    @cached_property
    def mixed(self) -> Policy:
        """The policy of logits ``Σ (λ_k β/β') Q_k/β``: the repaired weights of §4 on log π_k."""
        weights = self.lam * self.sol.mdp.beta / self.beta_prime
        return Policy(self.sol.mdp, mixture(weights, self.sol.exponents))

    @cached_property
    def sharpened(self) -> Policy:
        """The policy with logits ``Σ λ_k Q_k/(β|λ|₁)``: the soup at full budget."""
        power = self.beta_prime / (self.sol.mdp.beta * self.size)
        return self.policy if power == 1.0 else Policy(self.sol.mdp, power * self.logits)

    @cached_property
    def value(self) -> float:
        """J(λ) of (8) from the start context, reward units: the soup evaluated as a policy.

        It shares no recursion with the objective that ``soup_optimum`` climbs.
        """
        if self.size == 0:
            return regularised_value(self.sol, self.policy, 0.0, self.kl_ref)
        return regularised_value(self.sol, self.policy, self.temperature, self.kl_ref)

    @cached_property
    def value_error(self) -> float:
        """Rounding radius of J until ``eos`` beyond that of its terms; 0 with a finite horizon.

        What is solved with is 1 − P, known to a unit in the last place of 1: the longer the soup
        goes on, the less is known of when it ends, and J is off by as much of all it adds up.
        """
        if self.sol.mdp.horizon is not None:
            return 0.0
        steps = float(self.occupancy.states.sum())
        return 8 * EPS * steps * (steps * size_of_returns(self.sol) + abs(self.value))

    @property
    def gap(self) -> float:
        """``V_w − J(λ)`` at the start context."""
        return self.sol.value_w - self.value

    @property
    def occupancy(self) -> Occupancy:
        """Where the soup goes from the start."""
        return self.policy.occupancy

    @cached_property
    def kl_ref(self) -> Array:
        """``KL(π~_λ ‖ ref)`` [T, S]."""
        return self.policy.divergence(self.sol.reference)

    @cached_property
    def kl_to_w(self) -> Array:
        """``KL(π~_λ ‖ π_w)`` [T, S]."""
        return self.policy.divergence(self.sol.bespoke)

    @cached_property
    def kl_from_w(self) -> Array:
        """``KL(π_w ‖ π~_λ)`` [T, S], the left side of (9)."""
        return self.sol.bespoke.divergence(self.policy)

    @cached_property
    def mean_norm(self) -> Array:
        """``E_{π~_λ}‖psi((s,·))‖`` [T, S]."""
        return self.policy.mean(feature_span(self.sol).norms)

    @cached_property
    def logit_error(self) -> Array:
        """``e = Q_w/β − Σ λ_k Q_k/β'`` [T, S], in nats."""
        return np.asarray(self.sol.Q_w / self.sol.mdp.beta - self.logits)

    @cached_property
    def logit_norm(self) -> float:
        """``‖(β'/β)nu_w − Σ λ_k nu_k‖₂`` at the least-norm nu, the last factor of (9)."""
        nu = value_fits(self.sol)[1].nu
        weights = np.append(-self.lam, self.beta_prime / self.sol.mdp.beta)
        return float(np.linalg.norm(mixture(weights, nu[:, None])))

    @cached_property
    def logit_norm_error(self) -> float:
        """Rounding radius of ``logit_norm``: that of the vectors which cancel in it."""
        nu = value_fits(self.sol)[1].lengths
        ratio = self.beta_prime / self.sol.mdp.beta
        return float(16 * EPS * (ratio * nu[-1] + np.abs(self.lam) @ nu[:-1]))

    def expected(self, f: Array) -> float:
        """``E_{π~_λ} Σ_t f(t, s_t)`` from the start, for f [T, S] on states."""
        return float(np.einsum("ts,ts->", self.occupancy.states, f))

    @cached_property
    def mixed_partition_excess(self) -> Array:
        """``−(β/β')B(s)`` [T, S] of (16): what weighting the specialists costs, in reward units.

        ``(β²/β')|λ|₁ log E_ref exp(Σ λ_k Q_k/(β|λ|₁)) − (β/β') Σ λ_k V_k``.
        """
        beta = self.sol.mdp.beta
        partition = beta * self.size * self.sharpened.log_partition
        values = mixture(self.lam, self.sol.V)[:-1]
        return np.asarray(beta / self.beta_prime * (partition - values))

    @cached_property
    def partition_drop(self) -> Array:
        """``β(log E_ref e^{Q_w/β} − log E_ref e^{Σ λ_k Q_k/β'})`` [T, S]: at most −(β/β')C(s)."""
        return np.asarray(self.sol.V_w[:-1] - self.sol.mdp.beta * self.policy.log_partition)

    @cached_property
    def gap_by_identity(self) -> float:
        """The gap by ss.thm1.gap.identity: the soup's expected divergence rate."""
        beta = self.sol.mdp.beta
        rate = gap_rate(self.kl_to_w, self.kl_ref, beta, self.temperature)
        return self.expected(rate)


def judged_states(sol: Solution) -> Mask:
    """[T, S] states at which statements about every state are judged: the reachable ones.

    ``at_start`` narrows them to the start, where Theorem 1 uses its steps.
    """
    states = sol.mdp.reach.states
    return states & sol.cache["judged"] if "judged" in sol.cache else states


def at_start(sol: Solution) -> Solution:
    """The same solution (and shadow) with statements about states judged at the start only."""
    only = np.zeros(sol.Q_w.shape, dtype=bool)
    only[0, sol.mdp.start_context] = True
    found = replace(sol, cache={"judged": only})
    found.__dict__["second_road"] = replace(
        sol.shadow, cache={"judged": only}, cast_by=weakref.ref(found)
    )
    return found


def soup(sol: Solution, lam: Array) -> Soup:
    """Return the soup at λ [K]; each thread keeps its last one on the solution, with its tables."""
    key = ("soup", get_ident())
    held: Soup | None = sol.cache.get(key)
    if held is None or not np.array_equal(held.lam, lam):
        # the old one is let go first: the tables of a large instance are then made in its place
        del held
        sol.cache.pop(key, None)
        held = sol.cache[key] = Soup(sol, lam.copy())
    return held


def forget_soups(sol: Solution) -> None:
    """Let go of the soups that a solution, its shadow and their copies at other β' keep.

    A soup refers back to its solution: until the garbage collector comes, neither would be freed.
    """
    for held in (sol, sol.__dict__.get("second_road")):
        if held is not None:
            for key in list(held.cache):
                if key[0] == "soup":
                    held.cache.pop(key, None)
            if "moved" in held.cache:
                forget_soups(held.cache["moved"])


def reference_norm(sol: Solution) -> Array:
    """``E_ref‖psi((s,·))‖₂`` [T, S], cached."""
    if "norm_ref" not in sol.cache:
        sol.cache["norm_ref"] = sol.reference.mean(feature_span(sol).norms)
    found: Array = sol.cache["norm_ref"]
    return found


def bespoke_norm(sol: Solution) -> Array:
    """``E_{π_w}‖psi((s,·))‖₂`` [T, S], cached."""
    if "norm_w" not in sol.cache:
        sol.cache["norm_w"] = sol.bespoke.mean(feature_span(sol).norms)
    found: Array = sol.cache["norm_w"]
    return found


def specialist_totals(sol: Solution) -> tuple[Array, Array]:
    """``E_{π_k} Σ r_j`` [K, K] and ``E_{π_k} Σ‖psi‖`` [K] from the start context, cached."""
    if "specialists" not in sol.cache:
        norms = np.where(sol.mdp.reach.nexts, feature_span(sol).norms, 0.0)
        visits = [specialist.occupancy.nexts for specialist in sol.specialists]
        rewards = np.stack([sol.mdp.rewards @ n.sum(axis=0) for n in visits])
        sol.cache["specialists"] = (rewards, np.array([float((n * norms).sum()) for n in visits]))
    found: tuple[Array, Array] = sol.cache["specialists"]
    return found


def regularised_value(
    sol: Solution, policy: Policy, temperature: float, kl_ref: Array | None = None
) -> float:
    """``E_π[Σ r_w − temperature·KL(π‖ref)]`` from the start, by policy evaluation.

    kl_ref: ``KL(π‖ref)`` [T, S] where it is known.
    """
    kl_ref = policy.divergence(sol.reference) if kl_ref is None else kl_ref
    return float(policy.value(sol.mdp.reward_w, -temperature * kl_ref)[0, sol.mdp.start_context])


def specialist_values(sol: Solution) -> Array:
    """``V_w^{π_k}`` [K] at the start: each specialist's value for ``r_w`` at β, cached."""
    if "specialist values" not in sol.cache:
        beta = sol.mdp.beta
        values = [regularised_value(sol, policy, beta) for policy in sol.specialists]
        sol.cache["specialist values"] = np.array(values)
    found: Array = sol.cache["specialist values"]
    return found


def standard_lambdas(
    sol: Solution, optimum: SoupOptimum | None, seed: int = 0, draws: int = 4
) -> dict[str, Array]:
    """The λ at which a claim about every λ is tried: λ*, (β'/β)w, (β'/β)e_k, signed draws, 0."""
    mdp = sol.mdp
    assert mdp.beta_prime is not None
    full = mdp.beta_prime / mdp.beta
    K = mdp.n_rewards
    found: dict[str, Array] = {}
    if optimum is not None:
        found["optimum"] = optimum.lam
    found["user weights"] = full * mdp.w
    for k in range(K):
        found[f"one-hot {k}"] = full * np.eye(K)[k]
    rng = np.random.default_rng([seed, 0x5A])
    for i in range(draws):
        direction = rng.dirichlet(np.ones(K)) * rng.choice([-1.0, 1.0], size=K)
        found[f"draw {i}"] = full * rng.uniform(0.1, 1.0) * direction
    found["zero"] = np.zeros(K)
    return found


def logit_range(policy: Policy) -> float:
    """Largest range of a policy's logits over the allowed tokens of a reachable state, in nats."""
    low, high = extrema(policy.mdp, policy.logits)
    return float((high - low).max())


def size_of_values(sol: Solution) -> float:
    """What value differences are taken of: the largest |Q| and |r| at reachable places, plus β.

    A log-sum-exp is exact to a unit in the last place of its argument near 1, so a value is never
    known to better than β times that, however small the rewards are.
    """
    if "size" not in sol.cache:
        used = sol.mdp.reach.nexts
        values = max(largest(q, used) for q in (*sol.Q, sol.Q_w))
        rewards = float(np.abs(sol.mdp.rewards[:, used.any(axis=0)]).max())
        sol.cache["size"] = max(values, rewards) + sol.mdp.beta
    return float(sol.cache["size"])


def size_of_returns(sol: Solution) -> float:
    """The same of what policies earn, which are known no better than their logits.

    Rounding a logit of size Q/β moves what the policy earns by as much of the range of Q. It
    counts where that range is many β.
    """
    if "size of returns" not in sol.cache:
        span = max(logit_range(policy) for policy in (*sol.specialists, sol.bespoke))
        sol.cache["size of returns"] = size_of_values(sol) * (1.0 + span / 8.0)
    return float(sol.cache["size of returns"])
