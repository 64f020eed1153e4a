"""Sections 2–3: the Bellman equations, Lemma 1, and what is linear after all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toymdp import SolverError, TokenMDP
from toymdp.exact.cross_checks import (
    MAX_TRAJECTORIES,
    ConeValue,
    cone_value,
    enumerated_value,
    trajectory_count,
)
from toymdp.exact.solution import bellman_errors

from ..claim import Claim, Hypothesis
from ..facts.linear_fit import Fit
from ..facts.token_mdp import Facts, InstanceFacts
from ..sides import EPS, Array, Mask, NotApplicable, Sides, Undecidable
from .hypotheses import (
    DECODABLE,
    EVERY_REWARD,
    INDEPENDENT_FEATURES,
    LINEAR_REWARDS,
    SOFTMAX_REFERENCE,
)

BlockSpaces = tuple[Array, Array, Array, Mask, Mask]

# the slow methods run below this many reachable triples
ENUMERATION_TRIPLES = 10_000
CONE_TRIPLES = 2_000


def three_methods(facts: Facts) -> Sides:
    """(2)–(4): ``V_w(start)`` by two recursions, by all trajectories and by the cone program.

    lhs: largest disagreement; rhs: 0. The cone program brackets the value, to its own accuracy.
    """
    mdp = facts.mdp
    V = facts.sol.value_w
    other = facts.solved_again
    terms = {f"recursion ({solution.method})": solution.value_w for solution in (facts.sol, other)}
    gaps = [abs(V - other.value_w)]
    if mdp.horizon is None:
        sol = facts.sol
        terms["Bellman residual"] = float(bellman_errors(mdp, sol.Q_w[None], sol.V_w[None])[0])
        gaps.append(terms["Bellman residual"])
    elif mdp.reach.n_triples <= ENUMERATION_TRIPLES:
        count = trajectory_count(mdp)
        if count is not None and count <= MAX_TRAJECTORIES:
            terms["all trajectories"] = facts.instance.once(_enumerated)
            gaps.append(abs(V - terms["all trajectories"]))
        if mdp.reach.n_triples <= CONE_TRIPLES:
            try:
                bracket = facts.instance.once(_bracket)
            except SolverError as error:
                raise Undecidable(str(error)) from None
            terms["cone lower"], terms["cone upper"] = bracket.lower, bracket.upper
            gaps.append(max(0.0, bracket.lower - V, V - bracket.upper))
    # a sum of T logarithms of A terms, each rounded a few times
    rounding = 32 * EPS * mdp.steps * facts.size_of_values + 8 * EPS * mdp.beta
    return Sides(max(gaps), 0.0, facts.size_of_values, terms=terms, error=rounding)


def _enumerated(instance: InstanceFacts) -> float:
    return enumerated_value(instance.mdp, instance.mdp.reward_w)


def _bracket(instance: InstanceFacts) -> ConeValue:
    return cone_value(instance.mdp, instance.mdp.reward_w)


def _fit_sides(fit: Fit, facts: Facts) -> Sides:
    """Largest residual of the worst-fitted Q as an equality with 0."""
    relative = fit.largest / np.where(fit.size > 0, fit.size, 1.0)
    m = int(np.argmax(relative))
    _, t, s = np.unravel_index(int(np.argmax(np.abs(fit.residual[m]))), (1, *fit.residual[m].shape))
    used = facts.mdp.reach.nexts
    rms = float(np.sqrt(np.mean(fit.residual[m][used] ** 2)))
    field = np.concatenate([facts.sol.Q, facts.sol.Q_w[None]])[m][used]
    spread = float(np.std(field))
    terms = {"rms residual": rms, "relative rms residual": rms / spread if spread > 0 else 0.0}
    where = {"t": int(t), "s'": int(s), "k": m}
    if fit.exists()[m] is None:
        raise Undecidable("linearity of Q is within rounding of holding")
    return Sides(float(fit.largest[m]), 0.0, float(fit.size[m]), terms, where, float(fit.error[m]))


def lemma1(facts: Facts) -> Sides:
    """(6): one ν with ``Q*(t,s,a) = ψ((s,a))·ν`` on all reachable triples, for every Q.

    lhs: largest residual of the least-squares ν over Q_1..Q_K and Q_w; rhs: 0 (reward units).
    """
    return _fit_sides(facts.value_fit, facts)


def lemma1_independent(facts: Facts) -> Sides:
    """(6) where the feature rows of the reachable (t, s') are independent.

    Proof. As many independent rows as equations: ``ψ·ν = Q`` has a solution for any table Q.
    lhs: ``ψ((s,a))·ν``, rhs: ``Q(t,s,a)`` (reward units), where the least-squares ν misses Q
    most; where that is rounding, where abs(Q) is largest.
    """
    fit, missed = facts.value_fit, lemma1(facts)
    Q = np.concatenate([facts.sol.Q, facts.sol.Q_w[None]])
    assert missed.where is not None
    k, t, s = (missed.where[name] for name in ("k", "t", "s'"))
    if missed.lhs <= missed.error:
        size = np.where(facts.mdp.reach.nexts, np.abs(Q), -1.0)
        k, t, s = (int(i) for i in np.unravel_index(int(np.argmax(size)), size.shape))
    predicted = facts.features.at(fit.nu[k], t, s)
    where = {"t": t, "s'": s, "k": k}
    return Sides(predicted, Q[k, t, s], fit.size[k], missed.terms, where, fit.error[k])


def lemma1_any_reward(facts: Facts) -> Sides:
    """(6) with Assumption 1 read as it stands: *any* function of the reachable (t, s') is linear in ψ.

    Proof: Q* is one. The indicators of the places are linear too, so there are at least as many
    coordinates as places, and the features are a table in disguise. Features that do not know the step
    represent functions of s' alone: at a context that is met twice only ss.lemma1.per-step follows.
    Sides as in ss.lemma1.tabular, with the numbers of coordinates and of places.
    """
    sides = lemma1_independent(facts)
    terms = {"coordinates d": facts.value_fit.nu.shape[1],
             "reachable (t, s')": facts.mdp.reach.nexts.sum(), **sides.terms}  # fmt: skip
    return replace(sides, terms=terms)


def lemma1_per_step(facts: Facts) -> Sides:
    """(6) with a ν_t of its own for each step."""
    fields = np.concatenate([facts.sol.Q, facts.sol.Q_w[None]])
    return _fit_sides(facts.features.fit_each_step(fields, facts.mdp.beta), facts)


def _spaces(instance: InstanceFacts) -> dict[bytes, BlockSpaces]:
    """``_block_spaces`` by the set of reachable states, which seldom changes after L steps."""
    mdp = instance.mdp
    steps = {live.tobytes(): live for live in mdp.reach.states}
    return {key: _block_spaces(mdp, live) for key, live in steps.items()}


def _block_spaces(mdp: TokenMDP, states: Mask) -> BlockSpaces:
    """Blocks Π_y [B, A, A] over the marked contexts, with the SVD that spans their columns.

    Returns the blocks, left vectors, singular values, which of them count, and which blocks [B]
    have less rank than rows.
    """
    A, B = mdp.vocab_size, mdp.n_contexts // mdp.vocab_size
    ref = mdp.ref  # the first to say that there is no table
    live = states.reshape(A, B).T
    blocks = np.where(live[:, :, None], ref.reshape(A, B, A).transpose(1, 0, 2), 0.0)
    left, sigma, _ = np.linalg.svd(blocks, full_matrices=False)
    significant = sigma > 1e-10 * sigma[:, :1]
    return blocks, left, sigma, significant, np.asarray(significant.sum(axis=1) < live.sum(axis=1))


def lemma1_desirability(facts: Facts) -> Sides:
    """``exp(V(·,y)/β)`` lies in the column space of ``Π_y[x1,a] = ref[(x1,y),a]``.

    Proof: ``exp(V_t(x1,y)/β) = Σ_a Π_y[x1,a] exp((r(y,a) + V_{t+1}(y,a))/β)``, and the second
    factor does not depend on x1. It is checked without that factor: least squares on Π_y alone, over
    the rows reachable at step t, each block scaled by its largest desirability. lhs: largest
    residual as a share of it. Blocks of full row rank say nothing and are left out.
    """
    mdp = facts.mdp
    A, S = mdp.vocab_size, mdp.n_contexts
    B = S // A
    values = np.concatenate([facts.sol.V, facts.sol.V_w[None]]) / mdp.beta
    factors = np.concatenate([facts.sol.Q, facts.sol.Q_w[None]]) / mdp.beta
    spaces = facts.instance.once(_spaces)
    worst: Sides | None = None
    for t in range(mdp.steps):
        live = mdp.reach.states[t].reshape(A, B).T
        blocks, left, sigma, significant, deficient = spaces[mdp.reach.states[t].tobytes()]
        if not deficient.any():
            continue
        log_z = values[:, t].reshape(len(values), A, B).transpose(2, 1, 0)
        top = np.where(live[:, :, None], log_z, -np.inf).max(axis=1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        z = np.where(live[:, :, None], np.exp(np.where(live[:, :, None], log_z - top, 0.0)), 0.0)
        basis = left * significant[:, None, :]
        residual = np.abs(z - basis @ (basis.transpose(0, 2, 1) @ z)).max(axis=1)
        # a bound on the length of the unknown coefficients, huge where a token is rare: what a
        # dropped direction or the rounding of the blocks leaves, times that length, is no violation
        used = np.where(blocks.max(axis=1)[:, :, None] > 0, 0.0, -np.inf)
        ahead = factors[:, t].reshape(len(factors), B, A).transpose(1, 2, 0) + used
        length = np.sqrt(A) * np.exp(np.minimum(ahead.max(axis=1) - top[:, 0], 700.0))
        dropped = np.where(significant, 0.0, sigma).max(axis=1) + 32 * EPS * A * sigma[:, 0]
        rounding = 64 * EPS * mdp.steps * (1 + facts.size_of_values / mdp.beta)
        error = dropped[:, None] * length + rounding
        excess = np.where(deficient[:, None], residual / error, -1.0)
        y, k = np.unravel_index(int(np.argmax(excess)), excess.shape)
        sides = Sides(
            float(residual[y, k]), 0.0, 1.0, where={"t": t, "y": int(y), "k": int(k)},
            error=float(error[y, k]),
        )  # fmt: skip
        if worst is None or sides.lhs * worst.error > worst.lhs * sides.error:
            worst = sides
    if worst is None:
        raise NotApplicable("every block Π_y has full row rank: any vector is in its column space")
    return worst


@dataclass(frozen=True)
class AsClaim:
    """A hypothesis of the instance as a claim of its own: lhs is 0 where it holds and 1 where not."""

    hypothesis: Hypothesis

    def __call__(self, facts: Facts) -> Sides:
        """Both sides. Raises Undecidable where rounding cannot tell."""
        holds, reason = self.hypothesis.evaluate(facts)
        if holds is None:
            raise Undecidable(reason)
        return Sides(0.0 if holds else 1.0, 0.0, 1.0, note=reason)


_LINEAR = (LINEAR_REWARDS, DECODABLE)

TABLE = (
    Claim(
        "ss.asm0", "SS §3", r"\pi_{ref}(a|s) \propto \exp(\psi(s)^\top\nu_{ref}(a))",
        "set-up", "equality", "instance", AsClaim(SOFTMAX_REFERENCE),
        "the section's set-up: reported, it alone makes no row not-applicable",
        title="the reference policy is a softmax of the features",
    ),
    Claim(
        "ss.asm1", "SS (5)", r"r(s,a) = \psi((s,a))^\top\nu_r",
        "hypothesis", "equality", "instance", AsClaim(LINEAR_REWARDS),
        "Assumption 1, one vector for all steps",
        title="rewards are linear in the features",
    ),
    Claim(
        "ss.asm2", "SS Asm 2", r"P(a_t \mid s_t) = P(a_t \mid \text{last } L \text{ tokens})",
        "hypothesis", "equality", "instance", AsClaim(DECODABLE),
        "true of a token MDP by construction",
        title="the last L tokens decide what follows",
    ),
    Claim(
        "ss.eq2-4", "SS (2)–(4)", r"V(s) = \beta\log E_{ref}\exp(Q(s,a)/\beta)",
        "proved", "equality", "instance", three_methods,
        "backward induction; checked against enumeration and a cone program",
        title="soft values and optimal policies",
    ),
    Claim(
        "ss.lemma1", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu",
        "refuted", "equality", "instance", lemma1,
        "log-sum-exp of linear functions is not linear; Assumption 1 is read of the rewards at hand, of "
        "every function it is ss.lemma1.any-reward",
        hypotheses=_LINEAR, reported=(SOFTMAX_REFERENCE,),
        true_when="V*_{t+1} is linear in ψ on the reachable (t, s')",
        true_by=("ss.lemma1.completeness",), blames="ss.proof.single-exponential",
        title="Lemma 1: soft values are linear in the features",
    ),
    Claim(
        "ss.lemma1.per-step", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu_t",
        "refuted", "equality", "instance", lemma1_per_step,
        "the same witness: the first step alone is not linear",
        hypotheses=_LINEAR, reported=(SOFTMAX_REFERENCE,),
        true_when="V*_{t+1} is linear in ψ on the s' reachable at t, for each t",
        true_by=("ss.lemma1.completeness",), blames="ss.proof.single-exponential",
        title="Lemma 1 with a vector for each step",
    ),
    Claim(
        "ss.lemma1.any-reward", "SS (6)",
        r"\text{every function of } (t,s') \text{ is } \psi^\top\nu \Rightarrow Q^* = \psi^\top\nu,\ "
        r"d \ge \#(t,s')",
        "proved", "equality", "instance", lemma1_any_reward,
        "Assumption 1 of every function: Q* is one of them",
        hypotheses=(EVERY_REWARD, DECODABLE),
        title="Lemma 1 where every function is linear",
    ),
    Claim(
        "ss.lemma1.tabular", "ours",
        r"\text{independent rows } \psi_{t,s'} \Rightarrow Q^* = \psi^\top\nu",
        "proved", "equality", "instance", lemma1_independent,
        "independent rows interpolate any table",
        hypotheses=(INDEPENDENT_FEATURES,),
        title="independent features hold any value",
    ),
    Claim(
        "ss.lemma1.desirability", "ours", r"e^{V(\cdot,y)/\beta} \in \mathrm{col}(\Pi_y)",
        "proved", "equality", "instance", lemma1_desirability,
        "the language MDP is linearly solvable in the exponential (Todorov 2006)",
        title="what is linear: the desirability exp(V/β)",
    ),
)  # fmt: skip
