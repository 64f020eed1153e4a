"""``soupcheck solve``: exact values, the soup optimum, the gap."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from toymdp import TokenMDP, soup_optimum
from toymdp import solve as solve_instance

from .. import tables
from ..ledger import OutputFile, dump, number
from .console import status_console, tables_console, warm_up


def solve(
    file: Annotated[Path, typer.Argument(help="A token-mdp/1 instance, .json or .npz.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random starts.")] = 0,
    json_path: Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")] = None,
) -> None:
    """Solve one instance: V* of every reward, λ*, J and the gap."""
    output = OutputFile(json_path, [file])
    mdp = TokenMDP.load(file)
    warm_up()
    began = time.perf_counter()
    console = status_console()
    with console.status("solving ...") as status:
        sol = solve_instance(mdp)
        opt = soup_optimum(
            mdp, sol, seed=seed, progress=lambda name: status.update(f"climbing from {name} ...")
        )
    seconds = time.perf_counter() - began
    found = {
        "V_w": number(sol.value_w),
        "V_k": [number(v) for v in sol.values],
        "lambda": [number(x) for x in opt.lam],
        "mu": [number(x) for x in opt.mu],
        "J": number(opt.J),
        "gap": number(opt.gap),
        "budget_used": number(opt.budget_used),
        "status": opt.status if sol.status == "solved" else sol.status,
        "upper_bound": None,
        "seconds": seconds,
        "kkt": number(opt.kkt),
        "start": opt.start,
        "spread": number(opt.spread),
        "local_optima": opt.local_optima,
        "evidence": opt.evidence,
        "residual": number(sol.residual),
    }
    tables_console(json_path).print(tables.solution(mdp, opt, list(sol.values), sol.value_w))
    with output as out:
        out.write([dump(found)])
    if out.failure:
        typer.echo(f"soupcheck: {out.failure}", err=True)
        raise typer.Exit(2)
