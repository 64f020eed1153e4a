"""One soup on the facts of a solved instance, with what the claims ask of it computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toymdp import TokenMDP
from toymdp.cached import cached_property
from toymdp.exact.policy import Occupancy, Policy
from toymdp.exact.scans import mixture

from ..formulas import budget_used, gap_rate, soup_temperature
from ..sides import Array
from .once import ComputesOnce
from .token_mdp import Facts


@dataclass(frozen=True, eq=False)
class Soup(ComputesOnce):
    """``π~_λ ∝ ref·exp(Σ λ_k Q_k/β')`` of eq (7) on one solution.

    lam: [K]. other_beta_prime: a temperature β' other than the instance's.
    """

    facts: Facts
    lam: Array
    other_beta_prime: float | None = None

    def __post_init__(self) -> None:
        lam = np.array(self.lam, dtype=np.float64)  # a copy: the caller may change the array
        lam.setflags(write=False)
        object.__setattr__(self, "lam", lam)

    @property
    def mdp(self) -> TokenMDP:
        """The instance."""
        return self.facts.mdp

    @property
    def beta_prime(self) -> float:
        """The soup's temperature β'."""
        return self.mdp.beta_prime if self.other_beta_prime is None else self.other_beta_prime

    @cached_property
    def second(self) -> Soup:
        """The same soup of the second solution."""
        return Soup(self.facts.second, self.lam, self.other_beta_prime)

    @property
    def is_optimum(self) -> bool:
        """Whether λ is the λ* of (8)."""
        return bool(np.array_equal(self.lam, self.facts.optimum.lam))

    @property
    def size(self) -> float:
        """``|λ|₁``."""
        return float(np.abs(self.lam).sum())

    @property
    def temperature(self) -> float:
        """``β'/|λ|₁`` of (8), infinite at λ = 0."""
        return float(soup_temperature(np.float64(self.size), self.beta_prime))

    @property
    def budget_used(self) -> float:
        """``β|λ|₁/β'``: at most 1 in the domain of (7)."""
        return float(budget_used(self.lam, self.mdp.beta, self.beta_prime))

    @cached_property
    def logits(self) -> Array:
        """``Σ λ_k Q_k/β'`` [T, S]."""
        return mixture(self.lam / self.beta_prime, self.facts.sol.Q)

    @cached_property
    def policy(self) -> Policy:
        """The soup itself."""
        return Policy(self.mdp, self.logits)

    @cached_property
    def mixed(self) -> Policy:
        """The policy of logits ``Σ (λ_k β/β') Q_k/β``: the repaired weights of §4 on log π_k."""
        weights = self.lam * self.mdp.beta / self.beta_prime
        return Policy(self.mdp, mixture(weights, self.facts.exponents))

    @cached_property
    def sharpened(self) -> Policy:
        """The policy with logits ``Σ λ_k Q_k/(β|λ|₁)``: the soup at full budget."""
        power = self.beta_prime / (self.mdp.beta * self.size)
        return self.policy if power == 1.0 else Policy(self.mdp, power * self.logits)

    @cached_property
    def value(self) -> float:
        """J(λ) of (8) from the start context, reward units: the soup evaluated as a policy.

        It shares no recursion with the objective that ``soup_optimum`` climbs.
        """
        if self.size == 0:
            return self.facts.regularised_value(self.policy, 0.0, self.kl_ref)
        return self.facts.regularised_value(self.policy, self.temperature, self.kl_ref)

    @cached_property
    def value_error(self) -> float:
        """Rounding radius of J until ``eos`` beyond that of its terms; 0 with a finite horizon."""
        return self.facts.value_error(self.policy, self.value)

    @property
    def gap(self) -> float:
        """``V_w − J(λ)`` at the start context."""
        return self.facts.sol.value_w - self.value

    @property
    def occupancy(self) -> Occupancy:
        """Where the soup goes from the start."""
        return self.policy.occupancy

    @cached_property
    def kl_ref(self) -> Array:
        """``KL(π~_λ ‖ ref)`` [T, S]."""
        return self.policy.divergence(self.facts.reference)

    @cached_property
    def kl_to_w(self) -> Array:
        """``KL(π~_λ ‖ π_w)`` [T, S]."""
        return self.policy.divergence(self.facts.bespoke)

    @cached_property
    def kl_from_w(self) -> Array:
        """``KL(π_w ‖ π~_λ)`` [T, S], the left side of (9)."""
        return self.facts.bespoke.divergence(self.policy)

    @cached_property
    def mean_norm(self) -> Array:
        """``E_{π~_λ}‖ψ((s,·))‖`` [T, S]."""
        return self.policy.mean(self.facts.features.norms)

    @cached_property
    def logit_error(self) -> Array:
        """``e = Q_w/β − Σ λ_k Q_k/β'`` [T, S], in nats."""
        return np.asarray(self.facts.sol.Q_w / self.mdp.beta - self.logits)

    @cached_property
    def logit_norm(self) -> float:
        """``‖(β'/β)ν_w − Σ λ_k ν_k‖₂`` at the least-norm ν, the last factor of (9)."""
        nu = self.facts.value_fit.nu
        weights = np.append(-self.lam, self.beta_prime / self.mdp.beta)
        return float(np.linalg.norm(mixture(weights, nu[:, None])))

    @cached_property
    def logit_norm_error(self) -> float:
        """Rounding radius of ``logit_norm``: that of the vectors which cancel in it."""
        radius = self.facts.value_fit.radius
        ratio = self.beta_prime / self.mdp.beta
        return float(ratio * radius[-1] + np.abs(self.lam) @ radius[:-1])

    def expected(self, f: Array) -> float:
        """``E_{π~_λ} Σ_t f(t, s_t)`` from the start, for f [T, S] on states."""
        return float(np.einsum("ts,ts->", self.occupancy.states, f))

    def expected_error(self, f: Array) -> float:
        """Rounding radius of ``expected(f)`` until ``eos`` beyond that of its terms; else 0."""
        largest = float(np.abs(f).max(where=self.mdp.reach.states, initial=0.0))
        return self.facts.value_error(self.policy, self.expected(f), largest)

    @cached_property
    def mixed_partition_excess(self) -> Array:
        """``−(β/β')B(s)`` [T, S] of (16): what weighting the specialists costs, in reward units.

        ``(β²/β')|λ|₁ log E_ref exp(Σ λ_k Q_k/(β|λ|₁)) − (β/β') Σ λ_k V_k``.
        """
        beta = self.mdp.beta
        partition = beta * self.size * self.sharpened.log_partition
        values = mixture(self.lam, self.facts.sol.V)[:-1]
        return np.asarray(beta / self.beta_prime * (partition - values))

    @cached_property
    def partition_drop(self) -> Array:
        """``β(log E_ref e^{Q_w/β} − log E_ref e^{Σ λ_k Q_k/β'})`` [T, S]: at most −(β/β')C(s)."""
        return np.asarray(self.facts.sol.V_w[:-1] - self.mdp.beta * self.policy.log_partition)

    @cached_property
    def gap_by_identity(self) -> float:
        """The gap by ss.thm1.gap.identity: the soup's expected divergence rate."""
        beta = self.mdp.beta
        rate = gap_rate(self.kl_to_w, self.kl_ref, beta, self.temperature)
        return self.expected(rate)


def standard_lambdas(facts: Facts, seed: int = 0, draws: int = 4) -> dict[str, Array]:
    """The λ at which a claim about every λ is tried: λ*, (β'/β)w, (β'/β)e_k, signed draws, 0."""
    mdp = facts.mdp
    full = mdp.beta_prime / mdp.beta
    K = mdp.n_rewards
    lambdas: dict[str, Array] = {"optimum": facts.optimum.lam, "user weights": full * mdp.w}
    for k in range(K):
        lambdas[f"one-hot {k}"] = full * np.eye(K)[k]
    rng = np.random.default_rng([seed, 0x5A])
    for i in range(draws):
        direction = rng.dirichlet(np.ones(K)) * rng.choice([-1.0, 1.0], size=K)
        lambdas[f"draw {i}"] = full * rng.uniform(0.1, 1.0) * direction
    lambdas["zero"] = np.zeros(K)
    return lambdas
