"""Seeded families of instances, each named for what it makes true.

``softmax``   the paper's own parameterisation: ref and rewards from one feature map (Lemma 1 fails)
``low-rank``  transition blocks of a chosen rank (the desirability claim says something there)
``dirichlet`` a random reference, per-step one-hot features, rewards ≥ 0 (Theorem 1 applies)
``unit-norm`` the same with every token allowed and ‖ψ‖ = 1 (the softmax set-up holds too)
``tree``      contexts hold the whole history, so one-hot features make Lemma 1 exact
``corpus``    real text with human labels (toymdp/families/corpus.py), n-gram features
``corpus-one-hot`` the same world with per-step one-hot features (Theorem 1 applies)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InstanceError
from ..worlds.token_mdp import TokenMDP
from .corpus import corpus_ngrams, corpus_one_hot
from .random import dirichlet, low_rank, softmax, tree, unit_norm

Family = Callable[..., TokenMDP]

FAMILIES: dict[str, Family] = {
    "softmax": softmax,
    "low-rank": low_rank,
    "dirichlet": dirichlet,
    "unit-norm": unit_norm,
    "tree": tree,
    "corpus": corpus_ngrams,
    "corpus-one-hot": corpus_one_hot,
}


def generate(family: str, seed: int, **options: Any) -> TokenMDP:
    """Return the instance of a named family.

    options: numbers that the family takes, say ``A=3, beta=0.25``; ``soupcheck instance FAMILY``
    and the docs' page on families list them with meanings and defaults. Raises InstanceError for
    an unknown name.
    """
    if family not in FAMILIES:
        raise InstanceError.of("family", family, "unknown", f"choose from {sorted(FAMILIES)}")
    return FAMILIES[family](seed, **options)
