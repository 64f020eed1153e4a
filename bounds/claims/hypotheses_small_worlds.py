"""The hypotheses of EXACT's statements and of Appendix C, each evaluated on its own world."""

from __future__ import annotations

import numpy as np

from toymdp.worlds.topic_cloud import samples_needed

from ..claim import Hypothesis, Outcome
from ..facts.attribute_set import AttributeFacts
from ..facts.preference_pairs import PairFacts
from ..facts.set_functions import ratio_of, rounding
from ..facts.topic_cloud import TopicFacts
from ..sides import EPS

# "r ≫ σ" of (16) as a number; ex.eq19 fails at every such number
MUCH = 8.0

# below this s = ΔᵀSΔ Newton's method contracts from anywhere (ss.appC.iterated.repaired)
CONTRACTION = 4.0


def newton_contracts(facts: PairFacts) -> Outcome:
    """At every interaction ``λ̄_{n−1}ᵀΔ ≥ 0`` or ``ΔᵀS_{n−1}Δ < 4``."""
    for n, link in enumerate(facts.chain):
        if link.margin < 0 and link.reach >= CONTRACTION:
            return False, (
                f"interaction {n}: margin {link.margin:.3g} < 0 and ΔᵀSΔ = {link.reach:.3g} ≥ 4, "
                "where undamped Newton may overshoot for ever"
            )
    return True, ""


# -- attribute-set/1 -------------------------------------------------------------------------


def attributes_tilt(facts: AttributeFacts) -> Outcome:
    """The instance carries policies, not a bare table of F."""
    if facts.instance.values is None:
        return True, ""
    return False, "the instance gives F as a table: it has no policies and no pairs"


def several_pairs(facts: AttributeFacts) -> Outcome:
    """The user compared at least two pairs; with one, (10) settles it."""
    pairs = facts.instance.pairs
    if pairs is not None and len(pairs) > 1:
        return True, ""
    return False, "one pair only: its margin and its likelihood are maximised together"


def normalised(facts: AttributeFacts) -> Outcome:
    """``F(∅) = 0``, exactly: (12) makes it so, a table may not."""
    if facts.F[0] == 0.0:
        return True, ""
    return False, f"F(∅) = {facts.F[0]:.4g}, not 0"


def monotone(facts: AttributeFacts) -> Outcome:
    """``Δ(a|S) ≥ 0`` for every set S and attribute a outside it."""
    n = facts.instance.n_attributes
    masks = np.arange(len(facts.F))
    gains = np.array([facts.F[masks | 1 << a] - facts.F for a in range(n)])
    a, S = (int(i) for i in np.unravel_index(int(np.argmin(gains)), gains.shape))
    least = float(gains[a, S])
    if least >= 0.0:
        return True, ""
    if least >= -rounding(facts):
        return None, f"the least gain {least:.3g} is within rounding of 0"
    chosen = [b for b in range(n) if S >> b & 1]
    return False, f"adding attribute {a} to {chosen} changes F by {least:.4g} < 0"


def weakly_submodular(facts: AttributeFacts) -> Outcome:
    """``γ > 0``, γ of (29); vacuous where F is constant."""
    gamma = facts.once(ratio_of)
    if gamma is None or gamma > 0.0:
        return True, ""
    return False, f"the submodularity ratio is {gamma:.4g} ≤ 0"


# -- topic-cloud/1 ---------------------------------------------------------------------------


def centred(facts: TopicFacts) -> Outcome:
    """``E[ε | topic] = 0`` of (15), up to the rounding of the prompts φ = μ + ε."""
    worst, size = float(np.abs(facts.offsets).max()), float(np.abs(facts.means).max())
    if facts.instance.points is not None:
        size += float(np.abs(facts.instance.points).max())
    if worst <= 32 * EPS * size:
        return True, ""
    return False, f"a topic's noise has mean {worst:.4g}, not 0"


def topics_stratified(facts: TopicFacts) -> Outcome:
    """``p_c = n_c/m``, up to rounding."""
    counts = facts.instance.counts
    gap = float(np.abs(facts.instance.proportions - counts / counts.sum()).max())
    if gap <= 4 * EPS:
        return True, ""
    return False, f"proportions differ from n_c/m by {gap:.4g}"


def subgaussian(facts: TopicFacts) -> Outcome:
    """Noise is σ²-sub-Gaussian: ``E exp(u·ε) ≤ exp(σ²|u|²/2)`` for every u.

    Gaussian: the largest eigenvalue of Σ_c is at most σ². Two atoms at distance R, the rarer of
    weight q: the exact constant is ``R²(1 − 2q)/(2 log((1−q)/q))`` (Kearns and Saul 1998). More
    atoms: Hoeffding's diameter²/4 suffices, the variance is necessary; between them, unknown.
    """
    allowed = facts.instance.sigma**2 * (1.0 + 8 * EPS)
    unknown = ""
    for c, matrix in enumerate(facts.covariances):
        needed = float(np.linalg.eigvalsh(matrix)[-1])
        enough = needed
        if facts.atoms is not None:
            points, weights = facts.atoms[c]
            gaps = points[:, None] - points[None, :]
            square = float((gaps**2).sum(axis=2).max())
            enough = square / 4.0
            if len(weights) == 2:
                needed = enough = square * _kearns_saul(float(weights.min()))
        if needed > allowed:
            return False, f"topic {c} needs σ² ≥ {needed:.4g} to be sub-Gaussian"
        if enough > allowed:
            unknown = f"topic {c}: σ² lies between the variance and Hoeffding's {enough:.4g}"
    return (None, unknown) if unknown else (True, "")


def _kearns_saul(q: float) -> float:
    """Sub-Gaussian constant of a Bernoulli(q) variable, q ≤ 1/2; its limit 1/4 at q = 1/2."""
    if 1.0 - 2.0 * q < 1e-6:
        return 0.25  # an upper bound there, and right to twelve digits
    return float((1.0 - 2.0 * q) / (2.0 * np.log((1.0 - q) / q)))


def noise_small(facts: TopicFacts) -> Outcome:
    """``r ≫ σ`` of (16), read as r ≥ 8σ."""
    world = facts.instance
    if world.separation >= MUCH * world.sigma:
        return True, ""
    return False, f"r/σ = {world.separation / world.sigma:.4g} is below {MUCH:g}"


def separated(facts: TopicFacts) -> Outcome:
    """``‖μ_j − μ_l‖ ≥ r`` for all pairs of topics, (16), up to rounding."""
    gaps = np.linalg.norm(facts.means[:, None] - facts.means[None, :], axis=2)
    np.fill_diagonal(gaps, np.inf)
    if gaps.min() >= facts.instance.separation * (1.0 - 8 * EPS):
        return True, ""
    return False, f"two topics are {gaps.min():.4g} apart, less than r"


def samples_enough(facts: TopicFacts) -> Outcome:
    """(18), with a constant for which step 1 of the paper's proof is rigorous."""
    world = facts.instance
    C, d = world.means.shape
    needed = samples_needed(world.sigma, world.separation, C, d, world.delta)
    if world.counts.min() >= needed:
        return True, ""
    return False, f"a topic has {world.counts.min():.0f} prompts, (18) asks for {needed:.4g}"


ATTRIBUTES_TILT = Hypothesis("attributes-tilt", "policies are given", attributes_tilt)
PAIRS_SEVERAL = Hypothesis("pairs-several", "at least two pairs", several_pairs)
F_NORMALISED = Hypothesis("f-normalised", "F(∅) = 0", normalised)
F_MONOTONE = Hypothesis("f-monotone", "no attribute lowers F", monotone)
F_WEAKLY_SUBMODULAR = Hypothesis("f-weakly-submodular", "γ > 0", weakly_submodular)
NOISE_CENTRED = Hypothesis("noise-centred", "E[ε | topic] = 0", centred)
TOPICS_STRATIFIED = Hypothesis("topics-stratified", "p_c = n_c/m", topics_stratified)
NOISE_SUBGAUSSIAN = Hypothesis("noise-subgaussian", "ε is σ²-sub-Gaussian", subgaussian)
NOISE_SMALL = Hypothesis("noise-small", "r ≥ 8σ", noise_small)
TOPICS_SEPARATED = Hypothesis("topics-separated", "centres are r apart", separated)
SAMPLES_ENOUGH = Hypothesis("samples-enough", "(18)", samples_enough)
NEWTON_CONTRACTS = Hypothesis("newton-contracts", "λ̄ᵀΔ ≥ 0 or ΔᵀSΔ < 4", newton_contracts)
