"""The options of ``soupcheck search --natural``: from what is typed to the limits of a search."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from toymdp import InstanceError

from ..search.ordinary import Ordinary
from .options import numbers

Natural = Annotated[
    bool,
    typer.Option("--natural", help="Look at ordinary worlds only; the options below say which."),
]
LeastRef = Annotated[
    float | None, typer.Option(help="--natural: least probability of a token under ref [0.01].")
]
MayForbid = Annotated[
    bool, typer.Option("--may-forbid", help="--natural: --least-ref is of allowed tokens only.")
]
NormRatio = Annotated[
    float | None, typer.Option(help="--natural: largest feature norm over the smallest [3].")
]
RewardOverBeta = Annotated[
    float | None,
    typer.Option(help="--natural: largest reward in units of β; none is below 0 [50]."),
]
Weights = Annotated[
    str | None,
    typer.Option(help="--natural: w in proportion, say 1,1 or 3,7, or 'any' of two [1,1]."),
]
Horizon = Annotated[int | None, typer.Option(help="--natural: T; by default any from 2 to 12.")]
Order = Annotated[
    int | None,
    typer.Option(help="--natural: L; 1: every context is reached at every step [1 or 2]."),
]


def asked(
    natural: bool, least_ref: float | None, may_forbid: bool, norm_ratio: float | None,
    reward_over_beta: float | None, weights: str | None, horizon: int | None, order: int | None,
) -> Ordinary | None:  # fmt: skip
    """The limits that were typed; None without ``--natural``.

    Raises InstanceError for a limit out of range, or one without ``--natural``.
    """
    given = {
        "least_ref": least_ref, "norm_ratio": norm_ratio, "reward_over_beta": reward_over_beta,
        "weights": weights, "horizon": horizon, "may_forbid": may_forbid or None, "order": order,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if not natural:
        if given:
            option = "--" + min(given).replace("_", "-")
            raise InstanceError(f"{option}: is a limit of --natural; give that too")
        return None
    limits = Ordinary()
    return Ordinary(
        limits.least_ref if least_ref is None else least_ref,
        limits.norm_ratio if norm_ratio is None else norm_ratio,
        limits.reward_over_beta if reward_over_beta is None else reward_over_beta,
        limits.weights if weights is None else _proportions(weights), horizon, may_forbid, order,
    )  # fmt: skip


def _proportions(text: str) -> tuple[float, ...] | None:
    """Weights of sum 1 from numbers by commas; None for 'any'."""
    if text == "any":
        return None
    values = numbers(text, "--weights")
    total = math.fsum(values)
    if min(values) <= 0 or not total < math.inf:
        raise InstanceError.of("--weights", text, "must be above 0", "or say any")
    return tuple(x / total for x in values)
