"""One budget for everything a search does, by a clock that the test winds; Adam without a compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from command_line import run

from bounds.commands import search as command
from bounds.records.witness import stored_witness
from bounds.search.adam import Adam
from bounds.search.budget import Budget
from bounds.search.engine import COUNT, State, search
from bounds.search.judge import verdict
from bounds.search.shrink import Shrinker

UNBREAKABLE = "ss.thm1.gap.identity"  # proved, with no differentiable objective


class Clock:
    """A second passes whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_budget_runs_from_its_making():
    clock = Clock()
    budget = Budget(3.0, clock)
    assert [budget.spent, budget.left, budget.over(), budget.left] == [1.0, 1.0, True, 0.0]


@pytest.mark.parametrize("seconds", [4.0, 40.0])
@pytest.mark.parametrize("claim", [UNBREAKABLE, "ss.thm1.kl.repaired"])
def test_looking_stops_when_the_clock_says_so(claim, seconds):
    clock = Clock()
    state = search(State(claim, 0), Budget(seconds, clock), 1.05, lambda state: None)
    assert not state.breaks_by(1.05)
    # it stops at the first question after the end, and each stage that ends asks once or twice more
    assert seconds <= clock.now <= seconds + 8
    assert 1 <= state.looks <= COUNT * (seconds + 1)


def test_climbing_stops_when_the_clock_says_so():
    """A population's ascent asks once a step: of 300 steps it must not take more than it has."""
    clock = Clock()
    search(State("ss.thm1.kl", 0), Budget(20.0, clock), np.inf, lambda state: None)
    assert 20.0 <= clock.now <= 30.0


def test_one_instance_is_looked_at_however_little_time_there_is():
    state = search(State(UNBREAKABLE, 0), Budget(0.0), 1.05, lambda state: None)
    assert (state.rounds, state.looks) == (1, 1)


@pytest.mark.parametrize("seconds", [0.0, 6.0, 25.0])
def test_shrinking_stops_when_the_clock_says_so(seconds):
    witness = stored_witness("lemma1-softmax")
    before = verdict(witness.instance, witness.claim, None)
    clock = Clock()
    shrinker = Shrinker(witness.claim, 1.0, Budget(seconds, clock))
    after = shrinker.run(before)
    assert after.broken
    assert shrinker.tried <= seconds
    assert clock.now <= seconds + 20  # each of the passes that are left asks once and goes
    assert "it was stopped" in shrinker.outcome
    if not seconds:
        assert after is before


@pytest.mark.parametrize(("seconds", "stopped"), [(30, True), (1e6, False)])
def test_shrinking_gets_what_looking_left(monkeypatch, seconds, stopped):
    """The command makes one budget at its start, and nothing beside it is asked for the time."""
    clock = Clock()
    monkeypatch.setattr(command, "Budget", partial(Budget, clock=clock))
    done = run("search", "ss.lemma1.per-step", "--seconds", seconds, "--json", "-")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["found"]
    assert ("it was stopped" in done.stderr) is stopped
    assert ("none is left that makes it smaller" in done.stderr) is not stopped
    if stopped:
        assert found["edits_tried"] < seconds
        assert clock.now <= seconds + 60


def test_time_that_imports_took_is_not_given_again(monkeypatch):
    clock = Clock()

    def slow_start() -> None:
        clock.now += 1000.0

    monkeypatch.setattr(command, "Budget", partial(Budget, clock=clock))
    monkeypatch.setattr(command, "warm_up", slow_start)
    done = run("search", UNBREAKABLE, "--seconds", 500, "--json", "-")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["rounds"], found["instances"]) == (1, 1)


def test_the_time_left_is_drawn_anew():
    """A round may take long: what is shown counts down all the same."""
    progress = command._Progress("[looking]", Budget(10.0, Clock()))
    assert [progress.__rich__() for _ in range(2)] == [
        r"\[looking] ... 9 s left", r"\[looking] ... 8 s left",
    ]  # fmt: skip


def test_seconds_must_be_a_number():
    done = run("search", UNBREAKABLE, "--seconds", "nan")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--seconds" in done.stderr  # typer refuses it from some version on
    assert len(done.stderr.strip().splitlines()) == 1


# -- Adam ---------------------------------------------------------------------------------------


def test_adam_is_that_of_torch():
    rng = np.random.default_rng(0)
    start = torch.as_tensor(rng.normal(size=(5, 7)))
    ours, theirs = start.clone(), start.clone().requires_grad_()
    adam, reference = Adam(ours, 0.05), torch.optim.Adam([theirs], lr=0.05)
    for step in range(200):
        gradient = torch.as_tensor(rng.normal(size=(5, 7)) * 10.0 ** rng.integers(-9, 9))
        gradient[0] = 0.0  # an instance that moves nowhere
        if step == 0:
            adam.step(gradient)
            moved = start - 0.05 * torch.sign(gradient)
            torch.testing.assert_close(ours, moved, rtol=0.0, atol=0.05 * 1e-8 / 1e-12)
        else:
            adam.step(gradient)
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-14, atol=1e-14)
    assert torch.equal(ours[0], start[0])
    assert not torch.allclose(ours[1:], start[1:], atol=1e-3)


CLIMB = """
import sys
import numpy as np
from bounds.search.batch_solver import Sizes
from bounds.search.climb import ascend
from bounds.search.objectives import OBJECTIVES
from bounds.search.population import random_population
population, theta = random_population(np.random.default_rng(0), Sizes(2, 1, 2, 2), 3)
moved = ascend(OBJECTIVES["ss.thm1.kl.any"], population, theta, 3, lambda: False)
assert any((m.theta != theta).any(dim=1).all() for m in moved)
print(*(m for m in ("torch._dynamo", "torch._inductor", "sympy") if m in sys.modules))
"""


def test_climbing_imports_no_compiler():
    done = subprocess.run([sys.executable, "-c", CLIMB], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
