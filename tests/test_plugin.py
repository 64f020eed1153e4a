"""The gate that others use: the plugin makes one test of each file and claim."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import random_mdp

from bounds.records.witness import stored_witness
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


NO_TRACE = ("Traceback", "pluggy", "/bounds/", "checking.py")


def test_what_a_test_asks_for_and_is_not_there_is_one_line(lab):
    lab.mkdir("void")
    lab.makepyfile(
        none="def test_none(soupcheck_instance): pass",
        missing="""
        import pytest
        @pytest.mark.soupcheck("nope")
        def test_missing(soupcheck_instance): pass
        """,
        empty="""
        import pytest
        @pytest.mark.soupcheck("void")
        def test_empty(soupcheck_instance): pass
        """,
        typo="""
        import pytest
        @pytest.mark.soupcheck("mdps", "ss.delat")
        def test_typo(soupcheck_instance, soupcheck_claim): pass
        """,
    )
    result = run(lab, "none.py", "missing.py", "empty.py", "typo.py")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    said = [line for line in result.outlines if line.startswith("soupcheck: ")]
    for line, says in zip(
        said, ["folder = ''", "folder = 'nope'", "void: no .json", "ss.delta"], strict=True
    ):
        assert says in line
    assert "set soupcheck_instances" in said[0]
    assert not any(trace in result.stdout.str() + result.stderr.str() for trace in NO_TRACE)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('soupcheck_instances = "nope"', "folder = 'nope'"),
        ('soupcheck_instances = "mdps"\nsoupcheck_claims = "ss.delat"', "did you mean ss.delta"),
        ('soupcheck_plugins = "absent.py"', "absent.py"),
    ],
)
def test_settings_are_refused_before_anything_is_collected(lab, settings, says):
    lab.makepyfile("def test_one(): pass")
    lab.makepyprojecttoml("[tool.pytest.ini_options]\n" + settings)
    result = run(lab)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith("ERROR: soupcheck: ")
    assert says in line


OWN = """
    from soupcheck import Claim, Sides, assert_claim, check

    def low(facts): return Sides(0.0, 1.0, scale=1.0)
    def high(facts): return Sides(2.0, 1.0, scale=1.0)
    def wrong(facts): return 1 / 0

    def claim(name, sides):
        return Claim(
            name, "lab", "x", status="proved", kind="inequality", at="instance", sides=sides, reason="-"
        )

    CLAIMS = [claim("mine.low", low), claim("mine.high", high), claim("mine.wrong", wrong)]
"""


def test_claims_of_a_lab_and_files_that_are_refused(lab):
    """Own claims by a setting, or as objects; a broken file fails one test and hides no other."""
    folder = lab.path / "mdps"
    (folder / "gap.npz").unlink()
    (folder / "config.json").write_text('{"a": 1}', encoding="utf-8")
    (folder / "half.json").write_text("{", encoding="utf-8")
    lab.makepyfile(mine=OWN)
    lab.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        soupcheck_instances = "mdps"
        soupcheck_plugins = ["mine.py"]
        soupcheck_claims = ["mine.*"]
        """
    )
    lab.makepyfile(
        TEST
        + """
    import mine
    import pytest

    @pytest.mark.soupcheck("mdps", "ss.delta", lam=[1.0])
    def test_objects(soupcheck_instance, soupcheck_claim, soupcheck_gate):
        assert soupcheck_gate(soupcheck_instance, mine.CLAIMS[0], lam=None).claim == "mine.low"
        assert mine.assert_claim(soupcheck_instance, mine.CLAIMS[0]).verdict == "holds"
        both = mine.check(soupcheck_instance, ["ss.delta", *mine.CLAIMS[:2]])
        assert [c.claim for c in both] == ["ss.delta", "mine.low", "mine.high"]
        soupcheck_gate(soupcheck_instance, "ss.thm1.gap.sharp")
    """
    )
    result = run(lab)
    result.assert_outcomes(passed=1, failed=3, errors=4)
    text = result.stdout.str()
    assert not any(trace in text + result.stderr.str() for trace in NO_TRACE)
    said = [line for line in result.outlines if line.startswith("soupcheck: ")]
    assert sum("half.json: not valid JSON" in line for line in said) == 2  # of each of two tests
    assert sum("config.json: format = None" in line for line in said) == 2
    assert sum("lam = [1.0]: must be 2 finite numbers" in line for line in said) == 1
    (broken,) = [line for line in result.outlines if line.startswith("E   ")]
    # what there is to say, without empty places for what there is not
    assert "mine.high is violated: lhs = 2.0, rhs = 1.0, slack = -1.0, error radius = " in broken
    assert broken[-1].isdigit()
    assert "None" not in broken


def test_a_witness_file_must_break_its_claim(lab):
    """As ``verify --gate`` demands: one test more, at the witness's λ, whatever claims are chosen."""
    witness = stored_witness("kl-rare-token")
    for path in (lab.path / "mdps").iterdir():
        path.unlink()
    witness.save(lab.path / "mdps" / "w.json")
    replace(witness, lam=(0.5,)).save(lab.path / "mdps" / "weak.json")
    lab.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        soupcheck_instances = "mdps"
        soupcheck_claims = ["ss.eq2-4"]
        """
    )
    lab.makepyfile(TEST + "    def test_no_gate(soupcheck_instance, soupcheck_claim): pass\n")
    result = run(lab, "-vv")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*w.json-breaks-ss.thm1.kl.any* PASSED*",
            "*the witness does not break ss.thm1.kl.any: holds",
            "1 of 2 witnesses break their claim",
        ]
    )


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
    # what fails the session stands among what pytest counts
    result.assert_outcomes(passed=2, skipped=1, failed=1)
    assert result.ret == 1
    says = "ss.sec4.bt is proved but was applicable nowhere: no two *"
    result.stdout.fnmatch_lines(
        [says, "FAILED soupcheck::soupcheck_require_applicable - ss.sec4.bt*"]
    )
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
    assert (
        "'ex.eq10': speaks of attribute-set/1, of which no instance is in mdps"
        in result.stdout.str() + result.stderr.str()
    )


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
    result.assert_outcomes(passed=4, skipped=2, errors=1)
    said = result.stdout.str() + result.stderr.str()
    assert "other.json: format = 'soup/9': neither an instance nor a stored witness" in said
    assert "Traceback" not in said


def test_a_session_without_theorems_says_nothing_of_them(lab):
    lab.makepyfile("def test_one(): pass")
    lab.makepyprojecttoml(SETTINGS + "    soupcheck_require_applicable = true\n")
    result = run(lab)
    assert result.ret == 0
    assert "soupcheck" not in result.stdout.str()
