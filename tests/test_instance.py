"""The door: reading, writing, and one clear line for whatever does not fit."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from conftest import random_mdp

from bounds.records.loading import load_any
from toymdp import InstanceError, TokenMDP
from toymdp.families import generate
from toymdp.kinds import KINDS, load_instance
from toymdp.worlds import reach as reach_module

BASE = {
    "format": "token-mdp/1",
    "vocab_size": 2,
    "order": 1,
    "horizon": 2,
    "start": [0],
    "ref_weights": [[1, 1], [1, 3]],
    "rewards": [[0.0, 1.0]],
    "beta": 1.0,
    "w": [1.0],
    "features": {"kind": "dense", "values": [[1.0, 0.0], [1.0, 1.0]]},
}


def same(first: TokenMDP, second: TokenMDP) -> bool:
    a, b = first.fields(), second.fields()
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k])
        if isinstance(a[k], np.ndarray)
        else json.dumps(a[k], default=np.ndarray.tolist)
        == json.dumps(b[k], default=np.ndarray.tolist)
        for k in a
    )


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("family", ["softmax", "low-rank", "dirichlet", "tree"])
def test_files_round_trip_exactly(tmp_path, suffix, family):
    mdp = generate(family, 3).replace(meta={"note": "ä", "nested": [1, {"x": 2.5}]})
    mdp.save(tmp_path / f"m{suffix}")
    assert same(mdp, TokenMDP.load(tmp_path / f"m{suffix}"))


SMALL = [
    make
    for format, kind in KINDS.items()
    if format != "token-mdp/1"
    for make in (*(partial(f, 3) for f in kind.families.values()), *kind.classics.values())
]


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("make", SMALL)
def test_small_worlds_round_trip_exactly(tmp_path, suffix, make):
    world = make().replace(meta={"note": "ä", "nested": [1, {"x": 2.5}]})
    path = tmp_path / f"m{suffix}"
    world.save(path)
    for again in (load_instance(path), type(world).load(path), load_any(path)):
        assert type(again) is type(world)
        assert same(world, again)


@pytest.mark.parametrize("format", KINDS)
def test_every_kind_has_names_for_its_instances(format):
    kind = KINDS[format]
    assert kind.instance.format == format
    for make in kind.classics.values():
        assert isinstance(make(), kind.instance)


def test_an_archive_of_another_format_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    KINDS["attribute-set/1"].classics["loud-and-even"]().save(path)
    with pytest.raises(InstanceError, match="this file must be 'token-mdp/1'"):
        TokenMDP.load(path)
    np.savez(path, format="no-such/1")
    with pytest.raises(InstanceError, match="not an instance format"):
        load_instance(path)


def test_a_missing_horizon_is_null_in_an_archive_alone(tmp_path):
    fields = {k: v for k, v in BASE.items() if k != "horizon"}
    path = tmp_path / "m.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InstanceError, match="horizon = None: missing"):
        TokenMDP.load(path)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_no_horizon_round_trips(tmp_path, suffix):
    mdp = random_mdp(1, T=None, eos=2, beta=5.0)
    mdp.save(tmp_path / f"m{suffix}")
    assert TokenMDP.load(tmp_path / f"m{suffix}").horizon is None


def test_reference_is_normalised_and_beta_prime_defaults():
    mdp = TokenMDP(**BASE)
    assert np.array_equal(mdp.ref, [[0.5, 0.5], [0.25, 0.75]])
    assert mdp.beta_prime == mdp.beta == 1.0


def test_sparse_reference_equals_dense():
    sparse = {"indptr": [0, 2, 4], "tokens": [0, 1, 1, 0], "weights": [1, 1, 3, 1]}
    fields = {k: v for k, v in BASE.items() if k != "ref_weights"}
    assert np.array_equal(TokenMDP(**fields, ref_sparse=sparse).ref, TokenMDP(**BASE).ref)


def test_huge_weights_normalise_without_overflow():
    mdp = TokenMDP(**{**BASE, "ref_weights": [[1e308, 1e308], [1e308, 1e-308]]})
    assert np.array_equal(mdp.ref[0], [0.5, 0.5])
    assert np.isfinite(mdp.ref).all()


BAD = {
    "negative weight": ({"ref_weights": [[1, -1], [1, 1]]}, r"ref_weights\[0\]\[1\]"),
    "nan weight": ({"ref_weights": [[1, float("nan")], [1, 1]]}, r"ref_weights\[0\]\[1\]"),
    "infinite weight": ({"ref_weights": [[1, float("inf")], [1, 1]]}, "must be finite"),
    "reachable empty row": ({"ref_weights": [[1, 1], [0, 0]]}, r"ref_weights\[1\].*reachable"),
    "nan reward": ({"rewards": [[0.0, float("nan")]]}, r"rewards\[0\]\[1\]"),
    "infinite reward": ({"rewards": [[0.0, float("-inf")]]}, r"rewards\[0\]\[1\]"),
    "reward length": (
        {"rewards": [[0.0, 1.0, 2.0]]},
        r"rewards\[0\] = '3 entries': must have 2; add",
    ),
    "reward row": (
        {"rewards": [[0.0, 1.0], [1.0]], "w": [0.5, 0.5]},
        r"rewards\[1\] = '1 entries': must have 2; add",
    ),
    "reward depth": ({"rewards": [0.0, 1.0]}, r"rewards.*\[K\]\[2\]"),
    "no reward": ({"rewards": []}, "rewards"),
    "ragged": ({"ref_weights": [[1, 1], [1]]}, r"ref_weights\[1\] = '1 entries': must have 2; add"),
    "text for numbers": ({"rewards": [["a", "b"]]}, "rewards"),
    "w sum": ({"w": [1.1]}, "sum of w = 1.1: must be 1"),
    "w sum just off": ({"w": [1.0 + 2e-9]}, "sum of w"),
    "w negative": ({"w": [2.0, -1.0], "rewards": [[0, 1], [1, 0]]}, r"w\[1\]"),
    "w length": ({"w": [0.5, 0.5]}, "w = '2 entries': must have 1"),
    "beta zero": ({"beta": 0}, "beta = 0"),
    "beta negative": ({"beta": -1.0}, "beta"),
    "beta nan": ({"beta": float("nan")}, "beta"),
    "beta bool": ({"beta": True}, "beta"),
    "beta_prime": ({"beta_prime": 0.0}, "beta_prime"),
    "feature kind": ({"features": {"kind": "fourier"}}, "features.kind.*unknown feature kind"),
    "feature shape": ({"features": {"kind": "dense", "values": [[1.0]]}}, "features.values"),
    "feature row": (
        {"features": {"kind": "dense", "values": [[1.0], [1.0, 2.0]]}},
        r"features.values\[1\] = '2 entries': must have 1, as features.values\[0\]",
    ),
    "feature nan": (
        {"features": {"kind": "dense", "values": [[1.0], [float("nan")]]}},
        "features.values",
    ),
    "feature key": ({"features": {"kind": "dense", "value": []}}, r"features\.value"),
    "scale zero": (
        {"features": {"kind": "tabular", "per_step": True, "scale": 0.0}},
        "features.scale.*positive",
    ),
    "per_step": ({"features": {"kind": "tabular", "per_step": 1}}, "features.per_step"),
    "start range": ({"start": [2]}, r"start\[0\] = 2"),
    "start negative": ({"start": [-1]}, r"start\[0\]"),
    "start length": ({"start": [0, 0]}, "start"),
    "start in eos": ({"eos": 0}, "ends in eos"),
    "eos range": ({"eos": 5}, "eos = 5"),
    "bos emitted": ({"bos": 1}, "never emitted"),
    "bos is eos": ({"bos": 1, "eos": 1}, "differ"),
    "horizon zero": ({"horizon": 0}, "horizon = 0"),
    "horizon fraction": ({"horizon": 2.5}, "horizon"),
    "no horizon no eos": ({"horizon": None}, "needs eos"),
    "format": ({"format": "token-mdp/9"}, "format"),
    "memory": ({"vocab_size": 64, "order": 6}, "GiB"),
    "overflow": ({"vocab_size": 64, "order": 60}, "do not fit"),
    "start feature": ({"start_feature": [1.0]}, "start_feature"),
    "meta": ({"meta": 3}, "meta"),
    "no reference": ({"ref_weights": None}, "exactly one of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_fields_name_value_rule_and_remedy(name):
    change, pattern = BAD[name]
    with pytest.raises(InstanceError, match=pattern) as caught:
        TokenMDP(**{**BASE, **change})
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_eos_must_be_reachable_without_a_horizon():
    fields = {**BASE, "horizon": None, "eos": 1, "ref_weights": [[1, 0], [0, 0]]}
    with pytest.raises(InstanceError, match="eos cannot be reached"):
        TokenMDP(**fields)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{", "not valid JSON at line 1"),
        ('{"format": "token-mdp/1", "vocab', "truncated"),
        ("[1, 2]", "holds a list"),
        ("hello", "not valid JSON"),
        ('{"format": "token-mdp/1"}', "vocab_size = None: missing"),
        ('{"format": "soup-witness/1"}', "soup-witness/1"),
    ],
)
def test_bad_files(tmp_path, text, pattern):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InstanceError, match=pattern):
        TokenMDP.load(path)


def test_misspelt_key_is_not_ignored(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**BASE, "betaprime": 2.0}), encoding="utf-8")
    with pytest.raises(InstanceError, match="betaprime"):
        TokenMDP.load(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InstanceError, match="cannot be read"):
        TokenMDP.load(tmp_path / "none.json")
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InstanceError, match="UTF-8"):
        TokenMDP.load(path)
    archive = tmp_path / "x.npz"
    archive.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InstanceError, match="NPZ"):
        TokenMDP.load(archive)


def test_ignored_entries_at_unreachable_contexts_do_not_leak():
    weights = [[1.0, 1.0, 0.0]] * 3
    fields = {
        **BASE, "vocab_size": 3, "ref_weights": weights, "rewards": [[0.0, 1.0, 5.0]],
        "features": {"kind": "dense", "values": [[1.0], [2.0], [float("nan")]]},
    }  # fmt: skip
    mdp = TokenMDP(**fields)
    assert np.isfinite(mdp.features.values).all()


def test_reachability_repeats_itself():
    """What comes back is not worked out again, and the tables are those of the plain recursion."""
    calls = []
    plain = reach_module.successors

    def counted(states, allowed):
        calls.append(1)
        return plain(states, allowed)

    rng = np.random.default_rng(0)
    for seed in range(60):
        A, L = (2, 3) if seed % 2 else (3, 2)
        S = A**L
        allowed = rng.random((S, A)) < rng.choice([0.3, 0.5, 0.9])
        ended = np.arange(S) % A == A - 1 if seed % 3 == 0 else np.zeros(S, dtype=bool)
        calls.clear()
        step = partial(counted, allowed=allowed)
        states, nexts = reach_module.reach(step, 0, S, 500, ended)
        assert len(calls) < 100
        now = np.arange(S) == 0
        for t in range(500):
            assert np.array_equal(states[t], now), (seed, t)
            following = plain(now, allowed)
            assert np.array_equal(nexts[t], following), (seed, t)
            now = following & ~ended


def test_reachability_by_hand():
    # from token 0 only 1 may follow, from 1 only 0: the chain alternates
    mdp = TokenMDP(**{**BASE, "horizon": 3, "ref_weights": [[0, 1], [1, 0]]})
    assert mdp.reach.states.tolist() == [[True, False], [False, True], [True, False]]
    assert mdp.reach.nexts.tolist() == [[False, True], [True, False], [False, True]]
    assert mdp.reach.n_triples == 3


def test_eos_is_absorbing_at_finite_horizons():
    mdp = TokenMDP(**{**BASE, "horizon": 3, "eos": 1})
    assert not mdp.reach.states[:, 1].any()
    assert mdp.reach.nexts[:, 1].all()
