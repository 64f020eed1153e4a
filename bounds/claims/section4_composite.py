"""Section 4, offline: the binary loss and the Gumbel loss added up, on one step of an instance.

One step is the smallest case of the section's set-up: from the start an answer is one token a, drawn from
ref, its label is good with chance ``σ(r_k(a))`` and ``R_θ(τ) = Q(a)``. Expectations are exact, and both
losses count 1.
"""

from __future__ import annotations

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..claim import Claim
from ..facts.token_mdp import Facts, InstanceFacts
from ..sides import EPS, Array, NotApplicable, Sides, Undecidable

MOST_NATS = 700.0  # exponents are cut there: larger ones leave the doubles, and no sign changes


def _one_step(instance: InstanceFacts) -> tuple[Array, Array]:
    """Chances [n] of the start's allowed tokens under ref, and ``r_k`` [K, n].

    Raises Undecidable where a label is so certain that no double tells its chance from 0 or 1.
    """
    mdp = instance.mdp
    _, nexts, ref = mdp.rows.at(mdp.start_context)
    rewards = mdp.rewards[:, nexts]
    if np.abs(rewards).max() > MOST_NATS:
        raise Undecidable(f"a reward above {MOST_NATS:g}: its label is certain beyond rounding")
    return ref, rewards


def _surplus(q: float, r: float) -> float:
    """``σ(q) − σ(r)``, the slope of the binary loss in Q; exact in its sign and near q = r."""
    up = scipy.special.expit(q) * scipy.special.expit(-r)
    return float(up * -np.expm1(r - q)) if q >= r else float(
        scipy.special.expit(-q) * scipy.special.expit(r) * np.expm1(q - r)
    )  # fmt: skip


def _root(slope: object, low: float, high: float) -> float:
    if low == high:
        return low
    return float(scipy.optimize.brentq(slope, low, high, xtol=1e-300, rtol=4 * EPS, maxiter=4000))


def joint_minimiser(p: Array, r: Array, beta: float) -> tuple[Array, float]:
    """The Q [n] and V that minimise ``L_Binary + L_Gumbel``, a strictly convex function of both.

    For each V the slope in Q(a), ``σ(Q) − σ(r) + (e^{(Q−V)/β} − 1)/β``, has one zero, between V and r;
    V solves ``E e^{(Q−V)/β} = 1``, and lies between the least and the largest r. As the slopes in Q are
    0, that says ``E σ(Q) = E σ(r)`` too, which rounding blurs less where Q follows V, not r.
    """

    def at(v: float) -> Array:
        def slope(q: float, target: float) -> float:
            return _surplus(q, target) + float(np.expm1(min((q - v) / beta, MOST_NATS))) / beta

        return np.array([
            _root(lambda q, x=x: slope(q, x), min(v, x), max(v, x)) for x in r.tolist()
        ])  # fmt: skip

    def excess(v: float) -> float:
        q = at(v)
        if float(p @ (scipy.special.expit(q) * scipy.special.expit(-q))) * beta * beta < 1.0:
            return -float(p @ [_surplus(x, y) for x, y in zip(q.tolist(), r.tolist(), strict=True)])
        return float(p @ np.expm1(np.minimum((q - v) / beta, MOST_NATS)))

    v = _root(excess, float(r.min()), float(r.max()))
    return at(v), v


def composite(facts: Facts) -> Sides:
    """The two losses minimised *jointly* over Q and V recover Q = r, on one step with exact expectations.

    False, whatever the data: the Gumbel loss's slope in Q is ``(e^{(Q−V)/β} − 1)/β``, positive where Q
    is above V and negative below, so at the joint minimum Q(a) lies strictly between r(a) and V unless
    r is constant. lhs: the minimiser at the token where it is farthest from r, rhs: r; worst k.
    """
    p, rewards = facts.instance.once(_one_step)
    if np.ptp(rewards, axis=1).max() == 0.0:
        raise NotApplicable("no reward tells the first tokens apart")
    beta, found = facts.mdp.beta, []
    for k, r in enumerate(rewards):
        q, v = joint_minimiser(p, r, beta)
        a = int(np.argmax(np.abs(q - r)))
        spread = float(np.std(r))
        terms = {"V": v, "spread of Q, share of r's": float(np.std(q)) / spread if spread else 1.0}
        error = 256 * EPS * (float(np.abs(r).max()) + beta)
        found.append(Sides(q[a], r[a], float(np.abs(r).max()), terms, {"k": k, "token": a}, error))
    return max(found, key=lambda sides: abs(sides.slack))


def composite_repaired(facts: Facts) -> Sides:
    """With the Gumbel step moving V alone, the binary loss is least at Q = r and then V is soft-optimal.

    Proof. The slope of the binary loss in Q(a) is ``ref(a)(σ(Q) − σ(r))``, zero at r alone; with Q fixed the
    Gumbel loss has its minimum where ``E e^{(Q−V)/β} = 1``, that is ``V = β log E e^{r/β}`` (ss.sec4.gumbel).
    Found in this order by bisection. lhs: that V, rhs: ``β log E_ref e^{r/β}``; worst k, or the largest.
    """
    p, rewards = facts.instance.once(_one_step)
    beta, found = facts.mdp.beta, []
    for k, r in enumerate(rewards):
        low, high = float(r.min()), float(r.max())
        q = np.array(
            [_root(lambda x, y=y: _surplus(x, y), low - 1.0, high + 1.0) for y in r.tolist()]
        )
        v = _root(
            lambda x, q=q: float(p @ np.expm1(np.minimum((q - x) / beta, MOST_NATS))),
            float(q.min()), float(q.max()),
        )  # fmt: skip
        soft = beta * float(scipy.special.logsumexp(r / beta, b=p))
        size = float(np.abs(r).max()) + beta
        found.append(Sides(v, soft, size, {}, {"k": k}, 256 * EPS * size))
    apart = max(found, key=lambda sides: abs(sides.slack))
    return apart if abs(apart.slack) > apart.error else max(found, key=lambda sides: abs(sides.rhs))


TABLE = (
    Claim(
        "ss.sec4.composite", "SS §4",
        r"\arg\min_{Q,V} L_{Binary} + L_{Gumbel} \text{ has } Q = r \text{ (one step, exact expectations)}",
        "refuted", "equality", "instance", composite,
        "the Gumbel loss pulls Q towards V, whatever the data",
        true_when="the Gumbel loss moves V alone, or r is constant",
        true_by=("ss.sec4.composite.repaired",),
        title="the composite loss finds Q",
    ),
    Claim(
        "ss.sec4.composite.repaired", "ours",
        r"Q = \arg\min L_{Binary} = r,\ V = \arg\min_V L_{Gumbel}(Q,V) = \beta\log E_{ref}e^{r/\beta}",
        "proved", "equality", "instance", composite_repaired,
        "each slope vanishes at one place",
        title="the composite loss, mended",
    ),
)  # fmt: skip
