"""``soupcheck search``: an instance that breaks a claim, from nothing but the claim's id."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from toymdp import InstanceError
from toymdp.shown import short

from ..claims.catalogue import CLAIMS, claim_named
from ..records.output import OutputFile, dump, number
from ..report.console import status_console, tables_console, warm_up
from ..search.budget import Budget
from ..search.ordinary import CONFINED, Measured, Ordinary
from ..search.packages import require_packages
from ..search.stored import StoredSearch, read_search
from ..terminal import standard_stream
from .natural import (
    Horizon,
    LeastRef,
    MayForbid,
    Natural,
    NormRatio,
    Order,
    RewardOverBeta,
    Weights,
    asked,
)
from .options import Json, Plugin

if TYPE_CHECKING:
    from ..search.engine import State
    from ..search.judge import Find
    from ..search.shrink import Shrinker


def search(
    claim: Annotated[str, typer.Argument(help="A claim's id, say ss.thm1.gap.")],
    seconds: Annotated[
        float,
        typer.Option(min=0.1, help="Time for all of it: imports, looking, shrinking."),
    ] = 60.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every draw.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Witness file; until one is found, the best so far.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the file of --out.")] = False,
    shrink: Annotated[
        bool,
        typer.Option(help="Make the witness small in what time is left; --resume goes on with it."),
    ] = True,
    factor: Annotated[
        float, typer.Option(min=1.0, help="lhs/rhs to reach and to keep (equality: 1 + |Δ|/size).")
    ] = 1.05,
    natural: Natural = False,
    least_ref: LeastRef = None,
    may_forbid: MayForbid = False,
    norm_ratio: NormRatio = None,
    reward_over_beta: RewardOverBeta = None,
    weights: Weights = None,
    horizon: Horizon = None,
    order: Order = None,
    plugin: Plugin = None,
    json_path: Json = None,
) -> None:
    """Look for a token MDP that meets every hypothesis of CLAIM and breaks it; exit 1 if none.

    --seconds is the time for all of it. The search looks until it has found a witness, and shrinks
    that in what is left. Nothing is begun when the time is up; what has begun is ended, and one
    instance is looked at however little time there is. With --natural no instance leaves the limits,
    while looking or while shrinking.
    """
    limits = least_ref, may_forbid, norm_ratio, reward_over_beta, weights, horizon, order
    ordinary = asked(natural, *limits)
    if not factor < math.inf:
        raise InstanceError.of("--factor", factor, "must be finite", "choose a smaller one")
    if math.isnan(seconds):
        raise InstanceError.of("--seconds", seconds, "must be a number", "say how long to look")
    budget = Budget(seconds)
    progress = _Progress(f"{claim}: importing torch and the solvers", budget)
    stored = _ready(claim, out, resume, ordinary)
    output = OutputFile(json_path, [out] if out else [])
    warm_up()
    with status_console().status(progress):
        import torch

        from ..search import checkpoint
        from ..search.engine import State
        from ..search.engine import search as look
        from ..search.shrink import Shrinker

    torch.set_num_threads(1)  # the tables are small: threads would only wait for each other
    state = State(claim, seed, ordinary) if stored is None else checkpoint.resume(stored)
    if state.best is not None and state.best.broken and not state.breaks_by(factor):
        status_console().print(f"the file's witness has {state.strength:.4g}: looking for more")

    def save_best(now: State) -> None:
        progress.text = _line(now)
        if out is not None:
            checkpoint.save(out, now, factor)

    progress.text = f"{claim}: looking"
    with status_console().status(progress):
        look(state, budget, factor, save_best)
        broken, shrinker = state.breaks_by(factor), None
        if broken and shrink and not state.interrupted:
            assert state.best is not None

            def save_smaller(best: Find, name: str, tried: int) -> None:
                progress.text = f"{claim}: shrinking, {name}, {tried} tried; {_size(best)}"
                if best is not state.best and out is not None:  # a killed run keeps what it had
                    state.best = best
                    checkpoint.save(out, state, factor)

            shrinker = Shrinker(claim, factor, budget, state.seed, save_smaller, ordinary)
            state.best = shrinker.run(state.best)
            save_best(state)
    _show(tables_console(json_path), state, broken, shrinker)
    with output as lines:
        tried = 0 if shrinker is None else shrinker.tried
        lines.write([dump(_result(state, factor, broken, tried, out))])
    if not broken:
        raise typer.Exit(1)


@dataclass
class _Progress:
    """What is going on and the time that is left, written anew whenever the status is drawn."""

    text: str
    budget: Budget

    def __rich__(self) -> str:
        return f"{escape(self.text)} ... {self.budget.left:.0f} s left"


def _ready(
    claim: str, out: Path | None, resume: bool, ordinary: Ordinary | None
) -> StoredSearch | None:
    """Refuse what cannot be searched, before anything costs time; read what it goes on from."""
    stated = claim_named(claim)
    if stated.world != "token-mdp/1":
        raise InstanceError.of(
            "claim", claim, f"speaks of {stated.world}", "search knows token MDPs only"
        )
    if stated.status in ("hypothesis", "set-up"):
        raise InstanceError.of("claim", claim, f"is a {stated.status}", "name a statement")
    if ordinary is not None and claim not in CONFINED:
        raise InstanceError.of(
            "--natural", claim, "is no claim it can confine", f"choose from {', '.join(CONFINED)}"
        )
    if resume and out is None:
        raise InstanceError("--resume: goes on from the file of --out; give it too")
    if out is not None and standard_stream(out) is not None:
        raise InstanceError.of("--out", str(out), "is where the tables go", "name a file")
    if out is not None and not out.parent.is_dir():
        raise InstanceError(f"{out}: its folder does not exist; create it first")
    if out is not None and out.exists() and not resume:
        raise InstanceError(f"{out}: exists; --resume goes on from it, or name another")
    require_packages()
    stored = read_search(out, claim) if resume and out else None
    if stored is not None and stored.ordinary != ordinary:
        before = "without --natural" if stored.ordinary is None else stored.ordinary.in_words()
        raise InstanceError(f"{out}: was searched {before}; ask for the same")
    return stored


def _size(find: Find) -> str:
    mdp = find.mdp
    return (
        f"A={mdp.vocab_size} L={mdp.order} T={mdp.steps} K={mdp.n_rewards}, "
        f"strength {find.strength:.4g}"
    )


def _line(state: State) -> str:
    best = "nothing to compare yet" if state.best is None else _size(state.best)
    return f"{state.claim}: round {state.rounds}, {state.looks:,} instances; best {best}"


def _show(console: Console, state: State, broken: bool, shrinker: Shrinker | None) -> None:
    best = state.best
    if best is None:
        console.print(f"{state.claim}: no instance met its hypotheses in {state.seconds:.1f} s")
        return
    status = CLAIMS[state.claim].status
    title = f"{state.claim} ({status}): " + ("broken" if broken else "not broken")
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in (
        ("verdict", best.check.verdict),
        ("lhs", short(best.check.lhs)),
        ("rhs", short(best.check.rhs)),
        ("strength", f"{best.strength:.6g} (above 1 it is broken)"),
        ("instance", _size(best)),
        ("asked", "any world" if state.ordinary is None else state.ordinary.in_words()),
        ("its world", Measured.of(best.mdp).in_words()),
        ("hypotheses", ", ".join(f"{h} {v}" for h, v in best.check.hypotheses.items())),
        ("effort", f"{state.seconds:.1f} s, {state.rounds} rounds, {state.looks:,} instances"),
        ("met its hypotheses", f"{state.met:,} of them"),
        ("shrinking", "none" if shrinker is None else shrinker.outcome),
    ):
        table.add_row(name, value)
    console.print(table)
    if broken and status == "proved":
        console.print("a proved claim is broken: a bug of this package, please report it")


def _result(
    state: State, factor: float, broken: bool, edits_tried: int, out: Path | None
) -> dict[str, Any]:
    best = state.best
    check = None if best is None else best.check
    mdp = None if best is None else best.mdp
    return {
        "claim": state.claim, "status": CLAIMS[state.claim].status, "found": broken,
        "verdict": None if check is None else check.verdict,
        "lhs": None if check is None else number(check.lhs),
        "rhs": None if check is None else number(check.rhs),
        "strength": None if best is None else number(best.strength), "factor": factor,
        "lambda": None if check is None or check.lam is None else [number(x) for x in check.lam],
        "hypotheses": None if check is None else dict(check.hypotheses),
        "natural": None if state.ordinary is None else state.ordinary.as_record(),
        "sizes": None if mdp is None else {
            "A": mdp.vocab_size, "L": mdp.order, "T": mdp.horizon, "K": mdp.n_rewards,
        },
        "seed": state.seed, "seconds": state.seconds, "rounds": state.rounds,
        "instances": state.looks, "instances_met": state.met,
        "edits_tried": edits_tried, "interrupted": state.interrupted,
        "out": None if out is None else str(out),
    }  # fmt: skip
