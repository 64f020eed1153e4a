"""What an experiment is, and the unit of its work: one seed and one user, every method, every size.

A unit is a task on plain values, so that a run can be cut anywhere between units and gone on with.
Its records are those of METHODS: numbers or null with a reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from toymdp.arrays import Array
from toymdp.errors import SolverError
from toymdp.exact.evaluate import share
from toymdp.learning.feedback import Feedback, Mode
from toymdp.learning.logistic import SeparableError, unpenalised
from toymdp.methods import collect
from toymdp.methods.catalogue import select
from toymdp.methods.method import Bases, Domain, Facts, Fitted, Method, NotApplicable
from toymdp.methods.value import (
    Value,
    accuracy,
    held_out,
    losses,
    matched,
    of_tables,
    value_of,
)
from toymdp.threads import one_blas_thread

from ..records.output import Record, number, versions
from ..runs.task import Task

LIMIT_PAIRS = 8_000  # from which λ at unlimited pairs is read, with the exact chances for labels
TEST_PAIRS = 400  # of which the accuracy is a share
ROADS = 1e-9  # of the size of the values: two roads that are further apart are an error
KINDS = ("train", "test")


@dataclass(frozen=True)
class Settings:
    """What a run of an experiment is asked for; plain values.

    seeds, users: how many. pairs: sizes of the feedback. methods: patterns. labels: how users answer.
    outside: share of the users' rewards that no attribute knows. quick: fewer variants and restarts.
    """

    seeds: int
    users: int
    pairs: tuple[int, ...]
    methods: tuple[str, ...]
    labels: Mode
    outside: float
    quick: bool


@dataclass(frozen=True)
class Ask:
    """What one unit of work is asked for: a user of a world, and of the run's settings what it needs."""

    seed: int
    user: int
    pairs: tuple[int, ...]
    methods: tuple[str, ...]
    labels: Mode
    outside: float
    quick: bool

    @property
    def rows(self) -> tuple[Method, ...]:
        """The catalogue's rows; a quick run leaves out what is marked as slow, unless named."""
        return tuple(
            m
            for m in select(self.methods)
            if not (self.quick and m.slow and m.name not in self.methods)
        )

    def feedback(self, domain: Domain) -> Feedback:
        """The user's answers: the same pairs for all users of a seed, each with answers of their own."""
        pairs = collect.draw_pairs(domain, max(self.pairs), self.seed)
        return collect.label(domain, pairs, self.user, self.labels, self.seed)


@dataclass(frozen=True)
class Experiment:
    """One row of the experiments' catalogue.

    name: of the command. says: what it is about, one line. readings: what the paper leaves open, and
    how it is read here. unit: an ``Ask`` -> the records of one user of one seed.
    full, quick: settings of a whole run and of one under a minute. people: users that a
    world has, of whom a run takes the first.
    """

    name: str
    says: str
    readings: tuple[str, ...]
    unit: Callable[[Ask], list[Record]]
    full: Settings
    quick: Settings
    people: int

    def tasks(self, settings: Settings) -> list[Task[list[Record]]]:
        """One task for each seed and user."""
        # a unit is the same whatever number of seeds and users it is one of
        shared = {f.name: getattr(settings, f.name) for f in fields(settings)}
        seeds, users = shared.pop("seeds"), shared.pop("users")
        return [
            Task.of(self.unit, ask=Ask(seed=seed, user=user, **shared))
            for seed in range(seeds) for user in range(users)
        ]  # fmt: skip


def souped(
    experiment: str, world: Domain, ask: Ask,
    extras: Callable[[Judge, Fitted, str], Record] | None = None,
) -> list[Record]:  # fmt: skip
    """The records of a unit whose methods have the world's exact specialists."""
    bases = Bases.optimal(world)
    return Unit(
        experiment, world.name, world, bases, bases, ask.feedback(world), ask, extras
    ).records()


@dataclass(frozen=True, eq=False)
class Unit:
    """One user of one world: what all methods of a unit share.

    name: of the domain in records. exact: the exact specialists, where ``bases`` are others. extras:
    what an experiment records beside what all do. asked: pairs that accuracy is judged on, by kind of
    prompt; by default pairs of ref's answers, as the user ranks them.
    """

    experiment: str
    name: str
    domain: Domain
    bases: Bases
    exact: Bases
    feedback: Feedback
    ask: Ask
    extras: Callable[[Judge, Fitted, str], Record] | None = None
    asked: Mapping[str, Feedback] | None = None

    @one_blas_thread()
    def records(self) -> list[Record]:
        """The records of every method at every number of pairs, on train and on test prompts."""
        judge = Judge.of(self)
        rows: list[Record] = []
        for method in self.ask.rows:
            sizes: Sequence[int | None] = self.ask.pairs if method.sees_pairs else (None,)
            for n in sizes:
                rows += self._fitted(method, n, judge)
        return rows

    def _fitted(self, method: Method, n: int | None, judge: Judge) -> list[Record]:
        about = {
            "experiment": self.experiment, "domain": self.name, "method": method.id,
            "variant": method.variant, "seed": self.ask.seed, "user": self.feedback.user, "pairs": n,
            "labels": self.feedback.mode, "outside": self.ask.outside, "oracle": method.oracle,
        }  # fmt: skip
        began = time.perf_counter()
        try:
            shown = self.feedback
            if n is not None:
                shown = method.shown(self.domain, self.bases, self.feedback, n)
            fitted = method.fit(self.domain, self.bases, shown, self.ask.seed)
            seconds = time.perf_counter() - began
            rows = judge.judged(fitted)
        except (NotApplicable, SolverError) as failure:
            status = "not-applicable" if isinstance(failure, NotApplicable) else "failed"
            seconds = time.perf_counter() - began
            rows = [_empty(kind, status, str(failure)) for kind in judge.kinds]
        return [about | row | {"seconds": seconds, "versions": versions()} for row in rows]


def _facts(facts: Facts) -> Record:
    lam = facts.lam
    size = None if lam is None else float(np.abs(lam).sum())
    negative = None if lam is None else float(-np.minimum(lam, 0.0).sum())
    rates = None if facts.acceptance is None else dict(facts.acceptance)
    hyper = {k: number(v) if isinstance(v, float) else v for k, v in facts.hyper.items()}
    return {
        "lambda_l1": size, "negative_mass": negative, "acceptance": rates, "hyper": hyper,
        "policy_evaluations": facts.evaluations,
    }  # fmt: skip


NOTHING = (
    "value", "V_u", "V_ref", "regret", "share", "share_matched_kl", "kl", "kl_ref",
    "lambda_l1", "negative_mass", "acceptance",
    "hyper", "policy_evaluations", "losses", "accuracy", "error",
)  # fmt: skip


def _empty(kind: str, status: str, reason: str) -> Record:
    return {"prompts": kind} | dict.fromkeys(NOTHING) | {"status": status, "reason": reason}


@dataclass(frozen=True, eq=False)
class Judge:
    """What a unit's policies are measured against: the user's own, ref, pairs kept apart."""

    unit: Unit
    best: Value
    ref: Value
    kinds: dict[str, Array]
    test_pairs: dict[str, Feedback]
    limit: Array | None
    no_limit: str

    @classmethod
    def of(cls, unit: Unit) -> Judge:
        """What all policies of a unit are compared with."""
        domain, user = unit.domain, unit.feedback.user
        kinds = {k: domain.train == (k == "train") for k in KINDS}
        kinds = {k: which for k, which in kinds.items() if which.any()}
        asked = dict(unit.asked or {})
        for kind in kinds if unit.asked is None else ():
            # a seed of their own: none of the pairs that the user answered is among them
            drawn = collect.draw_pairs(
                domain, TEST_PAIRS, unit.ask.seed + 0x7E57, train=kind == "train"
            )
            asked[kind] = held_out(domain, drawn, user)
        flat = tuple(np.zeros_like(best.logits) for best in domain.best(user))
        best = of_tables(
            domain, Fitted(tuple(b.logits for b in domain.best(user))).tables(domain), user
        )
        ref = of_tables(domain, Fitted(flat).tables(domain), user)
        limit, why = unit.exact.once(unlimited, domain, unit.exact, unit.feedback, unit.ask.seed)
        return cls(unit, best, ref, kinds, asked, limit, why)

    def judged(self, fitted: Fitted) -> list[Record]:
        """One record for the train prompts and one for the test prompts."""
        domain, user = self.unit.domain, self.unit.feedback.user
        value = value_of(domain, fitted, user)
        size = float(np.abs(np.concatenate([value.value, self.best.value, self.ref.value])).max())
        apart = value.error > ROADS * max(1.0, size)
        reasons: list[str] = []
        try:
            stretched = of_tables(fitted.place(domain), matched(domain, fitted, user), user)
        except NotApplicable as why:
            stretched = None
            reasons.append(f"share_matched_kl: {why}")
        rows = []
        for kind, which in self.kinds.items():
            because = list(reasons)
            lost = self._losses(fitted, which, because)
            right = accuracy(domain, fitted, self.test_pairs[kind])
            own = share_of(value.value, self, which)
            if own is None:
                because.append("share: the user's optimum is worth no more than ref")
            if apart:
                because.insert(0, f"the two roads to the value differ by {value.error:.3g}")
            rows.append({
                "prompts": kind,
                "value": number(float(value.value[which].mean())),
                "V_u": number(float(self.best.value[which].mean())),
                "V_ref": number(float(self.ref.value[which].mean())),
                "regret": number(float((self.best.value - value.value)[which].mean())),
                "share": own,
                "share_matched_kl": None if stretched is None
                else share_of(stretched.value, self, which),
                "kl": number(float(value.kl[which].mean())),
                "kl_ref": number(float(value.kl_ref[which].mean())),
                **_facts(fitted.facts),
                "losses": lost,
                "accuracy": right,
                "error": number(value.error),
                **({} if self.unit.extras is None else self.unit.extras(self, fitted, kind)),
                "status": "roads-differ" if apart else "done",
                "reason": "; ".join(because),
            })  # fmt: skip
        return rows

    def _losses(self, fitted: Fitted, which: Array, reasons: list[str]) -> Record | None:
        try:
            if self.limit is None and fitted.facts.soup:
                raise NotApplicable(self.no_limit)
            limit = self.limit if self.limit is not None else np.zeros(0)
            unit = self.unit
            found = losses(unit.domain, unit.exact, fitted, limit, unit.feedback.user, which)
        except NotApplicable as why:
            reasons.append(f"losses: {why}")
            return None
        return asdict(found)


def share_of(values: Array, judge: Judge, which: Array) -> float | None:
    """Share of the way from ref to the user's optimum of values [P], over chosen prompts."""
    means = [float(v[which].mean()) for v in (values, judge.ref.value, judge.best.value)]
    return share(*means)


def unlimited(
    domain: Domain, exact: Bases, feedback: Feedback, seed: int
) -> tuple[Array | None, str]:
    """λ∞ [K], what the user's pairs tend to with exact specialists, or None and why there is none.

    From 8,000 pairs of ref on train prompts: with the chances themselves for labels where answers are
    stochastic; under ranking it exists only if the labels cannot be separated.
    """
    drawn = collect.draw_pairs(domain, LIMIT_PAIRS, seed + 0x11417)
    pairs = replace(drawn, user=feedback.user, mode=feedback.mode)
    X, margins = collect.returns(domain, exact, pairs), collect.margins(domain, pairs)
    if feedback.mode == "rank":
        targets = 0.5 + 0.5 * np.sign(margins)
    else:
        targets = 1.0 / (1.0 + np.exp(-margins / feedback.temperature))
    try:
        return unpenalised(X, targets), ""
    except SeparableError as why:
        return None, f"r∞ does not exist without a budget: {why}"
