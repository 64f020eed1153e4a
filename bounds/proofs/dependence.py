"""What rests on what: hypotheses, proof steps, lemmas, repairs and witnesses of each claim.

Read from what the claims say of themselves, from the printed proofs that can be walked, and from the
lemmas that the proofs of our own rows use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..claim import Hypothesis
from ..claims.catalogue import CLAIMS, claim_named
from ..records.witness import stored_certificates, stored_witness_claims
from .walk import Step, printed_proof

# the claims that the proof in a proved row's docstring uses; a row not named here uses none
LEMMAS: Mapping[str, tuple[str, ...]] = {
    "ss.lemma1.any-reward": ("ss.lemma1.tabular",),
    "ss.lemma1.desirability": ("ss.eq2-4",),
    "ss.lemma1.completeness": ("ss.eq2-4",),
    "ss.lemma1.first-order": ("ss.eq2-4",),
    "ss.lemma1.first-order.lower": ("ss.eq2-4",),
    "ss.eq12.repaired": ("ss.eq2-4",),
    "ss.eq7.logit.repaired": ("ss.eq2-4",),
    "ss.eq8.upper": ("ss.thm1.gap.identity",),
    "ss.thm1.kl.constant-norm": ("ss.thm1.kl.repaired",),
    "ss.thm1.kl.mean-shift": ("ss.thm1.gap.mean-shift",),
    "ss.thm1.kl.matched": ("ss.thm1.disagreement",),
    "ss.thm1.kl.matched-norms": ("ss.thm1.kl.matched",),
    "ss.thm1.gap.minimal": (
        "ss.eq8.onehot", "ss.proof.nonneg", "ss.proof.B", "ss.proof.C.lipschitz.repaired",
    ),
    "ss.thm1.gap.identity": ("ss.eq2-4", "ss.eq7.logit.repaired"),
    "ss.thm1.gap.sharp": ("ss.thm1.gap.identity",),
    "ss.thm1.gap.sharp-features": ("ss.thm1.gap.sharp", "ss.thm1.kl.repaired"),
    "ss.thm1.gap.bennett": ("ss.thm1.gap.identity",),
    "ss.thm1.gap.chord": ("ss.thm1.gap.identity",),
    "ss.thm1.gap.mean-shift": ("ss.thm1.gap.identity",),
    "ss.thm1.gap.mean-shift-features": ("ss.thm1.gap.mean-shift",),
    "ss.thm1.gap.constant-norm.conditional": ("ss.thm1.gap.sharp-features",),
    "ss.thm1.gap.any-logits": ("ss.thm1.gap.identity", "ss.thm1.gap.sharp"),
    "ss.thm1.disagreement": ("ss.eq2-4", "ss.eq7.logit.repaired"),
    "ss.thm1.gap.apriori": ("ss.thm1.gap.apriori.state-wise", "ss.thm1.disagreement"),
    "ss.thm1.gap.apriori.state-wise": ("ss.thm1.gap.sharp", "ss.thm1.disagreement"),
    "ss.thm1.gap.learnt": ("ss.thm1.gap.sharp", "ss.thm1.disagreement"),
    "ss.proof.B": ("ss.delta.renyi", "ss.delta"),
    "ss.proof.C.norm-of-mean.repaired": ("ss.proof.C.lipschitz.repaired",),
    "ss.delta.tight": ("ss.delta",),
    "ss.span.vanishes.repaired": ("ss.thm1.gap.identity",),
    "ss.null-space": ("ss.sec4.return",),
    "ss.sec4.return": ("ss.eq2-4",),
    "ss.sec4.composite.repaired": ("ss.sec4.gumbel",),
    "ss.sec4.explicit.repaired": ("ss.eq7.logit.repaired",),
    "ss.sec4.implicit.repaired": ("ss.eq7.logit.repaired",),
    "ex.eq10": ("ex.propA1",),
}  # fmt: skip
Edge = tuple[str, str, str]  # (claim, what it rests on or is mended by, how)


@dataclass(frozen=True)
class Dependence:
    """What one claim rests on, and what rests on it.

    steps: of its printed proof, in order; breaks_at: the first that is false. lemmas: of the proof of
    our own. instead: true statements in its place. witnesses: name -> whether it is certified.
    step_of, lemma_of, mends: the other way round.
    """

    claim: str
    hypotheses: tuple[Hypothesis, ...]
    reported: tuple[Hypothesis, ...]
    steps: tuple[Step, ...]
    breaks_at: str
    lemmas: tuple[str, ...]
    true_when: str
    true_by: tuple[str, ...]
    instead: tuple[str, ...]
    witnesses: Mapping[str, bool]
    step_of: tuple[str, ...]
    lemma_of: tuple[str, ...]
    mends: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        claim = CLAIMS[self.claim]
        return {
            "claim": self.claim, "status": claim.status, "statement": claim.statement,
            "hypotheses": {h.id: h.statement for h in self.hypotheses},
            "reported": {h.id: h.statement for h in self.reported},
            "steps": [
                {"claim": s.claim, "says": s.says, "status": CLAIMS[s.claim].status,
                 "saved_by": s.remedy}
                for s in self.steps
            ],
            "breaks_at": self.breaks_at or None, "lemmas": list(self.lemmas),
            "true_when": {"says": self.true_when, "claims": list(self.true_by)},
            "instead": list(self.instead), "witnesses": dict(self.witnesses),
            "step_of": list(self.step_of), "lemma_of": list(self.lemma_of),
            "mends": list(self.mends),
        }  # fmt: skip


def rests_on(claim: str) -> Dependence:
    """What a claim of the catalogue rests on, and what rests on it.

    Raises InstanceError for an unknown claim.
    """
    told, proof, proved = claim_named(claim), printed_proof(claim), stored_certificates()
    towards: dict[str, list[str]] = {"step": [], "lemma": [], "instead": []}
    for source, target, how in edges():
        if target == claim:
            towards[how].append(source)
    witnesses = {
        name: proved.get(name, {}).get("verdict") == "PROVED"
        for name, broken in stored_witness_claims().items()
        if broken == claim
    }
    return Dependence(
        claim, told.hypotheses, told.reported, proof.steps, told.blames, LEMMAS.get(claim, ()),
        told.true_when, told.true_by, _instead(claim), witnesses,
        *(tuple(towards[how]) for how in ("step", "lemma", "instead")),
    )  # fmt: skip


def edges() -> list[Edge]:
    """Every (claim, other claim, "step" | "lemma" | "instead"), in the catalogue's order."""
    return [
        (claim, target, how)
        for claim in CLAIMS
        for how, targets in (
            ("step", tuple(s.claim for s in printed_proof(claim).steps)),
            ("lemma", LEMMAS.get(claim, ())),
            ("instead", _instead(claim)),
        )
        for target in targets
    ]


def _instead(claim: str) -> tuple[str, ...]:
    """True statements in the place of a refuted one: those of its proof, and those of true_when."""
    if CLAIMS[claim].status != "refuted":
        return ()
    return tuple(dict.fromkeys((*printed_proof(claim).repairs, *CLAIMS[claim].true_by)))
