"""What ``search --natural`` asks of a world, and whether one has it. Needs no torch.

A counterexample with token weights of 2^-400 and norms over many orders of magnitude proves a
statement false and convinces few. Here a search is confined to ordinary worlds from its first draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from toymdp import InstanceError, TokenMDP
from toymdp.worlds.features import Dense

ROUNDING = 1e-12  # share by which a limit may be missed: ref is a quotient of rounded weights
# claims whose sides depend on ref, rewards, features and λ alone, and for which the best features
# within a norm ratio are known (bounds.search.objectives)
CONFINED = (
    "ss.thm1.kl", "ss.thm1.kl.any", "ss.thm1.kl.repaired", "ss.thm1.kl.constant-norm",
    "ss.thm1.gap", "ss.thm1.gap.constant-norm", "ss.thm1.gap.sharp",
    "ss.thm1.gap.constant-norm.conditional", "ss.proof.C.lipschitz", "ss.proof.C.lipschitz.repaired",
)  # fmt: skip
MOST = 1e4  # norm ratio and r/β: beyond it no world is ordinary
MOST_SPECIALISTS = 5
LONGEST = 40


@dataclass(frozen=True)
class Ordinary:
    """Limits that every instance of a search keeps; rewards are ≥ 0 besides.

    least_ref: smallest probability of a token under ref, of all tokens, or of the allowed ones where
    ``may_forbid``. norm_ratio: largest feature norm over the smallest, at reachable (t, s').
    reward_over_beta: largest reward in units of β, at reachable s'. weights: w [K], or None for any w
    of two rewards. horizon: T, or None for any. order: L, or None for 1 and 2; where one token decides
    (and none is forbidden) every context is reached at every step, so that nothing hangs on where
    coefficients are compared.

    Raises InstanceError for a limit that no world, or every world, meets.
    """

    least_ref: float = 0.01
    norm_ratio: float = 3.0
    reward_over_beta: float = 50.0
    weights: tuple[float, ...] | None = (0.5, 0.5)
    horizon: int | None = None
    may_forbid: bool = False
    order: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--least-ref", self.least_ref, 1e-300, 1 / 3),
            ("--norm-ratio", self.norm_ratio, 1.0, MOST),
            ("--reward-over-beta", self.reward_over_beta, 1e-6, MOST),
            ("--horizon", 2 if self.horizon is None else self.horizon, 1, LONGEST),
            ("--order", 1 if self.order is None else self.order, 1, 2),
        ):
            if not low <= value <= high:
                rule = f"must be from {low:.3g} to {high:.3g}"
                raise InstanceError.of(name, value, rule, "choose another")
        w = self.weights
        if w is None:
            return
        if not 2 <= len(w) <= MOST_SPECIALISTS:
            rule = f"must be 2 to {MOST_SPECIALISTS} numbers, one for each reward"
            raise InstanceError.of("--weights", list(w), rule, "correct it")
        if min(w) <= 0 or abs(math.fsum(w) - 1) > 1e-9:
            raise InstanceError.of("--weights", list(w), "must be positive, of sum 1", "correct it")

    @property
    def rewards(self) -> int:
        """Number of rewards K."""
        return 2 if self.weights is None else len(self.weights)

    @property
    def equal_weights(self) -> bool:
        """Whether w is fixed and the same for all rewards."""
        return self.weights is not None and len(set(self.weights)) == 1

    def as_record(self) -> dict[str, Any]:
        """What was asked, as plain data for a witness's ``meta``."""
        return {
            "least_ref": self.least_ref, "norm_ratio": self.norm_ratio,
            "reward_over_beta": self.reward_over_beta,
            "weights": None if self.weights is None else list(self.weights),
            "horizon": self.horizon, "may_forbid": self.may_forbid, "order": self.order,
        }  # fmt: skip

    def in_words(self) -> str:
        """What was asked, on one line."""
        tokens = "allowed tokens" if self.may_forbid else "all tokens"
        w = (
            "any w"
            if self.weights is None
            else "w = " + ", ".join(f"{x:.4g}" for x in self.weights)
        )
        T = "" if self.horizon is None else f", T = {self.horizon}"
        L = "" if self.order is None else f", L = {self.order}"
        return (
            f"ref ≥ {self.least_ref:g} of {tokens}, norm ratio ≤ {self.norm_ratio:g}, "
            f"0 ≤ r/β ≤ {self.reward_over_beta:g}, {w}{T}{L}"
        )

    def admits(self, mdp: TokenMDP) -> bool:
        """Whether an instance keeps every limit, but for rounding."""
        seen = Measured.of(mdp)
        return (
            seen.least_ref >= self.least_ref * (1 - ROUNDING)
            and (self.may_forbid or not seen.forbids)
            and seen.norm_ratio <= self.norm_ratio * (1 + ROUNDING)
            and seen.least_reward >= 0
            and seen.reward_over_beta <= self.reward_over_beta * (1 + ROUNDING)
            and (self.weights is None or np.allclose(mdp.w, self.weights, rtol=0, atol=1e-9))
            and (self.horizon is None or mdp.horizon == self.horizon)
            and (self.order is None or mdp.order == self.order)
        )


@dataclass(frozen=True)
class Measured:
    """How ordinary an instance is: what ``Ordinary`` limits, measured over what is reachable."""

    least_ref: float
    forbids: bool
    norm_ratio: float
    least_reward: float
    reward_over_beta: float

    @classmethod
    def of(cls, mdp: TokenMDP) -> Measured:
        """Measure an instance."""
        states, nexts = mdp.reach.any_state, mdp.reach.nexts
        ref = mdp.ref[states]
        psi = mdp.features
        every = psi.norms(mdp.steps) if isinstance(psi, Dense) else psi.scales(*nexts.shape)
        norms = every[nexts]
        rewards = mdp.rewards[:, nexts.any(axis=0)]
        return cls(
            float(ref[ref > 0].min()), bool((ref == 0).any()),
            float(norms.max() / norms.min()) if norms.min() > 0 else math.inf,
            float(rewards.min()), float(rewards.max()) / mdp.beta,
        )  # fmt: skip

    def in_words(self) -> str:
        """The same on one line."""
        forbids = ", some tokens forbidden" if self.forbids else ""
        return (
            f"ref ≥ {self.least_ref:.3g}{forbids}, norm ratio {self.norm_ratio:.3g}, "
            f"{self.least_reward:.3g} ≤ r, r/β ≤ {self.reward_over_beta:.3g}"
        )
