"""``corpus``: ref and rewards fitted to real text, real human judgements for feedback.

A pair is two answers to one TruthfulQA question of which people judged one truthful (informative, or
both) and the other not. Values are under the *fitted* reward, since nobody knows the people's own; what is
real is the accuracy on pairs of questions that neither ref, nor rewards, nor the method saw.
"""

from __future__ import annotations

import numpy as np

from toymdp.arrays import Array, IntArray
from toymdp.families.corpus import corpus_ngrams
from toymdp.families.corpus_answers import LabelledAnswers, labelled_answers
from toymdp.learning.feedback import Feedback
from toymdp.methods import collect
from toymdp.methods.method import Bases, Domain

from ..records.output import Record
from .experiment import Ask, Experiment, Settings, Unit

A, L, T = 32, 2, 12
SPECIALISTS, USERS = 6, 3
USERS_ARE = ("truthful", "informative", "truthful and informative")


def domain(seed: int) -> Domain:
    """The fitted world; its base rewards point in six directions of the two attributes' plane.

    A user is an attribute, or their mean. One prompt, which stands for train and for test.
    """
    fitted = corpus_ngrams(seed, vocab_size=A, order=L, horizon=T)
    attributes = fitted.rewards
    turns = 2.0 * np.pi * np.arange(SPECIALISTS) / SPECIALISTS
    mixtures = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    mdp = fitted.replace(
        rewards=mixtures @ attributes, w=np.full(SPECIALISTS, 1.0 / SPECIALISTS), meta={},
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    users = np.stack([attributes[0], attributes[1], attributes.mean(axis=0)])
    return Domain(
        "corpus", (mdp,), np.zeros(2, dtype=np.int64), np.full(2, mdp.start_context),
        np.array([True, False]), attributes[None], users[:, None],
    )  # fmt: skip


def wanted(data: LabelledAnswers, user: int) -> Array:
    """[n]: whether an answer has what the user wants, as people judged it."""
    return data.labels[:, user] if user < 2 else data.labels.min(axis=1)


def human_pairs(
    world: Domain, data: LabelledAnswers, user: int, n: int, seed: int, *, train: bool
) -> Feedback:
    """n pairs of answers to one question, one with what the user wants and one without, in any order."""
    rng = np.random.default_rng([seed, user, int(train), 0xC0])
    good = wanted(data, user) > 0
    rows = np.flatnonzero(data.train == train)
    by_question: dict[int, list[int]] = {}
    for i in rows.tolist():
        by_question.setdefault(int(data.question[i]), []).append(i)
    both = [i for i in by_question.values() if good[i].any() and not good[i].all()]
    pairs = np.empty((n, 2), dtype=np.int64)
    for row in pairs:
        answers = np.array(both[rng.integers(len(both))])
        row[:] = rng.choice(answers[good[answers]]), rng.choice(answers[~good[answers]])
    labels = rng.choice([-1.0, 1.0], size=n)
    first = np.where(labels > 0, pairs[:, 0], pairs[:, 1])
    second = np.where(labels > 0, pairs[:, 1], pairs[:, 0])
    start = int(world.start[0])
    one, other = (_contexts(data.tokens[i], start) for i in (first, second))
    prompt = np.full(n, 0 if train else 1)
    return Feedback(one, other, labels, prompt, user=user, source="people", seed=seed)


def _contexts(tokens: IntArray, start: int) -> IntArray:
    """Next contexts [n, T] of token sequences."""
    before = np.full(len(tokens), start)
    nexts = np.empty_like(tokens)
    for t in range(tokens.shape[1]):
        before = (before * A + tokens[:, t]) % A**L
        nexts[:, t] = before
    return nexts


def unit(ask: Ask) -> list[Record]:
    """The records of one user: with people's own labels, and with labels by the fitted reward."""
    seed, user = ask.seed, ask.user
    world = domain(seed)
    bases = Bases.optimal(world)
    data = labelled_answers(seed, A, T)
    people = human_pairs(world, data, user, max(ask.pairs), seed, train=True)
    asked = {
        kind: human_pairs(world, data, user, 2000, seed + 1, train=kind == "train")
        for kind in ("train", "test")
    }
    simulated = collect.label(world, people, user, ask.labels, seed)
    rows = []
    for name, feedback in (("people", people), ("fitted reward", simulated)):
        about = f"{USERS_ARE[user]}, labels of {name}"
        rows += Unit("corpus", about, world, bases, bases, feedback, ask, asked=asked).records()
    return rows


METHODS = (
    "ref", "rlhf", "rlhf-learnt", "ss-explicit[m=0]", "ss-explicit[m=0, budget]", "mod", "pad", "drift",
)  # fmt: skip
FULL = Settings(5, USERS, (20, 160, 1280), METHODS, "bt", 0.0, False)
QUICK = Settings(1, 1, (160, 1280), METHODS, "bt", 0.0, True)
EXPERIMENT = Experiment(
    "corpus", "real text, real human judgements for feedback, accuracy on unseen questions",
    (
        "ref: a Witten–Bell model of TruthfulQA's answers; rewards: logistic regressions of the labels",
        "a pair: two answers to one question, one judged to have what the user wants, one not",
        "`right`: accuracy on people's pairs of unseen questions; shares are under the fitted reward",
        "questions are not modelled: one start, which stands for train and for test",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
