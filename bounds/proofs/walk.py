"""Why a printed theorem fails on an instance: its proof walked, step by step, on that instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toymdp import InstanceError, SoupOptimum
from toymdp.threads import one_blas_thread

from ..checking import judge, lambda_of
from ..claim import Check, Hypothesis
from ..claims.catalogue import CLAIMS, claim_named, numbered
from ..claims.hypotheses import CONSTANT_NORM, INDEPENDENT_FEATURES, NONNEGATIVE_REWARDS
from ..facts.kinds import facts_of
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..records.output import number
from .ladder import Rung, ladder


@dataclass(frozen=True)
class Step:
    """One step of a proof: the claim that is the step, what it says in words, what would save it.

    saved_by: a hypothesis under which the step is a theorem; without one, what the claim itself says
    of when it is true.
    """

    claim: str
    says: str
    saved_by: Hypothesis | None = None

    @property
    def remedy(self) -> str:
        """What would save the step: the id of the hypothesis, or a sentence."""
        return CLAIMS[self.claim].true_when if self.saved_by is None else self.saved_by.id


@dataclass(frozen=True)
class Proof:
    """The printed proof of a claim, and the true statements to put in its place.

    reading: how the statement is read, and what is true in the other reading.
    """

    steps: tuple[Step, ...]
    repairs: tuple[str, ...]
    gap: bool = False
    reading: str = ""


_LINEAR = Step("ss.lemma1", "Q* is linear in the features", INDEPENDENT_FEATURES)
_MEAN = Step("ss.proof.kl-mean", "the mean of the logit error, by Cauchy–Schwarz")
_OF_KL = ("ss.thm1.kl.repaired", "ss.thm1.kl.mean-shift", "ss.thm1.kl.constant-norm")
PROOFS: Mapping[str, Proof] = {
    "ss.lemma1": Proof(
        (
            Step("ss.asm1", "rewards are linear in the features"),
            Step("ss.eq11", "the random-Fourier identity"),
            Step("ss.eq12.repaired", "Q unrolled L steps; the typed line is ss.eq12"),
            Step("ss.eq13", "the forward law is an inner product with some mu(ω)"),
            Step(
                "ss.proof.single-exponential",
                "an integral of exponentials is one exponential",
                INDEPENDENT_FEATURES,
            ),
        ),
        (
            "ss.lemma1.tabular", "ss.lemma1.any-reward", "ss.lemma1.completeness",
            "ss.lemma1.desirability",
        ),
        reading="Assumption 1 is asked of the rewards at hand, as the sentence before Lemma 1 does. Read "
        "as it stands, of every function of the reachable (t, s'), it makes Lemma 1 true for as many "
        "features as there are places: ss.lemma1.any-reward",
    ),
    "ss.thm1.kl": Proof(
        (
            _LINEAR,
            _MEAN,
            Step("ss.proof.kl-step", "log E_ref exp is Lipschitz in L¹(ref)", CONSTANT_NORM),
        ),
        _OF_KL,
    ),
    "ss.thm1.kl.norm-of-mean": Proof(
        (
            _LINEAR,
            _MEAN,
            Step("ss.proof.kl-step.norm-of-mean", "log E_ref exp is Lipschitz in the norm of a mean"),
        ),
        _OF_KL,
    ),
    "ss.thm1.gap": Proof(
        (
            _LINEAR,
            Step("ss.eq8.onehot", "J(λ*) is at least every specialist's value"),
            Step("ss.proof.nonneg.without", "|λ| may replace λ before V_k", NONNEGATIVE_REWARDS),
            Step("ss.proof.A", "one policy is worst for all k at once"),
            Step("ss.proof.B", "a negative weight costs at most Δ_k"),
            Step("ss.proof.C.jensen", "the power step"),
            Step(
                "ss.proof.C.lipschitz",
                "log E_ref exp is Lipschitz in L¹(ref)",
                CONSTANT_NORM,
            ),
        ),
        ("ss.thm1.gap.minimal", "ss.thm1.gap.bennett", "ss.thm1.gap.sharp", "ss.thm1.gap.identity"),
        gap=True,
    ),
}  # fmt: skip
_SAME = {"ss.lemma1.per-step": "ss.lemma1", "ss.thm1.kl.any": "ss.thm1.kl",
         "ss.thm1.gap.constant-norm": "ss.thm1.gap"}  # fmt: skip


def has_proof(claim: str) -> bool:
    """Whether the claim's printed proof can be walked in steps."""
    return bool(printed_proof(claim).steps)


def printed_proof(claim: str) -> Proof:
    """The steps of a claim's printed proof, none where it has none, and what is true instead."""
    return PROOFS.get(_SAME.get(claim, claim), Proof((), _repairs(claim)))


def plain(c: Check) -> dict[str, Any]:
    """A check in JSON form."""
    return {
        "claim": c.claim, "status": c.status, "verdict": c.verdict, "lhs": number(c.lhs),
        "rhs": number(c.rhs), "slack": number(c.slack), "error": number(c.error),
        "reason": c.reason, "terms": {k: number(v) for k, v in c.terms.items()},
        "where": None if c.where is None else dict(c.where),
    }  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """The claim's own check, its steps in order, the first that breaks, repairs, the ladder.

    place: (t, s) at which steps about every state are judged. true_when: of the claim, with the ids
    of the proved claims that say so; their checks are among the repairs.
    """

    claim: Check
    place: tuple[int, int]
    steps: tuple[tuple[Step, Check], ...]
    first_broken: int | None
    saved: bool | None
    repairs: tuple[Check, ...]
    rungs: tuple[Rung, ...]
    reading: str
    true_when: str
    true_by: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        broken = None
        if self.first_broken is not None:
            step = self.steps[self.first_broken][0]
            broken = {"claim": step.claim, "says": step.says, "saved_by": step.remedy,
                      "saved_here": self.saved}  # fmt: skip
        return {
            "claim": plain(self.claim),
            "lambda": None if self.claim.lam is None else list(self.claim.lam),
            "place": {"t": self.place[0], "s": self.place[1]},
            "reading": self.reading,
            "steps": [{"says": s.says, **plain(c)} for s, c in self.steps],
            "first_broken": broken,
            "true_when": {"says": self.true_when, "claims": list(self.true_by)},
            "repairs": [plain(c) for c in self.repairs],
            "ladder": [
                {"rung": r.name, "claim": r.claim or None, "value": number(r.value),
                 "ratio": number(r.ratio), "note": r.note}
                for r in self.rungs
            ],
        }  # fmt: skip


@one_blas_thread()
def explain(
    instance: Any,
    claim: str,
    optimum: SoupOptimum | None = None,
    lam: Sequence[float] | None = None,
) -> Explanation:
    """Walk the proof of a claim on an instance (or its solution, or its facts), where the claim is judged.

    claim: its id, or the number of its equation, say (10), where that is one claim.
    lam: the λ [K]; None: λ*, or of a claim about every λ the worst of the standard set. Of a claim
    about every state the steps are judged at its worst, else at the start.
    A claim without a printed proof of several steps is shown with its repair alone.
    Raises InstanceError for an unknown claim, or one that speaks of another kind of instance.
    """
    told = claim_named(numbered(claim) or claim)
    claim = told.id
    if told.world != "token-mdp/1":
        raise InstanceError.of("claim", claim, "not a claim about token MDPs", "see `claims`")
    _, everywhere = facts_of(instance, optimum=optimum)
    if not isinstance(everywhere, Facts):
        name = type(instance).__name__
        raise InstanceError.of("instance", name, "proofs are walked on token MDPs", "give one")
    (found,) = judge([told], everywhere, lam=lam)
    if lam is None:
        lam = found.lam if told.at == "every" else everywhere.optimum.lam.tolist()
    weights = lambda_of(everywhere.mdp, lam or everywhere.optimum.lam)
    place = everywhere.start
    if told.at == "every" and found.where is not None and {"t", "s"} <= set(found.where):
        place = found.where["t"], found.where["s"]
    there = Soup(everywhere.at(*place), weights)

    def check(name: str) -> Check:
        claim = CLAIMS[name]
        return claim.evaluate(there.facts, None if claim.at == "instance" else there)

    proof = printed_proof(claim)
    steps = tuple((step, check(step.claim)) for step in proof.steps)
    broken = next((i for i, (_, c) in enumerate(steps) if c.verdict == "violated"), None)
    saved: bool | None = None
    if broken is not None:
        condition = steps[broken][0].saved_by
        if condition is not None:
            saved = condition.evaluate(everywhere, there)[0]
    repairs = dict.fromkeys((*proof.repairs, *told.true_by))
    return Explanation(
        found, place, steps, broken, saved, tuple(check(name) for name in repairs),
        tuple(ladder(Soup(everywhere, weights))) if proof.gap and weights.any() else (),
        proof.reading, told.true_when, told.true_by,
    )  # fmt: skip


def _repairs(claim: str) -> tuple[str, ...]:
    return tuple(c for c in CLAIMS if c.startswith(f"{claim}.repaired"))
