"""Instances with a trap: a token that every specialist wants for a reason of its own.

After the trap the specialists disagree: each expects the whole of a payment c, of which the user,
with weights (1/2, 1/2), gets half whatever follows. The soup adds up what the specialists expect,
so it over-values the trap by ``D = (V_1 + V_2)/2 − V_w``, nearly c/2, and its weight on the trap is
``e^D`` times that of π_w, as far as there is room.

That alone proves nothing about λ*, which would shrink to avoid the trap. So there is also a pin: a
token G of weight 2^-400 under ref that pays both specialists just more than its price 400·log 2.
A policy ``∝ ref·exp(σ r)`` takes it only for σ near 1, which forces Σ λ_k = 1, hence λ ≥ 0 on the
budget; exchanging the specialists is a symmetry, and between them J is largest in the middle:
λ* = (1/2, 1/2) = w. Then the first two terms of (10) are 0.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..exact.solution import solve
from ..worlds.token_mdp import TokenMDP

PIN = 400  # log2 of how rare the pinning token is
PRICE = 277.0  # of it: 400·log 2 = 277.26 nats
OFF = 2.0**-900  # weight of a token that is not meant to be taken; never 0, as ref is a softmax


def rare_trap() -> TokenMDP:
    """(9) fails at λ*, at the start context, by a factor that grows without bound.

    A = 3, L = 2, T = 2. The first token is the trap (1), of weight 2^-18, or safe (2). After the
    trap tokens 0 and 2 pay one specialist each 32; after the safe token comes the pin.

    KL(π_w‖π~) at the start is ``log(1 + π_w(trap)(e^D − 1))``, some nats since ``π_w(trap)·e^D`` is
    large. On the right the trap's logit error D is multiplied by E_ref‖ψ‖ and E_{π_w}‖ψ‖, that
    is by probabilities of the order of 2^-18; the safe token has no error, and with one-hot
    features whose later steps are long no other context counts.
    """
    A, S = 3, 9

    def context(previous: int, last: int) -> int:
        return previous * A + last

    weights = np.full((S, A), OFF)
    weights[:, 2] = 1.0
    weights[context(0, 0)] = [OFF, 2.0**-18, 1.0]
    weights[context(0, 1)] = [0.5, OFF, 0.5]
    weights[context(0, 2)] = [1.0, 2.0**-PIN, OFF]
    rewards = np.zeros((2, S))
    rewards[0, context(1, 0)] = 32.0
    rewards[1, context(1, 2)] = 32.0
    rewards[:, context(2, 1)] = PRICE + 16.0
    scale = np.full((2, S), 2.0**30)
    scale[0] = 2.0**-30
    scale[0, context(0, 1)] = 1.0
    return TokenMDP(
        name="kl-rare-trap", vocab_size=A, order=2, horizon=2, start=[0, 0],
        ref_weights=weights, rewards=rewards, beta=1.0, w=np.array([0.5, 0.5]),
        features={"kind": "tabular", "per_step": True, "scale": scale},
    )  # fmt: skip


def trap_loop(horizon: int = 4) -> TokenMDP:
    """(10) fails although ``‖ψ‖`` is constant: the gap adds up over steps, its bound does not.

    A = 5, L = 1: stay (0), the trap (1), the two payments of 48 that follow it (2, 3), the pin (4).
    All but the trap lead on to stay, trap and pin. At each visit the soup loses about
    ``π~(trap)·D``, so the gap grows like the horizon times D, while the right side of (10) is
    ``‖ψ‖·‖ν_e‖`` for one field, ``e = Q_w − Σ λ*_k Q_k``, that nowhere exceeds D by more than
    what the values themselves differ.

    The features let Cauchy–Schwarz lose almost nothing: their first coordinate follows e, so that
    ν_e lies along it; a short coordinate of its own for each (t, s') makes the rows independent,
    so that Lemma 1 and Assumption 1 hold whatever the rewards; and four more, integers whose
    squares add up to what is missing (Lagrange), make all squared norms exactly equal.
    """
    A = 5
    weights = np.full((A, A), OFF)
    weights[[0, 2, 3, 4]] = [1.0, 2.0**-31, OFF, OFF, 2.0**-PIN]
    weights[1, 2:4] = 0.5
    rewards = np.zeros((2, A))
    rewards[0, 2] = rewards[1, 3] = 48.0
    rewards[:, 4] = PRICE + 12.0
    plain = TokenMDP(
        name="gap-trap-loop", vocab_size=A, order=1, horizon=horizon, start=[0],
        ref_weights=weights, rewards=rewards, beta=1.0, w=np.array([0.5, 0.5]),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    sol = solve(plain)
    along = sol.Q_w - sol.Q.mean(axis=0)
    return plain.replace(features={"kind": "dense", "values": _of_one_norm(along)})


def _of_one_norm(field: Array, length: int = 256, one_hot: int = 32) -> Array:
    """Integer features [T, S, 5 + T·S] of squared norm ``length² + one_hot²`` that follow a field.

    field: [T, S]; it is linear in the first coordinate up to rounding to 1/length of its largest
    value, and exactly linear in all of them.
    """
    # sympy is slow to import, and this is the only place that wants it here
    from sympy.solvers.diophantine.diophantine import sum_of_four_squares

    T, S = field.shape
    first = np.rint(field * (length / np.abs(field).max()))
    rest = [[float(x) for x in sum_of_four_squares(length**2 - int(x) ** 2)] for x in first.ravel()]
    rows = np.hstack([first.reshape(-1, 1), np.array(rest), one_hot * np.eye(T * S)])
    return rows.reshape(T, S, -1)
