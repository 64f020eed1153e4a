"""The compiled kernels run as plain Python: the same numbers, and no index beyond an array's end.

Compiled code reads on where an array ends; Python refuses. Worlds of 2, 3 and 5 tokens leave 2, 3
and 1 tokens beside the fours that products take together.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import test_envelope
from conftest import random_mdp

from toymdp import kernels, solve
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import rejection_sampler
from toymdp.exact.scans import extrema, farthest, hard_minimum, inner_extent, largest
from toymdp.soup.objective import SoupObjective

MODULES = (
    "backward", "blocks", "boxes", "curvature", "elementary", "envelopes", "ratios", "rows", "sampling",
    "scans", "soups", "tiles",
)  # fmt: skip


@pytest.fixture
def plain(monkeypatch):
    """Replaces every kernel, wherever it is named, by the Python function it is compiled from."""

    def replace_all() -> int:
        count = 0
        for name in MODULES:
            module = import_module(f"{kernels.__name__}.{name}")
            for key, value in list(vars(module).items()):
                if hasattr(value, "py_func"):
                    monkeypatch.setattr(module, key, value.py_func)
                    count += 1
        return count

    return replace_all


def numbers(A: int, L: int, forbid: float, size: float) -> dict[str, np.ndarray]:
    """What the kernels find about one world and a policy whose logits are of that size."""
    mdp = random_mdp(A, A=A, L=L, T=3, K=2, forbid=forbid, beta=0.7)
    rng = np.random.default_rng(A)
    G, H, f, shift = rng.normal(size=(4, mdp.steps, mdp.n_contexts))
    policy, other = Policy(mdp, size * G), Policy(mdp, size * H)
    near = Policy(mdp, size * G + 1e-5 * f)
    found = {
        f"V by {method}": solve(mdp, method=method).V for method in ("exp", "log", "rows")
    } | {
        "partition": policy.log_partition, "mean": policy.mean(f), "table": policy.table,
        "far": policy.divergence(other), "near": policy.divergence(near),
        "rough": policy.divergence(near, fine=False), "value": policy.value(f, shift),
        "states": policy.occupancy.states, "nexts": policy.occupancy.nexts,
        "ratios": np.stack(policy.importance_ratio), "extrema": np.stack(extrema(mdp, G)),
        "extents": np.stack(inner_extent(mdp, G)),
        "sampler": np.stack(rejection_sampler(policy, other, shift)),
        "scans": np.array([largest(G, mdp.reach.nexts), farthest(G, H, mdp.reach.nexts)[0]]),
        "minimum": np.array(hard_minimum(mdp, G, H, 1.0)),
    }  # fmt: skip
    objective = SoupObjective(solve(mdp))
    point = objective.at(np.array([0.5, -0.25]))
    found["J"] = np.array([point.value, objective.value(np.array([0.3, 0.6])), *point.slope])
    found["bend"], found["turn"] = point.second()
    return found


@pytest.mark.parametrize(
    ("A", "L", "forbid", "size"),
    # of 25 blocks or more the exponential domain goes by vectors over them
    [(2, 2, 0.0, 1.0), (3, 2, 0.3, 1.0), (5, 3, 0.2, 1.0), (3, 2, 0.3, 1e4)],
)
def test_python_finds_what_compiled_code_finds(A, L, forbid, size, plain):
    compiled = numbers(A, L, forbid, size)
    assert plain() > 40
    with np.errstate(all="ignore"):  # compiled code does not warn
        interpreted = numbers(A, L, forbid, size)
    for name, table in compiled.items():
        most = np.abs(table).max()
        rounding = size if name in ("far", "rough") else most  # sums that cancel
        np.testing.assert_allclose(
            interpreted[name], table, rtol=1e-9, atol=1e-13 * rounding, err_msg=name
        )
        # a policy of 1e4 nats moves no more
        assert most > 1e-12 or (size > 1 and name in ("near", "rough")), name


def test_envelopes_in_python(plain, monkeypatch):
    sol = solve(random_mdp(1, A=3, L=1, T=3, K=2, forbid=0.2))
    corners = np.array([[0.5, 0.25], [0.6, 0.25], [0.5, 0.3]])
    compiled = test_envelope.run_envelope(sol, corners)
    plain()
    monkeypatch.setattr(test_envelope, "envelope", kernels.envelopes.envelope)
    with np.errstate(all="ignore"):
        interpreted = test_envelope.run_envelope(sol, corners)
    for found, expected in zip(interpreted, compiled, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(compiled[0][0]).max() > 0.1
