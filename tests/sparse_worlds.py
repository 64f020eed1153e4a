"""Sparse copies of dense instances, made here from the table's numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from toymdp import TokenMDP
from toymdp.arrays import IntArray


def sparse_fields(mdp: TokenMDP) -> tuple[dict[str, Any], IntArray]:
    """The keys of the same instance with its reachable contexts alone, and their indices [N].

    A context that is reached by the last step alone has no row.
    """
    A, S = mdp.vocab_size, mdp.n_contexts
    layer, seen, entries = {mdp.start_context}, {mdp.start_context}, {}
    for _ in range(S if mdp.horizon is None else mdp.horizon):
        for s in layer:
            row = [] if mdp.ended[s] else [(a, mdp.ref_weights[s, a]) for a in range(A)]
            entries[s] = [(a, weight) for a, weight in row if weight > 0]
        layer = {(s * A + a) % S for s in layer for a, _ in entries[s]} - entries.keys()
        seen |= layer
    listed = np.array(sorted(seen))
    fields = mdp.fields()
    del fields["ref_weights"]
    rows = [entries.get(int(s), []) for s in listed]
    flat = [entry for row in rows for entry in row]
    fields |= {
        "contexts": listed, "rewards": mdp.rewards[:, listed],
        "ref_sparse": {
            "indptr": np.cumsum([0, *map(len, rows)]), "tokens": np.array([a for a, _ in flat]),
            "weights": np.array([weight for _, weight in flat]),
        },
    }  # fmt: skip
    features = dict(fields["features"])
    name, axis = ("values", -2) if features["kind"] == "dense" else ("scale", -1)
    if np.ndim(features[name]):
        features[name] = np.take(features[name], listed, axis=axis)
    return {**fields, "features": features}, listed


def sparse_copy(mdp: TokenMDP) -> tuple[TokenMDP, IntArray]:
    """The same instance, sparse, and the index [N] that each of its contexts has in the dense one."""
    fields, listed = sparse_fields(mdp)
    return TokenMDP(**fields), listed
