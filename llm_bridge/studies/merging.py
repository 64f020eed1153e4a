"""Merging adapters: what peft's ``add_weighted_adapter`` and P-SOUPS make of a soup, exactly.

Every specialist is a LoRA adapter on the output layer, where the soup of the policies is the sum of the
products ``Σ weight_k B_k A_k``. Which of the merges gives it, and which depends on how a product was
written as factors? ``B_k → B_k G_k, A_k → G_k⁻¹ A_k`` changes no specialist (ss.psoups.gauge); a merge
that averages the factors apart changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from toymdp import TokenMDP, soup_optimum
from toymdp.arrays import Array
from toymdp.families import generate

from ..backend import torch
from ..bank import REF, peft_name
from ..measure.soups import soup_weights
from ..methods.p_soups import parameter_soup
from ..methods.peft_merge import peft_merge
from ..oracle import BESPOKE, Oracle, oracle

RANK = 2  # of the merge that truncates
DENSITY = 0.5  # of what TIES and DARE keep
# combination of peft -> its options; each makes one adapter of the specialists'
PEFT: dict[str, dict[str, Any]] = {
    "linear": {}, "svd": {"svd_rank": None}, f"svd, rank {RANK}": {"svd_rank": RANK}, "cat": {},
    "ties": {"density": DENSITY}, "dare_linear": {"density": DENSITY},
    "magnitude_prune": {"density": DENSITY},
}  # fmt: skip


def balanced(factors: tuple[Array, Array]) -> tuple[Array, Array]:
    """The same product B A with its singular values shared between the factors."""
    B, A = factors
    left, sizes, right = np.linalg.svd(B @ A, full_matrices=False)
    root = np.sqrt(sizes[: A.shape[0]])
    return left[:, : len(root)] * root, root[:, None] * right[: len(root)]


def turned(factors: tuple[Array, Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """The same product in another basis: ``B G, G⁻¹ A`` with a random G."""
    B, A = factors
    G = np.eye(len(A)) + rng.normal(size=(len(A), len(A)))
    return B @ G, np.asarray(np.linalg.solve(G, A), dtype=np.float64)


def rewrite(o: Oracle, how: Callable[[tuple[Array, Array]], tuple[Array, Array]]) -> None:
    """Write every specialist's product as other factors."""
    head = o.bank.base.get_output_embeddings()
    for name in map(peft_name, o.names):
        pair = head.lora_B[name].weight, head.lora_A[name].weight
        B, A = how((pair[0].detach().numpy(), pair[1].detach().numpy()))
        for weight, value in zip(pair, (B, A), strict=True):
            weight.data = torch.from_numpy(np.ascontiguousarray(value))


@contextmanager
def merged(o: Oracle, kind: str, weights: Array, seed: int) -> Iterator[Any]:
    """The model under one merge of its specialists; the merged adapter is deleted after."""
    if kind == "p-soups":
        with parameter_soup(o.bank, weights.tolist()) as base:
            yield base
        return
    how = kind.split(",")[0]
    with peft_merge(o.bank, how, weights.tolist(), seed=seed, **PEFT[kind]) as base:
        yield base


def merging(mdp: TokenMDP | None = None, seed: int = 0) -> dict[str, Any]:
    """Every merge at λ*, with the factors written in three ways: values, gaps, KL to the soup.

    mdp: an instance with a finite horizon; default: a random one. Returns one JSON object.
    """
    o = oracle(generate("dirichlet", seed) if mdp is None else mdp)
    best = soup_optimum(o.mdp, o.sol)
    weights = np.asarray(soup_weights(best.lam, o.mdp.beta, o.mdp.beta_prime))
    soup, V = o.soup(best.lam), {name: o.value(name) for name in (REF, BESPOKE, *o.names)}
    rng = np.random.default_rng(seed)
    before = [o.table(name) for name in o.names]
    rows, moved = [], 0.0
    writings: dict[str, Callable[[tuple[Array, Array]], tuple[Array, Array]]] = {
        "one shared factor": lambda factors: factors,
        "balanced": balanced,
        "another basis": lambda factors: turned(factors, rng),
    }
    for writing, how in writings.items():
        rewrite(o, how)
        moved = max(
            moved,
            *(float(np.abs(o.table(n) - b).max()) for n, b in zip(o.names, before, strict=True)),
        )
        for kind in (*PEFT, "p-soups"):
            with merged(o, kind, weights, seed) as base:
                policy = o.table(base)
            rows.append({
                "factors": writing, "merge": kind, "value": o.value(policy),
                "share": (o.value(policy) - V[REF]) / (V[BESPOKE] - V[REF]),
                "kl to soup": o.kl(policy, soup),
            })  # fmt: skip
    return {
        "instance": o.mdp.name, "lambda": best.lam.tolist(), "weights": weights.tolist(),
        "values": V | {"soup": o.value(soup)}, "specialists moved by": moved, "merges": rows,
    }  # fmt: skip
