"""Programs that prove a witness without the package: what they print, and what they reject."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bounds import certificates
from bounds.certificates import WitnessError, standalone
from bounds.cli import main
from bounds.records.witness import stored_certificates

WITNESSES = Path(certificates.__file__).parents[1] / "witnesses"
SHIPPED = ("lemma1-per-step", "kl-natural", "gap-natural-T2")  # Lemma 1, (9), (10)
SIDE = re.compile(r"(left|right) side in +\[([-\d.]+), ([-\d.]+)\]")


def run(text: str, tmp_path: Path) -> tuple[int, str]:
    """Exit code and output of a program, in an interpreter that sees no site-packages."""
    program = tmp_path / "proof.py"
    program.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", program], capture_output=True, text=True, encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def shipped(name: str) -> str:
    return (WITNESSES / "standalone" / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_programs_are_short_and_of_the_standard_library(name):
    text = shipped(name)
    assert text == standalone(WITNESSES / f"{name}.json"), "write it again: certify --standalone"
    assert text.count("\n") < 410
    assert "@" not in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert {x.name for x in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.module in ("__future__", "fractions")


@pytest.mark.parametrize("name", ["kl-natural", "gap-natural-T2"])
def test_a_program_that_runs_for_minutes_says_how_far_it_is(name, tmp_path):
    """With a clock on which every box takes a minute, and stopped at the third."""
    text = shipped(name)
    assert "from a minute to an hour" in text.split("\n\nfrom __future__")[0]
    clock = (
        "import types\ntime = types.SimpleNamespace(monotonic=itertools.count(0, 60).__next__)\n"
    )
    stop = "        if looked == 3:\n            sys.exit(3)\n"
    before, after = text.split("        over, slope = J(box)\n")
    text = (
        before.replace("CLAIM = ", clock + "CLAIM = ", 1)
        + stop
        + "        over, slope = J(box)\n"
        + after
    )
    code, out = run(text, tmp_path)
    said = re.findall(r"(\d+) boxes looked at, (\d+) left", out)
    assert code == 3
    assert [int(looked) for looked, _ in said] == [1, 2, 3]
    assert all(int(left) > 0 for _, left in said)


@pytest.mark.parametrize(
    "name", ["lemma1-per-step", *(pytest.param(n, marks=pytest.mark.long) for n in SHIPPED[1:])]
)
def test_their_enclosures_are_those_of_the_other_road(name, tmp_path):
    """Integers here, balls there: both hold the sides, so they have numbers in common."""
    code, out = run(shipped(name), tmp_path)
    assert (code, out.splitlines()[-1][:7]) == (0, "PROVED:"), out
    stored = stored_certificates()[name]
    found = {side: (float(low), float(high)) for side, low, high in SIDE.findall(out)}
    for side, key in (("left", "lhs"), ("right", "rhs")):
        assert found[side][0] <= stored[key][1] + 1e-9
        assert found[side][1] >= stored[key][0] - 1e-9
    assert found["left"][0] > found["right"][1]


SPOILT = {
    "a reward": ("lemma1-per-step", "[0, 1, 2]", "[0, 1, 3]", "Assumption 1"),
    "a feature": ("lemma1-per-step", "0: 1, 1: 2}", "0: 1, 1: 3}", "Assumption 1"),
    "a weight of ref": ("lemma1-per-step", "[1, 2, 4]", "[1, 2, 5]", "expected"),
    "beta": ("lemma1-per-step", "BETA = Fraction(1)", "BETA = Fraction(2)", "expected"),
    "horizon": ("lemma1-per-step", "= 3, 1, 2, 0", "= 3, 1, 1, 0", "may be linear"),
    "expected side": ("lemma1-per-step", "EXPECTED = 0.047", "EXPECTED = 0.048", "expected"),
    "precision": ("lemma1-per-step", "BITS = 1", "BITS = 5  # 1", ""),
    "negative weight": ("lemma1-per-step", "[1, 2, 4]", "[1, -2, 4]", "below 0"),
    "preferences": ("gap-natural-T2", "W = [0.5, 0.5]", "W = [0.5, 0.6]", "add up to 1"),
    "negative reward": ("gap-natural-T2", "[0, 0, 11.2, 0, 20", "[0, 0, -11.2, 0, 20", "below 0"),
    "no feature": ("gap-natural-T2", "(0, 1): 8", "(0, 1): 0", "holds 0"),
    "β of 0": ("kl-natural", "BETA = Fraction(1)", "BETA = Fraction(0)", "β that is not > 0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_number_is_rejected(kind, tmp_path):
    name, old, new, says = SPOILT[kind]
    assert shipped(name).count(old) >= 1
    code, out = run(shipped(name).replace(old, new, 1), tmp_path)
    assert code == 1
    assert "\nPROVED" not in f"\n{out}"
    assert says in out


def test_arithmetic_of_a_program_that_lies_is_caught(tmp_path):
    """Intervals that are rounded inward cross sooner or later, or lose the expected number."""
    text = shipped("lemma1-per-step").replace("-(-max(ends) >> BITS)", "(max(ends) >> BITS) - 1")
    code, out = run(text, tmp_path)
    assert (code, "PROVED: ss" in out) == (1, False)


def test_the_command_and_what_it_refuses(tmp_path, capsys):
    out = tmp_path / "proof.py"
    with pytest.raises(SystemExit) as stop:
        main(["certify", str(WITNESSES / "lemma1-softmax.json"), "--standalone", str(out)])
    assert stop.value.code == 0
    assert f"{out}: the proof" in "".join(capsys.readouterr().err.split("\n"))
    code, printed = run(out.read_text(encoding="utf-8"), tmp_path)
    assert (code, "PROVED: ss.lemma1 is false" in printed) == (0, True)
    for name, says in (("delta-low-anchor", "programs are written for"),):
        with pytest.raises(WitnessError, match=says):
            standalone(WITNESSES / f"{name}.json")
    false = json.loads((WITNESSES / "lemma1-softmax.json").read_text(encoding="utf-8"))
    false["instance"]["rewards"] = [[0.0] * len(r) for r in false["instance"]["rewards"]]
    path = tmp_path / "false.json"
    path.write_text(json.dumps(false), encoding="utf-8")
    files = tmp_path / "none.py", tmp_path / "none.v"
    with pytest.raises(SystemExit) as stop:
        main(["certify", str(path), "--standalone", str(files[0]), "--coq", str(files[1])])
    assert stop.value.code == 1
    assert not any(file.exists() for file in files), "written though nothing is proved"
    other = json.loads((WITNESSES / "gap-natural-T2.json").read_text(encoding="utf-8"))
    other["instance"]["eos"] = 2
    path = tmp_path / "eos.json"
    path.write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["certify", str(path), "--standalone", str(tmp_path / "no.py")])
    assert stop.value.code == 2
    assert not (tmp_path / "no.py").exists()
    assert "eos" in capsys.readouterr().err
