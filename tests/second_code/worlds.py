"""Keys of ``token-mdp/1`` of small instances on which no term of a claim vanishes."""

from __future__ import annotations

from typing import Any

import numpy as np

Fields = dict[str, Any]


def wide_dense() -> Fields:
    """Per-step dense features, as many as there are reachable (t, s') and more: every nu exists."""
    rng = np.random.default_rng(11)
    A, L, T = 3, 2, 3
    values = rng.normal(size=(T, 9, 24)) * rng.uniform(0.2, 3.0, size=(T, 9, 1))
    return {
        "vocab_size": A, "order": L, "horizon": T, "start": [0, 1],
        "ref_weights": rng.exponential(size=(9, A)) + 0.05,
        "rewards": 2.0 * rng.exponential(size=(2, 9)),
        "beta": 0.7, "beta_prime": 1.9, "w": np.array([0.3, 0.7]),
        "features": {"kind": "dense", "values": values},
    }  # fmt: skip


def one_hot_forbidding() -> Fields:
    """Scaled one-hots per step, forbidden tokens, three specialists, rewards of either sign.

    Where two contexts earn the same under all specialists the hard minimum has ties, and the scales
    tell the tied policies apart. Some states have features of one norm.
    """
    rng = np.random.default_rng(12)
    A, L, T = 3, 2, 4
    weights = rng.exponential(size=(9, A)) + 0.05
    for s, a in ((0, 1), (4, 2), (5, 0), (7, 1)):
        weights[s, a] = 0.0
    rewards = np.round(rng.normal(size=(3, 9)) * 8) / 8
    rewards[:, 3:6] = rewards[:, 3:4]
    scale = rng.uniform(0.3, 3.0, size=(T, 9))
    scale[:, 6:9] = scale[:, 6:7]
    scale[-1, 3:6] = 1.7, 0.6, 2.4  # the least of the tied is neither the first nor the last
    return {
        "vocab_size": A, "order": L, "horizon": T, "start": [1, 0], "ref_weights": weights,
        "rewards": rewards, "beta": 1.3, "beta_prime": 0.8, "w": np.array([0.25, 0.25, 0.5]),
        "features": {"kind": "tabular", "per_step": True, "scale": scale},
    }  # fmt: skip


def narrow_softmax() -> Fields:
    """ref and the rewards are those of three features that know no step: no nu fits the values.

    Contexts that differ in their oldest token may share a feature, so blocks of ref lose rank.
    """
    rng = np.random.default_rng(13)
    A, L, T = 3, 2, 4
    psi = rng.normal(size=(9, 3))
    psi[3:5] = psi[0:2]  # contexts (1, y) and (0, y), y < 2
    nu = rng.normal(size=(3, A))
    # the start has a feature of its own; what all tokens have in common leaves its law as it is
    begin = psi[8] + 0.7 * np.cross(nu[:, 0] - nu[:, 1], nu[:, 0] - nu[:, 2])
    logits = psi @ nu
    return {
        "vocab_size": A, "order": L, "horizon": T, "start": [2, 2],
        "ref_weights": np.exp(logits - logits.max(axis=1, keepdims=True)),
        "rewards": rng.normal(size=(2, 3)) @ psi.T, "beta": 0.6, "beta_prime": 1.7,
        "w": np.array([0.6, 0.4]), "features": {"kind": "dense", "values": psi},
        "start_feature": begin,
    }  # fmt: skip


def narrow_per_step(T: int = 4) -> Fields:
    """The same with features that know the step, rewards that they miss and β above 1.

    What a step adds to a feature is what all tokens have in common: ref is a softmax at every step.
    """
    rng = np.random.default_rng(16)
    psi, nu = rng.normal(size=(9, 3)), rng.normal(size=(3, 3))
    common = np.cross(nu[:, 0] - nu[:, 1], nu[:, 0] - nu[:, 2])
    values = psi + rng.normal(size=(T, 9, 1)) * common
    return {
        "vocab_size": 3, "order": 2, "horizon": T, "start": [0, 2], "ref_weights": np.exp(psi @ nu),
        "rewards": 1.5 + rng.exponential(size=(2, 9)), "beta": 1.8, "beta_prime": 1.1,
        "w": np.array([0.7, 0.3]), "features": {"kind": "dense", "values": values},
    }  # fmt: skip


def too_short() -> Fields:
    """A horizon of L steps: what speaks of L further steps says nothing."""
    return narrow_per_step(T=2)


def binary_ended() -> Fields:
    """Two tokens, of which one ends the episode: every ratio takes two values; one norm."""
    rng = np.random.default_rng(14)
    return {
        "vocab_size": 2, "order": 2, "horizon": 4, "eos": 1, "start": [0, 0],
        "ref_weights": rng.exponential(size=(4, 2)) + 0.1, "rewards": rng.exponential(size=(2, 4)),
        "beta": 1.2, "beta_prime": 2.1, "w": np.array([0.45, 0.55]),
        "features": {"kind": "tabular", "per_step": True, "scale": 1.5},
    }  # fmt: skip


def until_eos() -> Fields:
    """No horizon: linear systems in place of recursions. Three contexts go on, one ends.

    The second specialist likes every context that goes on better than the first does, so that a
    total of ``r_w − r_1`` has a least value.
    """
    rng = np.random.default_rng(15)
    rewards = 0.3 * rng.normal(size=(2, 4))
    rewards[1, :3] = rewards[0, :3] + rng.uniform(0.2, 0.6, size=3)
    weights = rng.exponential(size=(4, 4)) + 0.1
    weights[:, 3] += 1.5
    weights[1, 2] = 0.0
    return {
        "vocab_size": 4, "order": 1, "horizon": None, "eos": 3, "start": [0],
        "ref_weights": weights, "rewards": rewards, "beta": 1.1, "beta_prime": 0.9,
        "w": np.array([0.35, 0.65]),
        "features": {"kind": "tabular", "per_step": False, "scale": rng.uniform(0.4, 2.5, size=4)},
    }  # fmt: skip


def redundant() -> Fields:
    """Four specialists, two of them alike and one the mean of two: the user is one of the former.

    The user's policy is in the span, by more than one c, and rewards have directions that no pair shows.
    """
    rng = np.random.default_rng(17)
    rewards = np.round(64 * rng.exponential(size=(4, 3))) / 64
    rewards[2], rewards[3] = (rewards[0] + rewards[1]) / 2, rewards[0]
    return {
        "vocab_size": 3, "order": 1, "horizon": 3, "start": [1],
        "ref_weights": rng.exponential(size=(3, 3)) + 0.1, "rewards": rewards, "beta": 0.75,
        "beta_prime": 1.5, "w": np.array([0.375, 0.0, 0.0, 0.625]),
        "features": {"kind": "tabular", "per_step": True, "scale": rng.uniform(0.5, 2.0, size=(3, 3))},
    }  # fmt: skip


WORLDS = {
    "wide-dense": wide_dense, "one-hot-forbidding": one_hot_forbidding,
    "narrow-softmax": narrow_softmax, "narrow-per-step": narrow_per_step, "too-short": too_short,
    "binary-ended": binary_ended, "until-eos": until_eos,
}  # fmt: skip
# where λ* is π_w itself, so that at λ* every error is 0: for statements about the instance
FITTING = {"redundant": redundant}
# what each λ spends of β'/β, signed and not in the proportions of w; the last is outside the domain
WEIGHTS = {
    "wide-dense": ([0.5, -0.25], [-0.375, 0.625], [0.25, 0.375], [1.5, -2.0]),
    "one-hot-forbidding": ([0.25, -0.125, 0.375], [0.5, 0.125, -0.375], [-1.25, 0.5, 1.0]),
    "narrow-softmax": ([0.625, -0.25], [-0.5, 0.5], [-1.0, 1.75]),
    "narrow-per-step": ([0.5, -0.375], [1.25, -0.5]),
    "too-short": ([-0.125, 0.625],),
    "binary-ended": ([0.75, -0.125], [-0.25, 0.625], [2.0, -0.5]),
    "until-eos": ([0.5, -0.125], [0.25, -0.75], [0.625, 0.25]),
}
