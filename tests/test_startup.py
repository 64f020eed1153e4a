"""What is slow to import is imported when it is needed, not before."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest
import soupcheck
from command_line import run

import bounds
import toymdp
from bounds.cli import COMMANDS
from toymdp import kernels
from toymdp.warm_up import compile_kernels, kernels_are_cached

IMPORT_ALL = """
import importlib, pkgutil, sys
import toymdp
for module in pkgutil.walk_packages(toymdp.__path__, "toymdp."):
    if not module.name.startswith("toymdp.kernels."):
        importlib.import_module(module.name)
slow = ("numba", "cvxpy", "clarabel", "sympy", "scipy.optimize", "scipy.sparse", "scipy.special",
        "scipy.stats", "scipy.linalg", "scipy.cluster")
print(*(name for name in slow if name in sys.modules))
"""


def test_importing_toymdp_imports_nothing_slow():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    """The list is shown without importing the commands, so it repeats their first lines."""
    function = name.replace("-", "_")
    command = getattr(import_module(f"bounds.commands.{function}"), function)
    assert inspect.getdoc(command).splitlines()[0] == COMMANDS[name]
    for option in ("-h", "--help"):
        done = run(name, option)
        assert done.exit_code == 0
        assert f"soupcheck {name} " in done.stdout


def test_a_command_that_is_not_there_is_one_line():
    done = run("veryfy")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "soupcheck: No such command 'veryfy'. Did you mean 'verify', 'certify'?\n"


@pytest.mark.parametrize("face", [toymdp, bounds, soupcheck], ids=lambda m: m.__name__)
def test_faces_show_what_they_name(face):
    for name in face.__all__:
        assert getattr(face, name) is getattr(face, name)
        assert name in dir(face)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = face.nothing


def test_the_face_is_the_contract():
    """The installed name offers what toymdp and bounds offer, the very same objects."""
    assert set(toymdp.__all__) | set(bounds.__all__) <= set(soupcheck.__all__)
    assert soupcheck.check is bounds.check
    assert soupcheck.solve is toymdp.solve
    assert soupcheck.__version__ == run("--version").stdout.split()[1]


@pytest.mark.parametrize("claims", [False, True])
def test_what_is_asked_for_to_know_whether_kernels_are_compiled_is_compiled(claims, monkeypatch):
    compile_kernels(claims)
    asked = []
    monkeypatch.setattr(kernels.compiled, "is_cached", lambda *given: asked.extend(given) or True)
    assert kernels_are_cached(claims)
    assert asked
    assert all(kernel.signatures for kernel in asked)
