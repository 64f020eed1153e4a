"""``soupcheck solve``: exact values, the soup optimum, the gap, and a bound on what it missed."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp import InstanceError, soup_optimum
from toymdp import solve as solve_instance
from toymdp.soup.optimum import SoupOptimum

from ..records.loading import load_token_mdp
from ..records.output import OutputFile, dump, number
from ..report import tables
from ..report.console import bound_progress, tables_console, warm_up, warm_up_bounds
from .options import Json


def solve(
    file: Annotated[
        Path, typer.Argument(help="A token-mdp/1 instance, .json or .npz, or a witness.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random starts.")] = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Prove J ≤ J(λ*) + TOLERANCE·max(1, V_w − J(0)) over all soups."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for that proof.")] = 60.0,
    json_path: Json = None,
) -> None:
    """Solve one instance: V* of every reward, λ*, J, the gap; with --tolerance, a bound on J."""
    for name, given in (("--tolerance", tolerance), ("--seconds", seconds)):
        if given is not None and not 0 < given < math.inf:
            raise InstanceError.of(name, given, "must be positive and finite", "correct it")
    output = OutputFile(json_path, [file])
    mdp, _ = load_token_mdp(file, "solve")
    warm_up(claims=False)
    if tolerance is not None:
        warm_up_bounds()
    began = time.perf_counter()
    with bound_progress() as shown:
        sol = solve_instance(mdp)
        opt = soup_optimum(
            mdp, sol, seed=seed, tolerance=tolerance, seconds=seconds,
            progress=shown.start, report=shown.report,
        )  # fmt: skip
    passed = time.perf_counter() - began
    answer = {
        "V_w": number(sol.value_w),
        "V_k": [number(v) for v in sol.values],
        "lambda": [number(x) for x in opt.lam],
        "mu": [number(x) for x in opt.mu],
        "J": number(opt.J),
        "gap": number(opt.gap),
        "budget_used": number(opt.budget_used),
        "status": opt.status if sol.status == "solved" else sol.status,
        "upper_bound": None if opt.upper_bound is None else number(opt.upper_bound),
        "seconds": passed,
        "kkt": number(opt.kkt),
        "start": opt.start,
        "spread": number(opt.spread),
        "local_optima": opt.local_optima,
        "evidence": opt.evidence,
        "bound": bound_record(opt),
        "residual": number(sol.residual),
    }
    tables_console(json_path).print(tables.solution(sol, opt))
    with output as out:
        out.write([dump(answer)])


def bound_record(opt: SoupOptimum) -> dict[str, Any] | None:
    """What the bound rests on, as plain JSON; with only a reason where none was possible."""
    if opt.bound is None:
        return None if opt.no_bound is None else {"reason": opt.no_bound}
    b = opt.bound
    return {
        "method": b.method,
        "gap": number(b.gap),
        "allowed": number(b.allowed),
        "reached": b.reached,
        "stopped": b.stopped,
        "pieces": b.pieces,
        "improved": bool(b.ascents),
        "seconds": b.seconds,
    }
