"""A certified witness as a Coq file: its numbers, the papers' definitions, the claim, its refutation.

``coqc`` checks it with the library coq-interval; nothing of this package is trusted then but the
statement, which is short and can be read beside the paper. Claims about λ* have no such file: that
nothing else maximises J is a search over boxes.
"""

from __future__ import annotations

import math
from pathlib import Path

from flint import arb, ctx

from . import coq_theory as theory
from .catalogue import STATEMENTS
from .certificate import Certificate
from .coq_claims import PLACES, Places
from .coq_instance import (
    enclosed,
    features_text,
    instance_text,
    linear_rewards_text,
    soft_values,
    solution_text,
)
from .hypotheses import independent
from .instance import Witness, load, need
from .statements import Point, soup_tilt
from .values import Values

SPARE = 88  # bits of the enclosures below the margin between the sides
LOST = 40  # bits that Coq's own rounding may take


def possible(claim: str) -> None:
    """Raise WitnessError, saying which claims are possible, unless this one is."""
    need(claim in PLACES, f"claim {claim!r}: no Coq file"
         + (" where λ* is searched for" if STATEMENTS[claim].at == "optimum" else "")
         + f"; there is one for {sorted(PLACES)}")  # fmt: skip


def coq_file(path: Path, certificate: Certificate) -> str:
    """The Coq file of a witness that was PROVED. Raises WitnessError where there is none."""
    possible(certificate.claim)
    witness = load(path)
    claim = PLACES[certificate.claim]
    bits, digits = _precision(certificate)
    before, ctx.prec = ctx.prec, bits + 64
    try:
        return _file(path.stem, witness, certificate, claim, bits, digits)
    finally:
        ctx.prec = before


def _precision(certificate: Certificate) -> tuple[int, int]:
    """Bits that ``interval`` works with, and decimals of the enclosures."""
    (low, high), (least, most) = certificate.lhs, certificate.rhs
    margin, scale = low - most, max(1.0, *map(abs, (low, high, least, most)))
    bits = LOST + SPARE + max(0, math.ceil(math.log2(scale / margin)))
    return bits, int((bits - LOST) * math.log10(2))


def _file(name, witness, certificate, claim, bits, digits) -> str:
    values, world = Values(witness.instance), witness.instance
    where = certificate.where
    place = f"{where['t']}%nat {where['s']}%nat"
    at = f"{where['k']}%nat {place}" if claim.k else place
    parts = [
        f"(* {name}: {certificate.claim} is false on this instance.\n\n"
        "   Check with: coqc FILE.v (Debian: coq, libcoq-interval). It prints the claim, what is\n"
        "   proved and which axioms that rests on. Equation numbers are those of arXiv 2605.20408. *)\n",
        theory.HEAD,
        "(* ==== 1. The instance: exact rationals, each the binary64 of the witness file ========= *)\n",
        instance_text(witness),
    ]
    if "FEATURES" in claim.blocks:
        parts.append(features_text(witness))
    parts.append(theory.THEORY)
    parts += [getattr(theory, block) for block in claim.blocks]
    # the claim
    variables = "k t s" if claim.k else "t s"
    nu = "(nu : taste -> nat -> R) " if claim.nu else ""
    rhs_call = f"rhs {'nu ' if claim.nu else ''}{variables}"
    quantified = f"forall {variables}, "
    if claim.k:
        quantified += "In k specialists -> "
    quantified += "In t steps -> In s (states t) ->" if not claim.start else "t = 0%nat -> s = start ->"
    if claim.nu:
        quantified = (
            "forall nu : taste -> nat -> R, (forall who, In who tastes -> represents (nu who) (Q who)) ->\n  "
            + quantified
        )
    relation = "<=" if claim.relation == "<=" else "="
    parts.append(
        "(* ==== 3. The claim ===================================================================== *)\n\n"
        f"(* {claim.says}. *)\n"
        + claim.more
        + f"Definition lhs ({variables} : nat) : R := {claim.lhs}.\n"
        f"Definition rhs {nu}({variables} : nat) : R :=\n  {claim.rhs}.\n"
        f"Definition claim : Prop :=\n  {quantified}\n  lhs {variables} {relation} {rhs_call}.\n"
    )
    # proof
    names = " ".join([*theory_names(("THEORY", *claim.blocks)), *claim.unfolded.split(), "lhs", "rhs",
                      *(["solution"] if claim.nu else [])])
    more = "repeat rewrite Rmin_is;" if "EXTREMES" in claim.blocks else ""
    parts.append("(* ==== 4. The proof ===================================================================== *)\n")
    if more:
        parts.append(theory.RMIN)
    parts.append(theory.PLACE)
    if claim.nu:
        parts.append(solution_text(witness))
        parts.append(linear_rewards_text(witness))
    parts.append(theory.TACTICS.replace("NAMES", names).replace("BITS", str(bits)).replace("MORE", more))
    tastes = {f"(specialist {k}%nat)": values.V[k] for k in range(world.K)}
    if claim.user:
        tastes["user"] = values.V[-1]
    beta = arb(world.beta)
    tastes = {name: {p: beta * x for p, x in V.items()} for name, V in tastes.items()}
    text, known = soft_values(witness, tastes, digits)
    parts.append("(* V(t,s), the last step first. *)\n" + text)
    if claim.log_z:
        point = Point.exact(world, witness.lam)
        t, s = where["t"], where["s"]
        soup = soup_tilt(values, t, s, point.u)
        x = soup.log_z + sum(
            (u * q[t, values.next[s][soup.anchor]] for u, q in zip(point.u, values.Q, strict=False)), arb(0)
        )
        size = float(sum(map(abs, witness.lam)) / world.beta_prime)
        slack = 2 + 2 * math.ceil(size * 2 * world.steps + 1)
        parts.append(enclosed("log_Z_here", f"log_Z {place}", x, digits, slack, known)
                     .replace("{STEP}", "unfold log_Z; evaluate"))
        known = [*known, "log_Z_here"]
    call = f"rhs (fun who => solution (Q who)) {at}" if claim.nu else f"rhs {at}"
    parts.append(
        f"Theorem broken : lhs {at} > {call}.\n"
        f"Proof. generalize {' '.join(known)}; intros; apply Rminus_gt; evaluate. Qed.\n"
    )
    parts.append(
        "Theorem refuted : ~ claim.\nProof.\n  intros says. apply (Rlt_not_le _ _ broken).\n  "
        + ("apply Req_le, says" if relation == "=" else "apply says")
        + "; try (intros; apply every_nu_exists)" * claim.nu
        + "; vm_compute; auto 99.\nQed.\n"
    )
    parts.append("Print claim.\nCheck broken.\nCheck refuted.\nPrint Assumptions refuted.\n")
    return "\n".join(parts)


def theory_names(blocks) -> list[str]:
    return [name for block in blocks for name in theory.UNFOLDED.get(block, "").split()]
