"""``soupcheck rests-on``: hypotheses, steps, lemmas, repairs and witnesses of one claim."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.markup import escape
from rich.tree import Tree

from ..claims.catalogue import CLAIMS
from ..proofs.dependence import LEMMAS, Dependence
from ..proofs.dependence import rests_on as dependence
from ..proofs.walk import printed_proof
from ..records.output import OutputFile, dump
from ..report.console import tables_console
from ..terminal import standard_stream
from .options import Json, Plugin


def rests_on(
    claim: Annotated[str, typer.Argument(help="A claim's id, say ss.thm1.gap.")],
    plugin: Plugin = None,
    json_path: Json = None,
) -> None:
    """Show what a claim rests on: hypotheses, steps, lemmas; what mends it; what uses it."""
    found = dependence(claim)
    if json_path is not None:
        with OutputFile(json_path) as out:
            out.write([dump(found.as_dict())])
        if standard_stream(json_path) is sys.stdout:
            return
    tables_console(json_path).print(_tree(found))


def _tree(found: Dependence) -> Tree:
    claim = CLAIMS[found.claim]
    tree = Tree(
        f"[bold]{_named(found.claim)}[/], {claim.source}{escape(f', {claim.title}' if claim.title else '')}"
    )
    tree.add(escape(f"says: {claim.statement}"))
    tree.add(escape(f"{claim.status}, since: {claim.reason}"))
    _rests(tree, found.claim)
    if found.true_when:
        _branch(tree, f"true as printed when {found.true_when}", found.true_by)
    _branch(tree, "true in its place", found.instead)
    if found.witnesses:
        branch = tree.add("broken by the stored witnesses")
        for name, certified in found.witnesses.items():
            branch.add(f"{name}{' (certified)' if certified else ''}")
    _branch(tree, "a step of the printed proof of", found.step_of)
    _branch(tree, "a lemma in the proof of", found.lemma_of)
    _branch(tree, "true in the place of", found.mends)
    return tree


def _rests(tree: Tree, claim: str, above: frozenset[str] = frozenset()) -> None:
    """Add what a claim rests on, and what that rests on in turn."""
    told, above = CLAIMS[claim], above | {claim}
    if told.hypotheses:
        branch = tree.add("asks for")
        for hypothesis in told.hypotheses:
            branch.add(f"{hypothesis.id}: {hypothesis.statement}")
    steps = [(s.claim, s.says) for s in printed_proof(claim).steps]
    lemmas = [(lemma, CLAIMS[lemma].reason) for lemma in LEMMAS.get(claim, ())]
    for title, parts in (("steps of its printed proof", steps), ("its proof uses", lemmas)):
        if not parts:
            continue
        branch = tree.add(title)
        for part, says in parts:
            breaks = "  [bold]breaks here[/]" if part == told.blames else ""
            below = branch.add(f"{_named(part)}: {says}{breaks}")
            if part not in above:
                _rests(below, part, above)
    if told.blames and not steps:
        tree.add(f"its printed proof breaks at {_named(told.blames)}")


def _branch(tree: Tree, title: str, claims: Iterable[str]) -> None:
    claims = list(claims)
    if claims or title.startswith("true as printed"):
        branch = tree.add(title)
        for claim in claims:
            branch.add(f"{_named(claim)}: {CLAIMS[claim].reason}")


def _named(claim: str) -> str:
    return f"{claim} ({CLAIMS[claim].status})"
