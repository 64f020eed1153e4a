"""k1, k2, k3: the estimators of ``KL(π‖ref)`` that trainers log, against the exact sequence KL.

With ``x = log ref/π`` of a token drawn from π: k1 = −x, k2 = x²/2, k3 = eˣ − 1 − x. Summed over an answer,
``E Σ k1`` is the KL over whole answers, and so is ``E Σ k3``, since ``E_π eˣ = 1`` where ref has no
token that π lacks. ``E Σ k2`` is neither. Averaged over the tokens of a batch, as logs show them, all
three weigh tokens of long answers more than the sum does. Used as a *loss* on answers held fixed,
they have other gradients than the KL (Schulman, "Approximating KL divergence", 2020, speaks of values).

Derivation of the gradients. With c = log π/ref and F(t,s) the KL still to come, the sequence KL has at
the logit of (t,s,a) the gradient ``d_t(s) π(a) (c(a) + F(t+1,s') − F(t,s))``. With answers held fixed
``E ∇k1 = 0``, ``E ∇k2 = d_t(s) π(a) (c(a) − E_π c)`` and ``E ∇k3 = d_t(s) (π(a) − ref(a))``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from toymdp import InstanceError, TokenMDP
from toymdp.arrays import Array
from toymdp.families import generate

from ..backend import torch, transformers
from ..bank import REF
from ..oracle import Oracle, log_ratio, oracle

ESTIMATORS: dict[str, Callable[[Array], Array]] = {
    "k1": lambda x: -x,
    "k2": lambda x: 0.5 * x**2,
    "k3": lambda x: np.expm1(x) - x,
}
MOST = 200_000  # answers that are enumerated


def every_answer(o: Oracle, policy: Array) -> tuple[list[Array], Array]:
    """``x`` of the tokens of every answer, and the answers' probabilities under the policy."""
    x = log_ratio(o.table(REF), policy)
    open_ones: list[tuple[int, float, list[float]]] = [(o.mdp.start_context, 1.0, [])]
    done: list[tuple[float, list[float]]] = []
    for t in range(o.mdp.steps):
        ahead = []
        for s, mass, so_far in open_ones:
            for a in np.flatnonzero(policy[t, s]):
                longer = [*so_far, float(x[t, s, a])]
                s2, mass2 = int(o.following[s, a]), mass * float(policy[t, s, a])
                ends = t + 1 == o.mdp.steps or not o.mdp.reach.states[t + 1, s2]
                if ends:
                    done.append((mass2, longer))
                else:
                    ahead.append((s2, mass2, longer))
        open_ones = ahead
        if len(open_ones) + len(done) > MOST:
            raise InstanceError.of(
                "answers", len(open_ones), f"more than {MOST} to enumerate", "shorten the horizon"
            )
    return [np.asarray(row) for _, row in done], np.array([mass for mass, _ in done])


def gradients(o: Oracle, policy: Array) -> dict[str, dict[str, float]]:
    """Each estimator as a loss on fixed answers: its gradient beside that of the sequence KL.

    cosine and size: of the expected gradient in the logits of every (t, s, a), relative to the KL's.
    """
    ref = o.table(REF)
    c, d = log_ratio(policy, ref), o.visits(policy)[..., None]
    to_come = o.to_come(policy, c)
    exact = (
        d * policy * (c + np.stack([F[o.following] for F in to_come[1:]]) - to_come[:-1, :, None])
    )
    mean = (policy * c).sum(axis=2, keepdims=True)
    found = {"k1": np.zeros_like(exact), "k2": d * policy * (c - mean), "k3": d * (policy - ref)}
    size = float(np.linalg.norm(exact))
    return {
        name: {
            "cosine": float((g * exact).sum() / max(float(np.linalg.norm(g)) * size, 1e-300)),
            "size": float(np.linalg.norm(g)) / max(size, 1e-300),
        }
        for name, g in found.items()
    }  # fmt: skip


def sampled(o: Oracle, policy: str, n: int, seed: int) -> dict[str, list[float]]:
    """What a trainer would log: answers drawn by ``generate``; mean of the sums and its error."""
    torch.manual_seed(seed)
    ids = torch.tensor([o.prompt] * n)
    ends = [] if o.mdp.eos is None else [o.mdp.eos]
    settings = transformers.GenerationConfig(
        max_new_tokens=o.mdp.steps,
        do_sample=True,
        top_k=0,
        eos_token_id=ends or None,
        pad_token_id=0,
    )
    with o.bank.using(policy) as base, torch.no_grad():
        out = base.generate(
            input_ids=ids, generation_config=settings, attention_mask=torch.ones_like(ids)
        )
        mine = base(input_ids=out[:, :-1]).logits.log_softmax(dim=2)
    with o.bank.using(REF) as base, torch.no_grad():
        theirs = base(input_ids=out[:, :-1]).logits.log_softmax(dim=2)
    drawn = out[:, ids.shape[1] :, None]
    first = ids.shape[1] - 1
    x = (theirs - mine)[:, first:].gather(2, drawn)[..., 0].numpy()
    ended = (drawn[..., 0].numpy()[..., None] == np.array(ends or [-1])).any(axis=2)
    live = np.cumsum(ended, axis=1) - ended == 0
    sums = {
        name: np.where(live, k(np.where(live, x, 0.0)), 0.0).sum(axis=1)
        for name, k in ESTIMATORS.items()
    }
    return {name: [float(v.mean()), float(v.std(ddof=1) / np.sqrt(n))] for name, v in sums.items()}


def _default(seed: int) -> TokenMDP:
    """A random instance whose answers end at a token of their own, so that lengths differ."""
    mdp = generate("dirichlet", seed, A=4, L=1, T=6, K=2, beta=2.0, forbid=0.0)
    return mdp.replace(eos=3, name=f"{mdp.name} with eos")


def kl_estimators(
    mdp: TokenMDP | None = None, policy: str = "user", draws: int = 4000, seed: int = 0
) -> dict[str, Any]:
    """Every estimator's mean and spread over all answers, its bias, and what a sample shows.

    Returns one JSON object, in nats.
    """
    o = oracle(_default(seed) if mdp is None else mdp)
    table = o.table(policy)
    exact = o.kl(table)
    rows, mass = every_answer(o, table)
    tokens = np.array([len(row) for row in rows])
    logged = sampled(o, policy, draws, seed)
    slopes = gradients(o, table)
    found = {}
    for name, k in ESTIMATORS.items():
        sums = np.array([float(k(row).sum()) for row in rows])
        whole = k(np.array([float(row.sum()) for row in rows]))
        mean = float(mass @ sums)
        found[name] = {
            "mean of sums": mean, "bias": mean - exact,
            "standard deviation": float(np.sqrt(mass @ (sums - mean) ** 2)),
            "of the whole answer's ratio": float(mass @ whole),
            "its standard deviation": float(np.sqrt(mass @ (whole - mass @ whole) ** 2)),
            "mean over an answer's tokens × mean length": float(mass @ (sums / tokens) * (mass @ tokens)),
            "drawn": logged[name], "as a loss": slopes[name],
        }  # fmt: skip
    return {
        "instance": o.mdp.name, "policy": policy, "exact": exact, "answers": len(rows),
        "mean length": float(mass @ tokens), "draws": draws, "estimators": found,
    }  # fmt: skip
