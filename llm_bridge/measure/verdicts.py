"""Verdicts of registered claims on what was measured, in the ledger's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bounds.claim import Check
from bounds.claims.catalogue import CLAIMS
from bounds.sides import Sides, decide
from toymdp.arrays import Array

from ..backend import torch
from ..bank import Bank
from .after_states import (
    AfterStates,
    LinearFit,
    after_states,
    fit_linear,
    kl_bounds,
    logit_norm,
)
from .reached import Reached
from .soups import SoupSettings
from .stream import rounding_unit
from .totals import Tally

OPTIMAL = "each adapter is the optimal policy of its reward"
BESPOKE = "the bespoke adapter is π_w"
SAMPLED = "judged on the tokens given, not on every reachable state"


def error_of(sides: Sides, eps: float) -> float:
    """Error radius of two sides made of logits that were rounded to ``eps``."""
    return 32 * eps * (sides.scale + abs(sides.lhs) + abs(sides.rhs))


def check_of(claim: str, sides: Sides | None, eps: float, assumed: Sequence[str]) -> Check:
    """Verdict of a registered claim on its two sides; not-applicable without any."""
    entry = CLAIMS[claim]
    base: dict[str, Any] = {"claim": claim, "status": entry.status, "kind": entry.kind,
        "assumed": tuple(assumed),
    }  # fmt: skip
    if sides is None:
        return Check(verdict="not-applicable", reason="nothing to compare on these tokens", **base)
    error = error_of(sides, eps) + sides.error
    verdict, reason = decide(entry.kind, sides, error)
    return Check(
        verdict=verdict, lhs=sides.lhs, rhs=sides.rhs, slack=sides.slack, error=error,
        reason=reason or sides.note, terms=sides.terms, where=sides.where, **base,
    )  # fmt: skip


def stream_checks(tally: Tally, bank: Bank, eps: float) -> list[Check]:
    """Verdicts that need no feature: ss.delta, and ss.thm1.gap.sharp state by state."""
    checks = [check_of("ss.delta", tally.sides.get("ss.delta"), eps, [SAMPLED])]
    if bank.bespoke is not None:
        sides = tally.sides.get("ss.thm1.gap.sharp")
        checks.append(check_of("ss.thm1.gap.sharp", sides, eps, [BESPOKE, SAMPLED]))
    return checks


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """After-states at some states, the centred fit on them, and the checks that need it."""

    states: AfterStates
    fit: LinearFit
    checks: list[Check]
    bound: float | None
    logit_error: Mapping[str, float]


def feature_checks(
    bank: Bank,
    reached: Reached,
    settings: SoupSettings,
    bound: float | None,
    *,
    top: int = 16,
    nu: Array | None = None,
    kl: Array | None = None,
    precision: Any = torch.float32,
) -> FeatureReport:
    """Lemma 1 and (9), printed and repaired, at some states.

    nu: [K+1, d] with ``Q = ψ·ν`` in reward units, where they are known; else the centred fit's.
    bound: largest ‖ψ‖ (None: unknown, then the mass outside the top tokens leaves (9) undecided).
    kl: [M, N] ``KL(π_w‖soup)`` at these states.

    Where the fit's residual shows that no ν exists, Lemma 1's conclusion is false at these states,
    and what rests on it is not-applicable, with the residual as reason.
    """
    eps = rounding_unit(bank, precision)
    states = after_states(bank, reached, top, settings.weights, precision=precision)
    fit = fit_linear(states)
    worst = int(np.argmax(fit.residual / np.where(fit.size > 0, fit.size, 1.0)))
    scale = 1.0 + float(fit.size.max()) + float(np.abs(states.log_probs[0][states.live]).max())
    sides = Sides(
        float(fit.residual[worst]), 0.0, scale, {"held-out R²": float(fit.held_out[worst])},
        {"k": worst}, note="residual of the centred fit",
    )  # fmt: skip
    lemma = check_of("ss.lemma1", sides, eps, [OPTIMAL, SAMPLED])
    if not fit.enough:
        reason = f"{fit.rows} equations, no more than unknowns: no residual whatever is true"
        lemma = replace(lemma, verdict="undecided", reason=reason)
    if bank.bespoke is None or kl is None:
        return FeatureReport(states, fit, [lemma], bound, {})
    linear = nu is not None or lemma.verdict == "holds"
    reason = (
        f"q-linear: no ν, largest residual {sides.lhs:.3g} nats of {fit.size[worst]:.3g}, "
        f"held-out R² {fit.held_out[worst]:.3f}"
    )
    if not fit.enough:
        reason = f"q-linear: {lemma.reason}"
    vectors = settings.beta * fit.nu if nu is None else nu
    errors: dict[str, float] = {}
    rows: dict[str, list[Sides]] = {"ss.thm1.kl.any": [], "ss.thm1.kl.repaired": []}
    for m, name in enumerate(settings.names):
        lam = settings.lams[m]
        errors[name] = logit_norm(vectors, lam, settings.beta, settings.beta_prime)
        outside = states.live.shape[1] < bank.vocab_size
        edge = (float("nan") if outside else 0.0) if bound is None else bound
        both = kl_bounds(states, edge, errors[name], settings.beta_prime, m)
        for claim, rhs in zip(rows, both, strict=True):
            n = int(np.argmin(rhs - kl[m]))
            where = {"soup": m, "state": n}
            rows[claim].append(Sides(float(kl[m, n]), float(rhs[n]), scale, where=where))
    checks = [lemma]
    for claim, of_soups in rows.items():
        least = min(of_soups, key=lambda s: s.slack)
        check = check_of(claim, least, eps, [OPTIMAL, BESPOKE, SAMPLED])
        if not linear:
            check = replace(check, verdict="not-applicable", reason=reason)
        checks.append(replace(check, hypotheses={"q-linear": linear}))
    return FeatureReport(states, fit, checks, bound, errors)
