"""METHODS: one row a method or variant.

Another one is a file of this folder with a function ``fit(domain, bases, feedback, seed)``, and a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial

from ..errors import InstanceError
from . import (
    asking,
    drift,
    exact,
    explicit,
    history,
    implicit,
    mod,
    null_space,
    oracle,
    p_soups,
    pad,
    pad_sf,
    pref,
    reference,
    reward_model,
    rlhf,
    specialist,
    successors,
)
from .method import Method

SS, PAD, PSOUPS = "SS §4", "Chen 2024", "Jang 2023"

# id, variant, fit, what it knows of the user, source, what it does
METHODS: tuple[Method, ...] = (
    Method("ref", "", reference.fit, "nothing", "SS §2", "the reference policy"),
    Method("rlhf", "", rlhf.bespoke, "reward", "SS §5", "the optimum of the true reward"),
    Method("rlhf-learnt", "", rlhf.learnt, "pairs", "DPO", "the optimum of a reward learnt as a table"),
    Method("oracle", "", oracle.budget, "reward", "SS (8)", "the best soup within the budget"),
    Method("oracle-free", "", oracle.free, "reward", "ours", "the best soup of any λ"),
    Method("ss-explicit", "m=0", explicit.fit, "pairs", SS, "soup at λ of prior mean 0"),
    Method("ss-explicit", "m=0, budget", partial(explicit.fit, budget=True), "pairs", SS,
        "the same, scaled into |λ|₁ ≤ 1"),
    Method("ss-explicit", "m=1/K", partial(explicit.fit, mean="m=1/K"), "pairs", SS,
        "soup at λ of prior mean 1/K"),
    Method("ss-explicit", "m=1/K, budget", partial(explicit.fit, mean="m=1/K", budget=True), "pairs",
        SS, "the same, scaled into |λ|₁ ≤ 1"),
    Method("ss-implicit", "m=0", implicit.fit, "pairs", SS, "the same soup, by a sound rejection sampler"),
    Method("ss-implicit", "m=0, budget", partial(implicit.fit, budget=True), "pairs", SS,
        "the same, scaled into |λ|₁ ≤ 1"),
    Method("ss-sequential", "S_n", explicit.sequential, "pairs", "SS (21)-(22)",
        "soup at λ of one pair after another"),
    Method("ss-sequential", "S_{n-1}", partial(explicit.sequential, step="S_{n-1}"), "pairs",
        "SS (22)", "the same with the covariance before the pair", slow=True),
    Method("ss-sequential", "Δ/β", partial(explicit.sequential, over_beta=True), "pairs", "SS App. C",
        "the same with Δ over β, as printed", slow=True),
    Method("ss-implicit-printed", "m=0, budget", partial(implicit.printed, budget=True), "pairs", SS,
        "the law of the rejection sampler as printed"),
    Method("p-soups", "rank 2", p_soups.fit, "pairs", PSOUPS, "factors averaged apart"),
    Method("p-soups", "rank 2, delta", partial(p_soups.fit, merge="delta"), "pairs", PSOUPS,
        "products averaged"),
    Method("p-soups", "rank 2, equal", partial(p_soups.fit, merge="equal"), "pairs", PSOUPS,
        "plain mean of each factor", slow=True),
    Method("p-soups", "rank 2, independent", partial(p_soups.fit, independent=True), "pairs", PSOUPS,
        "factors averaged apart, each specialist initialised by itself", slow=True),
    Method("pad", "", pad.fit, "weights", PAD, "tilt by the reward of known weights"),
    Method("pad-greedy", "", pad.greedy, "weights", PAD, "its argmax, as the authors decode"),
    Method("pad-sf", "", partial(pad_sf.fit, restarts=0), "pairs", "Barreto 2018",
        "tilt gated by a scorer of the state"),
    Method("pad-sf", "5 starts", pad_sf.fit, "pairs", "Barreto 2018", "the same, best of 5 starts",
        slow=True),
    Method("pad-sf", "mixture", partial(pad_sf.fit, mixture=True, restarts=0), "pairs",
        "Barreto 2018", "specialists mixed with a gate of the state", slow=True),
    *(Method("null-space", choice, partial(null_space.fit, choice=choice), "weights", "ours",
        "one of many λ of one reward") for choice in ("simplex", "least ℓ₂", "least ℓ₁", "best")),
    Method("best-specialist", "", specialist.by_pairs, "pairs", "SS §5", "the likeliest specialist"),
    Method("best-specialist-oracle", "", specialist.by_value, "reward", "ours",
        "the most valuable specialist"),
    Method("exact", "k=3", exact.fit, "pairs", "EX Alg. 1, 2",
        "attributes of the nearest known prompt"),
    Method("exact", "k=3, pooled", partial(exact.fit, use="pooled"), "pairs", "EX Table 8",
        "attributes of all pairs at once"),
    Method("exact", "k=3, best set", partial(exact.fit, use="best set"), "pairs", "EX Table 8",
        "the attributes of the clearest pair, for all", slow=True),
    Method("exact", "k=3, topic-pooled", partial(exact.fit, use="topic-pooled"), "pairs", "EX Thm 5.2",
        "attributes of all pairs of the topic"),
    Method("exact", "k=3, clustered", partial(exact.fit, use="clustered"), "pairs", "EX Thm 5.2",
        "the same, topics by clusters of the embeddings", slow=True),
    *(Method("exact", f"k={k}", partial(exact.fit, k=k), "pairs", "EX Figure 1", "k attributes",
        slow=True) for k in (1, 2, 5, 10)),
    Method("drift", "", drift.fit, "pairs", "Kim 2025", "tilt by weighted attribute log-ratios"),
    Method("drift", "mean", partial(drift.fit, weights="mean"), "pairs", "Kim 2025",
        "the same, weights by mean margins", slow=True),
    Method("drift", "small", partial(drift.fit, small=True), "pairs", "Kim 2025",
        "the same, log-ratios of a coarser model", slow=True),
    Method("reward", "", reward_model.fit, "pairs", "EX §6", "best of n by a reward learnt for the user"),
    Method("base", "", history.fit, "pairs", "EX §6", "n-grams of the preferred answers"),
    Method("base", "less rejected", partial(history.fit, rejected=True), "pairs", "EX §6",
        "n-grams of the preferred answers less the rejected", slow=True),
    Method("mod", "", mod.fit, "pairs", "Shi 2024", "soup at weights on the simplex"),
    Method("pref", "", pref.pref, "pairs", "Shenfeld 2025", "the optimum of the mixture that is learnt"),
    Method("pref", "active", pref.pref, "pairs", "Shenfeld 2025",
        "the same, of the pairs of a pool that narrow the posterior of λ most", asks=asking.narrowing),
    Method("pref", "active, variance", pref.pref, "pairs", "Shenfeld 2025",
        "the same, of the pairs whose margins are least certain, as printed", slow=True,
        asks=partial(asking.narrowing, by="variance")),
    Method("pref", "simplex", pref.lore, "pairs", "Bose 2025", "the same with weights on the simplex"),
    Method("modpo", "", pref.modpo, "weights", "Zhou 2024", "the optimum for known weights"),
    Method("sf-gpi", "", successors.sf_gpi, "weights", "Barreto 2018",
        "tilt by the best specialist's value ahead"),
    Method("vas", "", successors.vas, "weights", "Han 2024", "tilt by values under ref"),
)  # fmt: skip
NAMES = tuple(dict.fromkeys(method.id for method in METHODS))


def select(patterns: Sequence[str] = ("*",)) -> tuple[Method, ...]:
    """The rows whose id, or ``id[variant]``, fits a pattern, in the catalogue's order.

    Raises InstanceError for a pattern that fits none.
    """
    for pattern in patterns:
        if not any(_fits(method, pattern) for method in METHODS):
            rule = f"no such method; choose from {', '.join(NAMES)}"
            raise InstanceError.of("--methods", pattern, rule, "correct it")
    return tuple(m for m in METHODS if any(_fits(m, pattern) for pattern in patterns))


def _fits(method: Method, pattern: str) -> bool:
    # brackets are what fnmatch calls a set, so a whole name is compared as it stands
    return pattern in (method.id, method.name) or fnmatchcase(method.id, pattern)
