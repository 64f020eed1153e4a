"""EXACT: attributes chosen for each pair's prompt, retrieved for new prompts (Algorithms 1 and 2)."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array, IntArray
from ..learning.feedback import Feedback
from ..learning.greedy import greedy
from .attributes import Margins, set_logits, sets
from .method import Bases, Domain, Facts, Fitted

Use = Literal["retrieval", "pooled", "best set", "topic-pooled", "clustered"]


def select(margins: Margins, n: int, which: Any, k: int) -> tuple[tuple[int, ...], float]:
    """Algorithm 1: k of n attributes by the mean margin of pairs ``which``; as printed, k always."""

    def values(taken: tuple[int, ...], rest: list[int]) -> Array:
        rows = sets(n, [(*taken, a) for a in rest])
        return np.asarray(margins.of(which, rows).mean(axis=1))

    return greedy(values, n, min(k, n))


def memory(domain: Domain, feedback: Feedback, k: int) -> dict[int, tuple[tuple[int, ...], float]]:
    """Prompt -> its attributes and their objective; a prompt that comes twice keeps the larger."""
    margins, n = Margins(domain, feedback), domain.attributes.shape[1]
    known: dict[int, tuple[tuple[int, ...], float]] = {}
    for i, p in enumerate(feedback.prompt.tolist()):
        chosen = select(margins, n, slice(i, i + 1), k)
        if p not in known or chosen[1] > known[p][1]:
            known[p] = chosen
    return known


def nearest(domain: Domain, p: int, among: list[int]) -> int:
    """Algorithm 2: the known prompt of the largest cosine with prompt p; of equals the first."""
    size = np.linalg.norm(domain.embedding, axis=1)
    unit = domain.embedding / np.where(size > 0, size, 1.0)[:, None]
    return among[int(np.argmax(unit[among] @ unit[p]))]


def clusters(domain: Domain, seed: int) -> IntArray:
    """[P]: a cluster of each prompt's embedding, as many as there are topics, by k-means."""
    many = len(np.unique(domain.topic))
    return np.asarray(scipy.cluster.vq.kmeans2(domain.embedding, many, minit="++", rng=seed)[1])


def chosen_sets(
    domain: Domain, feedback: Feedback, k: int, use: Use, seed: int
) -> list[tuple[int, ...]]:
    """The attributes [P] used for each prompt."""
    P, n = len(domain.world), domain.attributes.shape[1]
    if use in ("retrieval", "best set"):
        known = memory(domain, feedback, k)
        if use == "best set":  # Table 8's variant without retrieval: one set for all prompts
            best = max(known.values(), key=lambda entry: entry[1])[0]
            return [best] * P
        return [known[nearest(domain, p, sorted(known))][0] for p in range(P)]
    margins = Margins(domain, feedback)
    pooled = select(margins, n, slice(None), k)[0]
    if use == "pooled":
        return [pooled] * P
    of_prompt = domain.topic if use == "topic-pooled" else clusters(domain, seed)
    topics = of_prompt[feedback.prompt]
    by_topic = {
        topic: select(margins, n, np.flatnonzero(topics == topic), k)[0]
        for topic in np.unique(topics).tolist()
    }
    return [by_topic.get(int(of_prompt[p]), pooled) for p in range(P)]


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    k: int = 3, use: Use = "retrieval",
) -> Fitted:  # fmt: skip
    """``π^A`` with each prompt's attributes at full strength, as the paper prompts.

    use: "retrieval", Algorithms 1 and 2; "pooled", one set for the mean margin of all pairs; "best
    set", the pair's set of largest objective for all; "topic-pooled", one set for the pairs of the
    prompt's topic, which Theorem 5.2 analyses and the algorithms do not do; "clustered", the same with
    clusters of the embeddings for topics.
    """
    chosen = chosen_sets(domain, feedback, k, use, seed)
    logits = tuple(set_logits(domain, w, A) for w, A in zip(domain.world, chosen, strict=True))
    return Fitted(logits, Facts(hyper={"k": k, "sets": len(set(chosen))}), by_prompt=True)


def exhaustive_ratio(domain: Domain, feedback: Feedback, k: int, most: int = 10) -> float:
    """Mean over up to ``most`` pairs of F(greedy)/F(best set of exactly k), Table 7; F > 0 alone."""

    margins, n = Margins(domain, feedback), domain.attributes.shape[1]
    every = sets(n, list(combinations(range(n), k)))
    ratios = []
    for i in range(min(most, len(feedback))):
        best = float(margins.of(slice(i, i + 1), every).max())
        if best > 0:
            ratios.append(select(margins, n, slice(i, i + 1), k)[1] / best)
    return float(np.mean(ratios)) if ratios else float("nan")
