"""Figures are judged by the table behind them; the PDF is checked as a file."""

from __future__ import annotations

import re

import pytest

from paper_figs import tightness
from paper_figs.command import FIGURES, make


@pytest.fixture(scope="module")
def rows():
    return tightness.compute(n=6)


def test_tightness_table(rows):
    sharp = [r for r in rows if r["bound"] == "sharp"]
    printed = [r for r in rows if r["bound"] == "printed"]
    assert all(r["value"] >= r["gap"] for r in sharp)
    witness = [r for r in printed if r["family"] == "witness"]
    assert sum(r["value"] < r["gap"] for r in witness) >= 5
    assert all(r["value"] >= r["gap"] for r in printed if r["family"] != "witness")


def test_files(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(tightness, "compute", lambda: rows)
    pdf, png, table = make("tightness", tmp_path)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    width, height = map(float, re.search(rb"MediaBox \[ 0 0 ([\d.]+) ([\d.]+)", content).groups())
    assert (width, height) == pytest.approx((3.25 * 72, 2.6 * 72), abs=1)
    assert content.count(b"/Type /Page ") + content.count(b"/Type /Page\n") == 1
    assert b"/FontFile2" in content
    assert png.stat().st_size > 10_000
    assert len(table.read_text(encoding="utf-8").splitlines()) == len(rows) + 1
    assert set(FIGURES) == {"tightness"}
