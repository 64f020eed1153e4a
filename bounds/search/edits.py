"""Ways to make an instance smaller or simpler: each edit maps an instance to one, or to None.

λ travels beside the instance, for claims that speak of every λ. An edit knows nothing of claims; the
shrinker keeps what still breaks one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from toymdp import TokenMDP
from toymdp.worlds.features import Dense, Tabular

from ..sides import Array

Draft = tuple[TokenMDP, Array | None]
Edit = Callable[[Draft], Draft | None]
OPENED = 2.0**-200  # weight of a token that was forbidden, relative to its row's largest
STEPS = (64.0, 16.0, 4.0, 1.0, 2.0**-2, 2.0**-4, 2.0**-8, 2.0**-12)  # grids to round to


def rebuilt(draft: Draft, **changes: Any) -> Draft:
    """The draft with some fields of the instance changed."""
    return draft[0].replace(**changes), draft[1]


def smaller(draft: Draft) -> Iterator[Edit]:
    """Fewer steps, tokens, rewards, a shorter context: coarse steps first."""
    mdp = draft[0]
    for T in sorted({1, mdp.steps // 2, mdp.steps - 2, mdp.steps - 1}):
        if mdp.horizon is not None and 1 <= T < mdp.steps:
            yield partial(_cut, T=T)
    for a in range(mdp.vocab_size):
        if a not in mdp.start and mdp.vocab_size > 1:
            yield partial(_cut, without=a)
    if mdp.order > 1:
        yield partial(_cut, shorter=True)
    for k in range(mdp.n_rewards if mdp.n_rewards > 1 else 0):
        yield partial(_without_reward, k=k)


def _cut(
    draft: Draft, T: int | None = None, without: int | None = None, shorter: bool = False
) -> Draft | None:
    mdp = draft[0]
    A, L = mdp.vocab_size, mdp.order
    tokens = [a for a in range(A) if a != without]
    contexts = np.arange(mdp.n_contexts)
    digits = np.stack([contexts // A ** (L - 1 - i) % A for i in range(L)], axis=1)
    chosen = np.isin(digits, tokens).all(axis=1)
    start = list(mdp.start)
    if shorter:
        chosen &= digits[:, 0] == start[0]
        start = start[1:]
    index = contexts[chosen]
    names = {a: i for i, a in enumerate(tokens)}
    fields = mdp.fields() | {
        "vocab_size": len(tokens), "order": len(start), "horizon": mdp.horizon if T is None else T,
        "start": [names[a] for a in start], "ref_weights": mdp.ref_weights[index][:, tokens],
        "rewards": mdp.rewards[:, index], "features": _features(mdp, index, T),
    }  # fmt: skip
    for role in ("eos", "bos"):
        if fields.get(role) is not None:
            if fields[role] == without:
                return None
            fields[role] = names[fields[role]]
    return TokenMDP(**fields), draft[1]


def _features(mdp: TokenMDP, index: Any, T: int | None) -> dict[str, Any]:
    features = mdp.features
    steps = slice(None, T)
    if isinstance(features, Dense):
        values = features.values
        return {
            "kind": "dense",
            "values": values[steps, index] if features.per_step else values[index],
        }
    assert isinstance(features, Tabular)
    scale = features.scale
    if scale.ndim == 2:
        scale = scale[steps, index]
    elif scale.ndim == 1:
        scale = scale[index]
    return {"kind": "tabular", "per_step": features.per_step, "scale": scale}


def _without_reward(draft: Draft, k: int) -> Draft | None:
    mdp, lam = draft
    w = np.delete(mdp.w, k)
    if not w.sum() > 0:
        return None
    changed = mdp.replace(rewards=np.delete(mdp.rewards, k, axis=0), w=w / w.sum())
    return changed, None if lam is None else np.delete(lam, k)


def opened(draft: Draft) -> Iterator[Edit]:
    """Every token allowed everywhere, so that ref is a softmax (ss.asm0) for one-hot features."""
    yield open_tokens


def open_tokens(draft: Draft) -> Draft | None:
    """Forbidden tokens get the weight OPENED."""
    weights = draft[0].ref_weights
    if (weights > 0).all() or draft[0].bos is not None:
        return None
    top = weights.max(axis=1, keepdims=True)
    return rebuilt(draft, ref_weights=np.maximum(weights / np.where(top > 0, top, 1.0), OPENED))


def plainer_temperatures(draft: Draft) -> Iterator[Edit]:
    """β = β' = 1 with rewards in units of β, else β' = β alone."""
    mdp = draft[0]
    if mdp.beta != 1.0:
        yield _unit_beta
    if mdp.beta_prime != mdp.beta:
        yield _one_beta


def _unit_beta(draft: Draft) -> Draft:
    mdp, lam = draft
    assert mdp.beta_prime is not None
    changed = mdp.replace(
        rewards=mdp.rewards / mdp.beta, beta=1.0, beta_prime=mdp.beta_prime / mdp.beta
    )
    return changed, None if lam is None else lam / mdp.beta


def _one_beta(draft: Draft) -> Draft:
    mdp, lam = draft
    assert mdp.beta_prime is not None
    ratio = mdp.beta / mdp.beta_prime
    return mdp.replace(beta_prime=mdp.beta), None if lam is None else lam * ratio


def plainer_reference(draft: Draft) -> Iterator[Edit]:
    """Uniform rows, rows copied from the start, forbidden tokens, weights that are powers of two."""
    mdp = draft[0]
    forbids = bool((mdp.ref_weights[mdp.reach.any_state] == 0).any())
    yield partial(_rows, at=slice(None), row=np.ones(mdp.vocab_size))
    for s in range(mdp.n_contexts):
        yield partial(_rows, at=s, row=np.ones(mdp.vocab_size))
        if s != mdp.start_context:
            yield partial(_rows, at=s, row=mdp.ref_weights[mdp.start_context])
        for a in range(mdp.vocab_size if forbids else 0):
            yield partial(_forbid, s=s, a=a)
    for step in (32.0, 16.0, 8.0, 4.0, 2.0, 1.0):
        yield partial(_powers, s=None, step=step)
    for s in range(mdp.n_contexts):
        for step in (16.0, 4.0, 1.0):
            yield partial(_powers, s=s, step=step)
        for a in range(mdp.vocab_size):
            for step in (200.0, 16.0, 4.0, 1.0):
                yield partial(_power, s=s, a=a, step=step)


def _rows(draft: Draft, at: Any, row: Array) -> Draft | None:
    weights = draft[0].ref_weights.copy()
    before = weights[at].copy()
    weights[at] = np.where(before > 0, row, 0.0) if (before == 0).any() else row
    return None if np.array_equal(weights[at], before) else rebuilt(draft, ref_weights=weights)


def _alike(weights: Array, s: int) -> Any:
    """Rows [S] equal to row s: they stay equal, since a repeated row is quickly read."""
    return (weights == weights[s]).all(axis=1)


def _forbid(draft: Draft, s: int, a: int) -> Draft | None:
    weights = draft[0].ref_weights.copy()
    if weights[s, a] == 0 or (weights[s] > 0).sum() < 2:
        return None
    weights[_alike(weights, s), a] = 0.0
    return rebuilt(draft, ref_weights=weights)


def _powers(draft: Draft, s: int | None, step: float) -> Draft | None:
    weights = draft[0].ref_weights.copy()
    at = slice(None) if s is None else _alike(weights, s)
    row = weights[at]
    top = row.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = step * np.round(np.log2(row / top) / step)
    weights[at] = np.where(row > 0, 2.0**exponent, 0.0)
    return None if np.array_equal(weights[at], row) else rebuilt(draft, ref_weights=weights)


def _power(draft: Draft, s: int, a: int, step: float) -> Draft | None:
    weights = draft[0].ref_weights.copy()
    share = weights[s, a] / weights[s].max()
    if not 0 < share < 1:
        return None
    exponent = step * (np.floor if step > 100 else np.round)(np.log2(share) / step)
    weights[_alike(weights, s), a] = weights[s].max() * 2.0**exponent
    return rebuilt(draft, ref_weights=weights)


def plainer_rewards(draft: Draft) -> Iterator[Edit]:
    """Zeros, equal rewards, and the coarsest grid that works, for the table and then its entries."""
    mdp = draft[0]
    unreached = ~mdp.reach.nexts.any(axis=0)
    yield partial(_reward, at=(slice(None), unreached), change=np.zeros_like)
    places = [(k, s) for k in range(mdp.n_rewards) for s in range(mdp.n_contexts)]
    for place in places:
        yield partial(_reward, at=place, change=np.zeros_like)
    for step in STEPS:
        yield partial(_reward, at=slice(None), change=partial(on_grid, step=step))
    for k, s in places:
        for j in range(k):
            yield partial(_same_reward, k=k, j=j, s=s)
        for step in STEPS[:5]:
            yield partial(_reward, at=(k, s), change=partial(on_grid, step=step))


def on_grid(x: Any, step: float) -> Any:
    """The nearest multiples of a step."""
    return step * np.round(x / step)


def _same_reward(draft: Draft, k: int, j: int, s: int) -> Draft | None:
    return _reward(draft, (k, s), lambda r: draft[0].rewards[j, s])


def _reward(draft: Draft, at: Any, change: Callable[[Any], Any]) -> Draft | None:
    rewards = draft[0].rewards.copy()
    before = rewards[at].copy()
    rewards[at] = change(before)
    return None if np.array_equal(rewards[at], before) else rebuilt(draft, rewards=rewards)


def plainer_weights(draft: Draft) -> Iterator[Edit]:
    """w and λ on coarse grids; the largest entry of w takes what the others leave."""
    for n in (2, 4, 8, 16, 64, 1024):
        yield partial(_user, n=n)
    for n in (1, 2, 4, 8, 16):
        yield partial(_lam, n=n)


def _user(draft: Draft, n: int) -> Draft | None:
    w = np.round(draft[0].w * n) / n
    w[int(np.argmax(draft[0].w))] += 1.0 - w.sum()
    return None if (w < 0).any() or np.array_equal(w, draft[0].w) else rebuilt(draft, w=w)


def _lam(draft: Draft, n: int) -> Draft | None:
    mdp, lam = draft
    if lam is None or mdp.beta_prime is None:
        return None
    full = mdp.beta_prime / mdp.beta
    rounded = full * np.round(lam / full * n) / n
    return None if np.array_equal(rounded, lam) or not rounded.any() else (mdp, rounded)


def plainer_features(draft: Draft) -> Iterator[Edit]:
    """One-hot scales that are powers of two; a softmax world's features and parameters on a grid."""
    features = draft[0].features
    if isinstance(features, Tabular):
        yield partial(_scale, change=np.ones_like)
        for step in (10.0, 4.0, 1.0):
            yield partial(_scale, change=partial(_power_of_two, step=step))
    elif not features.per_step:
        for column in range(features.width if features.width > 1 else 0):
            yield partial(_softmax_world, step=2.0**-12, drop=column)
        for step in (1.0, 0.5, 0.25, 2.0**-4, 2.0**-8):
            yield partial(_softmax_world, step=step)


def _power_of_two(c: Any, step: float) -> Any:
    return 2.0 ** on_grid(np.log2(c), step)


def _scale(draft: Draft, change: Callable[[Array], Array]) -> Draft | None:
    features = draft[0].features
    assert isinstance(features, Tabular)
    scale = change(features.scale)
    if np.array_equal(scale, features.scale):
        return None
    spec = {"kind": "tabular", "per_step": features.per_step, "scale": scale}
    return rebuilt(draft, features=spec)


def _softmax_world(draft: Draft, step: float, drop: int | None = None) -> Draft | None:
    """The world made anew from features and parameters rounded to a grid.

    ``ref ∝ 2^{psi(s)·m(a)}`` and ``r = psi·nu_r``: with m on the grid, weights are powers of two of
    it, and both hypotheses of the section hold by construction.
    """
    mdp = draft[0]
    assert isinstance(mdp.features, Dense)
    psi, first = mdp.features.values, mdp.start_feature
    if first is None or (mdp.ref_weights <= 0).any():
        return None
    rows = psi.copy()
    rows[mdp.start_context] = first
    logits = np.log2(mdp.ref_weights)
    logits = logits - logits.mean(axis=1, keepdims=True)
    columns = [j for j in range(rows.shape[1]) if j != drop]

    nu = on_grid(np.linalg.lstsq(rows, logits, rcond=1e-10)[0], step)[columns]
    reward = on_grid(np.linalg.lstsq(rows, mdp.rewards.T, rcond=1e-10)[0], step)[columns]
    rows = on_grid(rows, step)[:, columns]
    exponent = rows @ nu
    return rebuilt(
        draft, start_feature=rows[mdp.start_context], features={"kind": "dense", "values": rows},
        rewards=(rows @ reward).T,
        ref_weights=2.0 ** (exponent - exponent.max(axis=1, keepdims=True)),
    )  # fmt: skip
