"""The claims in Coq's words: what each says, how it is refuted at the place that the witness names.

A claim about places has two sides, ``lhs`` and ``rhs``; one that says "there is a nu" is refuted by
exact weights y of the places with ``Σ y ψ = 0``.
"""

from __future__ import annotations

from dataclasses import dataclass

_SIZE = "sum specialists (fun k => lambda k * nu (specialist k) j)"
_SOUP = ("SOUP",)
_NU = ("SOUP", "FEATURES", "NORMS")


@dataclass(frozen=True)
class Places:
    """A claim about sides at places (t, s).

    says: the paper's sentence. lhs, rhs: Coq terms. more: definitions they need. k: also for each
    specialist. nu: for every nu that represents Q. relation: between the sides. start: at the start
    alone. unfolded: names of ``more``.
    """

    says: str
    lhs: str
    rhs: str
    blocks: tuple[str, ...]
    more: str = ""
    unfolded: str = ""
    k: bool = False
    nu: bool = False
    relation: str = "<="
    start: bool = False
    log_z: bool = False
    user: bool = True


_SUP_LOGITS = f"size (fun j => beta' / beta * nu user j - {_SIZE})"
_SUP_VALUES = f"size (fun j => nu user j - beta / beta' * {_SIZE})"
_SUP_STEP = f"size (fun j => nu user j / beta - {_SIZE} / beta')"
_KL = "KL s (pi user t s) (soup t s)"
_ABS = "norm_E t s (ref s) Rabs"
_DROP = "V user t s - beta * log_Z t s"
_RISE = "log_Z t s - V user t s / beta"

PLACES: dict[str, Places] = {
    "ss.thm1.kl.any": Places(
        "(14), which is (9) for every lambda: KL(pi_w || soup) at (t,s) is at most\n"
        "   (1/beta')(E_w||psi|| + E_ref||psi||) ||(beta'/beta) nu_w - Sum_k lambda_k nu_k||",
        _KL,
        f"/ beta' * (E_norm t s (pi user t s) + E_norm t s (ref s))\n  * {_SUP_LOGITS}",
        (*_NU, "KL"), nu=True, log_z=True,
    ),
    "ss.thm1.kl.norm-of-mean": Places(
        "(14) as printed: KL(pi_w || soup) at (t,s) is at most\n"
        "   (1/beta')(||E_w[psi]|| + ||E_ref|psi|||) ||(beta'/beta) nu_w - Sum_k lambda_k nu_k||",
        _KL,
        f"/ beta' * (norm_E t s (pi user t s) (fun x => x) + {_ABS})\n  * {_SUP_LOGITS}",
        (*_NU, "KL", "MEANS"), nu=True, log_z=True,
    ),
    "ss.proof.C.lipschitz": Places(
        "C(s), last step: V_w - beta log E_ref exp(Sum_k lambda_k Q_k / beta') is at most\n"
        "   E_ref||psi|| ||nu_w - (beta/beta') Sum_k lambda_k nu_k||",
        _DROP, f"E_norm t s (ref s)\n  * {_SUP_VALUES}", _NU, nu=True, log_z=True,
    ),
    "ss.proof.C.norm-of-mean": Places(
        "C(s), last step as printed: V_w - beta log E_ref exp(Sum_k lambda_k Q_k / beta') is at\n"
        "   most ||E_ref|psi||| ||nu_w - (beta/beta') Sum_k lambda_k nu_k||",
        _DROP, f"{_ABS}\n  * {_SUP_VALUES}", (*_NU, "MEANS"), nu=True, log_z=True,
    ),
    "ss.proof.kl-step": Places(
        "The step that (9) needs: log Z_soup - log Z_w is at most\n"
        "   E_ref||psi|| ||nu_w/beta - Sum_k lambda_k nu_k/beta'||",
        _RISE, f"E_norm t s (ref s)\n  * {_SUP_STEP}", _NU, nu=True, log_z=True,
    ),
    "ss.proof.kl-step.norm-of-mean": Places(
        "The step that (9) needs, as printed: log Z_soup - log Z_w is at most\n"
        "   ||E_ref|psi||| ||nu_w/beta - Sum_k lambda_k nu_k/beta'||",
        _RISE, f"{_ABS}\n  * {_SUP_STEP}", (*_NU, "MEANS"), nu=True, log_z=True,
    ),
    "ss.proof.nonneg.without": Places(
        "App. A.2: (beta/beta') Sum_k lambda_k V_k is at most Sum_k |lambda_k| V_k / |lambda|_1",
        "beta / beta' * sum specialists (fun k => lambda k * V (specialist k) t s)",
        "sum specialists (fun k => Rabs (lambda k) * V (specialist k) t s) / lambda_1",
        _SOUP, start=True, user=False,
    ),
    "ss.eq7.logit": Places(
        "(7), section 4: the logits of pi_k are logit_ref + Q_k, so KL(pi_k || typed) = 0",
        "KL s (pi (specialist k) t s) (typed k t s)", "0", ("KL",),
        "Definition typed (k t s a : nat) : R :=\n"
        "  ref s a * exp (Q (specialist k) t (next s a))\n"
        "  / E_ref s (fun s' => exp (Q (specialist k) t s')).\n",
        "typed", k=True, relation="=", user=False,
    ),
    "ss.sec4.explicit": Places(
        "Section 4, explicit: logits logit_ref + Sum_k lambda_k Q_k/beta are the soup of (7), so\n"
        "   KL(typed || soup) = 0",
        "KL s (typed t s) (soup t s)", "0", ("SOUP", "KL"),
        "Definition typed_logit (t s' : nat) : R :=\n"
        "  sum specialists (fun k => lambda k * Q (specialist k) t s' / beta).\n"
        "Definition typed (t s a : nat) : R :=\n"
        "  ref s a * exp (typed_logit t (next s a)) / E_ref s (fun s' => exp (typed_logit t s')).\n",
        "typed typed_logit", relation="=", log_z=True, user=False,
    ),
    "ss.sec4.implicit": Places(
        "Section 4, implicit: rejection sampling from ref with weights lambda_k/beta and\n"
        "   M(s) = exp(-Sum_k lambda_k KL(ref || pi_k) / beta) draws from the soup; the total\n"
        "   variation between the two is then 0",
        "sum (allowed s) (fun a => Rabs (accepted t s a / sum (allowed s) (accepted t s)"
        " - soup t s a)) / 2",
        "0", ("SOUP", "KL", "EXTREMES"),
        "Definition ratio (t s a : nat) : R :=\n"
        "  exp (sum specialists (fun k => lambda k / beta * ln (pi (specialist k) t s a / ref s a))).\n"
        "Definition M (t s : nat) : R :=\n"
        "  exp (- sum specialists (fun k => lambda k * KL s (ref s) (pi (specialist k) t s) / beta)).\n"
        "Definition accepted (t s a : nat) : R := ref s a * Rmin 1 (ratio t s a / M t s).\n",
        "ratio M accepted", relation="=", log_z=True, user=False,
    ),
}  # fmt: skip
