"""The claim that CONTRIBUTING.md shows, run as a reader would run it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from conftest import random_mdp
from scipy.special import rel_entr

from bounds import CLAIMS, Claim, Hypothesis, Sides, Undecidable, check
from bounds.checking import judge
from bounds.claims import catalogue
from bounds.claims.catalogue import TABLES, Catalogue
from bounds.conformance import assert_conforms
from toymdp import InstanceError, TokenMDP
from toymdp.families import generate
from toymdp.families.classics import redundant_tastes, signed_uniform

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds the example, with a catalogue that does not know it yet."""
    (tmp_path / "best_of_n.py").write_text(CODE[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CLAIMS, "_claims", dict(CLAIMS))
    yield tmp_path
    sys.modules.pop("best_of_n", None)


def best_of(mdp: TokenMDP, n: int) -> float:
    """``KL(π_n‖ref)`` from all n-tuples of answers, ties shared: no formula of the example's."""
    answers = [(1.0, 0.0, mdp.start_context)]
    for _ in range(mdp.horizon):
        answers = [
            (mass * mdp.ref[s, a], total + mdp.reward_w[t := (s * mdp.vocab_size + a) % mdp.n_contexts], t)
            for mass, total, s in answers for a in range(mdp.vocab_size) if mdp.ref[s, a] > 0
        ]  # fmt: skip
    p, total = np.array([a[0] for a in answers]), np.array([a[1] for a in answers])
    law, grid = np.zeros(len(p)), np.indices([len(p)] * n).reshape(n, -1)
    chance = np.prod(p[grid], axis=0)
    best = total[grid].max(axis=0)
    for i in range(len(p)):  # a tie is shared by ref's mass among the answers of that return
        tied = total == total[i]
        law[i] = p[i] / p[tied].sum() * chance[best == total[i]].sum()
    return float(rel_entr(law, p).sum())


def test_the_example_is_right(folder):
    CLAIMS.add_module("best_of_n.py")
    example = import_module("best_of_n")
    mdp = random_mdp(3, A=2, L=2, T=3)
    tied = mdp.replace(rewards=np.round(mdp.rewards))
    for instance in (mdp, tied):
        (bound, folklore) = check(instance, "best-of-n.*")
        assert bound.lhs == pytest.approx(best_of(instance, example.N), rel=1e-12)
        assert bound.rhs == pytest.approx(np.log(4) - 0.75, rel=1e-15)
        assert (bound.verdict, folklore.verdict) == ("holds", "violated")


def test_the_worked_numbers_of_the_example(folder, monkeypatch):
    CLAIMS.add_module("best_of_n.py")
    monkeypatch.setattr(import_module("best_of_n"), "N", 2)
    fair = random_mdp(0, A=2, L=1, T=1).replace(ref_weights=np.ones((2, 2)))
    (bound,) = check(fair, "best-of-n.bound")
    assert (round(bound.lhs, 4), round(bound.rhs, 4)) == (0.1308, 0.1931)


def test_the_example_conforms(folder):
    CLAIMS.add_module("best_of_n.py")
    for name in ("best-of-n.bound", "best-of-n.folklore"):
        assert_conforms(CLAIMS[name])


def test_the_commands_of_the_page(folder):
    done = run("claims", "--plugin", "best_of_n.py")
    assert "best-of-n.folklore" in done.stdout
    options = ("--claims", "best-of-n.*", "--family", "dirichlet", "--n", "3", "--gate")
    done = run("verify", "--plugin", "best_of_n.py", *options)
    assert done.exit_code == 0
    assert re.search(r"proved.*best-of-n\.bound +≤ +3 ", done.stdout, re.DOTALL)
    assert re.search(r"refuted.*best-of-n\.folklore +=  +· +3 ", done.stdout, re.DOTALL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be imported"),
        ("raise RuntimeError('no')", "cannot be imported (RuntimeError: no)"),
        ("x = 1", "has no attribute CLAIMS"),
        ("CLAIMS = 3", "must be an iterable of Claim"),
        ("CLAIMS = [3]", "must be an iterable of Claim"),
        (
            "from dataclasses import replace\nfrom bounds import CLAIMS as C\n"
            "CLAIMS = [replace(C['ss.lemma1'], source='me')]",
            "gives another claim this id",
        ),
    ],
)
def test_bad_plugins_are_one_line_and_exit_2(folder, content, message):
    if content is not None:
        (folder / "odd.py").write_text(content, encoding="utf-8")
    done = run("claims", "--plugin", "odd.py")
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    sys.modules.pop("odd", None)


class Entry:
    """An installed package's entry point."""

    name, value = "third", "third:CLAIMS"

    def __init__(self, load):
        self.load = load


def test_installed_claims_are_found(folder, monkeypatch):
    sys.path.insert(0, str(folder))
    try:
        example = import_module("best_of_n")
        monkeypatch.setattr(
            catalogue, "entry_points", lambda group: [Entry(lambda: example.CLAIMS)]
        )
        found = Catalogue(TABLES)
        assert list(found)[-2:] == ["best-of-n.bound", "best-of-n.folklore"]
        assert len(found) == len(Catalogue(TABLES)._claims) + 2

        def broken():
            raise ImportError("no module named third")

        monkeypatch.setattr(catalogue, "entry_points", lambda group: [Entry(broken)])
        with pytest.raises(InstanceError, match=r"third .*cannot be loaded.*no module named third"):
            list(Catalogue(TABLES))
    finally:
        sys.path.remove(str(folder))


# -- the rules themselves ----------------------------------------------------------------------


@pytest.mark.parametrize("claim", list(CLAIMS.values()), ids=lambda c: c.id)
def test_every_claim_of_the_papers_conforms(claim):
    families = ("dirichlet", "low-rank", "tree", "softmax", "unit-norm")
    tokens = [generate(family, seed) for seed in range(3) for family in families]
    # no family has rewards that depend on each other, and few have a λ* that subtracts
    tokens += [redundant_tastes(), signed_uniform()]
    assert_conforms(claim, tokens if claim.world == "token-mdp/1" else None)


def sides_of_v(facts):
    """``0 ≤ V_w + 10``."""
    return Sides(0.0, facts.sol.value_w + 10.0, 10.0)


def no_words(facts):
    return Sides(0.0, facts.sol.value_w + 10.0, 10.0)


def constant(facts):
    """Says the same of everything."""
    return Sides(0.0, 1.0, 1.0)


SEEN = {}


def remembered(facts):
    """Keeps what it found by instance."""
    return SEEN.setdefault(id(facts.mdp), sides_of_v(facts))


def failing(facts):
    """Divides by zero."""
    return Sides(0.0, 1.0 / 0.0, 1.0)


def returns_nothing(facts):
    """Forgets to return."""


def wrong_type(facts):
    return facts.sol.value_w


def without_reason(facts):
    return np.bool_(False), ""


def only_half(facts):
    return True


GOOD = Claim("my.claim", "me", "x", "proved", "inequality", "instance", sides_of_v, "obvious")


def not_pickled():
    def inner(facts):
        """A function inside a function is not reached by name."""
        return sides_of_v(facts)

    return inner


BAD = {
    "no docstring": (replace(GOOD, sides=no_words), "has no docstring"),
    "no pickle": (replace(GOOD, sides=not_pickled()), "does not pickle"),
    "never decided": (
        replace(GOOD, hypotheses=(Hypothesis("no", "never", lambda _: (False, "never")),)),
        "does not pickle",
    ),
    "constant": (replace(GOOD, sides=constant), "on all"),
    "remembers": (replace(GOOD, sides=remembered), "remembers an instance's numbers"),
    "fails": (replace(GOOD, sides=failing), "ZeroDivisionError"),
    "returns nothing": (replace(GOOD, sides=returns_nothing), "returned NoneType, not Sides"),
    "false": (replace(GOOD, reason="wrong", sides=sides_of_v, kind="equality"), "is violated"),
    "half a hypothesis": (
        replace(GOOD, hypotheses=(Hypothesis("half", "x", only_half),)), "hypothesis half",
    ),
    "no reason": (
        replace(GOOD, reported=(Hypothesis("mute", "x", without_reason),)), "gives no reason",
    ),
    "no world": (replace(GOOD, world="token-mdp/2"), "no format 'token-mdp/2'"),
}  # fmt: skip


def test_a_good_claim_conforms():
    assert_conforms(GOOD)


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_claim_does_not_conform(fault):
    claim, says = BAD[fault]
    with pytest.raises(AssertionError, match=says):
        assert_conforms(claim, [generate("dirichlet", seed) for seed in range(3)])


def test_hypotheses_gate_whatever_sort_of_false_they_return():
    gated = replace(GOOD, hypotheses=(Hypothesis("np", "x", lambda _: (np.bool_(False), "no")),))
    (outcome,) = judge([gated], generate("dirichlet", 0))
    assert (outcome.verdict, outcome.hypotheses) == ("not-applicable", {"np": False})

    def undecidable(_):
        raise Undecidable("too many")

    unknown = replace(GOOD, hypotheses=(Hypothesis("u", "x", undecidable),))
    (outcome,) = judge([unknown], generate("dirichlet", 0))
    assert (outcome.verdict, outcome.reason) == ("undecided", "u: too many")


def test_a_claim_that_fails_is_one_line_and_hides_no_other(folder):
    """File and line are named, its row says so, the other claims are judged, and the exit code is 2."""
    broken = "    masses = facts.instance.once"
    source = CODE[0].replace(broken, "    1 / (facts.instance.mdp.name == 'tree-1')\n" + broken)
    (folder / "fails.py").write_text(source, encoding="utf-8")
    place = 1 + source.splitlines().index("    1 / (facts.instance.mdp.name == 'tree-1')")
    options = (
        "--plugin",
        "fails.py",
        "--claims",
        "best-of-n.*,ss.eq13",
        "--family",
        "tree",
        "--n",
        2,
    )
    done = run("verify", *options, "--gate", "--json", "fails.jsonl")
    assert done.exit_code == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("soupcheck: ")]
    why = f"its function failed (ZeroDivisionError: division by zero, fails.py:{place})"
    names = ("best-of-n.bound", "best-of-n.folklore")
    assert said == [f"soupcheck: tree-0: {name}: {why}" for name in names]
    assert "tree-0: best-of-n.bound is proved but was not judged here" in done.stdout
    assert done.stdout.endswith("gate: failed\n")
    rows = [json.loads(line) for line in Path("fails.jsonl").read_text("utf-8").splitlines()]
    verdicts = {(r["instance"], r["claim"]): r["verdict"] for r in rows}
    assert {key for key, verdict in verdicts.items() if verdict == "error"} == {
        ("tree-0", name) for name in names
    }
    assert len(verdicts) == 6
    assert set(rows[0]) == set(rows[-1])
    sys.modules.pop("fails", None)


def test_a_failed_load_fails_again(monkeypatch):
    def broken():
        raise SystemExit(3)

    monkeypatch.setattr(catalogue, "entry_points", lambda group: [Entry(broken)])
    found = Catalogue(TABLES)
    for _ in range(2):
        with pytest.raises(InstanceError, match=r"cannot be loaded \(SystemExit: 3\)"):
            len(found)
