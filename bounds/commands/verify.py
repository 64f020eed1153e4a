"""``soupcheck verify``: every claim on every instance of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from toymdp import InstanceError
from toymdp.families.corpus import corpus_ngrams, corpus_one_hot
from toymdp.kinds import ALL_FAMILIES

from ..checking import check
from ..claims.catalogue import CLAIMS, select
from ..records.output import OutputFile, content_hash, dump, record
from ..records.witness import stored_certificates
from ..report import page as report
from ..report import tables
from ..report.console import tables_console, tracked, warm_up
from ..runs import cases as suite
from ..runs.cases import Case

DETAIL_LIMIT = 3  # instances up to which every check is shown


def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(help="token-mdp/1 files; none: the bundled default.")
    ] = None,
    claims: Annotated[str, typer.Option(help="Ids or shell patterns, by commas.")] = "*",
    family: Annotated[
        str | None, typer.Option(help=f"A seeded family: {', '.join(ALL_FAMILIES)}.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Instances of a family.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    text: Annotated[
        Path | None, typer.Option(help="Your own text: one a line, or .jsonl with labels.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of its human labels, a column an attribute.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Vocabulary of --text, 8 to 64.")] = 32,
    order: Annotated[int, typer.Option(help="Context length of --text.")] = 2,
    json_path: Annotated[
        str | None, typer.Option("--json", help="Ledger (JSON Lines) to PATH or '-'.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A self-contained report.")] = None,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Exit 1 if a proved claim fails or a witness breaks nothing."),
    ] = False,
) -> None:
    """Check claims on files, on a family, on your own text, or on the bundled default."""
    select(claims)  # a misspelt pattern must not cost a run
    _check_target(html, [*(files or []), *(p for p in (text, labels) if p is not None)])
    cases = _cases(files, family, n, seed, text, labels, vocab_size, order)
    warm_up()
    rows: list[tables.Row] = []
    judged: list[report.Judged] = []
    shown: list[Table] = []
    failures: list[str] = []
    with OutputFile(json_path, files or []) as out:
        for case in tracked(cases, "checking"):
            mdp = case.build()
            found = check(mdp, claims, seed=seed)
            digest = content_hash(mdp)
            out.write(dump(record(case.name, digest, c, seed)) for c in found)
            rows.extend(tables.Row(case.name, case.family, c) for c in found)
            judged.append(report.Judged(case, found, suite.corpus_lines(mdp)))
            failures.extend(_failures(case, mdp, found, claims))
            if len(cases) <= DETAIL_LIMIT or case.family in suite.CORPUS_FAMILIES:
                shown.append(tables.detail(_title(case, mdp), found))
    printed = [*shown, *([tables.summary(rows, CLAIMS)] if len(cases) > 1 else [])]
    console = tables_console(json_path)
    for table in printed:
        console.print(table)
    for line in failures:
        console.print(line, style="bold red", highlight=False)
    if html is not None:
        page = report.render(judged, certificates=stored_certificates(), track=tracked)
        _write_html(html, page)
    if out.failure:
        typer.echo(f"soupcheck: {out.failure}", err=True)
        raise typer.Exit(2)
    if gate:
        console.print("gate: failed" if failures else "gate: passed", highlight=False)
    if gate and failures:
        raise typer.Exit(1)


def _cases(
    files: list[Path] | None, family: str | None, n: int, seed: int, text: Path | None,
    labels: Path | None, vocab_size: int, order: int,
) -> list[Case]:  # fmt: skip
    asked = [bool(files), family is not None, text is not None]
    if sum(asked) > 1:
        raise InstanceError("FILES, --family and --text: give one of the three, not more")
    if labels is not None and text is None:
        raise InstanceError("--labels: belongs to --text; give that file too")
    if files:
        return list(suite.from_files(files))
    if family is not None:
        if family not in ALL_FAMILIES:
            raise InstanceError.of(
                "--family", family, "unknown", f"choose from {list(ALL_FAMILIES)}"
            )
        return list(suite.from_family(family, n, seed))
    if text is not None:
        options = {"text": text, "labels": labels, "vocab_size": vocab_size, "order": order}
        return [
            Case(text.stem, "corpus", lambda: corpus_ngrams(seed, **options)),
            Case(f"{text.stem}-1hot", "corpus-one-hot", lambda: corpus_one_hot(seed, **options)),
        ]
    return suite.default_suite(n, seed)


def _failures(case: Case, mdp: Any, found: list, claims: str) -> list[str]:  # type: ignore[type-arg]
    lines = [
        f"{case.name}: {c.claim} is proved but violated here: lhs {c.lhs}, rhs {c.rhs}"
        for c in found
        if c.status == "proved" and c.verdict == "violated"
    ]
    w = case.witness
    if w is not None:
        judged = [c for c in found if c.claim == w.claim and w.lam is None]
        judged = judged or check(mdp, w.claim, lam=w.lam)
        if judged[0].verdict != "violated":
            lines.append(f"witness {w.name} no longer breaks {w.claim}: {judged[0].verdict}")
    return lines


def _title(case: Case, mdp: Any) -> str:
    """The instance's name with what its fit to the text was worth, if it has one."""
    return "\n".join([case.name, *suite.corpus_lines(mdp)])


def _check_target(html: Path | None, inputs: list[Path]) -> None:
    if html is not None and html.resolve() in {p.resolve() for p in inputs}:
        raise InstanceError.of("--html", str(html), "is an input of this run", "name another")
    if html is not None and html.is_dir():  # at once: a run must not end in this
        raise InstanceError.of("--html", str(html), "is a folder", "name a file in it")
    if html is not None and not html.parent.is_dir():
        raise InstanceError.of("--html", str(html), "its folder does not exist", "create it")


def _write_html(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        typer.echo(f"soupcheck: {path}: cannot be written ({error.strerror})", err=True)
        raise typer.Exit(2) from None
