"""The benchmark of kernels runs by one command; what it compares finds the same values as ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import speed

    yield speed
    for name in ("speed", "peers", "speed_figure"):
        sys.modules.pop(name, None)


def test_the_command_writes_ratios_of_all_parts(speed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed.peers, "PEERS", {
        name: make for name, make in speed.peers.PEERS.items() if "JAX" not in name
    } | {"nowhere": lambda w: __import__("nowhere_at_all")})  # fmt: skip
    speed.main(["--quick", "--json", str(tmp_path / "speed.json")])
    found = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    (values, absent) = next(iter(found.values())).values()
    rows = {row["name"]: row for row in values}
    assert rows[speed.BASE]["ratio"] == 1.0
    assert rows["limit"]["share"] == 1.0
    assert {"soft_values", "NumPy, two buffers", "scipy CSR"} <= set(rows)
    assert all(np.isfinite([row["ms"], row["ratio"], row["share"]]).all() for row in rows.values())
    assert any(line.startswith("nowhere") for line in absent)
    assert "not installed: nowhere" in capsys.readouterr().out
    names = {row["name"] for part in found.values() for row in part["rows"]}
    assert {"solve", "J and its gradient", "minimising policy", "ascents", "SciPy SLSQP"} <= names


def test_a_peer_that_is_wrong_is_not_measured(speed, monkeypatch):
    monkeypatch.setattr(speed.peers, "PEERS", {"wrong": lambda w: lambda: np.ones((w.M, w.S))})
    with pytest.raises(AssertionError, match="wrong"):
        speed.competitors(speed.peers.World(2, 2, 2, 2))


def test_the_figure_is_drawn(speed, tmp_path, monkeypatch):
    import speed_figure

    monkeypatch.setattr(speed.peers, "PEERS", {
        speed.BASE: speed.peers.structured_numpy, "NumPy, two buffers": speed.peers.two_buffers,
    })  # fmt: skip
    few = (1, 2, 3)
    monkeypatch.setattr(speed, "SWEEPS", {
        "S": [(2, n, 2, 1) for n in few], "A": [(n, 2, 2, 1) for n in few],
        "T": [(2, 2, n, 1) for n in few], "K": [(2, 2, 2, n) for n in few],
    })  # fmt: skip
    speed_figure.draw(speed.sweep(1), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000
