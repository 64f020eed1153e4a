"""Parts of the certificates that the stored witnesses leave alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import random_mdp
from flint import arb, fmpq
from test_certificates import STORED, changed, written

from bounds.certificates import STATEMENTS, WitnessError, certify
from bounds.certificates import instance as reader
from bounds.certificates.hypotheses import HYPOTHESES
from bounds.certificates.instance import load
from bounds.certificates.maximisers import Box
from bounds.certificates.statements import Point
from bounds.certificates.values import Values

HALF, QUARTER, ONE = fmpq(1, 2), fmpq(1, 4), fmpq(1)
# three contexts of three tokens: rows of two, one and three entries, in no order of tokens
SPARSE = {"indptr": [0, 2, 3, 6], "tokens": [2, 0, 1, 0, 2, 1], "weights": [1, 3, 5, 2, 4, 6]}
DENSE = [[3, 0, 1], [0, 5, 0], [2, 6, 4]]


def with_reference(tmp_path, **reference):
    """A witness of three tokens whose reference policy is given."""
    path = written(tmp_path, random_mdp(0, L=1, T=3), "ss.proof.A", [0.5, -0.25])
    found = json.loads(path.read_text(encoding="utf-8"))
    for key in ("ref_weights", "ref_sparse"):
        found["instance"].pop(key, None)
    found["instance"].update(reference)
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def test_a_sparse_reference_is_the_dense_one(tmp_path):
    dense = load(with_reference(tmp_path, ref_weights=DENSE)).instance
    sparse = load(with_reference(tmp_path, ref_sparse=SPARSE)).instance
    assert sparse.moves == dense.moves
    assert sparse.moves[0] == [(0, fmpq(3, 4)), (2, fmpq(1, 4))]
    assert sparse.row_of == dense.row_of


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"indptr": [0, 2, 6]}, "indptr"), ({"indptr": [0, 2, 3, 3, 6]}, "indptr"),
        ({"indptr": [1, 2, 3, 6]}, "indptr"), ({"indptr": [0, 3, 2, 6]}, "indptr"),
        ({"indptr": [0, 2, 3, 5]}, "indptr"), ({"indptr": [0, 2, 3, 7]}, "indptr"),
        ({"tokens": [2, 2, 1, 0, 2, 1]}, "twice in context 0"),
        ({"tokens": [2, 3, 1, 0, 2, 1]}, "tokens"), ({"tokens": [2, -1, 1, 0, 2, 1]}, "tokens"),
        ({"weights": [1, 3, 5, 2, 4]}, "weights"), ({"weights": [1, -3, 5, 2, 4, 6]}, "negative"),
        ({"weights": 3}, "three lists"), ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_a_bad_sparse_reference_is_refused(change, says, tmp_path):
    with pytest.raises(WitnessError, match=says):
        load(with_reference(tmp_path, ref_sparse={**SPARSE, **change}))


@pytest.mark.parametrize("start", [[], [0, 0], [-1], [3], [0.0], 0])
def test_a_start_of_another_length_is_refused(start, tmp_path):
    with pytest.raises(WitnessError, match="start"):
        load(changed(tmp_path, "kl-rare-token", ("instance.start", start)))


@pytest.mark.parametrize("seed", [-1, 2**63 + 1, 0.5, "1", True])
def test_a_seed_is_a_whole_number(seed, tmp_path):
    with pytest.raises(WitnessError, match="seed"):
        load(changed(tmp_path, "kl-rare-token", ("seed", seed)))


def test_a_file_of_more_bytes_than_a_witness_has_is_not_read(tmp_path, monkeypatch):
    path = changed(tmp_path, "kl-rare-token", ("seed", 0))
    size = len(path.read_bytes())
    monkeypatch.setattr(reader, "MOST_BYTES", size)
    load(path)
    monkeypatch.setattr(reader, "MOST_BYTES", size - 1)
    with pytest.raises(WitnessError, match="bytes"):
        load(path)


def test_what_fails_says_why(tmp_path):
    """Each hypothesis gives a reason where it fails, and none where it holds."""
    path = changed(tmp_path, "lipschitz-rare-token", ("lambda.0", 1.5))
    found = load(path)
    assert HYPOTHESES["lambda-in-domain"](found.instance, found.lam) == (False, "β|λ|₁ > β'")
    assert HYPOTHESES["lambda-in-domain"](found.instance, [fmpq(1, 2)]) == (True, "")
    assert HYPOTHESES["lambda-nonzero"](found.instance, [fmpq(0)]) == (False, "λ = 0")
    assert HYPOTHESES["lambda-nonzero"](found.instance, found.lam) == (True, "")


def test_claims_about_the_start_are_shown_there(tmp_path):
    mdp = random_mdp(6, A=3, L=2, T=3, K=2).replace(start=[1, 2])
    witness = load(written(tmp_path, mdp, "ss.proof.A", [0.5, -0.25]))
    values, point = Values(witness.instance), Point.exact(witness.instance, witness.lam)
    point = Point(point.u, point.v, point.zero, arb(0))
    for claim in ("ss.proof.A", "ss.thm1.kl", "ss.thm1.gap", "ss.proof.nonneg.without"):
        if claim in STATEMENTS:
            shown = [x.where for x in STATEMENTS[claim].sides(values, point)]
            assert shown == [{"t": 0, "s": 5}], claim


# -- boxes of weights ----------------------------------------------------------------------------


def test_weights_of_a_box():
    """``u = σ n v``, the last v by subtraction."""
    point = Box((1, -1, 1), ((HALF, HALF), (QUARTER, QUARTER), (HALF, HALF)))
    assert [float(x) for x in point.u] == [0.125, -0.25, 0.125]
    box = Box((-1, 1), ((QUARTER, HALF), (QUARTER, HALF)))
    first, last = box.u
    for n in (0.25, 0.4, 0.5):
        for v in (0.25, 0.3, 0.5):
            assert first.contains(arb(-n * v))
            assert last.contains(arb(n * (1 - v)))
    assert first < 0 < last


def test_halves_stay_in_the_simplex():
    """Of v_1, v_2 ≥ 1/2 only the corner is left, which touches v_1 + v_2 ≤ 1."""
    corner = Box((1, 1, 1), ((ONE, ONE), (HALF, ONE), (HALF, ONE)))
    slope = [arb(0), arb(1), arb(0)]
    (left,) = corner.halves(slope)
    assert left.sides[1] == (HALF, fmpq(3, 4))
    inner = Box((1, 1, 1), ((ONE, ONE), (fmpq(0), HALF), (QUARTER, HALF)))
    assert [b.sides[1] for b in inner.halves(slope)] == [(fmpq(0), QUARTER), (QUARTER, HALF)]


def test_a_box_is_cut_where_j_varies_most():
    box = Box((1, 1, 1), ((fmpq(0), ONE), (fmpq(0), HALF), (fmpq(0), QUARTER)))
    for i, slope in ((0, (1, 1, 1)), (0, (1, 1.9, 3)), (1, (1, 3, 1)), (2, (1, 1, -5))):
        cut = box.halves([arb(x) for x in slope])[0]
        assert [j for j in range(3) if cut.sides[j] != box.sides[j]] == [i]


# -- what a certificate reports ------------------------------------------------------------------


def test_weights_are_in_units_of_lambda(tmp_path):
    """λ* = (β'/β)u*: nothing else moves with β'."""
    name, factor = "gap-first-step-only", 3.0
    plain = certify(next(p for p in STORED if p.stem == name))
    (source,) = [p for p in STORED if p.stem == name]
    world = json.loads(source.read_text(encoding="utf-8"))["instance"]
    beta_prime = factor * (world.get("beta_prime") or world["beta"])
    found = certify(changed(tmp_path, name, ("instance.beta_prime", beta_prime)))
    assert found.proved
    for (a, b), (c, d) in zip(found.weights, plain.weights, strict=True):
        assert a == pytest.approx(factor * c, abs=1e-6 * factor)
        assert b == pytest.approx(factor * d, abs=1e-6 * factor)
    assert max(abs(x) for pair in plain.weights for x in pair) > 0.1
    assert found.rhs == pytest.approx(plain.rhs, rel=1e-9)


@pytest.mark.parametrize("name", ["kl-rare-token", "step-a-two-tastes", "unrolling-free-action"])
def test_what_is_decided_at_once_is_not_tried_at_more_bits(name):
    found = certify(next(p for p in STORED if p.stem == name))
    assert found.proved
    assert found.bits == 128
    assert np.isfinite(found.seconds)
