"""Certificates as Coq files: what they say, that coqc accepts them, and that it rejects wrong ones."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from bounds import certificates
from bounds.certificates import STATEMENTS, WitnessError, certify, coq_file, require_coq
from bounds.certificates.coq_claims import CLAIMS
from bounds.cli import main

FOLDER = Path(certificates.__file__).parents[1] / "witnesses"
CLAIM_OF = {p.stem: json.loads(p.read_text())["claim"] for p in sorted(FOLDER.glob("*.json"))}
SUITABLE = [name for name, claim in CLAIM_OF.items() if claim in CLAIMS]
QUICK = {"lemma1-per-step", "nonneg-minus-one"}
# one number of each file at which the claim holds; the certificate stays that of the witness
WRONG = {
    "gaussian-given": ("instance.ref_weights", [[1.0] * 3] * 3),
    "gaussian-three-on-a-line": ("instance.ref_weights", [[1.0] * 3] * 3),
    "delta-low-anchor": ("instance.rewards.0.1", 0.0),
    "kl-norm-of-mean": ("instance.rewards.0.0", -1.0),
    "kl-rare-token": ("instance.features.scale.0.0", 1.0),
    "kl-step-norm-of-mean": ("instance.rewards.0.0", -1.0),
    "kl-step-rare-token": ("instance.features.scale.0.0", 1.0),
    "lemma1-per-step": ("instance.rewards.0", [0.0, 0.0, 0.0]),
    "lemma1-softmax": ("instance.rewards.0", [0.0, 0.0, 0.0]),
    "law-two-steps": ("instance.ref_weights", [[1.0] * 3] * 9),
    "lipschitz-norm-of-mean": ("instance.rewards.0.0", -1.0),
    "lipschitz-rare-token": ("instance.features.scale.0.0", 1.0),
    "logits-beta-two": ("instance.beta", 1.0),
    "mixture-explicit": ("instance.beta_prime", 1.0),
    "mixture-implicit": ("instance.rewards.0.1", 0.0),
    "nonneg-minus-one": ("instance.rewards.0.0", 1.0),
    "single-exponential": ("instance.ref_weights", [[1.0] * 3] * 3),
    "step-a-two-tastes": ("lambda.1", 0.0),
    "unrolling-free-action": ("instance.rewards.0.1", 0.0),
}


@cache
def file_of(name: str) -> str:
    path = FOLDER / f"{name}.json"
    return coq_file(path, certify(path))


def marked(names: list[str]) -> list[object]:
    return [pytest.param(n, marks=[] if n in QUICK else pytest.mark.long) for n in names]


@cache
def missing() -> str:
    """What is needed and is not installed, if anything."""
    if shutil.which("coqc") is None:
        return "coqc is not installed: no Coq file is checked (Debian: coq, libcoq-interval)"
    where = subprocess.run(["coqc", "-where"], capture_output=True, text=True, check=True).stdout
    if not (Path(where.strip()) / "user-contrib" / "Interval").is_dir():
        return "coq-interval is not installed: no Coq file is checked (Debian: libcoq-interval)"
    return ""


def coqc(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    if missing():
        pytest.skip(missing())
    (tmp_path / "proof.v").write_text(text, encoding="utf-8")
    return subprocess.run(["coqc", "proof.v"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip


def exit_code(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


# -- the text --------------------------------------------------------------------------------------


def test_every_claim_in_coq_has_a_stored_witness():
    assert set(CLAIMS) == {CLAIM_OF[name] for name in SUITABLE}
    given = {c for c, s in STATEMENTS.items() if s.at != "optimum"}
    # its minimiser is a root, found by bisection
    assert given - set(CLAIMS) == {"ss.sec4.composite"}
    assert set(CLAIMS) <= given
    assert set(WRONG) == set(SUITABLE)


@pytest.mark.parametrize("name", SUITABLE)
def test_the_file_is_written(name):
    text = file_of(name)
    assert text.isascii()  # coqc reads any locale's bytes
    assert max(map(len, text.splitlines())) <= 110
    for line in ("Definition claim : Prop :=", "Theorem broken :", "Theorem refuted : ~ claim.",
                 "Print Assumptions refuted."):  # fmt: skip
        assert line in text
    for word in ("Admitted", "Axiom", "Parameter", "admit", "Abort", "KNOWN", "NAMES", "BITS"):
        assert not re.search(rf"^[^(]*\b{word}\b", text, re.M), word
    # nothing is left to be filled in
    assert not re.search(r"\b(AT|WHO|STEP|STATE|TOTALS)\b", text)


def test_numbers_are_the_exact_ones_of_the_witness():
    text = file_of("lemma1-softmax")
    # 2.718281828459045 and 54.598150033144236 as binary64
    assert "6121026514868073 / 2 ^ 51" in text or "6121026514868073 / 2251799813685248" in text
    whole, power = (54.598150033144236).as_integer_ratio()
    assert re.search(rf"{whole} / (2 \^ {power.bit_length() - 1}|{power})\b", text)
    assert "| 1%nat => [1; " in text


def test_a_file_name_cannot_end_the_comment(tmp_path):
    path = tmp_path / "x *) Axiom ψ : False. (*.json"
    shutil.copy(FOLDER / "nonneg-minus-one.json", path)
    text = coq_file(path, certify(path))
    assert text.startswith("(* x____Axiom_____False.___: ss.proof.nonneg.without is false")
    assert text.isascii()


def test_hypotheses_are_lemmas_too():
    for name, lemma in (
        ("kl-rare-token", "every_nu_exists"), ("kl-rare-token", "assumption_1"),
        ("lemma1-softmax", "assumption_1"), ("lemma1-per-step", "set_up"),
        ("single-exponential", "set_up"), ("law-two-steps", "set_up"),
        ("lipschitz-rare-token", "lambda_is_in_the_domain"), ("step-a-two-tastes", "lambda_is_not_zero"),
    ):  # fmt: skip
        assert f"Lemma {lemma} " in file_of(name), (name, lemma)
    assert "Lemma set_up" not in file_of("lemma1-softmax")  # e^{xa} is no binary64


def test_a_tiny_weight_is_written_as_a_power(tmp_path):
    source = json.loads((FOLDER / "kl-rare-token.json").read_text())
    source["instance"]["ref_weights"][0][1] = 2.0**-400
    source["instance"]["rewards"][0][1] = -600.0
    path = tmp_path / "tiny.json"
    source["expected"] = {"lhs": 322.74112777602184, "rhs": 0.0022888183593750004}
    path.write_text(json.dumps(source))
    found = certify(path)
    assert found.proved, found
    assert "[1; 1 / 2 ^ 400]" in coq_file(path, found)


# -- what has none ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(CLAIM_OF) - set(SUITABLE)))
def test_other_claims_are_refused_with_those_that_are_possible(name, tmp_path, capsys):
    out = tmp_path / "out.v"
    assert exit_code("certify", str(FOLDER / f"{name}.json"), "--coq", str(out)) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert CLAIM_OF[name] in error
    assert "ss.thm1.kl.any" in error
    stated = STATEMENTS.get(CLAIM_OF[name])  # None: about another world
    assert ("λ*" in error) == (stated is not None and stated.at == "optimum")
    assert not out.exists()


def test_a_name_that_coqc_refuses_is_refused(tmp_path, capsys):
    for bad in ("kl-rare.v", "proof.txt", "1.v"):
        path = str(tmp_path / bad)
        assert exit_code("certify", str(FOLDER / "kl-rare-token.json"), "--coq", path) == 2
        assert "coqc reads NAME.v" in capsys.readouterr().err


def test_what_is_not_proved_has_no_file(tmp_path):
    path = wrong("nonneg-minus-one", tmp_path)
    out = tmp_path / "out.v"
    assert exit_code("certify", str(path), "--coq", str(out)) == 1
    assert not out.exists()
    with pytest.raises(WitnessError, match="not the witness certified"):
        coq_file(path, certify(path))
    with pytest.raises(WitnessError, match="not the witness certified"):
        coq_file(path, certify(FOLDER / "nonneg-minus-one.json"))


def test_a_large_instance_is_refused(tmp_path):
    source = json.loads((FOLDER / "nonneg-minus-one.json").read_text())
    source["instance"]["horizon"] = 40
    source["instance"]["features"] = {"kind": "tabular", "per_step": False}
    path = tmp_path / "large.json"
    path.write_text(json.dumps(source))
    with pytest.raises(WitnessError, match="160 values of Q: Coq files are written for at most"):
        require_coq(path)


def test_the_command_writes_the_file(tmp_path, capsys):
    out = tmp_path / "out.v"
    assert exit_code("certify", str(FOLDER / "nonneg-minus-one.json"), "--coq", str(out)) == 0
    assert out.read_text() == file_of("nonneg-minus-one")
    assert "coqc" in capsys.readouterr().err


# -- coqc ------------------------------------------------------------------------------------------

# the axioms of the standard library: of the reals, of functions, of 63-bit integers
AXIOM = re.compile(
    r"ClassicalDedekindReals\.sig_(not_dec|forall_dec)|Classical_Prop\.classic"
    r"|FunctionalExtensionality\.functional_extensionality_dep|(PrimInt63|Uint63)\.\w+"
)


@pytest.mark.parametrize("name", marked(SUITABLE))
def test_coqc_accepts_the_file(name, tmp_path):
    found = coqc(tmp_path, file_of(name))
    assert found.returncode == 0, found.stderr
    printed, axioms = found.stdout.split("Axioms:\n")
    assert "refuted\n     : ~ claim" in printed
    for line in axioms.splitlines():
        if line and not line[0].isspace():
            assert AXIOM.fullmatch(line.split(":")[0].strip()), line


# four tokens and contexts in a plane: ref = softmax(psi(s)·nu(a)), nu(a) whole multiples of log 2
PLANE = {
    "vocab_size": 4, "rewards": [[1.0, 2.0, 3.0, 4.0]],
    "ref_weights": [[1.0, 2.0, 1.0, 4.0], [1.0, 1.0, 2.0, 2.0], [1.0, 4.0, 2.0, 32.0],
                    [1.0, 2.0, 8.0, 32.0]],
    "features": {"kind": "dense", "values": [[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [1.0, 3.0]]},
}  # fmt: skip
LARGER = [
    ("gaussian-given", PLANE, None, "Rabs off >"),
    ("gaussian-three-on-a-line", PLANE, None, "Rabs off >"),
    # T = 3, K = 2, no number dyadic, signed lambda
    ("lipschitz-rare-token", {
        "rewards": [[0.1, 31.7], [0.3, 0.9]], "w": [0.7, 0.3], "horizon": 3, "beta": 1.1,
        "beta_prime": 1.3, "features": {"kind": "tabular", "per_step": True,
                                        "scale": [[0.001, 1.0], [0.7, 1.0], [1.0, 1.0]]},
    }, [0.1, -0.7], "lhs 0 0 >"),
    # contexts of two tokens, eos and bos; broken at a later state
    ("kl-rare-token", {
        "vocab_size": 3, "order": 2, "horizon": 3, "start": [2, 2], "eos": 1, "bos": 2,
        "ref_weights": [[1.0, 2.0**-20, 0.0]] * 9, "rewards": [[0.0, -32.0, 0.0] * 3],
        "features": {"kind": "tabular", "per_step": True, "scale": [[2.0**-20, 1.0, 1.0] * 3] * 3},
    }, [-1.0], "lhs 2 0 >"),
    # two steps, and a policy that may not be deterministic
    ("step-a-two-tastes", {
        "ref_weights": [[0.1, 0.7], [1.0, 1.0]], "beta": 0.3, "beta_prime": 0.7, "horizon": 2,
    }, [0.3, -0.1], "lhs >"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("name", "fields", "lam", "broken"), LARGER)
def test_coqc_accepts_larger_instances(name, fields, lam, broken, tmp_path):
    source = json.loads((FOLDER / f"{name}.json").read_text())
    source["instance"].update(fields)
    source["lambda"] = lam
    path = tmp_path / "larger.json"
    path.write_text(json.dumps(source))
    sides = certify(path)  # which differ from those expected of the stored witness
    source["expected"] = {"lhs": sides.lhs[0], "rhs": sides.rhs[0]}
    path.write_text(json.dumps(source))
    found = coqc(tmp_path, coq_file(path, certify(path)))
    assert found.returncode == 0, found.stderr
    assert f"broken\n     : {broken}" in found.stdout


def wrong(name: str, tmp_path: Path) -> Path:
    """A copy of the witness, one number changed."""
    source = json.loads((FOLDER / f"{name}.json").read_text())
    path, value = WRONG[name]
    *way, last = [int(x) if x.isdigit() else x for x in path.split(".")]
    place = source
    for step in way:
        place = place[step]
    place[last] = value
    copy = tmp_path / f"{name}.json"
    copy.write_text(json.dumps(source))
    return copy


@pytest.mark.parametrize("name", marked(SUITABLE))
def test_coqc_rejects_a_forged_certificate(name, tmp_path):
    """The instance is one where the claim holds; the certificate is that of the stored witness."""
    path = wrong(name, tmp_path)
    stored = certify(FOLDER / f"{name}.json")
    forged = dataclasses.replace(stored, sha256=certify(path).sha256)
    found = coqc(tmp_path, coq_file(path, forged))
    assert found.returncode != 0
    # the left side is not what was certified; of (13), whose sides are new here, not above the right
    assert "Numerical evaluation failed" in found.stderr or "Cannot find witness" in found.stderr


SABOTAGE = [
    ("a digit of the instance", "Definition beta : R := 1.", "Definition beta : R := 2."),
    ("the sides exchanged", "Theorem broken : lhs > rhs.", "Theorem broken : lhs < rhs."),
    ("a digit of an enclosure", "<= V_left (specialist 0%nat) 1%nat 0%nat\n  <= -0.9",
     "<= V_left (specialist 0%nat) 1%nat 0%nat\n  <= -1.9"),
    ("a weaker claim", "Definition claim : Prop := lhs <= rhs.",
     "Definition claim : Prop := lhs <= rhs + 1."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [s[1:] for s in SABOTAGE], ids=[s[0] for s in SABOTAGE])
def test_coqc_rejects_sabotage(old, new, tmp_path):
    assert coqc(tmp_path, replaced(file_of("nonneg-minus-one"), old, new)).returncode != 0


def test_coqc_rejects_weights_that_see_the_features(tmp_path):
    text, n = re.subn(
        r"(Definition y [^[]*\[)\(.*?, \(", r"\1(7, (", file_of("lemma1-per-step"), count=1
    )
    assert n == 1
    found = coqc(tmp_path, text)
    assert found.returncode != 0
    assert "field" in found.stderr
