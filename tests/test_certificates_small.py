"""Certificates about pairs and topics: by enumeration and quadrature, ties counted both ways, bad files."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product
from math import exp, log1p, pi, sqrt
from pathlib import Path

import pytest
import scipy
from flint import arb, fmpq

from bounds import certificates, check
from bounds.certificates import WitnessError, certify
from bounds.certificates.small_worlds import (
    at_prior,
    mean_loss,
    read_pairs,
    read_topics,
    wrong_centre,
    wrong_prompt,
)
from bounds.records.witness import Witness
from toymdp.worlds import topic_cloud

FOLDER = Path(certificates.__file__).parents[1] / "witnesses"
TIES = {
    "format": "topic-cloud/1", "means": [[0.0], [2.0], [3.0]], "counts": [2, 1, 2], "topic": 0,
    "points": [[[-1.0], [1.0]], [[-1.0], [1.0]], [[-2.0], [1.0]]],
    "weights": [[0.5, 0.5], [1.0, 1.0], [1.0, 2.0]], "separation": 1.0, "sigma": 1.0, "delta": 0.1,
}  # fmt: skip


def plain(q: fmpq) -> Fraction:
    return Fraction(int(q.p), int(q.q))


def by_enumeration(fields):
    """Both errors of every history and test prompt, ties for and against: four fractions."""
    means = [Fraction(m[0]) for m in fields["means"]]
    clouds = []
    for mean, points, weights in zip(means, fields["points"], fields["weights"], strict=True):
        total = sum(map(Fraction, weights))
        clouds.append([(mean + Fraction(p[0]), Fraction(w) / total)
                       for p, w in zip(points, weights, strict=True)])  # fmt: skip
    owners = [c for c, n in enumerate(fields["counts"]) for _ in range(n)]
    j, found = fields["topic"], [Fraction(0)] * 4
    for test, p in clouds[j]:
        for history in product(*(clouds[c] for c in owners)):
            chance = p
            for _, q in history:
                chance *= q
            own, other = [], []
            for (x, _), c in zip(history, owners, strict=True):
                (own if c == j else other).append(abs(x - test))
            centres = [
                abs(sum(x for (x, _), o in zip(history, owners, strict=True) if o == c) / n - test)
                for c, n in enumerate(fields["counts"])
            ]
            rest = [x for c, x in enumerate(centres) if c != j]
            for i, wrong in enumerate((
                min(other) < min(own), min(other) <= min(own),
                min(rest) < centres[j], min(rest) <= centres[j],
            )):  # fmt: skip
                found[i] += chance * wrong
    return found


def test_retrieval_is_what_every_history_says():
    world = read_topics(TIES)
    both = [*wrong_prompt(world), *wrong_centre(world)]
    assert [plain(q) for q in both] == by_enumeration(TIES)
    assert both[0] < both[1]  # there are ties of both kinds
    assert both[2] < both[3]


def test_the_claim_and_the_certificate_agree_on_other_clouds(tmp_path):
    for seed in range(4):
        cloud = topic_cloud.bounded_topics(seed).replace(
            counts=[2.0] * len(topic_cloud.bounded_topics(seed).means)
        )
        (row,) = check(cloud, "ex.alg2.nearest")
        if row.lhs is None:
            continue
        path = tmp_path / f"{seed}.json"
        Witness("w", cloud, "ex.alg2.nearest", None, 0, {"lhs": row.lhs, "rhs": row.rhs}).save(path)
        found = certify(path)
        if found.lhs is None:  # the noise is centred to rounding only
            assert found.hypotheses == {"noise-centred": False}
            continue
        for side, value in ((found.lhs, row.lhs), (found.rhs, row.rhs)):
            assert side[0] - 1e-9 <= value <= side[1] + 1e-9


@pytest.mark.parametrize(("mean", "variance"), [(0, 500), (3, 1), (-20, 4), (7, 0)])
def test_the_mean_loss_is_the_integral(mean, variance):
    def weighted(t):
        z = mean + sqrt(variance) * t
        return (log1p(exp(-abs(z))) + max(0.0, -z)) * exp(-t * t / 2) / sqrt(2 * pi)

    expected, _ = scipy.integrate.quad(weighted, -12, 12, points=[0.0], limit=400)
    found = mean_loss(fmpq(mean), fmpq(variance))
    assert float(found.rad()) < 1e-9
    assert float(found) == pytest.approx(expected, abs=1e-8)


def test_of_several_specialists_the_divergence_counts_each():
    fields = {"format": "preference-pairs/1", "differences": [[0.0, 0.0]], "prior_mean": [0.0, 1.0],
              "prior_covariance": [[2.0, 1.0], [1.0, 3.0]], "beta": 0.5}  # fmt: skip
    c = fmpq(1, 4)
    away = at_prior(read_pairs(fields), c) - (arb(2).log() + arb(c) - 1 - arb(c).log())
    assert float(abs(away)) < 1e-9
    steep = read_pairs({**fields, "differences": [[1.0, -2.0]], "labels": [-1.0]})
    expected = mean_loss(fmpq(4), fmpq(1, 4) * fmpq(4 * 10)) + arb(c) - 1 - arb(c).log()
    assert float(abs(at_prior(steep, c) - expected)) < 1e-9


def written(tmp_path: Path, name: str, key: str, value: object) -> Path:
    source = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    (source if key in source else source["instance"])[key] = value
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(source), encoding="utf-8")
    return path


def test_noise_that_has_a_mean_is_no_witness(tmp_path):
    found = certify(
        written(tmp_path, "nearest-of-a-crowd", "weights", [[0.25] * 4, [0.1, 0.9, 0.0, 0.0]])
    )
    assert not found.proved
    assert found.hypotheses == {"noise-centred": False}


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("convex-wide-prior", "prior_covariance", [[-1.0]], "positive definite"),
        ("convex-wide-prior", "labels", [0.5], "must be +1 or -1"),
        ("convex-wide-prior", "beta", 0.0, "must be positive"),
        ("convex-wide-prior", "differences", [[1.0, 2.0]], "must list 1 entries"),
        ("convex-wide-prior", "lambda", [1.0], "needs null"),
        ("convex-wide-prior", "claim", "ex.alg2.nearest", "is about topic-cloud/1"),
        ("convex-wide-prior", "claim", "ss.lemma1", "no token-mdp/1"),
        ("nearest-of-a-crowd", "counts", [2, 0.5], "whole, from 1"),
        ("nearest-of-a-crowd", "counts", [900, 900], "joint values of the centres"),
        ("nearest-of-a-crowd", "points", None, "must list 2 topics"),
        ("nearest-of-a-crowd", "weights", [[0.0] * 4] * 2, "not all 0"),
        ("nearest-of-a-crowd", "covariances", [[[1.0]], [[1.0]]], "clouds on atoms"),
        ("nearest-of-a-crowd", "topic", 2, "integer from 0 to 1"),
        ("nearest-of-a-crowd", "radius", 1.0, "no such key"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(name, key, value, says, tmp_path):
    with pytest.raises(WitnessError, match=says.replace("+", r"\+")):
        certify(written(tmp_path, name, key, value))
