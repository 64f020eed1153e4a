"""Seeded random families, each named for what it makes true: see toymdp.families."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np

from ..errors import InstanceError
from ..validators import check_memory
from ..worlds.token_mdp import TokenMDP


def _common(
    rng: np.random.Generator, K: int | None, beta: float | None, beta_prime: float | None
) -> dict[str, Any]:
    K = int(rng.integers(2, 4)) if K is None else K
    beta = float(rng.choice([0.25, 0.5, 1.0, 2.0])) if beta is None else beta
    return {"w": rng.dirichlet(np.ones(K)), "beta": beta, "beta_prime": beta_prime}


def softmax(
    seed: int, *, A: int | None = None, L: int | None = None, T: int | None = None,
    K: int | None = None, d: int | None = None, beta: float | None = None, beta_prime: float | None = None,
    scale: float = 1.0,
) -> TokenMDP:  # fmt: skip
    """``ref ∝ exp(ψ(s)·ν(a))`` and ``r_k = ψ((s,a))·ν_rk`` with Gaussian ψ of width d."""
    rng = np.random.default_rng([seed, 1])
    A = int(rng.integers(3, 6)) if A is None else A
    L = int(rng.integers(1, 3)) if L is None else L
    T = int(rng.integers(2, 6)) if T is None else T
    d = int(rng.integers(2, 5)) if d is None else d
    common = _common(rng, K, beta, beta_prime)
    check_memory(A, L, T, len(common["w"]))
    psi = rng.normal(size=(A**L, d))
    first = rng.normal(size=d)
    nu = scale * rng.normal(size=(d, A))
    start = [0] * L
    logits = psi @ nu
    logits[0] = first @ nu  # the start context's own feature
    psi[0] = first
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    rewards = rng.normal(size=(len(common["w"]), d)) @ psi.T
    return TokenMDP(
        name=f"softmax-{seed}", vocab_size=A, order=L, horizon=T, start=start,
        ref_weights=weights, rewards=rewards, start_feature=first,
        features={"kind": "dense", "values": psi}, **common,
    )  # fmt: skip


def low_rank(
    seed: int, *, A: int | None = None, L: int | None = None, T: int | None = None,
    K: int | None = None, rank: int = 2, beta: float | None = None,
    beta_prime: float | None = None,
) -> TokenMDP:  # fmt: skip
    """Blocks ``Π_y`` of a given rank: mixtures of that many next-token laws."""
    rng = np.random.default_rng([seed, 2])
    A = int(rng.integers(4, 7)) if A is None else A
    L = int(rng.integers(1, 3)) if L is None else L
    T = int(rng.integers(2, 6)) if T is None else T
    if not 1 <= rank <= A:
        raise InstanceError.of("rank", rank, f"must be 1..A = {A}", "correct it")
    common = _common(rng, K, beta, beta_prime)
    check_memory(A, L, T, len(common["w"]))
    B = A ** (L - 1)
    mixture = rng.dirichlet(np.ones(rank), size=(A, B))
    laws = rng.dirichlet(np.ones(A), size=(B, rank))
    weights = np.einsum("xyr,yra->xya", mixture, laws).reshape(A**L, A)
    return TokenMDP(
        name=f"low-rank-{seed}", vocab_size=A, order=L, horizon=T, start=[0] * L,
        ref_weights=weights, rewards=rng.normal(size=(len(common["w"]), A**L)),
        features={"kind": "tabular", "per_step": False, "scale": 1.0}, **common,
    )  # fmt: skip


def dirichlet(
    seed: int, *, A: int | None = None, L: int | None = None, T: int | None = None,
    K: int | None = None, beta: float | None = None, beta_prime: float | None = None,
    concentration: float = 0.5, forbid: float = 0.1,
) -> TokenMDP:  # fmt: skip
    """A Dirichlet reference with some tokens forbidden, one-hot features of random scale."""
    rng = np.random.default_rng([seed, 3])
    A = int(rng.integers(2, 6)) if A is None else A
    L = int(rng.integers(1, 3)) if L is None else L
    T = int(rng.integers(1, 6)) if T is None else T
    common = _common(rng, K, beta, beta_prime)
    check_memory(A, L, T, len(common["w"]))
    S = A**L
    weights = rng.gamma(concentration, size=(S, A)) + 1e-12
    forbidden = rng.random((S, A)) < forbid
    forbidden[np.arange(S), rng.integers(A, size=S)] = False  # a row keeps at least one token
    weights[forbidden] = 0.0
    return TokenMDP(
        name=f"dirichlet-{seed}", vocab_size=A, order=L, horizon=T, start=[0] * L,
        ref_weights=weights, rewards=rng.exponential(size=(len(common["w"]), S)),
        features={"kind": "tabular", "per_step": True, "scale": np.exp(rng.normal(size=(T, S)))},
        **common,
    )  # fmt: skip


@wraps(dirichlet, assigned=(), updated=())  # whose options it takes
def unit_norm(seed: int, **options: Any) -> TokenMDP:
    """``dirichlet`` with every token allowed and features of norm 1, as after RMSNorm."""
    world = dirichlet(seed, **{**UNIT_NORM, **options})
    one_hot = {"kind": "tabular", "per_step": True, "scale": 1.0}
    return world.replace(features=one_hot, name=f"unit-norm-{seed}")


UNIT_NORM = {"forbid": 0.0, "concentration": 1.0}  # where dirichlet has other defaults
vars(unit_norm)["defaults"] = UNIT_NORM


def tree(
    seed: int, *, A: int | None = None, T: int | None = None, K: int | None = None,
    beta: float | None = None, beta_prime: float | None = None,
) -> TokenMDP:  # fmt: skip
    """Contexts long enough for the whole history (L = T, padded by ``bos``): states never repeat.

    A counts the tokens that are emitted; the vocabulary has one more, ``bos``.
    """
    rng = np.random.default_rng([seed, 4])
    A = int(rng.integers(2, 4)) if A is None else A
    T = int(rng.integers(2, 5)) if T is None else T
    common = _common(rng, K, beta, beta_prime)
    vocab = A + 1
    check_memory(vocab, T, T, len(common["w"]))
    S = vocab**T
    weights = np.zeros((S, vocab))
    weights[:, :A] = rng.dirichlet(np.ones(A), size=S)
    return TokenMDP(
        name=f"tree-{seed}", vocab_size=vocab, order=T, horizon=T, start=[A] * T, bos=A,
        ref_weights=weights, rewards=rng.exponential(size=(len(common["w"]), S)),
        features={"kind": "tabular", "per_step": False, "scale": np.exp(rng.normal(size=S))},
        **common,
    )  # fmt: skip
