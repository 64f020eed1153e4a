"""The mutation tool draws changes that matter, and applies them where it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
SOURCE = '''"""Text with 1 + 1."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
EPS = 2.0

@jit(cache=True)
def f(x: "int | None", t: int = 1) -> float:
    """β + 1."""
    if x < 0:
        raise ValueError(f"{x + 1} is bad")
    total = (x +  # a remark
             t)
    return min(total, 2) * g(x, t)[t] / (32 * EPS)
'''


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mutants

    yield mutants
    sys.modules.pop("mutants")


def test_what_is_drawn_and_what_is_left_alone(mutants):
    drawn = {(m.line, m.kind, m.old, m.new) for m in mutants.mutants_of("f.py", SOURCE)}
    assert {line for line, *_ in drawn} == {6, 9, 11, 13, 15}
    expected = [
        (9, "constant", "1", "2"), (11, "comparison", "<", "<="), (11, "comparison", "<", ">"),
        (11, "branch never taken", "x < 0", "False"), (15, "other function", "min", "max"),
        (15, "arguments swapped", "x, t", "t, x"), (15, "index", "t", "t - 1"),
        (15, "operator", "*", "/"), (15, "operator", "/", "*"),
        (15, "right dropped", "min(total, 2) * g(x, t)[t]", "min(total, 2)"),
        (15, "left dropped", "min(total, 2) * g(x, t)[t]", "g(x, t)[t]"),
    ]  # fmt: skip
    assert set(expected) <= drawn
    assert not any(m[0] == 15 and m[2] == "32" for m in drawn)  # how wide a rounding allowance is


def test_a_mutant_changes_its_place_alone(mutants):
    for mutant in mutants.mutants_of("f.py", SOURCE):
        changed = mutant.apply(SOURCE)
        assert changed != SOURCE
        assert changed.startswith(SOURCE[: mutant.start] + mutant.new)
        assert changed.endswith(SOURCE[mutant.end :])
        compile(changed, "f.py", "exec")
    with pytest.raises(ValueError, match="draw the mutants anew"):
        mutant.apply("another text")


def test_a_changed_kernel_reaches_its_callers_in_other_files(mutants):
    import mutate

    (rows,) = [m for m in mutate.ROOMS["exact"].files if m.endswith("rows.py")]
    text = (mutate.ROOT / rows).read_text(encoding="utf-8")
    line = next(i for i, x in enumerate(text.splitlines(), 1) if x.startswith("def block_weights"))
    start = text.index("top = -np.inf", text.index("def block_weights"))
    mutant = mutants.Mutant(rows, line + 3, "sign", start, start + 3, "top", "low")
    reached = mutate.reached(mutant, mutate.ROOT)
    assert {"rows.block_weights", "rows.divergences", "sampling.log_norms"} <= reached
    assert not {"rows.row_weights", "scans.largest", "blocks.tilted_sums"} & reached
    # of two kernels with one name, each is found by what it calls
    (home,) = [m for m in mutate.ROOMS["kernels"].files if m.endswith("backward.py")]
    text = (mutate.ROOT / home).read_text(encoding="utf-8")
    line = next(i for i, x in enumerate(text.splitlines(), 1) if x.startswith("def spread"))
    reached = mutate.reached(mutants.Mutant(home, line, "sign", 0, 1, "a", "b"), mutate.ROOT)
    assert {"backward.soft_backward", "backward.scaled_backward"} <= reached
    sys.modules.pop("mutate"), sys.modules.pop("rooms")
