"""The claims in Coq's words: what each says, and how it is refuted at the place that a witness names.

Here are those about two sides, ``lhs`` and ``rhs``, at every reachable (t, s).
"""

from __future__ import annotations

from .coq_kernel import KERNELS
from .coq_refutations import REFUTATIONS, CoqClaim

_IN = "In t steps -> In s (states t)"
_BREAKS = "intros says; apply (Rlt_not_le _ _ broken); apply {}; {}vm_compute; auto 99."


def _sides(
    blocks: tuple[str, ...], says: str, lhs: str, rhs: str, more: str = "", names: str = "", *,
    equal: bool = False, k: bool = False, user: bool = False,
) -> CoqClaim:  # fmt: skip
    """A claim about two sides at every reachable (t,s); equal: that they are equal; k: for each k."""
    at, each = ("k t s", f"In k specialists -> {_IN}") if k else ("t s", _IN)
    statement = (
        f"{more}Definition lhs ({at} : nat) : R := {lhs}.\n"
        f"Definition rhs ({at} : nat) : R := {rhs}.\n"
        f"Definition claim : Prop := forall {at}, {each} ->\n"
        f"  lhs {at} {'=' if equal else '<='} rhs {at}.\n"
    )
    refuted = _BREAKS.format("Req_le, says" if equal else "says", "")
    return CoqClaim(blocks, says, statement, "lhs AT", "rhs AT", refuted, names, user=user)


def _with_nu(blocks: tuple[str, ...], says: str, lhs: str, factor: str, logits: str) -> CoqClaim:
    """A claim about every nu that represents Q, at every (t,s): lhs at most factor times a norm."""
    statement = (
        f"Definition lhs (t s : nat) : R := {lhs}.\n"
        f"Definition rhs (nu : taste -> nat -> R) (t s : nat) : R :=\n  {factor}\n"
        f"  * size (fun j => {logits}).\n"
        "Definition claim : Prop :=\n"
        "  forall nu : taste -> nat -> R,\n"
        "  (forall who, In who tastes -> represents (nu who) (Q who)) ->\n"
        f"  forall t s, {_IN} -> lhs t s <= rhs nu t s.\n"
    )
    return CoqClaim(
        ("SOUP", "DOT", "FEATURES", "NORMS", *blocks), says, statement,
        "lhs AT", "rhs (fun who => solution (Q who)) AT",
        _BREAKS.format("says", "try (intros; apply every_nu_exists); "),
        "solution", nu=True,
    )  # fmt: skip


_SUM = "sum specialists (fun k => lambda k * nu (specialist k) j)"
_LOGITS = f"beta' / beta * nu user j\n      - {_SUM}"
_VALUES = f"nu user j\n      - beta / beta' * {_SUM}"
_STEP = f"nu user j / beta\n      - {_SUM} / beta'"
_KL = "KL s (pi user t s) (soup t s)"
_ABS = "norm_E t s (ref s) Rabs"
_DROP = "V user t s - beta * log_Z t s"
_RISE = "log_Z t s - V user t s / beta"

CLAIMS: dict[str, CoqClaim] = {
    **REFUTATIONS,
    **KERNELS,
    "ss.eq7.logit": _sides(
        ("KL",),
        "(7), section 4: the logits of pi_k are logit_ref + Q_k, so KL(pi_k || typed) = 0",
        "KL s (pi (specialist k) t s) (typed k t s)", "0",
        "Definition typed (k t s a : nat) : R :=\n"
        "  ref s a * exp (Q (specialist k) t (next s a))\n"
        "  / E_ref s (fun s' => exp (Q (specialist k) t s')).\n",
        "typed", equal=True, k=True, user=False,
    ),
    "ss.thm1.kl.any": _with_nu(
        ("KL",),
        "(14), which is (9) for every lambda: KL(pi_w || soup) at (t,s) is at most\n"
        "   (1/beta')(E_w||psi|| + E_ref||psi||) ||(beta'/beta) nu_w - Sum_k lambda_k nu_k||",
        _KL, "/ beta' * (E_norm t s (pi user t s) + E_norm t s (ref s))", _LOGITS,
    ),
    "ss.thm1.kl.norm-of-mean": _with_nu(
        ("KL", "MEANS"),
        "(14) as printed: KL(pi_w || soup) at (t,s) is at most\n"
        "   (1/beta')(||E_w[psi]|| + ||E_ref|psi|||) ||(beta'/beta) nu_w - Sum_k lambda_k nu_k||",
        _KL, f"/ beta' * (norm_E t s (pi user t s) (fun x => x) + {_ABS})", _LOGITS,
    ),
    "ss.proof.C.lipschitz": _with_nu(
        (),
        "C(s), last step: V_w - beta log E_ref exp(Sum_k lambda_k Q_k / beta') is at most\n"
        "   E_ref||psi|| ||nu_w - (beta/beta') Sum_k lambda_k nu_k||",
        _DROP, "E_norm t s (ref s)", _VALUES,
    ),
    "ss.proof.C.norm-of-mean": _with_nu(
        ("MEANS",),
        "C(s), last step as printed: V_w - beta log E_ref exp(Sum_k lambda_k Q_k / beta') is at\n"
        "   most ||E_ref|psi||| ||nu_w - (beta/beta') Sum_k lambda_k nu_k||",
        _DROP, _ABS, _VALUES,
    ),
    "ss.proof.kl-step": _with_nu(
        (),
        "The step that (9) needs: log Z_soup - log Z_w is at most\n"
        "   E_ref||psi|| ||nu_w/beta - Sum_k lambda_k nu_k/beta'||",
        _RISE, "E_norm t s (ref s)", _STEP,
    ),
    "ss.proof.kl-step.norm-of-mean": _with_nu(
        ("MEANS",),
        "The step that (9) needs, as printed: log Z_soup - log Z_w is at most\n"
        "   ||E_ref|psi||| ||nu_w/beta - Sum_k lambda_k nu_k/beta'||",
        _RISE, _ABS, _STEP,
    ),
    "ss.sec4.explicit": _sides(
        ("SOUP", "KL"),
        "Section 4, explicit: logits logit_ref + Sum_k lambda_k Q_k/beta are the soup of (7), so\n"
        "   KL(typed || soup) = 0",
        "KL s (typed t s) (soup t s)", "0",
        "Definition typed_logit (t s' : nat) : R :=\n"
        "  sum specialists (fun k => lambda k * Q (specialist k) t s' / beta).\n"
        "Definition typed (t s a : nat) : R :=\n"
        "  ref s a * exp (typed_logit t (next s a)) / E_ref s (fun s' => exp (typed_logit t s')).\n",
        "typed typed_logit", equal=True, user=False,
    ),
    "ss.sec4.implicit": _sides(
        ("SOUP", "KL"),
        "Section 4, implicit: rejection sampling from ref with weights lambda_k/beta and\n"
        "   M(s) = exp(-Sum_k lambda_k KL(ref || pi_k) / beta) draws from the soup, so the total\n"
        "   variation between the two is 0",
        "\n  sum (allowed s) (fun a =>\n"
        "    Rabs (accepted t s a / sum (allowed s) (accepted t s) - soup t s a)) / 2",
        "0",
        "Definition ratio (t s a : nat) : R :=\n"
        "  exp (sum specialists (fun k => lambda k / beta * ln (pi (specialist k) t s a / ref s a))).\n"
        "Definition M (t s : nat) : R :=\n"
        "  exp (- sum specialists (fun k => lambda k * KL s (ref s) (pi (specialist k) t s) / beta)).\n"
        "Definition accepted (t s a : nat) : R := ref s a * Rmin 1 (ratio t s a / M t s).\n",
        "ratio M accepted", equal=True, user=False,
    ),
}  # fmt: skip
