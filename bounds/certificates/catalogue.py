"""The claims that can be certified: where each is judged, its hypotheses, its sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import equalities, statements
from .composite import composite
from .statements import Point, Sides
from .values import Values

Evaluate = Callable[[Values, Point | None], Iterator[Sides]]


@dataclass(frozen=True)
class Statement:
    """A claim that can be certified: where it is judged, its hypotheses and its sides.

    at: "instance", "every" (the witness gives λ) or "optimum" (λ*). The claim is broken if at one
    of the places that ``sides`` yields lhs > rhs.
    """

    at: str
    hypotheses: tuple[str, ...]
    sides: Evaluate


_THEOREM = ("ss.asm1", "ss.asm2", "q-linear", "lambda-in-domain")
_GAP = (*_THEOREM, "lambda-nonzero", "rewards-nonnegative")
STATEMENTS: dict[str, Statement] = {
    "ss.lemma1": Statement("instance", ("ss.asm1", "ss.asm2"), equalities.lemma1),
    "ss.lemma1.per-step": Statement("instance", ("ss.asm1", "ss.asm2"), equalities.lemma1_per_step),
    "ss.proof.single-exponential": Statement(
        "instance", ("ss.asm0",), equalities.single_exponential
    ),
    "ss.eq12": Statement("instance", ("ss.asm2",), equalities.unrolling),
    "ss.eq13.single-vector": Statement("instance", ("ss.asm0", "ss.asm2"), equalities.forward_law),
    "ss.gaussian": Statement("instance", ("ss.asm0",), equalities.gaussian),
    "ss.gaussian.given": Statement("instance", ("ss.asm0",), equalities.gaussian_given),
    "ss.eq7.logit": Statement("instance", (), equalities.eq7_logit),
    "ss.delta.anchor": Statement("instance", (), statements.delta_anchor),
    "ss.thm1.kl": Statement("optimum", _THEOREM, statements.kl),
    "ss.thm1.kl.any": Statement("every", _THEOREM[:3], statements.kl_any),
    "ss.thm1.kl.norm-of-mean": Statement("every", _THEOREM[:3], statements.kl_norm_of_mean),
    "ss.thm1.gap": Statement("optimum", _GAP, statements.gap),
    "ss.thm1.gap.constant-norm": Statement(
        "optimum", (*_GAP, "features-constant-norm"), statements.gap
    ),
    "ss.eq8.simplex": Statement("optimum", (), statements.simplex),
    "ss.span.vanishes": Statement("optimum", ("q-linear", "logits-span"), statements.vanishes),
    "ss.proof.A": Statement("every", ("lambda-nonzero",), statements.proof_a),
    "ss.proof.nonneg.without": Statement(
        "every", ("lambda-in-domain", "lambda-nonzero"), statements.proof_nonneg
    ),
    "ss.proof.C.lipschitz": Statement(
        "every", ("ss.asm1", "q-linear", "lambda-in-domain"), statements.proof_lipschitz
    ),
    "ss.proof.C.norm-of-mean": Statement(
        "every", ("ss.asm1", "q-linear", "lambda-in-domain"), statements.proof_norm_of_mean
    ),
    "ss.proof.kl-step": Statement("every", ("ss.asm1", "q-linear"), statements.kl_step),
    "ss.proof.kl-step.norm-of-mean": Statement(
        "every", ("ss.asm1", "q-linear"), statements.kl_step_norm_of_mean
    ),
    "ss.sec4.composite": Statement("instance", (), composite),
    "ss.sec4.explicit": Statement("every", (), equalities.explicit),
    "ss.sec4.implicit": Statement("every", (), equalities.implicit),
}
