"""The tables a person reads: verdicts over instances, one instance in detail, the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from toymdp import Solution, SoupOptimum
from toymdp.shown import short

from ..claim import Claim
from ..records.ledger import Change
from ..verdicts import RELATION
from .named_rows import NamedRows
from .summary import VERDICTS, Summary

WHY = 24  # characters of a reason, at least: an id takes no more from it
PARTS = {"inequality": "right side from", "equality": "with"}  # what a check's terms are
_STYLE = {
    "holds": "green", "violated": "bold red", "undecided": "yellow", "not-applicable": "dim",
    "error": "bold red", "proved": "green", "refuted": "red", "open": "yellow",
}  # fmt: skip


def _styled(word: str) -> Text:
    return Text(word, style=_STYLE.get(word, ""))


def table(title: str, rows: Iterable[Mapping[str, object]]) -> Table:
    """Rows with common keys as a table: the keys are its columns, numbers are kept short.

    True and False read yes and no, None a dash; verdicts and statuses have their colours.
    """
    made = Table(title=escape(title), title_justify="left", header_style="bold")
    columns: list[str] = []
    for i, row in enumerate(rows):
        if i == 0:
            columns = list(row)
            for key in columns:
                number = isinstance(row[key], int | float | None)
                made.add_column(key, justify="right" if number else "left", overflow="fold")
        made.add_row(*(_cell(row[key]) for key in columns))
    return made


def _cell(value: object) -> Text:
    if isinstance(value, bool | np.bool_):
        return Text("yes" if value else "no")
    if isinstance(value, float | np.floating):
        return Text(short(float(value)))
    return Text("–") if value is None else _styled(str(value))


def summary(totals: Summary) -> Table:
    """By status: verdict counts, how tight a claim is in the median, at 90 % and at worst, and where."""
    table = NamedRows(
        title="Verdicts over instances", title_justify="left", header_style="bold", box=SIMPLE_HEAD,
        padding=0, pad_edge=False, caption_justify="left",
        caption="median, 90 %, worst: left/right of a ≤ (1: tight, above: violated), |left − right| of an =",
    )  # fmt: skip
    table.add_column("claim", no_wrap=True)
    table.add_column("")
    failed = any(numbers.counts["error"] for numbers in totals.claims.values())
    verdicts = (*VERDICTS, *(["error"] if failed else []))
    heads = ("holds", "violated", "n/a", "undec.", *verdicts[len(VERDICTS) :])
    for name in (*heads, "median", "90 %", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst at", overflow="fold", min_width=14)
    for status in dict.fromkeys(numbers.status for numbers in totals.claims.values()):
        table.add_row(_styled(status), style="bold")
        for claim, numbers in totals.claims.items():
            if numbers.status == status:
                middle, high, most, name = numbers.tightness
                table.add_row(
                    claim, RELATION[numbers.kind],
                    *(_count(numbers.counts[v], v) for v in verdicts), middle, high, most, escape(name),
                )  # fmt: skip
        table.add_section()
    return table


def changes(rows: Iterable[Change]) -> Table:
    """What differs between two ledgers, a row a check; the names of instances give way to the claims'."""
    made = NamedRows(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in ("claim", "what differs", "A", "B", "slack in A", "slack in B"):
        made.add_column(name, justify="right" if "slack" in name else "left", no_wrap=True)
    made.add_column("instance", overflow="fold", min_width=14)
    for c in rows:
        made.add_row(
            c.claim, "content" if c.what == "instance" else c.what, _cell(c.before), _cell(c.after),
            short(c.slack_before), short(c.slack_after), escape(c.instance),
        )  # fmt: skip
    return made


def _count(n: int, verdict: str) -> Text:
    return Text(str(n) if n else "·", style=_STYLE[verdict] if n else "dim")


def detail(name: str, checks: Iterable[Mapping[str, Any]]) -> Table:
    """Every check of one instance, as records, by status, with both sides and why."""
    checks = list(checks)
    notes = []
    if any((c["lambda_name"] or "optimum") not in ("optimum", "given") for c in checks):
        notes.append("a claim about every λ stands at its worst; all at λ*: --lambda optimum")
    if any(c["where"] or "one-hot" in (c["lambda_name"] or "") for c in checks):
        notes.append(
            "places (k, t, s) and one-hots count from 0; Q_1 and r_1 are the first reward's"
        )
    table = NamedRows(
        title=escape(name), title_justify="left", header_style="bold", box=SIMPLE_HEAD,
        padding=0, pad_edge=False, caption_justify="left",
        caption="\n".join(notes) or None,
    )  # fmt: skip
    table.add_column("claim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for heading, side in (
        ("left", "right"),
        ("", "left"),
        ("right", "right"),
        ("left/right", "right"),
    ):
        table.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("why", overflow="fold", min_width=WHY)
    for status, group in _by_status(checks).items():
        if len(checks) > 1:
            table.add_row(_styled(status), style="bold")
        for c in group:
            table.add_row(
                c["claim"], _styled(c["verdict"]), short(c["lhs"]), RELATION[c["kind"]],
                short(c["rhs"]), short(c["ratio"]), escape(_why(c)),
            )  # fmt: skip
        table.add_section()
    return table


def _by_status(checks: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for c in checks:
        groups.setdefault(c["status"], []).append(c)
    return groups


def _why(c: Mapping[str, Any]) -> str:
    """Where a check was made, and why it came out so, in words."""
    at = {"optimum": "at λ*", "user weights": "at the user's weights"}.get(c["lambda_name"] or "")
    at = at or (f"at λ = {c['lambda_name']}" if c["lambda_name"] else "")
    where = ", ".join(f"{name} = {place}" for name, place in (c["where"] or {}).items())
    close = c["kind"] == "inequality" and c["slack"] and short(c["lhs"]) == short(c["rhs"])
    apart = f"apart by {short(abs(c['slack']))}" if close and not c["reason"] else ""
    terms = ", ".join(f"{k} {short(v)}" for k, v in list(c["terms"].items())[:3])
    says = c["reason"] or (f"{PARTS[c['kind']]}: {terms}" if terms else "")
    return "; ".join(part for part in (at, where, apart, says) if part)


def _bound(opt: SoupOptimum) -> str:
    """The proved bound of J over all soups, and what it took."""
    if opt.bound is None:
        return opt.no_bound or ""
    b = opt.bound
    if b.method == "identity":
        return f"{b.value:.10g}  (V_w, by the identity: too many specialists for more)"
    verdict = "within" if b.reached else "NOT within"
    text = f"{b.value:.10g}  (J + {b.gap:.3g}, {verdict} the {b.allowed:.3g} allowed; "
    better = "; found a better soup" if b.ascents else ""
    return f"{text}{b.pieces} pieces, {b.seconds:.2g} s, stopped by {b.stopped}{better})"


def solution(sol: Solution, opt: SoupOptimum) -> Table:
    """V*, λ* and the gap of one instance."""
    mdp = sol.mdp
    table = Table(title=escape(mdp.name or "instance"), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    size = f"A = {mdp.vocab_size}, L = {mdp.order}, S = {mdp.n_contexts}, T = "
    table.add_row("size", f"{size}{mdp.horizon or 'until eos'}, K = {mdp.n_rewards}")
    table.add_row("V_k", "  ".join(short(v) for v in sol.values))
    table.add_row("V_w", f"{sol.value_w:.10g}")
    if sol.status != "solved":
        text = f"{sol.status}: these values are wrong by up to {sol.residual:.2g} of their size"
        table.add_row("status", Text(text, style="bold red"))
    table.add_row("λ*", "  ".join(f"{x:.6g}" for x in opt.lam))
    table.add_row("J(λ*)", f"{opt.J:.10g}")
    table.add_row("gap", f"{opt.gap:.6g}")
    if opt.bound is not None or opt.no_bound is not None:
        table.add_row("upper bound of J", _bound(opt))
    table.add_row("budget used", f"{opt.budget_used:.6g}")
    table.add_row("KKT residual", f"{opt.kkt:.1e}  ({opt.status}, {opt.evidence})")
    optima = f"{len(opt.starts)} starts, {opt.local_optima} local optima, spread {opt.spread:.3g}"
    table.add_row("search", f"{optima}, won by {opt.start}")
    return table


def condition(claim: Claim) -> str:
    """When a refuted claim is true as printed, and the proved claims that say so."""
    by = f" ({', '.join(claim.true_by)})" if claim.true_by else ""
    return f"{claim.true_when}{by}"


def why(claim: Claim) -> str:
    """The reason of a claim's status, and the step of the printed proof that breaks."""
    return f"{claim.reason}; breaks at {claim.blames}" if claim.blames else claim.reason


def catalogue(claims: Iterable[Claim], witnesses: Mapping[str, Sequence[str]]) -> Group:
    """A block a claim: id, status and source, the statement, why, when true, hypotheses, witnesses."""
    blocks: list[RenderableType] = []
    for c in claims:
        heading = Text.assemble((c.id, "bold"), "  ", _styled(c.status), f"  {c.source}  {c.title}")
        facts = {
            "says": c.statement, "why": why(c), "true when": condition(c),
            "asks for": ", ".join(h.id for h in c.hypotheses),
            "broken by": ", ".join(witnesses.get(c.id, ())),
        }  # fmt: skip
        block = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        block.add_column(style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        for name, text in facts.items():
            if text:
                block.add_row(f"  {name}", escape(text))
        blocks += [heading, block, ""]
    return Group(*blocks[:-1])
