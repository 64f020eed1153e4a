"""``soupcheck rests-on``: hypotheses, steps, lemmas, repairs and witnesses of one claim."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.tree import Tree

from ..claims.catalogue import CLAIMS
from ..proofs.dependence import Dependence
from ..proofs.dependence import rests_on as dependence
from ..records.output import OutputFile, dump
from ..report.console import tables_console
from ..terminal import standard_stream
from .options import Json, Plugin

DEEPEST = 8  # levels of steps and lemmas below the claim


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
    tree = Tree(f"[bold]{_named(found.claim)}[/]: {CLAIMS[found.claim].reason}")
    _rests(tree, found, {found.claim}, 0)
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


def _rests(tree: Tree, found: Dependence, above: set[str], depth: int) -> None:
    """Add what a claim rests on, and what that rests on in turn."""
    if found.hypotheses:
        branch = tree.add("asks for")
        for hypothesis in found.hypotheses:
            branch.add(f"{hypothesis.id}: {hypothesis.statement}")
    if found.steps:
        branch = tree.add("steps of its printed proof")
        for step in found.steps:
            breaks = "  [bold]breaks here[/]" if step.claim == found.breaks_at else ""
            _below(
                branch.add(f"{_named(step.claim)}: {step.says}{breaks}"), step.claim, above, depth
            )
    elif found.breaks_at:
        tree.add(f"its printed proof breaks at {_named(found.breaks_at)}")
    if found.lemmas:
        branch = tree.add("its proof uses")
        for lemma in found.lemmas:
            _below(branch.add(f"{_named(lemma)}: {CLAIMS[lemma].reason}"), lemma, above, depth)


def _below(branch: Tree, claim: str, above: set[str], depth: int) -> None:
    if claim not in above and depth < DEEPEST:
        _rests(branch, dependence(claim), above | {claim}, depth + 1)


def _branch(tree: Tree, title: str, claims: Iterable[str]) -> None:
    claims = list(claims)
    if claims or title.startswith("true as printed"):
        branch = tree.add(title)
        for claim in claims:
            branch.add(f"{_named(claim)}: {CLAIMS[claim].reason}")


def _named(claim: str) -> str:
    return f"{claim} ({CLAIMS[claim].status})"
