"""Why a printed theorem fails on an instance: its proof walked, step by step, on that instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toymdp import InstanceError, SoupOptimum
from toymdp.threads import one_blas_thread

from ..claim import Check, Hypothesis
from ..claims.catalogue import CLAIMS
from ..claims.hypotheses import CONSTANT_NORM, INDEPENDENT_FEATURES, NONNEGATIVE_REWARDS
from ..facts.kinds import facts_of
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..records.output import number
from .ladder import Rung, ladder


@dataclass(frozen=True)
class Step:
    """One step of a proof: the claim that is the step, what it says in words, what would save it.

    saved_by: a hypothesis under which the step is a theorem, or a sentence.
    """

    claim: str
    says: str
    saved_by: Hypothesis | str = ""

    @property
    def remedy(self) -> str:
        """What would save the step: the id of the hypothesis, or the sentence."""
        return self.saved_by.id if isinstance(self.saved_by, Hypothesis) else self.saved_by


@dataclass(frozen=True)
class Proof:
    """The printed proof of a claim, and the true statements to put in its place."""

    steps: tuple[Step, ...]
    repairs: tuple[str, ...]
    gap: bool = False


PROOFS: Mapping[str, Proof] = {
    "ss.lemma1": Proof(
        (
            Step("ss.asm1", "rewards are linear in the features"),
            Step("ss.eq11", "the random-Fourier identity"),
            Step("ss.eq12", "Q unrolled L steps", "the repaired ss.eq12.repaired"),
            Step("ss.eq13", "the forward law is one softmax", "L = 1"),
            Step(
                "ss.proof.single-exponential",
                "an integral of exponentials is one exponential",
                INDEPENDENT_FEATURES,
            ),
        ),
        ("ss.lemma1.tabular", "ss.lemma1.desirability"),
    ),
    "ss.thm1.kl": Proof(
        (
            Step("ss.lemma1", "Q* is linear in the features", INDEPENDENT_FEATURES),
            Step(
                "ss.proof.C.lipschitz",
                "log E_ref exp is Lipschitz in L¹(ref)",
                CONSTANT_NORM,
            ),
        ),
        ("ss.thm1.kl.repaired", "ss.thm1.kl.constant-norm"),
    ),
    "ss.thm1.gap": Proof(
        (
            Step("ss.lemma1", "Q* is linear in the features", INDEPENDENT_FEATURES),
            Step("ss.eq8.onehot", "J(λ*) is at least every specialist's value"),
            Step("ss.proof.nonneg.without", "|λ| may replace λ before V_k", NONNEGATIVE_REWARDS),
            Step("ss.proof.A", "one policy is worst for all k at once", "λ one-hot (a single k)"),
            Step("ss.proof.B", "a negative weight costs at most Δ_k"),
            Step("ss.proof.C.jensen", "the power step"),
            Step(
                "ss.proof.C.lipschitz",
                "log E_ref exp is Lipschitz in L¹(ref)",
                CONSTANT_NORM,
            ),
        ),
        ("ss.thm1.gap.minimal", "ss.thm1.gap.sharp", "ss.thm1.gap.identity"),
        gap=True,
    ),
}
_SAME = {"ss.lemma1.per-step": "ss.lemma1", "ss.thm1.kl.any": "ss.thm1.kl",
         "ss.thm1.gap.constant-norm": "ss.thm1.gap"}  # fmt: skip


def has_proof(claim: str) -> bool:
    """Whether the claim's printed proof can be walked in steps."""
    return _SAME.get(claim, claim) in PROOFS


@dataclass(frozen=True)
class Explanation:
    """The claim's own check, its steps in order, the first that breaks, repairs, the ladder."""

    claim: Check
    steps: tuple[tuple[Step, Check], ...]
    first_broken: int | None
    saved: bool | None
    repairs: tuple[Check, ...]
    rungs: tuple[Rung, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

        def plain(c: Check) -> dict[str, Any]:
            return {
                "claim": c.claim, "status": c.status, "verdict": c.verdict, "lhs": number(c.lhs),
                "rhs": number(c.rhs), "slack": number(c.slack), "error": number(c.error),
                "reason": c.reason, "terms": {k: number(v) for k, v in c.terms.items()},
                "where": None if c.where is None else dict(c.where),
            }  # fmt: skip

        broken = None
        if self.first_broken is not None:
            step = self.steps[self.first_broken][0]
            broken = {"claim": step.claim, "says": step.says, "saved_by": step.remedy,
                      "saved_here": self.saved}  # fmt: skip
        return {
            "claim": plain(self.claim),
            "lambda": None if self.claim.lam is None else list(self.claim.lam),
            "steps": [{"says": s.says, **plain(c)} for s, c in self.steps],
            "first_broken": broken,
            "repairs": [plain(c) for c in self.repairs],
            "ladder": [
                {"rung": r.name, "value": number(r.value), "ratio": number(r.ratio), "note": r.note}
                for r in self.rungs
            ],
        }


@one_blas_thread()
def explain(instance: Any, claim: str, optimum: SoupOptimum | None = None) -> Explanation:
    """Walk the proof of a claim on an instance (or its solution, or its facts), at λ* and the start.

    A claim without a printed proof of several steps is shown with its repair alone.
    Raises InstanceError for an unknown claim, or one that speaks of another kind of instance.
    """
    if claim not in CLAIMS or CLAIMS[claim].world != "token-mdp/1":
        raise InstanceError.of("claim", claim, "not a claim about token MDPs", "see `claims`")
    _, everywhere = facts_of(instance, optimum=optimum)
    if not isinstance(everywhere, Facts):
        name = type(instance).__name__
        raise InstanceError.of("instance", name, "proofs are walked on token MDPs", "give one")
    lam = everywhere.optimum.lam
    soup, at_start = Soup(everywhere, lam), Soup(everywhere.at_start(), lam)

    def judge(name: str, soup: Soup) -> Check:
        claim = CLAIMS[name]
        return claim.evaluate(soup.facts, None if claim.at == "instance" else soup)

    proof = PROOFS.get(_SAME.get(claim, claim), Proof((), _repairs(claim)))
    steps = tuple((step, judge(step.claim, at_start)) for step in proof.steps)
    broken = next((i for i, (_, c) in enumerate(steps) if c.verdict == "violated"), None)
    saved: bool | None = None
    if broken is not None:
        condition = steps[broken][0].saved_by
        if isinstance(condition, Hypothesis):
            saved = condition.evaluate(everywhere, soup)[0]
    return Explanation(
        judge(claim, soup), steps, broken, saved,
        tuple(judge(name, at_start) for name in proof.repairs),
        tuple(ladder(soup)) if proof.gap and lam.any() else (),
    )  # fmt: skip


def _repairs(claim: str) -> tuple[str, ...]:
    return tuple(c for c in CLAIMS if c.startswith(f"{claim}.repaired"))
