"""The gate that others use: the plugin makes one test of each file and claim."""

from __future__ import annotations

import pytest
from conftest import random_mdp

from toymdp.families.classics import lemma1_softmax, rare_first_token

pytest_plugins = ["pytester"]


@pytest.fixture
def lab(pytester):
    folder = pytester.mkdir("mdps")
    random_mdp(0).save(folder / "plain.json")
    rare_first_token().save(folder / "gap.npz")
    return pytester


def run(lab, *arguments):
    # in a process of its own: kernels and warnings filters are this one's otherwise
    return lab.runpytest_subprocess("-q", "-p", "no:cacheprovider", *arguments)


def test_one_test_for_each_instance_and_claim(lab):
    lab.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        soupcheck_instances = "mdps"
        soupcheck_claims = ["ss.thm1.gap.sharp", "ss.delta", "ss.delta.renyi"]
        """
    )
    lab.makepyfile(
        """
        def test_theorems(soupcheck_instance, soupcheck_claim, soupcheck_gate):
            soupcheck_gate(soupcheck_instance, soupcheck_claim)
        """
    )
    result = run(lab, "-vv")
    names = [line for line in result.outlines if "PASSED" in line]
    assert any("plain.json-ss.thm1.gap.sharp" in line for line in names)
    assert any("gap.npz-ss.delta.renyi" in line for line in names)
    assert result.ret == 0


def test_marker_and_failure(lab):
    lemma1_softmax().save(lab.path / "mdps" / "lemma.json")
    lab.makepyfile(
        """
        import pytest

        @pytest.mark.soupcheck("mdps", "ss.lemma1")
        def test_lemma(soupcheck_instance, soupcheck_claim, soupcheck_gate):
            soupcheck_gate(soupcheck_instance, soupcheck_claim)

        @pytest.mark.soupcheck("mdps")
        def test_solved(soupcheck_instance):
            assert soupcheck_instance.status == "solved"
        """
    )
    result = run(lab)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*ss.lemma1 is violated*"])


def test_missing_folder_is_said(lab):
    lab.makepyfile("def test_x(soupcheck_instance): pass")
    result = run(lab)
    assert result.ret != 0
    assert "set soupcheck_instances" in result.stdout.str() + result.stderr.str()


# -- what was checked at all ----------------------------------------------------------------------

SETTINGS = """
    [tool.pytest.ini_options]
    soupcheck_instances = "mdps"
    soupcheck_claims = ["ss.proof.B", "ss.sec4.bt", "ss.delta.tight"]
"""
TEST = """
    def test_theorems(soupcheck_instance, soupcheck_claim, soupcheck_gate):
        soupcheck_gate(soupcheck_instance, soupcheck_claim)
"""


@pytest.mark.parametrize(
    ("settings", "outcomes", "code", "says"),
    [
        ("", {"passed": 4, "skipped": 2}, 0, []),
        (
            "soupcheck_strict = true",
            {"passed": 3, "failed": 1, "skipped": 2},
            1,
            ["*ss.proof.B is undecided: lhs = *"],
        ),
        ("soupcheck_require_applicable = true", {"passed": 4, "skipped": 2}, 0, []),
    ],
)
def test_not_applicable_is_a_skip_and_all_is_counted(lab, settings, outcomes, code, says):
    """On plain.json ss.delta.tight does not apply, on gap.npz ss.sec4.bt, where ss.proof.B is open."""
    lab.makepyprojecttoml(SETTINGS + f"    {settings}\n")
    lab.makepyfile(TEST)
    result = run(lab, "-rs")
    result.assert_outcomes(**outcomes)
    assert result.ret == code
    result.stdout.fnmatch_lines(
        [
            *says,
            "*= soupcheck =*",
            "6 checks of 3 proved claims: 3 holds, 0 violated, 2 not-applicable, 1 undecided",
            "SKIPPED*ss.sec4.bt is not applicable: no two answers drawn from ref differ*",
        ],
        consecutive=False,
    )


def test_a_claim_that_applies_nowhere_fails_the_session_on_demand(lab):
    (lab.path / "mdps" / "plain.json").unlink()
    lab.makepyfile(TEST)
    lab.makepyprojecttoml(SETTINGS)
    nowhere = "applicable nowhere: ss.sec4.bt (no two answers drawn from ref differ in any return)"
    result = run(lab)
    assert result.ret == 0
    result.stdout.fnmatch_lines([nowhere])
    lab.makepyprojecttoml(SETTINGS + "    soupcheck_require_applicable = true\n")
    result = run(lab)
    result.assert_outcomes(passed=2, skipped=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ss.sec4.bt is proved but was applicable nowhere: no two *"])
    # of what was left out nothing is demanded
    assert run(lab, "-k", "proof.B").ret == 0


def test_a_claim_of_another_world_is_not_passed_over(lab):
    lab.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        soupcheck_instances = "mdps"
        soupcheck_claims = ["ss.delta", "ex.eq10"]
        soupcheck_require_applicable = true
        """
    )
    lab.makepyfile(TEST)
    result = run(lab)
    assert result.ret != 0
    assert "no attribute-set/1 instance in mdps" in result.stdout.str() + result.stderr.str()


def test_the_marker_gives_a_lambda(lab):
    lab.makepyfile(
        """
        import pytest

        @pytest.mark.soupcheck("mdps", "ss.thm1.gap.sharp", lam=[0.25, -0.5])
        def test_at_ours(soupcheck_instance, soupcheck_claim, soupcheck_gate):
            check = soupcheck_gate(soupcheck_instance, soupcheck_claim)
            assert (check.lam, check.lam_name) == ((0.25, -0.5), "given")
            other = soupcheck_gate(soupcheck_instance, soupcheck_claim, lam=[0.5, 0.0])
            assert other.lam == (0.5, 0.0)

        @pytest.mark.soupcheck("mdps", "ss.thm1.gap.sharp", lam=[2.5, -0.5])
        def test_outside(soupcheck_instance, soupcheck_claim, soupcheck_gate):
            soupcheck_gate(soupcheck_instance, soupcheck_claim)

        @pytest.mark.soupcheck("mdps", "ss.thm1.gap.sharp", lam=[1.0])
        def test_misfit(soupcheck_instance, soupcheck_claim, soupcheck_gate):
            soupcheck_gate(soupcheck_instance, soupcheck_claim)
        """
    )
    result = run(lab)
    result.assert_outcomes(passed=2, skipped=2, failed=2)
    result.stdout.fnmatch_lines(["*lam = ?1.0?: must be 2 finite numbers*"])


def test_a_file_that_is_no_instance_is_one_line(lab):
    (lab.path / "mdps" / "other.json").write_text('{"format": "soup/9"}', encoding="utf-8")
    lab.makepyprojecttoml(SETTINGS)
    lab.makepyfile(TEST)
    result = run(lab)
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "other.json: format = 'soup/9': neither an instance nor a stored witness" in said
    assert "Traceback" not in said


def test_a_session_without_theorems_says_nothing_of_them(lab):
    lab.makepyfile("def test_one(): pass")
    lab.makepyprojecttoml(SETTINGS + "    soupcheck_require_applicable = true\n")
    result = run(lab)
    assert result.ret == 0
    assert "soupcheck" not in result.stdout.str()
