"""Tables made from rows of plain values."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from bounds.report.tables import records


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
    text = printed(records("Things", rows))
    assert "Things" in text
    lines = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["first", "0.1235", "12", "yes", "–"] in lines
    assert ["second", "1.00e-09", "3", "no", "2.5"] in lines
    header = next(line for line in text.splitlines() if "name" in line)
    assert [word for word in header.split() if word.isalpha()] == list(rows[0])


def test_verdicts_have_their_colours():
    table = records("", [{"verdict": "violated"}, {"verdict": "holds"}])
    styles = [cell.style for cell in table.columns[0].cells]
    assert styles == ["bold red", "green"]


def test_no_rows_is_an_empty_table():
    assert records("Nothing", []).row_count == 0
