"""The gate counts what it checked; a lab's own λ, witness files and folders at the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command_line import run
from conftest import random_mdp

from bounds import CLAIMS, check
from bounds.records.loading import files_of
from bounds.records.witness import stored_witness
from bounds.runs.gate import Gate
from toymdp import InstanceError, solve
from toymdp.families.classics import rare_first_token
from toymdp.kinds import ALL_FAMILIES
from toymdp.soup.objective import SoupObjective

UNDECIDED, SILENT = "ss.proof.B", "ss.sec4.bt"  # what they are on rare_first_token


OF_ATTRIBUTES = next(
    c.id for c in CLAIMS.values() if (c.world, c.status) == ("attribute-set/1", "proved")
)


@pytest.fixture
def lab(tmp_path):
    rare_first_token().save(tmp_path / "rare.json")
    random_mdp(0).save(tmp_path / "plain.json")
    return tmp_path


# -- the counts ---------------------------------------------------------------------------------


def row(claim, verdict, status="proved", name=None):
    return {
        "instance": "i", "claim": claim, "status": status, "verdict": verdict, "reason": "so it is",
        "lhs": 2.0, "rhs": 1.0, "lambda_name": name,
    }  # fmt: skip


NO_WITNESS = {"instance": "i", "witness": None, "refused": ""}


def test_a_violation_says_whose_soup_it_is_of():
    gate = Gate()
    gate.add(NO_WITNESS, [row("a", "violated"), row("a", "violated", name="given")])
    assert gate.failures == [
        "i: a is proved but violated here: lhs 2.0, rhs 1.0",
        "i: a is proved but violated at the λ that was given: lhs 2.0, rhs 1.0",
    ]
    gate = Gate()
    gate.add(NO_WITNESS, [row("ss.thm1.gap.apriori", "violated", name="given")])
    assert "a claim about λ*: this λ falls short of what the best soup" in gate.failures[0]


def test_only_proved_claims_are_counted():
    gate = Gate()
    gate.add(NO_WITNESS, [row("a", "holds"), row("b", "not-applicable"), row("a", "undecided")])
    gate.add(NO_WITNESS, [row("c", "violated", "refuted"), row("d", "undecided", "open")])
    assert gate.lines() == [
        "3 checks of 2 proved claims: 1 holds, 0 violated, 1 not-applicable, 1 undecided",
        "applicable nowhere: b (so it is)",
    ]
    assert gate.shut_by() == []


@pytest.mark.parametrize(
    ("verdict", "plain", "strict", "applicable"),
    [
        ("holds", False, False, False),
        ("violated", True, True, True),
        ("undecided", False, True, False),
        ("not-applicable", False, False, True),
    ],
)
def test_what_shuts_the_gate(verdict, plain, strict, applicable):
    for gate, shut in (
        (Gate(), plain), (Gate(strict=True), strict), (Gate(require_applicable=True), applicable),
    ):  # fmt: skip
        gate.add(NO_WITNESS, [row("a", verdict)])
        assert bool(gate.shut_by()) is shut


def test_applicable_once_is_enough():
    gate = Gate(require_applicable=True)
    gate.add(NO_WITNESS, [row("a", "not-applicable"), row("a", "holds")])
    assert gate.nowhere == {}
    assert gate.shut_by() == []


def test_a_gate_that_saw_no_proved_claim_says_so():
    gate = Gate(require_applicable=True)
    gate.add(NO_WITNESS, [row("a", "violated", "refuted")])
    assert (
        gate.shut_by()
        == Gate().shut_by()
        == [
            "nothing to check: no proved claim was judged and no witness; ask for proved ones, or leave the "
            "gate out"
        ]
    )
    named = Gate(require_applicable=True, expected={"x": "world/1"})
    assert named.shut_by() == [
        "x is proved but was applicable nowhere: the run has no world/1 instance"
    ]


# -- verify --gate ------------------------------------------------------------------------------


def test_verify_prints_what_was_checked(lab):
    done = run(
        "verify", lab / "rare.json", "--claims", f"{UNDECIDED},{SILENT},ss.thm1.gap", "--gate"
    )
    assert done.exit_code == 0
    assert (
        "gate: 2 checks of 2 proved claims: 0 holds, 0 violated, 1 not-applicable, 1 undecided\n"
        f"gate: applicable nowhere: {SILENT} (no two answers drawn from ref differ in any return)\n"
        "gate: passed\n"
    ) in done.stdout
    without = run("verify", lab / "rare.json", "--claims", SILENT)
    assert "gate" not in without.stdout


@pytest.mark.parametrize(
    ("claims", "option", "says"),
    [
        (UNDECIDED, "--strict", f": {UNDECIDED} is proved but undecided here: slack"),
        (SILENT, "--require-applicable", f"{SILENT} is proved but was applicable nowhere: no two"),
        (
            f"ss.eq2-4,{OF_ATTRIBUTES}",
            "--require-applicable",
            "the run has no attribute-set/1 instance",
        ),
    ],
)
def test_stricter_gates(lab, claims, option, says):
    """Each means --gate, and fails what --gate lets pass."""
    path = lab / "rare.json"
    assert run("verify", path, "--claims", claims, "--gate").exit_code == 0
    done = run("verify", path, "--claims", claims, option)
    assert done.exit_code == 1
    assert says in done.stdout
    assert done.stdout.endswith("gate: failed\n")


def test_stricter_gates_pass_where_all_is_decided(lab):
    done = run(
        "verify", lab / "plain.json", "--claims", f"{SILENT},{UNDECIDED}", "--strict",
        "--require-applicable", "--json", "-",
    )  # fmt: skip
    assert done.exit_code == 0
    assert "2 holds, 0 violated, 0 not-applicable, 0 undecided" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_a_claim_that_applies_to_one_instance_is_applicable(lab):
    done = run("verify", lab, "--claims", SILENT, "--require-applicable")
    assert done.exit_code == 0
    assert "1 holds, 0 violated, 1 not-applicable, 0 undecided" in done.stdout


def test_a_pattern_asks_only_for_the_worlds_of_the_run(lab):
    """``*`` on token MDPs is no demand for attribute sets."""
    done = run("verify", lab / "plain.json", "--require-applicable", "--claims", "ss.eq*,ex.*")
    assert "the run has no" not in done.stdout


# -- a lab's own λ ------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [[0.4, -0.3], [-0.25, 0.5]])
def test_verify_judges_at_the_given_lambda(lab, lam):
    text = ",".join(map(str, lam))
    done = run(
        "verify", lab / "plain.json", "--claims", "ss.thm1.gap.*,ss.eq8.upper,ss.delta",
        "--lambda", text, "--json", "-",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    rows = {r["claim"]: r for r in map(json.loads, done.stdout.splitlines())}
    sol = solve(random_mdp(0))
    gap = float(sol.value_w - SoupObjective(sol).value(lam))
    assert rows["ss.thm1.gap.sharp"]["lhs"] == pytest.approx(gap, rel=1e-10)
    assert rows["ss.eq8.upper"]["slack"] == pytest.approx(gap, rel=1e-10)
    for claim, found in rows.items():
        at = (None, None) if CLAIMS[claim].at == "instance" else (lam, "given")
        assert (found["lambda"], found["lambda_name"]) == at
    direct = {c.claim: c for c in check(sol, "ss.thm1.gap.*", lam=lam)}
    assert all(rows[c]["lhs"] == direct[c].lhs for c in direct)


@pytest.mark.parametrize(
    ("lam", "says"),
    [
        ("0.4", "must be 2 finite numbers"),
        ("0.4,a", "must be numbers by commas"),
        ("0.4,", "must be numbers by commas"),
        ("nan,1", "must be numbers by commas"),
        ("1e999,1", "must be finite"),
    ],
)
def test_a_lambda_that_is_none(lab, lam, says):
    for given in ([lab / "plain.json"], [lab]):
        done = run("verify", *given, "--lambda", lam)
        assert (done.exit_code, done.stdout) == (2, "")
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_lambda_that_does_not_fit_a_family():
    done = run("verify", "--family", "tree", "--n", "1", "--lambda", "1,0,0,0,0,0,0")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "tree-0: lam" in done.stderr


# -- witness files and folders --------------------------------------------------------------------


def test_a_witness_file_must_break_its_claim_at_its_lambda(tmp_path):
    path = tmp_path / "w.json"
    witness = stored_witness("kl-rare-token")
    witness.save(path)
    quick = "--claims", "ss.eq2-4"  # another claim: the witness's own is judged all the same
    done = run("verify", path, "--gate", *quick)
    assert done.exit_code == 0, done.stdout
    assert "a witness: at its λ ss.thm1.kl.any is violated" in done.stdout
    assert "gate: 1 of 1 witnesses break their claim" in done.stdout
    # a λ of the lab's own is not the witness's
    assert run("verify", path, "--gate", *quick, "--lambda", "0.5").exit_code == 0
    replace(witness, lam=(0.5,)).save(path)
    done = run("verify", path, "--gate", *quick)
    assert done.exit_code == 1
    assert "witness w no longer breaks ss.thm1.kl.any: holds" in done.stdout
    assert run("verify", path, *quick).exit_code == 0  # said, but no gate was asked for


def test_a_witness_file_is_an_instance_too(tmp_path):
    path = tmp_path / "w.json"
    stored_witness("kl-rare-trap").save(path)
    done = run("verify", path, "--claims", "ss.thm1.kl,ss.eq2-4", "--json", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(r["instance"], r["claim"]) for r in rows} == {("w", "ss.thm1.kl"), ("w", "ss.eq2-4")}
    assert rows[-1]["verdict"] == "violated"


def test_folders_are_read_to_their_depth(lab):
    inner = lab / "a" / "b"
    inner.mkdir(parents=True)
    stored_witness("kl-rare-trap").save(inner / "trap.json")
    random_mdp(3).save(inner / "deep.npz")
    (inner / "notes.txt").write_text("not an instance", encoding="utf-8")
    (inner / "round").symlink_to(lab, target_is_directory=True)
    assert [str(p.relative_to(lab)) for p in files_of(lab)] == [
        "a/b/deep.npz", "a/b/trap.json", "plain.json", "rare.json",
    ]  # fmt: skip
    done = run("verify", lab, "--claims", "ss.eq2-4", "--gate", "--json", "-")
    assert done.exit_code == 0, done.stderr
    names = [json.loads(line)["instance"] for line in done.stdout.splitlines()]
    assert names == ["deep", "trap", "plain", name_of(lab / "rare.json")]
    assert "4 checks of 1 proved claims" in done.stderr
    assert "1 of 1 witnesses break" in done.stderr


def name_of(path):
    return json.loads(path.read_text(encoding="utf-8")).get("name") or path.stem


def test_instances_of_every_kind_may_stand_in_a_folder(tmp_path):
    for name in ("attribute-set", "topic-cloud"):
        family = next(f for f in ALL_FAMILIES if ALL_FAMILIES[f](0).format.startswith(name))
        ALL_FAMILIES[family](0).save(tmp_path / f"{name}.json")
    random_mdp(0).save(tmp_path / "z.json")
    done = run("verify", tmp_path, "--claims", "ss.eq2-4,ex.*", "--lambda", "0.5,0.5", "--gate")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("inside", [False, True], ids=["named", "in a folder"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": "soup/9"}', "neither an instance nor a stored witness"),
        ('{"a": 1}', "neither an instance nor a stored witness"),
        ("[1, 2]", "not an object"),
        ("hello", "not valid JSON"),
    ],
)
def test_a_file_that_is_neither_is_one_line(lab, text, says, inside):
    """In a folder as well: what is passed over there would be taken for checked."""
    path = lab / "other.json"
    path.write_text(text, encoding="utf-8")
    done = run("verify", lab if inside else path, "--claims", SILENT)
    assert (done.exit_code, bool(done.stdout)) == (2, inside)
    assert "other.json" in done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_files_that_are_refused_hide_no_other(lab):
    """Each is named, the others are checked and in the ledger, and nothing looks like a success."""
    (lab / "config.json").write_text('{"a": 1}', encoding="utf-8")
    broken = json.loads((lab / "plain.json").read_text(encoding="utf-8"))
    broken["rewards"][1].pop()
    (lab / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    replace(stored_witness("kl-rare-trap"), claim="ss.nothing").save(lab / "w.json")
    ledger = lab / "ledger.jsonl"
    asked = ("verify", lab, lab / "absent.json", "--claims", SILENT)
    done = run(*asked, "--gate", "--json", ledger)
    assert done.exit_code == 2
    said = [line.split(": ")[1] for line in done.stderr.strip().splitlines()]
    names = ("broken.json", "config.json", "w.json", "absent.json")
    assert said == [str(lab / name) for name in names]
    assert "rewards[1] = '8 entries': must have 9" in done.stderr
    rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert len({row["instance"] for row in rows}) == 2
    assert "files or instances that were refused, and not checked: 4\n" in done.stdout
    assert done.stdout.endswith("gate: failed\n")
    assert run(*asked).exit_code == 2


def test_an_empty_folder_and_an_unknown_claim(tmp_path):
    done = run("verify", tmp_path)
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "no .json or .npz file" in done.stderr
    replace(stored_witness("kl-rare-trap"), claim="ss.nothing").save(tmp_path / "w.json")
    done = run("verify", tmp_path)
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "ss.nothing" in done.stderr


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    random_mdp(0).save(tmp_path / "a.json")

    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(top)))

    monkeypatch.setattr("bounds.records.loading.os.walk", walk)
    with pytest.raises(InstanceError, match="Permission denied"):
        files_of(tmp_path)


def test_an_output_may_not_be_a_file_of_the_folder(lab):
    done = run("verify", lab, "--html", lab / "rare.json")
    assert done.exit_code == 2
    assert "is an input of this run" in done.stderr
    before = (lab / "rare.json").read_bytes()
    assert run("verify", lab, "--claims", SILENT, "--json", lab / "rare.json").exit_code == 2
    assert (lab / "rare.json").read_bytes() == before


def test_a_run_without_checks_says_so_and_leaves_no_old_ledger(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"old": 1}\n', encoding="utf-8")
    options = ("--family", "narrow-prior", "--n", "1", "--claims", "ss.thm1.*")
    done = run("verify", *options, "--gate", "--json", ledger)
    assert (done.exit_code, ledger.read_text(encoding="utf-8")) == (1, "")
    assert "nothing to check: no proved claim was judged" in done.stdout
    assert done.stdout.endswith("gate: failed\n")
    assert run("verify", *options).exit_code == 0  # no gate was asked for
    assert run("verify", *options, "--json", "no-such-folder/ledger.jsonl").exit_code == 2
