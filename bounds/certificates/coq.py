"""A certified witness as a Coq file: its numbers, the papers' definitions, the claim, its refutation.

``coqc`` checks it with the library coq-interval; nothing of this package is trusted then but the
statement, which is short and can be read beside the paper. Claims about λ* have no such file: that
nothing else maximises J is a search over boxes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from flint import arb, ctx

from . import coq_theory as theory
from .catalogue import STATEMENTS
from .certificate import Certificate, interval
from .coq_claims import CLAIMS
from .coq_instance import (
    between,
    enclosed,
    features_text,
    free_text,
    instance_text,
    lambda_texts,
    linear_rewards_text,
    soft_values,
    solution_text,
    totals_text,
    weights_text,
)
from .coq_refutations import CoqClaim
from .coq_states import set_up_text
from .instance import Witness, need, read, witness_of
from .statements import Point, soup_tilt
from .values import Values

SPARE = 88  # bits of the enclosures below the margin between the sides
UNSAFE = re.compile("[^A-Za-z0-9_.-]")  # in a file's name: it stands in a comment
NEXT = "s'"  # a certificate's key of a next context
WIDTH = 100
FEWER = 10  # decimals of the sides than of V
LOST = 40  # bits that Coq's own rounding may take
MOST_PLACES = 100  # values of Q: Coq proves an enclosure for each V


def require_coq(path: Path) -> Witness:
    """Read a witness. Raises WitnessError, with the reason, where there is no Coq file for it."""
    file = read(path)
    claim = file.claim
    searched = claim in STATEMENTS and STATEMENTS[claim].at == "optimum"
    why = "λ* is enclosed by a search over boxes" if searched else "not one of those written in Coq"
    need(claim in CLAIMS, f"claim {claim!r}: {why}; there is a Coq file for {sorted(CLAIMS)}")
    witness = witness_of(file)
    size = len(witness.instance.used) * (witness.instance.K + 1)
    need(size <= MOST_PLACES,
         f"{size} values of Q: Coq files are written for at most {MOST_PLACES}")  # fmt: skip
    return witness


def coq_file(path: Path, certificate: Certificate) -> str:
    """The Coq file of a witness that was PROVED. Raises WitnessError where there is none."""
    witness = require_coq(path)
    need(certificate.proved and witness.sha256 == certificate.sha256, "not the witness certified")
    before = ctx.prec
    try:
        return _Writer(UNSAFE.sub("_", path.stem), witness, certificate).text()
    finally:
        ctx.prec = before


def _precision(certificate: Certificate) -> tuple[int, int]:
    """Bits that ``interval`` works with, and decimals of the enclosures."""
    assert certificate.lhs is not None
    assert certificate.rhs is not None
    ends = (*certificate.lhs, *certificate.rhs)
    margin, scale = certificate.lhs[0] - certificate.rhs[1], max(1.0, *map(abs, ends))
    bits = LOST + SPARE + max(0, math.ceil(math.log2(scale / margin)))
    return bits, int((bits - LOST) * math.log10(2))


def _title(n: int, text: str) -> str:
    return f"(* ==== {n}. {text} {'=' * (80 - len(text))} *)\n"


def _wrapped(line: str) -> str:
    """A line of Coq, whose layout is free, broken where it is long."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return (
        line
        if len(line) <= WIDTH
        else fill(
            line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    )


@dataclass
class _Writer:
    """One file."""

    name: str
    witness: Witness
    certificate: Certificate

    def __post_init__(self) -> None:
        self.bits, self.digits = _precision(self.certificate)
        ctx.prec = self.bits + 64
        self.claim: CoqClaim = CLAIMS[self.certificate.claim]
        self.values = Values(self.witness.instance)
        self.where = dict(self.certificate.where or {})
        of_rows = self.claim.rows
        self.rows = None if of_rows is None else of_rows(self.witness, self.where)

    def text(self) -> str:
        """All of it."""
        features = features_text(self.witness) if "FEATURES" in self.claim.blocks else ""
        rows = self.rows.text if self.rows else ""
        file = [
            f"(* {self.name}: {self.certificate.claim} is false on this instance.\n\n"
            "   Check with `coqc` (Debian: coq, libcoq-interval), which prints the claim, what is\n"
            "   proved, and which axioms that rests on: those of the real numbers and of machine\n"
            "   integers. To be read beside arXiv 2605.20408: parts 1 to 3; Coq reads part 4. *)\n",
            theory.HEAD,
            _title(1, "The instance: exact rationals, the numbers of the witness file"),
            instance_text(self.witness),
            *filter(None, [features, rows]),
            _title(2, "The theory"),
            theory.THEORY,
            *(getattr(theory, block) for block in self.claim.blocks),
            _title(3, "The claim"),
            f"(* {self.claim.says}. *)\n{self._at(self.claim.statement)}",
            _title(4, "The proof"),
            *self._proof(),
            "Print claim.\nCheck broken.\nCheck refuted.\nPrint Assumptions refuted.\n",
        ]
        return "\n".join(map(_wrapped, "\n".join(file).split("\n")))

    def _at(self, text: str) -> str:
        """A text with the place that the certificate names."""
        where, K = self.where, self.witness.instance.K
        t, k = f"{where.get('t', 0)}%nat", where.get("k", 0)
        state = f"{where['s'] if 's' in where else where[NEXT]}%nat"
        who = "user" if k == K else f"(specialist {k}%nat)"
        at = f"{k}%nat {t} {state}" if "k" in where else f"{t} {state}"
        for name, x in (
            ("NUMBER", f"{k}%nat"),
            *({} if self.rows is None else self.rows.fills).items(),
            ("STATE", state),
            ("STEP", t),
            ("WHO", who),
            ("AT", at),
        ):
            text = text.replace(name, x)
        return text

    def _proof(self) -> list[str]:
        claim, file = self.claim, []
        if "EXTREMES" in claim.blocks:
            file.append(theory.LEAST)
        if self.rows:
            file.append(self.rows.weights)
        elif claim.names == "y":
            file.append(weights_text(self.witness, self.where))
        if claim.names.endswith("free"):
            file.append(free_text(self.values, self.where))
        hypotheses = STATEMENTS[self.certificate.claim].hypotheses
        if "ss.asm1" in hypotheses:
            file += [theory.PLACE, linear_rewards_text(self.witness)]
        # no hypothesis of Lemma 1, but of the section that it stands in
        meets_set_up = claim.names == "y" and self.certificate.reported.get("ss.asm0")
        if "ss.asm0" in hypotheses or meets_set_up:
            file.append(set_up_text(self.witness))
        file += lambda_texts(self.witness, hypotheses)
        if claim.nu:
            file.append(solution_text(self.witness))
        if claim.lemmas:
            file.append(self._at(claim.lemmas))
        totals, known_totals = totals_text(self.witness)
        blocks = " ".join(theory.UNFOLDED.get(b, "") for b in ("THEORY", *claim.blocks))
        sides = "lhs rhs" if "Definition lhs" in claim.statement + claim.lemmas else ""
        names = fill(
            f"{blocks} {claim.names} {sides}", 96, initial_indent="  ", subsequent_indent="  "
        )
        rewrites = "rewrite " + ", ".join(f"?{x}" for x in known_totals) + ";"
        tactics = theory.TACTICS.replace("NAMES", names).replace("BITS", str(self.bits))
        file += [theory.RMIN, totals, tactics.replace("TOTALS", rewrites)]
        text, known = self._enclosures()
        file += [text] if known else []
        if "log_Z" in claim.statement or "soup " in claim.statement:
            file.append(self._log_Z(known))
            known = [*known, "log_Z_here"]
        use = f"generalize {' '.join(known)}; intros; " if known else ""
        left, right, refuted = map(self._at, (claim.left, claim.right, claim.refuted))
        assert self.certificate.lhs is not None
        assert self.certificate.rhs is not None
        other = None if self.rows is None else self.rows.left
        left_ends = self.certificate.lhs if other is None else interval(other)
        assert left_ends is not None
        both = self.certificate.rhs != (0.0, 0.0)
        # apart, since the terms that interval shares are looked up one by one
        both_sides = [("left_side", left, left_ends),
                 ("right_side", right, self.certificate.rhs)][: 1 + both]  # fmt: skip
        digits = self.digits - FEWER
        file += [self._at(claim.last).replace("KNOWN; ", use)] if claim.last else []
        file += [between(*side, digits, f"{use}evaluate") for side in both_sides]
        lemmas = "left_side right_side" if both else "left_side"
        zero = "" if both or right == "0" else f"; change ({right}) with 0"
        return [
            *file,
            f"Theorem broken : {left} > {right}.\nProof. generalize {lemmas}{zero}; lra. Qed.\n",
            f"Theorem refuted : ~ claim.\nProof.\n  {refuted}\nQed.\n",
        ]

    def _enclosures(self) -> tuple[str, list[str]]:
        """Those of V, where the claim speaks of Q, and their names."""
        if self.rows:
            return "", []
        K, beta = self.witness.instance.K, arb(self.witness.instance.beta)
        V = {f"(specialist {k}%nat)": self.values.V[k] for k in range(K)}
        V |= {"user": self.values.V[-1]} if self.claim.user else {}
        scaled = {name: {p: beta * x for p, x in field.items()} for name, field in V.items()}
        text, known = soft_values(self.witness, scaled, self.digits)
        return f"(* V(t,s) of each taste, the last step first. *)\n{text}", known

    def _log_Z(self, known: list[str]) -> str:
        """The enclosure of ``log E_ref exp(Σ λ_k Q_k/β')`` at the place."""
        values, lam = self.values, self.witness.lam or []
        t, s = self.where["t"], self.where["s"]
        point = Point.exact(self.witness.instance, lam)
        soup = soup_tilt(values, t, s, point.u)
        x = soup.log_z
        for u, Q in zip(point.u, values.Q, strict=False):
            x += u * Q[t, values.next[s][soup.anchor]]
        # each V it is made from is known to 2 units of the last decimal a step
        weight = float(sum(map(abs, lam)) / self.witness.instance.beta_prime)
        slack = 4 + 4 * math.ceil(weight * self.witness.instance.steps)
        return enclosed("log_Z_here", self._at("log_Z STEP STATE"), x, self.digits, slack,
                        known, "unfold log_Z; evaluate")  # fmt: skip
