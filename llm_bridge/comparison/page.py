"""The first page of ``soupcheck llm diagnose``: what was asked, in sentences and one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toymdp.arrays import Array

from .crossfit import OWN, CrossFit, Judged
from .gaps import Shortfall
from .policies import SOUP

SURE = 2.0  # standard errors from which a difference is spoken of
NEAR_LINEAR, FAR = 0.95, 0.5  # held-out R² of log-ratios on the state


def _apart(found: tuple[float, float]) -> str:
    return f"{100 * found[0]:+.1f} ± {100 * found[1]:.1f} %"


def over_reference(judged: Judged) -> tuple[float, float]:
    """By how much a policy is better than the reference, which is right half the time."""
    return judged.share - 0.5, judged.error


def sentences(
    names: Sequence[str], fit: CrossFit, linear: Mapping[str, float | None], beta: float,
    beta_prime: float, gaps: Mapping[str, Shortfall], cut: float | None,
) -> list[str]:  # fmt: skip
    """What is to be said, the most important first."""
    soup = fit.judged[SOUP]
    gain, error = over_reference(soup)
    lines = []
    if gain <= SURE * error:
        lines.append(
            f"No soup of these adapters orders this user's held-out pairs better than the reference: "
            f"{100 * soup.share:.1f} ± {100 * error:.1f} % right, where chance is 50 %."
        )
    else:
        lines.append(
            f"The soup orders {100 * soup.share:.1f} ± {100 * error:.1f} % of held-out pairs as the user did "
            f"(the reference: 50 % by definition)."
        )
    lam = ", ".join(
        f"{name} {value:+.3f} ± {spread:.3f}"
        for name, value, spread in zip(names, fit.lam, fit.error, strict=True)
    )
    budget = (
        f"; fitted beyond the budget β|λ|₁ ≤ β' = {beta_prime:g} and scaled into it" * fit.shrunk
    )
    lines.append(f"λ from all pairs, ± standard errors: {lam}{budget}.")
    own = fit.judged[OWN]
    lines.append(
        f"The reward that λ was fitted for, {OWN}, orders {100 * own.share:.1f} ± {100 * own.error:.1f} % of "
        f"them right."
    )
    others = {n: j for n, j in fit.judged.items() if n not in (SOUP, OWN)}
    best = max(others, key=lambda n: others[n].share)
    ahead = soup.over(others[best])
    verdict = "is ahead of" if ahead[0] > SURE * ahead[1] else (
        "is behind" if ahead[0] < -SURE * ahead[1] else "cannot be told from")  # fmt: skip
    lines.append(
        f"It {verdict} the best of the others on the same pairs, {best} "
        f"({100 * others[best].share:.1f} %): {_apart(ahead)}."
    )
    lines += _adapters(names, fit)
    known = [value for name, value in linear.items() if value is not None and name in names]
    if known:
        least = min(known)
        word = "linear in the reference's state, as the theory assumes" if least >= NEAR_LINEAR else (
            "far from linear in the reference's state" if least < FAR else
            "linear in the reference's state in part only")  # fmt: skip
        lines.append(
            f"Log-ratios of the specialists are {word}: the least held-out R² is {least:.3f} "
            f"(1: linear; below 0: a constant is nearer)."
        )
    else:
        lines.append("Whether log-ratios are linear in the state takes more prompts to tell.")
    if gaps:
        far, near = gaps["ref"], gaps[SOUP]
        lines.append(
            f"Gap to the bespoke adapter over answers drawn to prompts of these pairs, at β = {beta:g}, in "
            f"reward units: soup "
            f"{near.gap:.3f} ± {near.error:.3f}, reference {far.gap:.3f} ± {far.error:.3f}."
        )
    lines += [f"{name} is left out: {reason}." for name, reason in fit.left_out.items()]
    if cut is not None and cut > 0:
        lines.append(
            f"{100 * cut:.0f} % of the answers drawn were cut at the longest length allowed."
        )
    return lines


def _adapters(names: Sequence[str], fit: CrossFit) -> list[str]:
    """Which adapters conflict, whether one is redundant, what one more would bring."""
    lines = []
    if fit.correlation is not None and len(names) > 1:
        i, j = np.triu_indices(len(names), 1)
        values = fit.correlation[i, j]
        worst = int(np.argmin(values))
        pair = f"{names[i[worst]]} and {names[j[worst]]}"
        word = "conflict on these pairs" if values[worst] < 0 else "agree least on these pairs"
        lines.append(f"{pair} {word}: correlation {values[worst]:+.2f}.")
    if fit.without:
        brings = {name: fit.judged[OWN].over(judged) for name, judged in fit.without.items()}
        least = min(brings, key=lambda n: brings[n][0])
        gain = _apart(brings[least])
        if brings[least][0] <= SURE * brings[least][1]:
            lines.append(
                f"{least} is redundant as far as these pairs show: it brings {gain} of them."
            )
        else:
            lines.append(
                f"No specialist is redundant: the least, {least}, brings {gain} of the pairs."
            )
        gains = [100 * gain for gain, _ in brings.values()]
        lines.append(
            f"What one specialist brings, judged by leaving it out: {min(gains):+.1f} to "
            f"{max(gains):+.1f} % of the pairs, {np.mean(gains):+.1f} % on average; one more like these may "
            f"bring as much."
        )
    return lines


def table_of(fit: CrossFit, gaps: Mapping[str, Shortfall]) -> dict[str, dict[str, Any]]:
    """Every policy: held-out accuracy, the soup's lead over it, its gap; the reference among them."""
    soup, n = fit.judged[SOUP], len(fit.judged[SOUP].hits)
    half = Judged(np.full(n, 0.5), soup.groups)
    rows = {}
    for name, judged in {SOUP: soup, "ref": half, **fit.judged}.items():
        lead = None if name == SOUP else soup.over(judged)
        gap = gaps.get(name)
        rows[name] = {
            "accuracy": judged.share, "standard error": judged.error,
            "soup ahead by": None if lead is None else lead[0],
            "error of that": None if lead is None else lead[1],
            "gap": None if gap is None else gap.gap, "its error": None if gap is None else gap.error,
        }  # fmt: skip
    return rows


def first_page(
    names: Sequence[str], fit: CrossFit, linear: Mapping[str, float | None], *, beta: float,
    beta_prime: float, gaps: Mapping[str, Shortfall],
) -> dict[str, Any]:  # fmt: skip
    """The page as one JSON object."""
    drawn = [g.cut for g in gaps.values()]
    cut = float(np.mean(drawn)) if drawn else None
    correlation: Array | None = fit.correlation
    return {
        "says": sentences(names, fit, linear, beta, beta_prime, gaps, cut),
        "lambda": dict(zip(names, fit.lam.tolist(), strict=True)),
        "standard errors": dict(zip(names, fit.error.tolist(), strict=True)),
        "lambda of each half": fit.halves.tolist(), "scaled into β|λ|₁ ≤ β'": fit.shrunk,
        "pairs": len(fit.judged[SOUP].hits), "policies": table_of(fit, gaps),
        "correlation": None if correlation is None else correlation.tolist(),
        "brings": {
            name: list(fit.judged[OWN].over(judged)) for name, judged in fit.without.items()
        },
        "cannot be made": dict(fit.left_out), "answers cut": cut,
    }  # fmt: skip
