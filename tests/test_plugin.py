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
