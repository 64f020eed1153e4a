"""Sections 2–3: the Bellman equations, Lemma 1, and what is linear after all."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from toymdp import Solution, SolverError, TokenMDP
from toymdp.exact.cross_checks import (
    MAX_TRAJECTORIES,
    cone_value,
    enumerated_value,
    trajectory_count,
)
from toymdp.soup.optimum import SoupOptimum

from ..claim import EPS, Array, Claim, Mask, NotApplicable, Sides, Undecidable
from ..facts.linear_fit import Fit, feature_span, value_fits
from ..facts.soup import size_of_values
from .hypotheses import HYPOTHESES

# the slow roads run below this many reachable triples
ENUMERATION_TRIPLES = 10_000
CONE_TRIPLES = 2_000


def three_roads(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(2)–(4): ``V_w(start)`` by two recursions, by all trajectories and by the cone program.

    lhs: largest disagreement; rhs: 0. The cone program brackets the value, to its own accuracy.
    """
    mdp = sol.mdp
    V = sol.value_w
    terms = {f"recursion ({sol.method})": V, f"recursion ({sol.shadow.method})": sol.shadow.value_w}
    gaps = [abs(V - sol.shadow.value_w)]
    if mdp.horizon is None:
        terms["Bellman residual"] = sol.residual
        gaps.append(sol.residual * max(1.0, abs(V)))
    elif mdp.reach.n_triples <= ENUMERATION_TRIPLES:
        count = trajectory_count(mdp)
        if count is not None and count <= MAX_TRAJECTORIES:
            terms["all trajectories"] = _once(sol, "enumerated", enumerated_value)
            gaps.append(abs(V - terms["all trajectories"]))
        if mdp.reach.n_triples <= CONE_TRIPLES:
            try:
                bracket = _once(sol, "cone", cone_value)
            except SolverError as error:
                raise Undecidable(str(error)) from None
            terms["cone lower"], terms["cone upper"] = bracket.lower, bracket.upper
            gaps.append(max(0.0, bracket.lower - V, V - bracket.upper))
    # a sum of T logarithms of A terms, each rounded a few times
    rounding = 32 * EPS * mdp.steps * size_of_values(sol) + 8 * EPS * mdp.beta
    return Sides(max(gaps), 0.0, size_of_values(sol), terms=terms, error=rounding)


def _once(sol: Solution, name: str, road):  # type: ignore[no-untyped-def]
    """Result of a slow road, computed once for the solution and its shadow."""
    key = ("road", name)
    for held in (sol, sol.shadow):
        if key in held.cache:
            return held.cache[key]
    sol.cache[key] = road(sol.mdp, sol.mdp.reward_w)
    return sol.cache[key]


def _fit_sides(fit: Fit, sol: Solution) -> Sides:
    """Largest residual of the worst-fitted Q as an equality with 0."""
    relative = fit.largest / np.where(fit.size > 0, fit.size, 1.0)
    m = int(np.argmax(relative))
    _, t, s = np.unravel_index(int(np.argmax(np.abs(fit.residual[m]))), (1, *fit.residual[m].shape))
    used = sol.mdp.reach.nexts
    rms = float(np.sqrt(np.mean(fit.residual[m][used] ** 2)))
    field = np.concatenate([sol.Q, sol.Q_w[None]])[m][used]
    spread = float(np.std(field))
    terms = {"rms residual": rms, "relative rms residual": rms / spread if spread > 0 else 0.0}
    where = {"t": int(t), "s'": int(s), "k": m}
    if fit.exists()[m] is None:
        raise Undecidable("linearity of Q is within rounding of holding")
    return Sides(float(fit.largest[m]), 0.0, float(fit.size[m]), terms, where, float(fit.error[m]))


def lemma1(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(6): one nu with ``Q*(t,s,a) = psi((s,a))·nu`` on all reachable triples, for every Q.

    lhs: largest residual of the least-squares nu over Q_1..Q_K and Q_w; rhs: 0 (reward units).
    """
    return _fit_sides(value_fits(sol)[1], sol)


def lemma1_per_step(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(6) with a nu_t of its own for each step."""
    fields = np.concatenate([sol.Q, sol.Q_w[None]])
    return _fit_sides(feature_span(sol).fit_each_step(fields, sol.mdp.beta), sol)


@lru_cache(maxsize=32)
def _block_spaces(mdp: TokenMDP, states: bytes) -> tuple[Array, Array, Array, Mask, Mask]:
    """Blocks Π_y [B, A, A] over the marked contexts, with the SVD that spans their columns.

    Returns the blocks, left vectors, singular values, which of them count, and which blocks [B]
    have less rank than rows. The support of ref seldom changes after L steps, nor does this.
    """
    A, B = mdp.vocab_size, mdp.n_contexts // mdp.vocab_size
    live = np.frombuffer(states, dtype=bool).reshape(A, B).T
    blocks = np.where(live[:, :, None], mdp.ref.reshape(A, B, A).transpose(1, 0, 2), 0.0)
    left, sigma, _ = np.linalg.svd(blocks, full_matrices=False)
    keep = sigma > 1e-10 * sigma[:, :1]
    return blocks, left, sigma, keep, np.asarray(keep.sum(axis=1) < live.sum(axis=1))


def lemma1_desirability(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """``exp(V(·,y)/β)`` lies in the column space of ``Π_y[x1,a] = ref[(x1,y),a]``.

    Proof: ``exp(V_t(x1,y)/β) = Σ_a Π_y[x1,a] exp((r(y,a) + V_{t+1}(y,a))/β)``, and the second
    factor does not know x1. It is checked without that factor: least squares on Π_y alone, over
    the rows reachable at step t, each block scaled by its largest desirability. lhs: largest
    residual as a share of it. Blocks of full row rank say nothing and are passed over.
    """
    mdp = sol.mdp
    A, S = mdp.vocab_size, mdp.n_contexts
    B = S // A
    values = np.concatenate([sol.V, sol.V_w[None]]) / mdp.beta
    factors = np.concatenate([sol.Q, sol.Q_w[None]]) / mdp.beta
    found: Sides | None = None
    for t in range(mdp.steps):
        live = mdp.reach.states[t].reshape(A, B).T
        blocks, left, sigma, keep, deficient = _block_spaces(mdp, mdp.reach.states[t].tobytes())
        if not deficient.any():
            continue
        log_z = values[:, t].reshape(len(values), A, B).transpose(2, 1, 0)
        top = np.where(live[:, :, None], log_z, -np.inf).max(axis=1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        z = np.where(live[:, :, None], np.exp(np.where(live[:, :, None], log_z - top, 0.0)), 0.0)
        basis = left * keep[:, None, :]
        residual = np.abs(z - basis @ (basis.transpose(0, 2, 1) @ z)).max(axis=1)
        # how long the unknown coefficients can be: a rare token's may be huge, and what a dropped
        # direction or the rounding of the blocks times them leaves behind is no violation
        used = np.where(blocks.max(axis=1)[:, :, None] > 0, 0.0, -np.inf)
        ahead = factors[:, t].reshape(len(factors), B, A).transpose(1, 2, 0) + used
        length = np.sqrt(A) * np.exp(np.minimum(ahead.max(axis=1) - top[:, 0], 700.0))
        dropped = np.where(keep, 0.0, sigma).max(axis=1) + 32 * EPS * A * sigma[:, 0]
        rounding = 64 * EPS * mdp.steps * (1 + size_of_values(sol) / mdp.beta)
        error = dropped[:, None] * length + rounding
        excess = np.where(deficient[:, None], residual / error, -1.0)
        y, k = np.unravel_index(int(np.argmax(excess)), excess.shape)
        here = Sides(
            float(residual[y, k]), 0.0, 1.0, where={"t": t, "y": int(y), "k": int(k)},
            error=float(error[y, k]),
        )  # fmt: skip
        if found is None or here.lhs * found.error > found.lhs * here.error:
            found = here
    if found is None:
        raise NotApplicable("every block Π_y has full row rank: any vector is in its column space")
    return found


def as_claim(name: str):  # type: ignore[no-untyped-def]
    """Turn a hypothesis into a claim of its own: lhs is 0 where it holds and 1 where not."""

    def sides(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
        outcome, reason = HYPOTHESES[name].evaluate(sol, lam)
        if outcome is None:
            raise Undecidable(reason)
        return Sides(0.0 if outcome else 1.0, 0.0, 1.0, note=reason)

    return sides


_LINEAR = ("ss.asm1", "ss.asm2")

TABLE = (
    Claim(
        "ss.asm0", "SS §3", r"\pi_{ref}(a|s) \propto \exp(\psi(s)^\top\nu_{ref}(a))",
        "set-up", "equality", "instance", as_claim("ss.asm0"),
        "the section's set-up: reported, it alone makes no row not-applicable",
    ),
    Claim(
        "ss.asm1", "SS (5)", r"r(s,a) = \psi((s,a))^\top\nu_r",
        "hypothesis", "equality", "instance", as_claim("ss.asm1"),
        "Assumption 1, one vector for all steps",
    ),
    Claim(
        "ss.asm2", "SS Asm 2", r"P(a_t \mid s_t) = P(a_t \mid \text{last } L \text{ tokens})",
        "hypothesis", "equality", "instance", as_claim("ss.asm2"),
        "true of a token MDP by construction",
    ),
    Claim(
        "ss.eq2-4", "SS (2)–(4)", r"V(s) = \beta\log E_{ref}\exp(Q(s,a)/\beta)",
        "proved", "equality", "instance", three_roads,
        "backward induction; checked against enumeration and a cone program",
    ),
    Claim(
        "ss.lemma1", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu",
        "refuted", "equality", "instance", lemma1,
        "log-sum-exp of linear functions is not linear",
        hypotheses=_LINEAR, reported=("ss.asm0",),
    ),
    Claim(
        "ss.lemma1.per-step", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu_t",
        "refuted", "equality", "instance", lemma1_per_step,
        "the same witness: the first step alone is not linear",
        hypotheses=_LINEAR, reported=("ss.asm0",),
    ),
    Claim(
        "ss.lemma1.tabular", "ours",
        r"\text{independent rows } \psi_{t,s'} \Rightarrow Q^* = \psi^\top\nu",
        "proved", "equality", "instance", lemma1,
        "independent rows interpolate any table",
        hypotheses=("features-independent",),
    ),
    Claim(
        "ss.lemma1.desirability", "ours", r"e^{V(\cdot,y)/\beta} \in \mathrm{col}(\Pi_y)",
        "proved", "equality", "instance", lemma1_desirability,
        "the language MDP is linearly solvable in the exponential (Todorov 2006)",
    ),
)  # fmt: skip
