"""Each term of the envelope's remainder is needed: tables in which the others vanish.

The envelope's claim holds for any logits q and any rewards, related or not, so two steps with
tables of our own single out one term at a time. Tokens 0, 1, 2 are played; 3 pads the start.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import soup_values_of

from toymdp.kernels.envelopes import envelope

A, S, START = 4, 16, 15


class Bare:
    """Two steps of bare tables: q [2, S, K], rewards [S] of both steps' next contexts."""

    def __init__(self, rng, K: int, beta: float) -> None:
        self.K, self.beta = K, beta
        self.ref = np.zeros((S, A))
        self.ref[:, :3] = rng.dirichlet(np.ones(3), size=S)
        self.states = np.zeros((2, S), dtype=bool)
        self.states[0, START] = True
        self.states[1, [12, 13, 14]] = True
        self.q = np.zeros((2, S, K))
        self.q[0, 12:15] = rng.normal(size=(3, K))
        self.reward = np.zeros(S)

    def values(self, nu):
        """U at both steps of the soup with logits ν·q, by the objective's kernel."""
        eta = self.beta / np.abs(nu).sum()
        fields = np.moveaxis(self.q, 2, 0)
        return soup_values_of(self.ref, self.states, fields, nu, self.reward, eta)

    def excess(self, corners, rng) -> float:
        """Least P − U at the start over points of the simplex."""
        K = self.K
        P, top = np.empty((3, S, 1 + K + K * (K + 1) // 2)), np.empty((3, S))
        cap = np.full((3, S), 1e9)
        cap[2] = 0.0
        centre, offset = np.empty(K), np.empty((K + 1, K))
        envelope(
            self.ref, self.states, self.q, self.reward, self.beta, cap, corners, 1e-9, 1e-14, 1e-14,
            centre, offset, P, top,
        )  # fmt: skip
        least = np.inf
        for weights in [*np.eye(K + 1), *rng.dirichlet(np.full(K + 1, 0.4), size=8)]:
            nu = weights @ corners
            d = nu - centre
            H = np.zeros((K, K))
            pairs = [(i, j) for i in range(K) for j in range(i, K)]
            for at, (i, j) in enumerate(pairs):
                H[i, j] = H[j, i] = P[0, START, 1 + K + at]
            p = P[0, START, 0] + P[0, START, 1 : 1 + K] @ d + 0.5 * d @ H @ d
            least = min(least, p - self.values(nu)[0, START])
        return float(least)

    def cancel(self, centre) -> None:
        """Set the first step's rewards so that its advantage A₀ at the centre is 0."""
        U = self.values(centre)
        G = self.q[0, 12:15] @ centre
        log_z = np.log(self.ref[START, :3] @ np.exp(G))
        eta = self.beta / np.abs(centre).sum()
        self.reward[12:15] = eta * (G - log_z) - U[1, 12:15]


def make(kind: str, seed: int) -> tuple[Bare, np.ndarray]:
    """Tables and a simplex for one kind."""
    rng = np.random.default_rng([seed, 5])
    K = 1 + seed % 2
    bare = Bare(rng, K, {"kl": 1.0, "size": 1.0}.get(kind, 1e-9))
    size = 10.0 ** rng.uniform(-2.5, -0.7)
    shape = rng.normal(size=(K + 1, K))
    corners = np.full(K, 0.9 / K) + size * (shape - shape.mean(axis=0))
    if kind == "size":  # nearly along |ν|₁ at logits that hardly differ
        corners = (
            np.array([[0.2], [0.55]])
            if K == 1
            else np.array([[0.1, 0.1], [0.3, 0.25], [0.25, 0.3]])
        )
    corners = np.round(np.abs(corners) * 2.0**40) / 2.0**40
    centre = corners.mean(axis=0)
    if kind == "advantage":
        bare.reward[12:15] = rng.normal(size=3)
    if kind == "gradient":  # values ahead move with ν
        bare.reward[[3, 7, 11]] = 0.0
        for a in range(3):
            bare.q[1, 4 * a : 4 * a + 3] = 0.2 * rng.normal(size=(3, K))
            bare.reward[4 * a : 4 * a + 3] = 50.0 * rng.normal(size=3)
        bare.q[0] *= 3.0
    if kind == "curvature":  # values ahead bend with ν and do not slope
        for a in range(3):
            weight = np.array([1.0, 2.0, 1.0])
            bare.q[1, 4 * a : 4 * a + 3] = rng.choice([0.3, 3.0]) * np.outer(
                [-1.0, 0.0, 1.0], np.ones(K)
            )
            tilt = np.exp(bare.q[1, 4 * a : 4 * a + 3] @ centre)
            bare.ref[12 + a, :3] = weight / tilt / (weight / tilt).sum()
            bare.reward[4 * a : 4 * a + 3] = rng.normal() * np.array([1.0, 0.0, 1.0])
        bare.q[0] *= 0.3
    if kind != "advantage":
        bare.cancel(centre)
    if kind in ("kl", "size"):
        bare.reward[12:15] = 0.0 if kind == "size" else bare.reward[12:15]
    return bare, corners


@pytest.mark.parametrize("kind", ["advantage", "gradient", "curvature", "kl", "size"])
def test_the_envelope_of_bare_tables(kind):
    for seed in range(150):
        bare, corners = make(kind, seed)
        rng = np.random.default_rng(seed)
        assert bare.excess(corners, rng) >= -1e-12, (kind, seed)
