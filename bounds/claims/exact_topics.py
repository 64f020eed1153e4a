"""EXACT section 5.2: what pooling all past prompts costs, and what retrieving one topic costs.

Clouds on atoms are summed exactly; Gaussian topic centres are drawn, and the test prompt integrated
in closed form. What is drawn comes with an interval, which decides what is ``undecided``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.worlds.topic_cloud import FORMAT

from ..claim import Claim, Hypothesis, SidesFunction, Status
from ..facts.topic_cloud import TopicFacts
from ..sides import EPS, Array, Kind, NotApplicable, Sides
from .hypotheses_small_worlds import (
    NOISE_CENTRED,
    NOISE_SMALL,
    NOISE_SUBGAUSSIAN,
    SAMPLES_ENOUGH,
    TOPICS_SEPARATED,
    TOPICS_STRATIFIED,
)

# half-width of a Monte Carlo interval in standard errors: by the central limit theorem it misses
# once in two million (MISS), which bounded clouds get from empirical Bernstein instead
SIGMAS, MISS = 5.0, 5.7e-7


# -- pooling (17) ----------------------------------------------------------------------------


def pooling_formula(facts: TopicFacts, *, between: bool) -> tuple[float, dict[str, float]]:
    """Right side of (17); ``between`` adds the between-topic variance ``Σ p_c‖μ_c − μ̄‖²/m``."""
    p, m = facts.shares, float(facts.instance.counts.sum())
    centre = p @ facts.means
    terms = {
        "bias": float(((centre - facts.means[facts.instance.topic]) ** 2).sum()),
        "within": float(p @ np.trace(facts.covariances, axis1=1, axis2=2)) / m,
        "between": float(p @ ((facts.means - centre) ** 2).sum(axis=1)) / m,
    }
    return terms["bias"] + terms["within"] + (terms["between"] if between else 0.0), terms


def pooling_error(facts: TopicFacts, *, iid: bool) -> float:
    """``E‖μ̂_pool − μ_j‖²`` as the mean of all inner products of two prompts, seen from μ_j.

    With q_c, v_c the second moment and mean of φ − μ_j in topic c: n_c fixed,
    ``[Σ n_c q_c + ‖Σ n_c v_c‖² − Σ n_c‖v_c‖²]/m²``; topics drawn, ``q/m + (1 − 1/m)‖v‖²`` with
    q, v averaged under p. No bias and no covariance is ever formed.
    """
    n, p, m = facts.instance.counts, facts.shares, float(facts.instance.counts.sum())
    seen = facts.means - facts.means[facts.instance.topic]
    v, q = seen, (seen**2).sum(axis=1) + np.trace(facts.covariances, axis1=1, axis2=2)
    if facts.atoms is not None:
        clouds = [(points + s, w) for (points, w), s in zip(facts.atoms, seen, strict=True)]
        v = np.array([w @ points for points, w in clouds])
        q = np.array([w @ (points**2).sum(axis=1) for points, w in clouds])
    if iid:
        return float(p @ q / m + (1.0 - 1.0 / m) * ((p @ v) ** 2).sum())
    return float((n @ q + ((n @ v) ** 2).sum() - n @ (v**2).sum(axis=1)) / m**2)


def pooling_simulated(facts: TopicFacts, *, iid: bool) -> tuple[float, float]:
    """The same by drawing whole histories: mean and half-width of its interval."""
    world, m = facts.instance, int(facts.instance.counts.sum())
    rng, N = np.random.default_rng([world.seed, 2 + iid]), world.draws
    counts = np.broadcast_to(world.counts.astype(np.int64), (N, len(world.counts)))
    if iid:
        counts = rng.multinomial(m, facts.shares / facts.shares.sum(), size=N)
    total = counts @ facts.means
    for c, root in enumerate(facts.roots):
        if facts.atoms is None:
            noise = rng.normal(size=(N, len(root))) @ root
            total = total + np.sqrt(counts[:, c])[:, None] * noise
        else:
            points, weights = facts.atoms[c]
            total = total + rng.multinomial(counts[:, c], weights) @ points
    errors = ((total / m - facts.means[world.topic]) ** 2).sum(axis=1)
    half = SIGMAS * float(errors.std(ddof=1)) / N**0.5
    if facts.atoms is not None:
        # Maurer and Pontil 2009, for a variable between 0 and top: a rare atom may not be drawn
        clouds = zip(facts.atoms, facts.means - facts.means[world.topic], strict=True)
        top = max(float(((points + s) ** 2).sum(axis=1).max()) for (points, _), s in clouds)
        log = float(np.log(4.0 / MISS))
        half = half / SIGMAS * (2 * log) ** 0.5 + 7 * top * log / (3 * (N - 1))
    return float(errors.mean()), half


def _pooled(facts: TopicFacts, *, iid: bool, between: bool) -> Sides:
    rhs, terms = pooling_formula(facts, between=between)
    mean, half = pooling_simulated(facts, iid=iid)
    terms |= {"simulated": mean, "simulated, half-width": half}
    size = float((facts.means**2).sum(axis=1).max())
    return Sides(pooling_error(facts, iid=iid), rhs, size, terms)


def stratified(facts: TopicFacts) -> Sides:
    """(17) with n_c fixed and p_c = n_c/m: ``‖μ̄ − μ_j‖² + (1/m) Σ p_c tr Σ_c``.

    Proof. Var(μ̂_pool) = Σ n_c tr Σ_c/m² and its mean is Σ n_c μ_c/m = μ̄. lhs: pooling_error.
    """
    return _pooled(facts, iid=False, between=False)


def drawn(facts: TopicFacts) -> Sides:
    """(17) with topics drawn from p, as its proof (E φ(x_i) = μ̄ for every i) assumes.

    False unless all centres agree: ``tr Cov(φ) = Σ p_c tr Σ_c + Σ p_c‖μ_c − μ̄‖²``, and the proof
    drops the second sum. ``two-points``: 3/8, not 1/4.
    """
    return _pooled(facts, iid=True, between=False)


def drawn_repaired(facts: TopicFacts) -> Sides:
    """(17) with topics drawn from p and ``Σ p_c‖μ_c − μ̄‖²/m`` added.

    Proof. The law of total variance for one prompt, over m independent prompts.
    """
    return _pooled(facts, iid=True, between=True)


# -- retrieval (19) --------------------------------------------------------------------------


def misretrieved(facts: TopicFacts, gain: Array) -> tuple[float, float]:
    """``E[1{ĵ ≠ j} · gain_ĵ]`` for a gain [N, C] known with the centres, and its half-width.

    Given the centres, atoms of the test prompt are summed; a tie for the nearest centre, which
    the rule leaves open, counts as the least and as the largest gain. For Gaussian noise
    ``p_c = P(μ̂_c is nearer than μ̂_j)`` is a normal tail; with two topics that is the answer, with
    more, ``max p_c ≤ P(ĵ ≠ j) ≤ Σ p_c`` and each ĵ = c has at most p_c.
    """
    if gain.shape[1] == 1:
        return 0.0, 0.0
    centres = facts.centres
    low, high = (_by_tails if facts.atoms is None else _by_atoms)(facts, centres.shift, gain)
    middle = 0.5 * (low + high)
    half = 0.5 * float(centres.weights @ (high - low))
    half += centres.relative * float(centres.weights @ np.abs(middle))
    if centres.drawn:
        half += SIGMAS * float(middle.std(ddof=1)) / len(middle) ** 0.5
    return float(centres.weights @ middle), half


def _by_atoms(facts: TopicFacts, shift: Array, gain: Array) -> tuple[Array, Array]:
    assert facts.atoms is not None
    j = facts.instance.topic
    gain = np.where(np.arange(gain.shape[1]) == j, 0.0, gain)
    seen = shift + (facts.means - facts.means[j])  # from μ_j, like the atoms of the test prompt
    low, high = np.zeros(len(seen)), np.zeros(len(seen))
    for point, weight in zip(*facts.atoms[j], strict=True):
        distance = ((seen - point) ** 2).sum(axis=2)
        tie = 64 * EPS * ((seen**2).sum(axis=2).max(axis=1) + (point**2).sum())
        near = distance <= (distance.min(axis=1) + tie)[:, None]
        low += weight * np.where(near, gain, np.inf).min(axis=1)
        high += weight * np.where(near, gain, -np.inf).max(axis=1)
    return low, high


def _by_tails(facts: TopicFacts, shift: Array, gain: Array) -> tuple[Array, Array]:
    j = facts.instance.topic
    others = np.arange(gain.shape[1]) != j
    a = shift[:, [j]]
    b = shift[:, others] + (facts.means[others] - facts.means[j])
    # |ε − b| < |ε − a|  ⇔  2 ε·(b − a) > |b|² − |a|²
    lead = (b**2).sum(axis=2) - (a**2).sum(axis=2)
    width = 2.0 * np.linalg.norm((b - a) @ facts.roots[j], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = scipy.special.ndtr(-lead / width)
    p = np.where(width > 0, tails, np.where(lead < 0, 1.0, 0.0))
    gains = gain[:, others]
    wrong = np.stack([p.max(axis=1), np.minimum(p.sum(axis=1), 1.0)])  # least and most
    low, high = (wrong * gains.min(axis=1)).min(axis=0), (wrong * gains.max(axis=1)).max(axis=0)
    return low, np.minimum(high, (p * np.maximum(gains, 0.0)).sum(axis=1))


def _excess(facts: TopicFacts) -> Array:
    """[N, C] ``‖μ̂_c − μ_j‖² − ‖μ̂_j − μ_j‖²``: what retrieving c costs beyond the right centre."""
    shift, j = facts.centres.shift, facts.instance.topic
    seen = shift + (facts.means - facts.means[j])
    return np.asarray((seen**2).sum(axis=2) - (shift[:, j] ** 2).sum(axis=1)[:, None])


def _terms(facts: TopicFacts) -> dict[str, float]:
    j = facts.instance.topic
    wrong, half = misretrieved(facts, np.ones(facts.centres.shift.shape[:2]))
    variance = float(np.trace(facts.covariances[j]) / facts.instance.counts[j])
    return {"tr Σ_j/n_j": variance, "P_err": wrong, "P_err, half-width": half}


def retrieval(facts: TopicFacts) -> Sides:
    """(19): ``E‖μ̂_ret − μ_j‖² ≤ tr Σ_j/n_j + 4δr²`` under (15), (16), (18).

    Both sides less tr Σ_j/n_j, which is ``E‖μ̂_j − μ_j‖²`` exactly; lhs is then
    ``E[1{ĵ≠j}(‖μ̂_ĵ − μ_j‖² − ‖μ̂_j − μ_j‖²)]``.

    False, whatever the constants of (16) and (18). Let n grow: with two topics at distance r the
    left side tends to P_err r², P_err the chance that the *test* prompt's own noise passes the
    midway plane, which no number of past prompts makes smaller; (18) binds n only, so δ may be
    P_err/100. Step 2 of the proof asks ‖ε‖ ≤ r/8 with probability 1 − δ/2 "after adjusting
    constants in (18)". Two further slips do no harm: ĵ = j does not follow from distances
    ≥ r/8 and ≤ 3r/8 (but 5r/8 is true, from μ_c directly), and 2r does not bound the distance of
    far topics (but sub-Gaussian noise reaches them exponentially more rarely).
    """
    lhs, half = misretrieved(facts, _excess(facts))
    rhs = 4.0 * facts.instance.delta * facts.instance.separation**2
    return Sides(lhs, rhs, 0.0, _terms(facts), error=half)


def retrieval_repaired(facts: TopicFacts) -> Sides:
    """``E‖μ̂_ret − μ_j‖² ≤ tr Σ_j/n_j + 2 P_err D² + 2 E[1{ĵ≠j} max_c ‖μ̂_c − μ_c‖²]``.

    D: diameter of the topic centres. Proof. On ĵ = j the error is ‖μ̂_j − μ_j‖²; its mean over that
    event is at most tr Σ_j/n_j. On ĵ = c ≠ j, ``‖μ̂_c − μ_j‖² ≤ 2‖μ̂_c − μ_c‖² + 2‖μ_c − μ_j‖²``.

    Both sides less tr Σ_j/n_j, as in ex.eq19. The slack, a mean over wrong retrievals, is estimated
    itself: its interval is narrower than those of the two sides.
    """
    shift = facts.centres.shift
    diameter = float(((facts.means[:, None] - facts.means) ** 2).sum(axis=2).max())
    payment = 2.0 * diameter + 2.0 * (shift**2).sum(axis=2).max(axis=1)
    payments = np.broadcast_to(payment[:, None], shift.shape[:2])
    rhs = misretrieved(facts, payments)[0]
    slack, half = misretrieved(facts, payments - _excess(facts))
    if rhs == 0.0:
        raise NotApplicable("retrieval is never wrong here: both sides are tr Σ_j/n_j")
    return Sides(rhs - slack, rhs, 0.0, _terms(facts) | {"D²": diameter}, error=half)


# -- the table --------------------------------------------------------------------------------


def _claim(
    id: str,
    text: str,
    status: Status,
    kind: Kind,
    sides: SidesFunction,
    reason: str,
    *gates: Hypothesis,
    **more: Any,
) -> Claim:
    source = "ours" if id.endswith("repaired") else f"EX ({id[5:7]})"
    hypotheses = (NOISE_CENTRED, *gates)
    return Claim(
        id, source, text, status, kind, "instance", sides, reason, hypotheses, world=FORMAT,
        **more,
    )  # fmt: skip


_POOL = r"E\|\hat\mu_{pool}-\mu_j\|^2 = \|\bar\mu-\mu_j\|^2 + \tfrac1m\sum_c p_c\,tr\,\Sigma_c"

TABLE: tuple[Claim, ...] = (
    _claim(
        "ex.eq17.stratified", _POOL + r"\quad (n_c \text{ fixed})",
        "proved", "equality", stratified, "as Theorem 5.2 states it: bias and variance of a mean",
        TOPICS_STRATIFIED,
        title="the error of pooling, topics fixed",
    ),
    _claim(
        "ex.eq17.iid", _POOL + r"\quad (t(x_i) \sim p)",
        "refuted", "equality", drawn, "its proof draws the topics: the between-topic variance is missing",
        true_when="n_c is fixed and p_c = n_c/m, as Theorem 5.2 has it, or all centres agree",
        true_by=("ex.eq17.stratified",),
        title="the error of pooling, topics drawn",
    ),
    _claim(
        "ex.eq17.iid.repaired", _POOL + r" + \tfrac1m\textstyle\sum_c p_c\|\mu_c-\bar\mu\|^2",
        "proved", "equality", drawn_repaired, "the law of total variance",
        title="the error of pooling, topics drawn, mended",
    ),
    _claim(
        "ex.eq19", r"E\|\hat\mu_{ret}-\mu_j\|^2 \le tr\,\Sigma_j/n_j + 4\delta r^2",
        "refuted", "inequality", retrieval, "the test prompt's own noise does not shrink with n",
        NOISE_SUBGAUSSIAN, NOISE_SMALL, TOPICS_SEPARATED, SAMPLES_ENOUGH,
        true_when="P_err D² + E[1_err max_c ‖μ̂_c − μ_c‖²] ≤ 2δr², D the diameter of the centres",
        true_by=("ex.eq19.repaired",),
        title="the error of retrieval",
    ),
    _claim(
        "ex.eq19.repaired",
        r"E\|\hat\mu_{ret}-\mu_j\|^2 \le tr\,\Sigma_j/n_j + 2P_{err}D^2 + "
        r"2E[1_{err}\max_c\|\hat\mu_c-\mu_c\|^2]",
        "proved", "inequality", retrieval_repaired, "the triangle inequality where ĵ is wrong",
        title="the error of retrieval, mended",
    ),
)  # fmt: skip
