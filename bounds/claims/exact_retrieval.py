"""EXACT: what Algorithm 2 retrieves, and the drift that pooling cannot avoid.

Theorem 5.2 is about the nearest *centre*; Algorithm 2 takes the attributes of the nearest past *prompt*.
"""

from __future__ import annotations

import numpy as np

from toymdp.worlds.topic_cloud import FORMAT

from ..claim import Claim
from ..facts.topic_cloud import TopicFacts
from ..sides import EPS, Array, NotApplicable, Sides, Undecidable
from .exact_topics import MISS, SIGMAS, misretrieved
from .hypotheses_small_worlds import NOISE_CENTRED, TOPICS_SEPARATED

MOST_PROMPTS = 40_000_000  # draws times prompts times coordinates of a simulation


def nearest_prompt(facts: TopicFacts) -> tuple[float, float]:
    """``P(the nearest of the m past prompts is of another topic than j)`` and its half-width.

    On atoms in closed form: given the test prompt, the least distance to topic c's n_c prompts exceeds d
    with chance ``P(‖φ − x‖ > d)^{n_c}``. A tie counts as right and as wrong. Gaussian clouds are drawn.
    """
    if len(facts.means) == 1:
        return 0.0, 0.0
    return _by_draws(facts) if facts.atoms is None else _by_atoms(facts)


def _by_atoms(facts: TopicFacts) -> tuple[float, float]:
    assert facts.atoms is not None
    j, counts = facts.instance.topic, facts.instance.counts
    seen = [(points + (m - facts.means[j]), w)
            for (points, w), m in zip(facts.atoms, facts.means, strict=True)]  # fmt: skip
    low = high = 0.0
    for x, chance in zip(*seen[j], strict=True):
        distances = [((points - x) ** 2).sum(axis=1) for points, _ in seen]
        every = np.unique(np.concatenate(distances))
        tie = 64 * EPS * (every.max() + (x**2).sum())
        # one value stands for all that rounding does not tell apart
        levels = every[np.concatenate([[True], np.diff(every) > tie])]
        beyond = np.array([
            [float(w[d > level + tie].sum()) for level in levels]
            for d, (_, w) in zip(distances, seen, strict=True)
        ]) ** counts[:, None]  # fmt: skip
        before = np.hstack([np.ones((len(seen), 1)), beyond[:, :-1]])
        others = np.arange(len(seen)) != j
        first = before[others].prod(axis=0) - beyond[others].prod(
            axis=0
        )  # least of the others is here
        low += chance * float(first @ beyond[j])
        high += chance * float(first @ before[j])
    return 0.5 * (low + high), 0.5 * (high - low) + 64 * EPS * float(counts.max())


def _by_draws(facts: TopicFacts) -> tuple[float, float]:
    world = facts.instance
    m, N, (C, d), j = int(world.counts.sum()), world.draws, facts.means.shape, world.topic
    if N * m * d > MOST_PROMPTS:
        raise Undecidable(f"{m} past prompts in {N} draws are too many to simulate")
    rng = np.random.default_rng([world.seed, 4])
    topic = np.repeat(np.arange(C), world.counts.astype(int))
    wrong = np.empty(N, dtype=bool)
    for i in range(N):
        prompts = np.einsum("md,mde->me", rng.normal(size=(m, d)), facts.roots[topic])
        prompts += facts.means[topic] - facts.means[j]
        test = rng.normal(size=d) @ facts.roots[j]
        wrong[i] = topic[int(((prompts - test) ** 2).sum(axis=1).argmin())] != j
    share = float(wrong.mean())
    # empirical Bernstein, for a rare error may not be drawn
    log = float(np.log(4.0 / MISS))
    half = float(np.sqrt(2 * log * share * (1 - share) / N)) + 7 * log / (3 * (N - 1))
    return share, max(half, SIGMAS * float(np.sqrt(share * (1 - share) / N)))


def nearest(facts: TopicFacts) -> Sides:
    """Algorithm 2 retrieves a wrong topic no more often than the nearest centre of Theorem 5.2 does.

    False: a centre is a mean of n_c prompts and loses their noise, the nearest prompt keeps it, and with
    many prompts of a wrong topic some come close. lhs: P(wrong) of the nearest prompt; rhs: of the nearest
    centre. Both by sums on atoms; for Gaussian clouds with intervals.
    """
    lhs, half = nearest_prompt(facts)
    ones: Array = np.ones(facts.centres.shift.shape[:2])
    rhs, other = misretrieved(facts, ones)
    if lhs == 0.0 and rhs == 0.0:
        raise NotApplicable("neither is ever wrong here")
    return Sides(lhs, rhs, 1.0, {"half-widths": half + other}, error=half + other)


def drift(facts: TopicFacts) -> Sides:
    """Pooling: ``max_j ‖μ̄ − μ_j‖² ≥ r²/4`` where topics are r apart, two of them at least.

    Proof: ``r ≤ ‖μ_j − μ_l‖ ≤ ‖μ̄ − μ_j‖ + ‖μ̄ − μ_l‖``, so one of the two is at least r/2. μ̄ = Σ p_c μ_c,
    whatever p: the bias that (17) leaves as m grows.
    """
    if len(facts.means) == 1:
        raise NotApplicable("one topic: nothing drifts")
    off = ((facts.shares @ facts.means - facts.means) ** 2).sum(axis=1)
    j = int(np.argmax(off))
    size = float((facts.means**2).sum(axis=1).max())
    return Sides(facts.instance.separation**2 / 4.0, float(off[j]), size, {}, {"topic": j})


TABLE: tuple[Claim, ...] = (
    Claim(
        "ex.drift", "EX (17)", r"r^2/4 \le \max_j\|\bar\mu - \mu_j\|^2",
        "proved", "inequality", "instance", drift, "the triangle inequality between two topics",
        hypotheses=(TOPICS_SEPARATED,), world=FORMAT,
        title="pooling is far from some topic",
    ),
    Claim(
        "ex.alg2.nearest", "EX Alg. 2, Thm 5.2",
        r"P(t(\arg\min_i\|\phi(x_i)-\phi(x)\|) \ne j) \le P(\arg\min_c\|\hat\mu_c-\phi(x)\| \ne j)",
        "refuted", "inequality", "instance", nearest,
        "a nearest prompt keeps the noise that a centre averages out",
        hypotheses=(NOISE_CENTRED,), world=FORMAT,
        true_when="‖ε‖ < r/4 for every prompt: then neither errs",
        title="the nearest prompt finds the topic",
    ),
)  # fmt: skip
