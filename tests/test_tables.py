"""Tables made from rows of plain values."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import run
from rich.cells import cell_len
from rich.console import Console

from bounds import CLAIMS, check
from bounds.records.record import plain
from bounds.report.grid import Grid
from bounds.report.summary import ClaimSummary, Summary
from bounds.report.tables import detail, summary, table
from toymdp.families import generate


def printed(table):
    console = Console(width=100, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(table)
    return captured.get()


def test_records_show_every_kind_of_value():
    rows = [
        {"name": "first", "value": 0.123456, "count": 12, "fits": True, "note": None},
        {"name": "second", "value": np.float64(1e-9), "count": 3, "fits": np.False_, "note": 2.5},
    ]
    text = printed(table("Things", rows))
    assert "Things" in text
    lines = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["first", "0.1235", "12", "yes", "–"] in lines
    assert ["second", "1.00e-09", "3", "no", "2.5"] in lines
    header = next(line for line in text.splitlines() if "name" in line)
    assert [word for word in header.split() if word.isalpha()] == list(rows[0])


def test_verdicts_have_their_colours():
    made = table("", [{"verdict": "violated"}, {"verdict": "holds"}])
    styles = [cell.style for cell in made.columns[0].cells]
    assert styles == ["bold red", "green"]


def test_no_rows_is_an_empty_table():
    assert table("Nothing", []).row_count == 0


GOOD = {
    "claim": "", "kind": "inequality", "status": "proved", "verdict": "not-applicable", "lhs": -0.123456,
    "rhs": -0.123456, "slack": 0.0, "ratio": -0.123456, "reason": "so it is " * 9, "lambda_name": None,
    "where": None, "terms": {},
}  # fmt: skip


def row(claim, ratio, verdict="holds", kind="inequality"):
    return {
        "claim": claim, "kind": kind, "status": "proved", "verdict": verdict, "family": "f",
        "lhs": ratio, "rhs": 1.0, "slack": 1.0 - ratio, "ratio": ratio, "reason": "",
        "instance": f"i-{ratio}",
    }  # fmt: skip


def test_the_summary_has_median_quantile_and_worst():
    totals = Summary()
    for i in range(11):
        totals.add(row("ss.delta", i / 100))
        totals.add(row("ss.thm1.gap.constant-norm.conditional", 0.5))
        totals.add(row("ss.eq11", 1.0 - 2.0**-i, kind="equality"))
    lines = [line.split() for line in printed(summary(totals)).splitlines()]
    assert ["ss.delta", "≤", "11", "·", "·", "·", "0.05", "0.09", "0.1", "i-0.1"] in lines
    assert ["ss.eq11", "=", "11", "·", "·", "·", "0.0312", "0.5", "1", "i-0.0"] in lines
    longest = "ss.thm1.gap.constant-norm.conditional"
    assert [longest, "≤", "11", "·", "·", "·", "0.5", "0.5", "0.5", "i-0.5"] in lines
    assert ["proved"] in lines


def test_no_id_is_broken_in_any_table():
    """Where it fits it stands in its row, else above it; never in two parts."""
    totals, details, sizes, above = Summary(), [], [], []
    for claim in CLAIMS:
        totals.add(row(claim, 0.5))
        details.append(GOOD | {"claim": claim})
        sizes.append((claim, *["0.123"] * 8))
    numbers = tuple(f"number {i}" for i in range(8))
    grid = Grid("", ("claim", *numbers), tuple(sizes), numbers)
    for made in (summary(totals), detail("one", details), grid.rich):
        text = printed(made)
        assert set(CLAIMS) <= set(text.split())
        lines = [line.split() for line in text.splitlines()]
        alone = [
            place for place, line in enumerate(lines) if line and line[0] in CLAIMS and not line[1:]
        ]
        assert all(lines[place + 1][0] not in CLAIMS for place in alone)
        above.append(len(alone))
        assert max(map(cell_len, text.splitlines())) <= 100
    assert above[0] == 0
    assert all(above[1:])


def test_undecided_ratios_are_no_ratios():
    numbers = ClaimSummary("inequality", "proved")
    for given in (row("c", 0.5), row("c", 7.0, "undecided")):
        numbers.add(given)
    assert numbers.tightness == ("0.5", "0.5", "0.5", "i-0.5")


def test_a_check_says_which_relation_where_and_why():
    checks = check(
        generate("dirichlet", 0), "ss.thm1.gap,ss.thm1.gap.identity,ss.thm1.kl.constant-norm"
    )
    text = printed(detail("one", map(plain, checks)))
    assert max(map(cell_len, text.splitlines())) <= 100  # a combining mark takes no column
    words = " ".join(text.split())
    assert "holds 0.001045 ≤ 14.29" in words
    assert "holds 0.001045 = 0.001045" in words
    assert "at λ*; t = 0, s = 0; right side from:" in words
    assert "features differ in norm at every reachable state" in words


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify", "--claims", "ss.thm1.gpa"], "did you mean ss.thm1.gap"),
        (["rests-on", "ss.lema1"], "did you mean ss.lemma1"),
        (["search", "ss.thm1.kl.ny"], "ss.thm1.kl.any"),
        (["verify", "--claims", "zzz"], "list them with `soupcheck claims`"),
    ],
)
def test_a_mistyped_claim_is_told_its_neighbours(arguments, told):
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr


def test_verify_shows_the_summary_and_details_when_asked():
    arguments = ("verify", "--family", "tree", "--n", 2, "--claims", "ss.delta,ss.thm1.gap")
    brief, whole = run(*arguments).stdout, run(*arguments, "-v").stdout
    assert "tree-1\n" not in brief
    assert "each check: -v" in brief
    assert whole.index("Verdicts over") < whole.index("\ntree-0 ") < whole.index("\ntree-1 ")
    for text in (brief, whole, run("claims").stdout):
        assert max(map(cell_len, text.splitlines())) <= 100  # a combining mark takes no column


def test_claims_by_pattern_with_their_statements():
    done = run("claims", "ss.thm1.kl,ss.delta*")
    heads = [line.split("  ") for line in done.stdout.splitlines() if line.startswith("ss.")]
    assert heads[0] == ["ss.thm1.kl", "refuted", "SS (9)", "the bound on KL at the best soup"]
    assert {head[0].split(".")[1] for head in heads} == {"thm1", "delta"}
    assert r"KL(\pi_w\|\tilde\pi_{\lambda^*}) \le" in done.stdout
    assert "broken by  kl-natural" in done.stdout


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        (("claims", "thm1"), r"did you mean *thm1*?"),
        (("rests-on", "thm1.gap.ben"), "did you mean ss.thm1.gap.bennett?"),
        (("claims", "nothing-like-it"), "list them with"),
    ],
)
def test_what_was_meant(asked, near):
    done = run(*asked)
    assert done.exit_code == 2
    assert near in done.stderr


def test_an_equation_is_named_by_its_number():
    assert run("claims", "(9)").stdout.startswith("ss.thm1.kl ")


def test_all_claims_at_the_optimum(tmp_path):
    """A claim about every λ stands at its worst, and says so; asked for, it stands at λ*."""
    path = tmp_path / "world.json"
    run("instance", "gap-natural-T2", "--out", path)
    asked = (
        "verify",
        path,
        "--claims",
        "ss.thm1.gap.mean-shift,ss.thm1.kl.mean-shift,ss.delta.anchor",
    )
    worst, best = run(*asked).stdout, run(*asked, "--lambda", "optimum").stdout
    assert "stands at its worst; all at λ*: --lambda optimum" in worst
    assert "at λ = zero" in worst
    assert "at λ = " not in best
    assert best.count("at λ*") == 2
    # a place where there is one, and what digits do not show
    assert "t = 0, s = 0" in best
    assert "apart by 1.38e-07" in " ".join(best.split()).replace("│", "")
    places = [best.index(word) for word in ("proved", "ss.thm1.kl", "refuted", "ss.delta.anchor")]
    assert places == sorted(places)
