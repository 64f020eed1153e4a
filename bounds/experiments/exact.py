"""``exact``: a user's taste by topic, attributes chosen from pairs (EXACT Tables 2, 3, 8, Figure 1).

The protocol of §6.1 in miniature: users of 20 to 100 pairs, each about a prompt of one of four topics,
42 attributes, k = 3; what is learnt is judged on other prompts.
"""

from __future__ import annotations

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp import TokenMDP
from toymdp.arrays import Array
from toymdp.methods.exact import exhaustive_ratio
from toymdp.methods.method import Domain, Fitted
from toymdp.methods.reward_model import Enumerated, enumerated
from toymdp.methods.value import accuracy

from ..records.output import Record, number
from .experiment import Ask, Experiment, Judge, Settings, souped

A, L, T, BETA = 5, 2, 4, 1.0
TOPICS, ATTRIBUTES, USERS = 4, 42, 10
TRAIN, TEST = 80, 20  # prompts: an 8:2 split
DIMENSIONS, SEPARATION = 8, 3.0  # of embeddings; distance of topics' centres over the noise
LIKED = 3  # attributes that a user has a taste for in a topic
STRENGTH = 0.5  # of an attribute's tilt: reward units of its standard deviation
GREEDY_K = 3
TASTES = ("reversal", "independent", "consistent")


def tastes(rng: np.random.Generator, kind: str, turned: int = LIKED) -> Array:
    """Weights [topics, n] of a user: ``LIKED`` attributes in each topic.

    "reversal": the same attributes, of which ``turned`` have the opposite sign in every other topic;
    "independent": others in each; "consistent": the same everywhere.
    """
    weights = np.zeros((TOPICS, ATTRIBUTES))
    shared = rng.choice(ATTRIBUTES, LIKED, replace=False)
    signs = rng.choice([-1.0, 1.0], size=LIKED)
    for topic in range(TOPICS):
        if kind == "independent":
            shared = rng.choice(ATTRIBUTES, LIKED, replace=False)
            signs = rng.choice([-1.0, 1.0], size=LIKED)
        weights[topic, shared] = signs
        if kind == "reversal" and topic % 2:
            weights[topic, shared[:turned]] *= -1.0
    return weights


def domain(seed: int, kind: str, separation: float = SEPARATION, turned: int = LIKED) -> Domain:
    """The world of a seed: a ref for each topic, attributes that all topics share, users by topic.

    separation: of the topics' centres among embeddings, over their noise. turned: see ``tastes``.
    """
    rng = np.random.default_rng([seed, 0xE7])
    S, P = A**L, TRAIN + TEST
    attributes = STRENGTH * rng.normal(size=(ATTRIBUTES, S))
    worlds = tuple(
        TokenMDP(
            vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=rng.gamma(1.0, size=(S, A)),
            rewards=attributes[:LIKED], beta=BETA, w=np.full(LIKED, 1.0 / LIKED),
            features={"kind": "tabular", "per_step": True, "scale": 1.0}, name=f"topic-{topic}",
        )
        for topic in range(TOPICS)
    )  # fmt: skip
    topic = np.arange(P) % TOPICS
    centres = separation / np.sqrt(2.0) * np.eye(DIMENSIONS)[:TOPICS]
    embedding = centres[topic] + rng.normal(size=(P, DIMENSIONS))
    likes = np.stack([tastes(rng, kind, turned) for _ in range(USERS)])
    # a user wants twice what an attribute in the prompt does
    users = 2.0 * likes @ attributes
    return Domain(
        f"exact {kind}", worlds, topic, rng.integers(S, size=P), np.arange(P) < TRAIN,
        np.repeat(attributes[None], TOPICS, axis=0), users, embedding, topic,
    )  # fmt: skip


def against_ref(domain: Domain, user: int, p: int) -> tuple[Enumerated, Array]:
    """The answers to prompt p, and the chances [2, n] that a user prefers each to an answer of ref.

    By chance and by rank; computed once, since no method changes them.
    """
    known = enumerated(domain, p)
    returns = domain.users[user, domain.world[p]][known.answers].sum(axis=1)
    gaps, ref = returns[:, None] - returns[None, :], np.exp(known.log_ref)
    return known, np.stack([scipy.special.expit(gaps) @ ref, (0.5 + 0.5 * np.sign(gaps)) @ ref])


def win_rates(judge: Judge, fitted: Fitted, which: Array) -> tuple[float, float]:
    """Chances that the user prefers one answer of the method to one of ref: under BT, by rank.

    Exact, by enumerating the answers to each prompt; ties count ½.
    """
    domain, user = judge.unit.domain, judge.unit.feedback.user
    place = fitted.place(domain)
    wins = []
    tables = None if fitted.logits is None else fitted.tables(domain)
    for p in np.flatnonzero(which).tolist():
        known, chances = judge.unit.exact.once(against_ref, domain, user, p)
        if tables is None:
            law = (fitted.laws or ())[p].law
        else:
            before = np.hstack(
                [np.full((len(known.answers), 1), domain.start[p]), known.answers[:, :-1]]
            )
            steps = tables[place.world[p]][np.arange(T), before, known.answers % A]
            law = steps.prod(axis=1)
        wins.append(chances @ law)
    by_chance, by_rank = np.mean(wins, axis=0).tolist()
    return by_chance, by_rank


def extras(judge: Judge, fitted: Fitted, kind: str) -> Record:
    """What EXACT's tables show beside a share: accuracy by ``log π`` itself, win rates over ref.

    greedy_ratio: mean of F(greedy)/F(best set of three) over ten pairs, all sets tried.
    """
    raw = None
    if fitted.scores is None:
        raw = accuracy(judge.unit.domain, fitted, judge.test_pairs[kind], raw=True)
    if kind == "train":  # eighty prompts to enumerate, which no table shows
        return {"accuracy_raw": raw, "win_bt": None, "win_rank": None, "greedy_ratio": None}
    by_chance, by_rank = win_rates(judge, fitted, judge.kinds[kind])
    ratio, unit = None, judge.unit
    if fitted.facts.hyper.get("k") == GREEDY_K:
        ratio = unit.exact.once(exhaustive_ratio, unit.domain, unit.feedback, GREEDY_K)
    return {
        "accuracy_raw": raw, "win_bt": by_chance, "win_rank": by_rank, "greedy_ratio": number(ratio),
    }  # fmt: skip


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed, for each kind of taste."""
    return [row for kind in TASTES for row in souped("exact", domain(ask.seed, kind), ask, extras)]


RETRIEVAL = (
    "exact[k=3]", "exact[k=3, pooled]", "exact[k=3, topic-pooled]", "exact[k=3, clustered]",
)  # fmt: skip


def by_topics(seed: int, user: int, pairs: int, turned: int, separation: float) -> list[Record]:
    """Retrieval, one set for all pairs, one for each topic's (known or not), in such a world."""
    ask = Ask(seed, user, (pairs,), RETRIEVAL, "bt", 0.0, True)
    return souped("exact", domain(seed, "reversal", separation, turned), ask)


METHODS = ("ref", "rlhf", "rlhf-learnt", "exact", "drift", "reward", "base")
FULL = Settings(20, 3, (20, 80), METHODS, "bt", 0.0, False)
QUICK = Settings(3, 2, (80,), METHODS, "bt", 0.0, True)
EXPERIMENT = Experiment(
    "exact", "tastes by topic, attributes chosen from pairs (EXACT Tables 2, 3, 8, Figure 1)",
    (
        "π^A ∝ ref·exp(Σ_{a in A} a/β), a token at a time; 42 attributes, shared by four topics",
        "tastes: opposite in every other topic, others in each, or the same everywhere",
        "`right` anchors log π at ref; accuracy_raw in the records is by log π, as Table 2 scores",
        "Base: ref interpolated with n-grams of the preferred answers, its weight by cross-validation",
        "users of a set: three of ten, to keep a run short (`--users 10` for all)",
        "Drift: log-ratios of the model itself; of one that sees one token less: variant small",
        "win rates are exact: one answer of the method against one of ref, judged by the user",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
