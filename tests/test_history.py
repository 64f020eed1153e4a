"""No memory: an instance gives the same bits whatever was solved, and judged, before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from conftest import random_mdp

from bounds import check
from bounds.records.output import dump
from bounds.runs.cases import Case
from bounds.runs.judging import judge
from toymdp import TokenMDP, solve, soup_optimum
from toymdp.families import FAMILIES, generate
from toymdp.kinds import ALL_FAMILIES
from toymdp.soup.bound import branch_and_bound

# every seeded family, the text once for each feature map; several K, and worlds until eos
MAKERS: dict[str, Callable[[], TokenMDP]] = {
    f"{name}-{seed}": partial(generate, name, seed)
    for name in FAMILIES
    for seed in ([0] if name.startswith("corpus") else [0, 1, 2])
}
MAKERS |= {f"until-eos-{i}": partial(random_mdp, i, K=2 + i, T=None, eos=1) for i in range(3)}
MAKERS |= {f"many-rewards-{K}": partial(random_mdp, K, K=K) for K in (3, 4, 6)}


def bits(name: str) -> list[str]:
    """All floats of an instance's solution and soup optimum, as hexadecimal text."""
    mdp = MAKERS[name]()
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    ends = [x for a in opt.starts for x in (a.value_at_start, a.value, a.residual, *a.u)]
    floats = [*sol.V_w[0], sol.residual, *opt.lam, *opt.mu, opt.J, opt.kkt, opt.spread, *ends]
    steps = [f"{a.start} {a.steps}" for a in opt.starts]
    return [float(x).hex() for x in floats] + [opt.start, opt.status, *steps]


def one_after_another(names: list[str]) -> dict[str, list[str]]:
    return {name: bits(name) for name in names}


@pytest.fixture(scope="module")
def after_others() -> dict[str, list[str]]:
    return one_after_another(list(MAKERS))


def differing(first: dict[str, list[str]], second: dict[str, list[str]]) -> list[str]:
    return [name for name in MAKERS if first[name] != second[name]]


def test_in_reverse_order(after_others):
    assert differing(after_others, one_after_another(list(reversed(MAKERS)))) == []


def test_in_threads(after_others):
    """Interleaved in two threads: nothing is shared between them, and nothing is a thread's own."""
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(MAKERS, pool.map(bits, MAKERS), strict=True))
    assert differing(after_others, found) == []


@pytest.mark.parametrize("name", ["softmax-0", "dirichlet-1", "many-rewards-3"])
def test_branch_and_bound_on_any_number_of_threads(name):
    """Pieces are bounded one by one and queued in order: only a stop by the clock is left to chance."""
    sol = solve(MAKERS[name]())
    found = [
        branch_and_bound(sol, soup_optimum(sol.mdp, sol).J, tolerance=0.02, threads=threads)
        for threads in (1, 2, 3)
    ]
    assert {bound.stopped for bound in found} == {"tolerance"}
    assert len({(bound.value.hex(), bound.J.hex(), bound.pieces) for bound in found}) == 1


# -- the same of every record of every claim, on every family of every kind of instance -----------

CASES = {
    f"{name}-{seed}": Case(f"{name}-{seed}", name, "family", {"family": name, "seed": seed})
    for name in ALL_FAMILIES
    for seed in ([0] if name.startswith("corpus") else [0, 1, 2])
}


def records(name: str) -> list[str]:
    """The ledger's lines of one instance, all claims; JSON writes every bit of a float."""
    return [dump(record) for record in judge(CASES[name], "*", 0)]


@pytest.fixture(scope="module")
def records_in_order() -> dict[str, list[str]]:
    return {name: records(name) for name in CASES}


def test_records_in_reverse_order(records_in_order):
    again = {name: records(name) for name in reversed(CASES)}
    assert [name for name in CASES if again[name] != records_in_order[name]] == []


def test_records_of_a_single_claim_and_of_an_instance_asked_again(records_in_order):
    """What else was asked of an instance, and how often, changes nothing."""
    for name in ("dirichlet-1", "softmax-0"):
        instance = CASES[name].build()
        whole = {c.claim: c for c in check(instance)}
        for claim in ("ss.thm1.kl.any", "ss.sec4.bt", "ss.betaprime", "ss.eq12", "ss.eq8.onehot"):
            assert check(instance, claim) == [whole[claim]]
        assert check(solve(instance)) == list(whole.values())


# -- alone -------------------------------------------------------------------------------------

ALONE = """
import json, multiprocessing, sys
sys.path.insert(0, sys.argv[1])
import test_history
import numba, cvxpy  # imported once; each instance is then solved in a process of its own
def alone(job):
    kind, name = job
    return kind, name, getattr(test_history, kind)(name)
if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    jobs = [("bits", name) for name in test_history.MAKERS]
    jobs += [("records", name) for name in test_history.CASES]
    found = {"bits": {}, "records": {}}
    with fork.Pool(2, maxtasksperchild=1) as pool:
        for kind, name, outcome in pool.imap_unordered(alone, jobs, chunksize=1):
            found[kind][name] = outcome
    json.dump(found, sys.stdout)
"""


def test_alone_in_another_process(after_others, records_in_order):
    """Each instance by itself, in a process that has solved nothing before, BLAS on one thread."""
    here = __file__.rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE, here],
        capture_output=True, text=True, check=False, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    assert differing(after_others, alone["bits"]) == []
    assert [n for n in CASES if alone["records"][n] != records_in_order[n]] == []
