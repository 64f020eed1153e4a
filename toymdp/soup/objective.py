"""The soup's objective ``J(λ)`` of (8), its exact gradient, and its kinks.

Everything depends on λ and β' through ``mu = λ/β'`` only (claim ss.betaprime). The budget
``β|λ|₁ ≤ β'`` is the unit ℓ₁ ball in ``u = β·mu``, the variable used here: its gradients are in
reward units. With ``C = E_π Σ KL(π‖ref)``,

    J(u) = E_π[Σ r_w] − (β/|u|₁) C,

smooth inside each orthant. Crossing ``u_k = 0`` changes the sign of ``∂|u|₁``, and since
``∂J/∂|u|₁ = βC/|u|₁² ≥ 0`` every kink is convex: moving off a zero coordinate gains that much in
either direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .. import kernels
from ..cached import cached_property
from ..errors import SolverError
from ..exact.policy import Policy
from ..exact.solution import Solution
from ..worlds.features import Array

KEPT = 1 << 27  # bytes of a soup's tables that its second derivatives need and its slope wrote
_Known = tuple[float, Array, Array, Array, Array]  # J, G, U, KL(π‖ref), visits of a soup


@dataclass(frozen=True, eq=False)
class SoupPoint:
    """What is known of J at one u, in reward units.

    value: J. slope: [K], derivative at fixed |u|₁. kink: derivative along |u|₁, ≥ 0.
    The one-sided derivative along ±e_k is ``±slope[k] ± sign(u_k)·kink``, and ``±slope[k] + kink``
    where u_k = 0. second: computes the derivatives of slope [K, K] and of kink [K], both at fixed
    |u|₁.
    """

    u: Array
    value: float
    slope: Array
    kink: float
    second: Callable[[], tuple[Array, Array]]

    def pattern(self) -> Array:
        """Sign pattern σ [K] of the orthant to climb in: u's, and at zeros the better side."""
        better = np.where(self.slope < 0, -1.0, 1.0)
        return np.where(self.u == 0, better, np.sign(self.u))

    def gradient(self, pattern: Array) -> Array:
        """Gradient [K] with respect to ``x = σ∘u`` inside the orthant σ."""
        return np.asarray(pattern * self.slope + self.kink)

    def curvature(self, pattern: Array) -> Array:
        """Hessian [K, K] with respect to x inside the orthant σ: the kink is ``βC/|u|₁²``."""
        bend, turn = self.second()
        mixed = (pattern * turn)[:, None] - self.kink / float(np.abs(self.u).sum())
        return np.asarray(pattern[:, None] * bend * pattern + mixed + mixed.T)

    @cached_property
    def residual(self) -> float:
        """KKT residual with the kink: ``max_{x' ≥ 0, Σx' ≤ 1} ∇J·(x' − x)``, in reward units."""
        pattern = self.pattern()
        g = self.gradient(pattern)
        return float(max(g.max(), 0.0) - g @ (pattern * self.u))


class Objective(Protocol):
    """What an ascent asks of J: one instance's, or the mean over several prompts."""

    @property
    def scale(self) -> float:
        """Size of what J is made of, in reward units."""

    def value(self, u: Array) -> float:
        """J(u) in reward units."""

    def at(self, u: Array) -> SoupPoint:
        """Value, slope and kink at u ≠ 0."""


@dataclass(frozen=True, eq=False)
class SoupObjective:
    """J over the unit ℓ₁ ball of ``u = βλ/β'`` for one solved instance."""

    sol: Solution

    @cached_property
    def reference(self) -> Policy:
        """``ref`` as a policy."""
        return self.sol.reference

    @cached_property
    def scale(self) -> float:
        """Size of what J is made of, in reward units: tolerances are relative to it."""
        used = self.sol.mdp.reach.nexts
        largest = max(float(np.abs(q[used]).max()) for q in (*self.sol.Q, self.sol.Q_w))
        return largest if largest > 0 else self.sol.mdp.beta

    def value(self, u: Array) -> float:
        """Return J(u) in reward units; at 0 the value of ``ref``."""
        return float(self.values(np.asarray(u)[None])[0])

    def values(self, us: Array) -> Array:
        """Return J at each row of us [N, K]; −∞ where a soup until ``eos`` ends too rarely."""
        mdp = self.sol.mdp
        mus = np.ascontiguousarray(np.asarray(us, dtype=np.float64) / mdp.beta)
        if self.by_policy:
            return np.array([self._of_policy(mu)[0] for mu in mus])
        tables, found = self._tables(1), np.empty(len(mus))
        for i, mu in enumerate(mus):
            tables[1][:] = 0.0
            found[i] = self._backward(mu, tables)[1][0, mdp.start_context]
        return found

    def at(self, u: Array) -> SoupPoint:
        """Return value, slope and kink at u ≠ 0 (one backward and one forward pass)."""
        mdp, Q = self.sol.mdp, self.sol.Q
        mu = np.asarray(u, dtype=np.float64) / mdp.beta
        size = float(np.abs(mu).sum())
        eta = 1.0 / size
        known = self._of_policy(mu) if self.by_policy else None
        if mdp.dense:
            value, slope, cost, tables, forth = self._by_kernels(mu, eta, known)
        else:
            assert known is not None
            value, _, _, kl, d = known
            field = self._field(eta, known)
            slope, cost = Q.reshape(len(Q), -1) @ field.ravel(), float((d * kl).sum())
        slope, kink = slope / mdp.beta, eta * eta * cost / mdp.beta

        def second() -> tuple[Array, Array]:
            if known is None:
                bend, turn = self._second(eta, value, tables, forth)
            else:
                spread = self._field(eta, known) if mdp.dense else field
                bend, turn = self._second_of_policy(eta, known, spread)
            return bend / mdp.beta**2, eta * eta * turn / mdp.beta**2

        return SoupPoint(np.asarray(u, dtype=np.float64), value, slope, kink, second)

    def visits(self, u: Array) -> Array:
        """How often the soup at u ≠ 0 is in each next context, [T, S]."""
        mdp = self.sol.mdp
        mu = np.asarray(u, dtype=np.float64) / mdp.beta
        if self.by_policy:
            return Policy(mdp, np.tensordot(mu, self.sol.Q, axes=1)).occupancy.nexts
        tables = self._backward(mu, self._tables(mdp.steps))
        return self._forward(1.0 / float(np.abs(mu).sum()), tables, self._start, mdp.steps)[2]

    def _tables(self, steps: int) -> tuple[Array, Array, Array, Array, Array]:
        """Room for what soup_backward writes of so many steps: G, U, KL, inverse and mean."""
        G, kl, inverse, mean = np.zeros((4, steps, self.sol.mdp.n_contexts))
        return G, np.zeros((steps + 1, self.sol.mdp.n_contexts)), kl, inverse, mean

    def _backward(self, mu: Array, tables: tuple[Array, ...]) -> tuple[Array, ...]:
        """The tables of the soup at mu; at 0 those of ``ref``."""
        mdp, size = self.sol.mdp, float(np.abs(mu).sum())
        back = mdp.ref, mdp.columns, mdp.reach.states, self.sol.Q, mu, mdp.reward_w
        kernels.soups.soup_backward(*back, 1.0 / size if size > 0 else 0.0, *tables)
        return tables

    def _by_kernels(
        self, mu: Array, eta: float, known: _Known | None
    ) -> tuple[float, Array, float, tuple[Array, ...], tuple[Array, Array] | None]:
        """J, ``Σ field·Q_k`` [K] and ``E_π Σ KL(π‖ref)`` of the soup at mu, and its tables.

        The last, visits and field of ``_forward`` at every step, only where they are not large. known:
        what ``_of_policy`` found, until ``eos``.
        """
        mdp, tables, d = self.sol.mdp, self._tables(self.sol.mdp.steps), self._start
        if known is not None:
            tables[1][1], d = known[2][1], known[4][0]
        self._backward(mu, tables)
        value = float(tables[1][0, mdp.start_context]) if known is None else known[0]
        keep = known is None and 2 * tables[0].nbytes <= KEPT
        slope, cost, flow, field = self._forward(eta, tables, d, mdp.steps if keep else 1)
        return value, slope, cost, tables, (flow, field) if keep else None

    @property
    def _start(self) -> Array:
        """Visits [S] at t = 0."""
        visits = np.zeros(self.sol.mdp.n_contexts)
        visits[self.sol.mdp.start_context] = 1.0
        return visits

    def _forward(
        self, eta: float, tables: tuple[Array, ...], d: Array, steps: int
    ) -> tuple[Array, float, Array, Array]:
        """``Σ field·Q_k`` [K], ``E_π Σ KL``, visits of next contexts and field at the last steps.

        tables: of ``_backward``. d: visits [S] at t = 0.
        """
        mdp, slope = self.sol.mdp, np.empty(len(self.sol.Q))
        flow, field = np.zeros((2, steps, mdp.n_contexts))
        back = mdp.ref, mdp.columns, mdp.reach.states, self.sol.Q, mdp.reward_w, eta
        cost = kernels.soups.soup_slope(*back, *tables, d.copy(), flow, field, slope)
        return slope, float(cost), flow, field

    def _second(
        self, eta: float, value: float, tables: tuple[Array, ...], forth: tuple[Array, Array] | None
    ) -> tuple[Array, Array]:
        """What toymdp.kernels.curvature writes [K, K] and [K], or the same by policies.

        Of policies where a row may have lost terms. tables: of ``_backward``; forth: see ``_by_kernels``.
        """
        mdp, Q, (G, U, kl, inverse, _) = self.sol.mdp, self.sol.Q, tables
        if np.count_nonzero(inverse) < np.count_nonzero(mdp.reach.states):
            known = value, G, U, kl, Policy(mdp, G).occupancy.states
            return self._second_of_policy(eta, known, self._field(eta, known))
        flow, field = forth or self._forward(eta, tables, self._start, mdp.steps)[2:]
        bend, turn = np.empty((len(Q), len(Q))), np.empty(len(Q))
        visits = self._start, flow, field
        kernels.curvature.soup_curvature(
            mdp.ref, Q, G, mdp.reward_w, eta, *tables[1:], *visits, bend, turn
        )
        return bend, turn

    def _field(self, eta: float, known: _Known) -> Array:
        """``Σ_s d π (H − E_π H)`` [T, S], the covariance of kernels.soups.soup_slope, in two passes."""
        mdp, (_, G, U, _, d) = self.sol.mdp, known
        ahead, policy = mdp.reward_w + U[1:] - eta * G, Policy(mdp, G)
        field = ahead * policy.occupancy.nexts
        return field - policy.push(d * policy.mean(ahead))

    @cached_property
    def at_zero(self) -> tuple[float, Array, Array]:
        """J(0), and the one-sided derivative there along y with |y|₁ = 1: ``slope·y − ½ yᵀ F y``.

        slope: [K]; F: [K, K], the Fisher information ``Σ_t E_ref Cov(Q_j, Q_k)/β``. Both follow
        from ``KL = ½ muᵀ Cov mu + O(mu³)``.
        """
        sol, mdp = self.sol, self.sol.mdp
        G = np.zeros(sol.Q.shape[1:])
        K = len(sol.Q)
        value, _, U, _, d = self._reference(G)
        ahead = mdp.reward_w + U[1:]
        fields = [*sol.Q, ahead]
        products = [q * f for i, q in enumerate(sol.Q) for f in fields[i:]]
        means = np.stack([self.reference.mean(f) for f in (*fields, *products)])
        weight = means * d
        slope, fisher = np.empty(K), np.empty((K, K))
        row = K + 1
        for i in range(K):
            for j in range(i, K + 1):
                cov = float((weight[row] - means[i] * means[j] * d).sum()) / mdp.beta
                row += 1
                if j == K:
                    slope[i] = cov
                else:
                    fisher[i, j] = fisher[j, i] = cov
        return value, slope, fisher

    def _reference(self, G: Array) -> _Known:
        """Value tables of ``ref`` itself."""
        mdp = self.sol.mdp
        if self.by_policy:
            return self._of_policy(np.zeros(len(self.sol.Q)))
        kl = np.zeros_like(G)
        U = self.reference.value(mdp.reward_w)
        return float(U[0, mdp.start_context]), G, U, kl, self.reference.occupancy.states

    @property
    def by_policy(self) -> bool:
        """Whether soups are evaluated as policies: the kernels of soups need a horizon and a table."""
        return self.sol.mdp.horizon is None or not self.sol.mdp.dense

    def _of_policy(self, mu: Array) -> _Known:
        """Value, logits, values [T+1, S], KL and visits of the soup at mu, evaluated as a policy.

        A soup that ends too rarely for its value to be known has the value −∞ and no visits: it is
        never the best, and the slope there is 0.
        """
        mdp = self.sol.mdp
        size = float(np.abs(mu).sum())
        eta = 1.0 / size if size > 0 else 0.0
        G = np.tensordot(mu, self.sol.Q, axes=1)
        policy = Policy(mdp, G)
        kl = policy.divergence(self.reference)
        try:
            U = policy.value(mdp.reward_w, -eta * kl)
        except SolverError:
            return -np.inf, G, np.zeros((len(G) + 1, mdp.n_contexts)), kl, np.zeros_like(G)
        return float(U[0, mdp.start_context]), G, U, kl, policy.occupancy.states

    def _second_of_policy(self, eta: float, known: _Known, field: Array) -> tuple[Array, Array]:
        """What toymdp.kernels.curvature writes [K, K] and [K], of the soup as a policy. field: its _field."""
        _, G, U, kl, _ = known
        mdp, Q, policy = self.sol.mdp, self.sol.Q, Policy(self.sol.mdp, G)
        if not field.any():  # without a value, or without a choice
            return np.zeros((len(Q), len(Q))), np.zeros(len(Q))
        zero, visits = np.zeros_like(mdp.reward_w), policy.occupancy
        gain, cost = mdp.reward_w + U[1:] - eta * G, G + policy.value(zero, kl)[1:]
        gain_mean = policy.mean(gain)
        means = np.stack([policy.mean(q) for q in Q])
        inner = [policy.mean(q * gain) - m * gain_mean for q, m in zip(Q, means, strict=True)]
        slopes = np.stack([policy.value(zero, c) for c in inner])

        def total(weight: Array, f: Array, g: Array) -> Array:
            return np.asarray((f * weight).reshape(len(f), -1) @ g.reshape(len(g), -1).T)

        half = 0.5 * total(field - eta * visits.nexts, Q, Q)
        half += total(visits.nexts, Q, slopes[:, 1:])
        half -= total(visits.states, means, slopes[:, :-1] - 0.5 * eta * means)
        turn = total(visits.nexts, Q, cost[None])
        turn -= total(visits.states, means, policy.mean(cost)[None])
        return half + half.T, turn[:, 0]
