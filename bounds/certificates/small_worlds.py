"""Instances of two other formats in exact rationals, and the refuted claims about them, in balls.

``preference-pairs/1``: Appendix C's objective (19). ``topic-cloud/1`` on atoms: what EXACT retrieves,
where every probability is a finite sum, hence a rational number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import comb, factorial, prod
from typing import Any

from flint import acb, arb, fmpq, fmpq_mat

from .instance import File, keys, need, numbers, whole
from .statements import Sides
from .values import ZERO

Outcome = tuple[bool | None, str]

PAIRS, TOPICS = "preference-pairs/1", "topic-cloud/1"
MOST = 64  # interactions, specialists, topics, atoms, coordinates
MOST_PROMPTS = 1000  # of a topic
MOST_CENTRES = 200_000  # joint values of the centres that are gone through
TAIL = 40  # standard deviations beyond which a loss is bounded, not integrated
CHORD = fmpq(1, 100), fmpq(9, 100)  # of the prior's covariance, at its mean


@dataclass(frozen=True)
class Pairs:
    """Appendix C: deltas [N][K], winner minus loser over β; the prior's mean [K] and covariance."""

    deltas: list[list[fmpq]]
    mean: list[fmpq]
    prior: fmpq_mat


@dataclass(frozen=True)
class Topics:
    """EXACT §5.2: for each topic its centre [d], n_c, and atoms (noise [d], chance); j of the test prompt."""

    means: list[list[fmpq]]
    counts: list[int]
    atoms: list[list[tuple[list[fmpq], fmpq]]]
    topic: int


def read_pairs(fields: dict[str, Any]) -> Pairs:
    """Read an instance of ``preference-pairs/1``. Raises WitnessError."""
    keys("instance", fields, ("format", "differences", "prior_mean", "prior_covariance"),
         ("beta", "labels", "name", "meta"))  # fmt: skip
    N, K = (_length(name, fields[name]) for name in ("differences", "prior_mean"))
    differences = numbers("differences", fields["differences"], N, K)
    given = fields.get("labels")
    labels = numbers("labels", [1] * N if given is None else given, N)
    need(all(abs(x) == 1 for x in labels), "labels: must be +1 or -1")
    beta = numbers("beta", fields.get("beta", 1.0))
    need(beta > 0, "beta: must be positive")
    S = fmpq_mat(numbers("prior_covariance", fields["prior_covariance"], K, K))
    need(S.transpose() == S, "prior_covariance: must be symmetric")
    minors = (fmpq_mat([[S[i, j] for j in range(k)] for i in range(k)]) for k in range(1, K + 1))
    need(all(m.det() > 0 for m in minors), "prior_covariance: must be positive definite")
    deltas = [[y * x / beta for x in row] for row, y in zip(differences, labels, strict=True)]
    return Pairs(deltas, numbers("prior_mean", fields["prior_mean"], K), S)


def read_topics(fields: dict[str, Any]) -> Topics:
    """Read an instance of ``topic-cloud/1`` whose noise lives on atoms. Raises WitnessError."""
    keys("instance", fields, ("format", "means", "counts", "separation", "sigma", "delta"),
         ("topic", "proportions", "covariances", "points", "weights", "seed", "draws", "name",
          "meta"))  # fmt: skip
    need(fields.get("covariances") is None, "covariances: certified are clouds on atoms")
    C = _length("means", fields["means"])
    d = _length("means[0]", fields["means"][0])
    means = numbers("means", fields["means"], C, d)
    counts = [int(n) if n.q == 1 else 0 for n in numbers("counts", fields["counts"], C)]
    need(all(1 <= n <= MOST_PROMPTS for n in counts), f"counts: whole, from 1 to {MOST_PROMPTS}")
    points: Any = fields.get("points")
    need(isinstance(points, list) and len(points) == C, f"points: must list {C} topics")
    M = _length("points[0]", points[0])
    places = numbers("points", points, C, M, d)
    chances = numbers("weights", fields.get("weights"), C, M)
    need(all(x >= 0 for row in chances for x in row) and all(map(any, chances)),
         "weights: must be non-negative, and not all 0")  # fmt: skip
    atoms = [
        [(x, p / sum(row, fmpq(0))) for x, p in zip(at, row, strict=True) if p > 0]
        for at, row in zip(places, chances, strict=True)
    ]
    return Topics(means, counts, atoms, whole("topic", fields.get("topic", 0), 0, C - 1))


def _length(name: str, x: Any) -> int:
    need(isinstance(x, list) and 0 < len(x) <= MOST, f"{name}: must list 1 to {MOST} entries")
    return len(x)


# -- Appendix C -------------------------------------------------------------------------------------


def mean_loss(mean: fmpq, variance: fmpq) -> arb:
    """``E log(1 + e^{−z})``, z ~ N(mean, variance).

    Integrated over ``|t| ≤ TAIL`` standard deviations; beyond, ``log(1 + e^{−z}) ≤ |mean| + s|t| + log 2``.
    """
    m, s = arb(mean), arb(variance).sqrt()

    def weighted(t: acb, analytic: bool) -> acb:
        return (1 + (-(m + s * t)).exp()).log(analytic=analytic) * (-t * t / 2).exp()

    unit = 1 / (2 * arb.pi()).sqrt()
    inside = acb.integral(weighted, -TAIL, TAIL).real * unit
    beyond = arb(TAIL)
    tail = (abs(m) + arb(2).log()) * (beyond / arb(2).sqrt()).erfc()
    tail += 2 * s * unit * (-beyond * beyond / 2).exp()
    return arb(inside + ZERO.union(tail))


def at_prior(world: Pairs, c: fmpq) -> arb:
    """(19) at the prior's mean and c times its covariance: losses plus ``K(c − 1 − log c)/2``."""
    K = len(world.mean)
    loss = ZERO
    for delta in world.deltas:
        column = fmpq_mat([[x] for x in delta])
        variance = c * (column.transpose() * world.prior * column)[0, 0]
        margin = sum((a * b for a, b in zip(world.mean, delta, strict=True)), fmpq(0))
        loss += mean_loss(margin, variance)
    return arb(loss + K * (arb(c) - 1 - arb(c).log()) / 2)


def convex(world: Pairs) -> Iterator[Sides]:
    """(19) is convex in (λ̄, S): at the middle of a chord it is at most the mean of its ends."""
    low, high = CHORD
    ends = (at_prior(world, low) + at_prior(world, high)) / 2
    yield Sides(at_prior(world, (low + high) / 2), ends, {"chord": 0})


# -- EXACT ------------------------------------------------------------------------------------------


def centred(world: Topics) -> Outcome:
    """``E[ε | topic] = 0``, exactly."""
    for c, atoms in enumerate(world.atoms):
        if any(_mean(atoms)):
            return False, f"the noise of topic {c} has a mean"
    return True, ""


def _mean(atoms: list[tuple[list[fmpq], fmpq]]) -> list[fmpq]:
    return [sum((p * x[i] for x, p in atoms), fmpq(0)) for i in range(len(atoms[0][0]))]


def _squared(x: list[fmpq], y: list[fmpq]) -> fmpq:
    return sum(((a - b) ** 2 for a, b in zip(x, y, strict=True)), fmpq(0))


def _moved(mean: list[fmpq], noise: list[fmpq]) -> list[fmpq]:
    return [a + b for a, b in zip(mean, noise, strict=True)]


def wrong_prompt(world: Topics) -> tuple[fmpq, fmpq]:
    """P(the nearest past prompt is of another topic than j), a tie counted as right and as wrong."""
    j, low, high = world.topic, fmpq(0), fmpq(0)
    prompts = [[(_moved(m, x), p) for x, p in atoms]
               for m, atoms in zip(world.means, world.atoms, strict=True)]  # fmt: skip
    for test, chance in prompts[j]:
        away = [[(_squared(x, test), p) for x, p in own] for own in prompts]

        def farther(
            c: int, d: fmpq, away: list[list[tuple[fmpq, fmpq]]] = away, *, equal: bool
        ) -> fmpq:
            """All n_c prompts of topic c lie beyond d, or at d or beyond."""
            one = sum((p for x, p in away[c] if x > d or (equal and x == d)), fmpq(0))
            return one ** world.counts[c]

        others = [c for c in range(len(away)) if c != j]
        for d in {x for c in others for x, _ in away[c]}:
            here = prod((farther(c, d, equal=True) for c in others), start=fmpq(1)) - prod(
                (farther(c, d, equal=False) for c in others), start=fmpq(1)
            )
            low += chance * here * farther(j, d, equal=False)
            high += chance * here * farther(j, d, equal=True)
    return low, high


def _centres(world: Topics, c: int) -> dict[tuple[fmpq, ...], fmpq]:
    """Every value of the mean of topic c's n_c prompts, and its probability."""
    n, atoms = world.counts[c], world.atoms[c]
    law: dict[tuple[fmpq, ...], fmpq] = {}
    for split in _splits(n, len(atoms)):
        ways = factorial(n) // prod(map(factorial, split))
        chance = prod((p**k for k, (_, p) in zip(split, atoms, strict=True)), start=fmpq(ways))
        noise = [sum((k * x[i] for k, (x, _) in zip(split, atoms, strict=True)), fmpq(0)) / n
                 for i in range(len(world.means[c]))]  # fmt: skip
        place = tuple(_moved(world.means[c], noise))
        law[place] = law.get(place, fmpq(0)) + chance
    return law


def _splits(n: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write n as an ordered sum of whole numbers."""
    if parts == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in _splits(n - first, parts - 1):
            yield (first, *rest)


def wrong_centre(world: Topics) -> tuple[fmpq, fmpq]:
    """P(the nearest centre is of another topic than j), a tie counted as right and as wrong."""
    j, low, high = world.topic, fmpq(0), fmpq(0)
    sizes = ((n, len(atoms)) for n, atoms in zip(world.counts, world.atoms, strict=True))
    joint = prod(comb(n + parts - 1, parts - 1) for n, parts in sizes)
    need(joint <= MOST_CENTRES, f"{joint} joint values of the centres: at most {MOST_CENTRES}")
    laws = [_centres(world, c) for c in range(len(world.means))]
    tests = [(_moved(world.means[j], x), p) for x, p in world.atoms[j]]
    for chosen in product(*(law.items() for law in laws)):
        chance = prod((p for _, p in chosen), start=fmpq(1))
        for test, p in tests:
            away = [_squared(list(centre), test) for centre, _ in chosen]
            nearest = min(x for c, x in enumerate(away) if c != j) if len(away) > 1 else None
            if nearest is not None and nearest <= away[j]:
                high += chance * p
                low += chance * p * (nearest < away[j])
    return low, high


def nearest(world: Topics) -> Iterator[Sides]:
    """The nearest past prompt is of a wrong topic no more often than the nearest centre."""
    both = [arb(low).union(arb(high)) for low, high in (wrong_prompt(world), wrong_centre(world))]
    yield Sides(both[0], both[1], {"topic": world.topic})


@dataclass(frozen=True)
class SmallStatement:
    """A claim about another world: its format's reader, its hypotheses and its sides."""

    format: str
    read: Callable[[dict[str, Any]], Any]
    hypotheses: dict[str, Callable[[Any], Outcome]]
    sides: Callable[[Any], Iterator[Sides]]


SMALL: dict[str, SmallStatement] = {
    "ss.appC.convex": SmallStatement(PAIRS, read_pairs, {}, convex),
    "ex.alg2.nearest": SmallStatement(TOPICS, read_topics, {"noise-centred": centred}, nearest),
}


def world_of(file: File) -> Any:
    """The instance of a file whose claim is one of SMALL. Raises WitnessError."""
    statement = SMALL[file.claim]
    given = file.instance.get("format")
    need(given == statement.format, f"instance: {file.claim} is about {statement.format}")
    need(file.lam is None, f"lambda: {file.claim} needs null")
    return statement.read(file.instance)
