"""``soupcheck.plot``: the figures on your own instances, each a matplotlib ``Figure``.

What is drawn, and how, has its home in the figure of that name; here it is given other rows. They
are made for print, whatever style is in use. width: inches; font: "sans", "times" or "computer-modern".
``soupcheck figures NAME FILE`` writes the same to files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bounds import Check, Facts, Soup, check
from bounds.proofs.walk import explain
from bounds.records.record import plain
from toymdp import InstanceError, Solution, TokenMDP, solve, soup_optimum

from . import landscape as _landscape
from . import rungs as _rungs
from . import tightness as _tightness
from . import waterfall as _waterfall
from .cached_table import Row
from .canvas import COLUMN, OTHERS, house_style
from .notebook import notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ladder", "landscape", "notebook", "tightness", "waterfall"]


def ladder(*instances: TokenMDP | Solution, width: float = COLUMN, font: str = "sans") -> Figure:
    """The bounds on the gap at λ*, from the identity to the printed (10): a line an instance.

    Raises InstanceError where the gap is 0: there is nothing to bound.
    """
    return _drawn(_rungs.draw, _ladder_rows(instances), width, font)


def landscape(
    instance: TokenMDP | Solution,
    *,
    points: int = 61,
    tolerance: float = 1e-4,
    width: float = COLUMN,
    font: str = "sans",
) -> Figure:
    """J over the whole budget, its maxima and what branch and bound proves of it.

    Raises InstanceError unless there are two specialists.
    """
    return _drawn(_landscape.draw, _landscape_rows([instance], points, tolerance), width, font)


def waterfall(
    instance: TokenMDP | Solution,
    claim: str = "ss.thm1.gap",
    *,
    width: float = COLUMN,
    font: str = "sans",
) -> Figure:
    """From an inequality's left side to its right, step by step of its printed proof.

    Raises InstanceError for a claim without a printed proof of several steps, without sides here, or
    of an equality, which no steps lead up to.
    """
    return _drawn(_waterfall.draw, _waterfall_rows([instance], claim), width, font)


def tightness(checks: Any, *, width: float = COLUMN, font: str = "sans") -> Figure:
    """Left against right side of inequalities: on the diagonal tight, above it loose, below violated.

    checks: what ``soupcheck.check`` returns (of several instances, added up), rows of a ledger, or a
    frame of either. Raises InstanceError if no inequality among them has
    two positive sides, or if there are more claims than colours.
    """
    records = checks.to_dict("records") if hasattr(checks, "to_dict") else checks
    rows = list(_sides(records))
    if not rows:
        rule = "hold no inequality whose two sides are positive"
        raise InstanceError.of("checks", len(records), rule, "give others")
    claims = {row["bound"] for row in rows}
    if len(claims) > len(OTHERS):
        rule = f"at most {len(OTHERS)} can be told apart"
        raise InstanceError.of("claims in checks", len(claims), rule, "choose some, by pattern")
    return _drawn(_tightness.draw, rows, width, font)


@dataclass(frozen=True)
class Own:
    """A figure of given instances: the module that draws it, and its rows.

    alone: whether it shows one instance.
    """

    figure: ModuleType
    rows: Callable[[Sequence[TokenMDP]], list[Row]]
    alone: bool = False


def _ladder_rows(instances: Sequence[TokenMDP | Solution]) -> list[Row]:
    rows: list[Row] = []
    for name, sol in _named(instances):
        soup = Soup(Facts(sol), soup_optimum(sol.mdp, sol).lam)
        if not soup.gap > _rungs.VISIBLE:
            rule = f"is at most {_rungs.VISIBLE:g}: nothing to bound"
            raise InstanceError.of(f"gap of {name}", soup.gap, rule, "leave it out")
        rows += _rungs.rungs_on(soup, name, name)
    return rows


def _landscape_rows(
    instances: Sequence[TokenMDP | Solution], points: int = 121, tolerance: float = 1e-4
) -> list[Row]:
    ((_, sol),) = _named(instances)
    if sol.mdp.n_rewards != 2:
        rule = "a landscape is drawn of two specialists"
        raise InstanceError.of("K", sol.mdp.n_rewards, rule, "keep two rewards")
    return _landscape.surface_of(sol, points, tolerance)


def _waterfall_rows(
    instances: Sequence[TokenMDP | Solution], claim: str = "ss.thm1.gap"
) -> list[Row]:
    ((_, sol),) = _named(instances)
    walk = explain(sol, claim)
    if walk.claim.kind != "inequality":
        raise InstanceError.of("claim", claim, "is an equality", "try ss.thm1.gap or ss.thm1.kl")
    if not walk.steps:
        raise InstanceError.of(
            "claim", claim, "has no printed proof of several steps", "try ss.thm1.gap"
        )
    if walk.claim.lhs is None:
        raise InstanceError.of(
            "claim", claim, f"has no sides here ({walk.claim.reason})", "try another"
        )
    return _waterfall.steps_of(walk)


def _tightness_rows(instances: Sequence[TokenMDP | Solution]) -> list[Row]:
    rows: list[Row] = []
    for name, sol in _named(instances):
        opt = soup_optimum(sol.mdp, sol)
        checks = check(sol, ",".join(_tightness.BOUNDS), optimum=opt, lam=opt.lam)
        own = [row | {"family": name, "instance": name} for row in _sides(checks)]
        rows += [row | {"bound": _tightness.BOUNDS[row["bound"]]} for row in own]
    if not rows:
        remedy = "give one whose gap is positive, with λ* other than 0"
        raise InstanceError.of("bounds that apply", 0, "there is nothing to draw", remedy)
    return rows


OWN: Mapping[str, Own] = {
    "ladder": Own(_rungs, _ladder_rows),
    "landscape": Own(_landscape, _landscape_rows, alone=True),
    "waterfall": Own(_waterfall, _waterfall_rows, alone=True),
    "tightness": Own(_tightness, _tightness_rows),
}


def _drawn(
    draw: Callable[[list[Row], float], Figure], rows: list[Row], width: float, font: str
) -> Figure:
    import matplotlib as mpl

    with house_style(font, mpl.rcParams["figure.dpi"]):  # a notebook's own scale stays
        return draw(rows, width)


def _sides(checks: Iterable[Check | Mapping[str, Any]]) -> Iterable[Row]:
    for given in checks:
        row = plain(given) if isinstance(given, Check) else given
        lhs, rhs = row["lhs"], row["rhs"]
        if row["kind"] == "inequality" and lhs is not None and lhs > 0 and rhs > 0:
            yield {
                "family": str(row.get("family") or "yours"), "instance": str(row.get("instance")),
                "bound": row["claim"], "gap": lhs, "value": rhs, "verdict": row["verdict"],
            }  # fmt: skip


def _named(instances: Sequence[TokenMDP | Solution]) -> Iterator[tuple[str, Solution]]:
    """Each solution with a name of its own."""
    seen: Counter[str] = Counter()
    for i, given in enumerate(instances):
        sol = given if isinstance(given, Solution) else solve(given)
        name = sol.mdp.name or f"instance {i + 1}"
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})", sol
