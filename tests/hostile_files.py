"""Documents of every format that is read, and what a hostile or careless hand may do to them."""

from __future__ import annotations

import copy
import io
import json
import warnings
import zipfile
from random import Random
from typing import Any

import numpy as np

TOKEN_MDP: dict[str, Any] = {
    "format": "token-mdp/1", "vocab_size": 3, "order": 1, "horizon": 2, "start": [0],
    "ref_weights": [[1, 1, 1], [1, 2, 4], [1, 4, 16]], "rewards": [[0, 1, 2], [3, 0, 1]],
    "beta": 1.0, "w": [0.5, 0.5],
    "features": {"kind": "dense", "values": [[1, 0], [1, 1], [1, 2]]},
}  # fmt: skip
SPARSE = {k: v for k, v in TOKEN_MDP.items() if k != "ref_weights"} | {
    "ref_sparse": {"indptr": [0, 2, 3, 5], "tokens": [0, 1, 2, 0, 1], "weights": [1, 1, 1, 2, 3]},
    "features": {"kind": "tabular", "per_step": True, "scale": 1.0}, "eos": 2, "beta_prime": 2.0,
}  # fmt: skip
ENDLESS = TOKEN_MDP | {
    "horizon": None, "eos": 2, "meta": {"note": ["ä", 1.5, None]}, "name": "endless",
}  # fmt: skip
POLICIES = {
    "format": "attribute-set/1", "budget": 1, "base": [[0.5, 0.5]], "tilts": [[[1, 0]], [[0, 2]]],
    "interactions": [[[0.5, 0]]], "reward": [[1, 0]], "pairs": [[0, 0, 1]], "beta": 1.0,
}  # fmt: skip
VALUES = {"format": "attribute-set/1", "budget": 2, "values": [0, 1, 0.5, 1.2]}
GAUSSIAN = {
    "format": "topic-cloud/1", "means": [[0], [1]], "counts": [2, 3], "separation": 1, "sigma": 1,
    "delta": 0.1, "covariances": [[[1]], [[1]]], "draws": 16, "seed": 3, "topic": 1,
}  # fmt: skip
ATOMS = {k: v for k, v in GAUSSIAN.items() if k != "covariances"} | {
    "points": [[[1], [-1]], [[0], [0]]], "weights": [[0.5, 0.5], [1, 0]], "proportions": [0.4, 0.6],
}  # fmt: skip
PAIRS = {
    "format": "preference-pairs/1", "differences": [[1.0, 0.5]], "prior_mean": [0, 0],
    "prior_covariance": [[1, 0], [0, 1]], "labels": [-1], "beta": 2.0,
}  # fmt: skip
LEAD = {
    "theta": [0.5] * 19, "sizes": [3, 1, 2, 2], "allowed": [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
}  # fmt: skip
SEARCH = {"rounds": 1, "looks": 2, "seconds": 0.5, "tried": {"climb": 3}, "lead": LEAD}
WITNESS = {
    "format": "soup-witness/1", "claim": "ss.thm1.kl", "lambda": [0.5, -0.1], "seed": 0,
    "instance": TOKEN_MDP | {"meta": {"search": SEARCH}}, "expected": {"lhs": 1.0, "rhs": 0.5},
}  # fmt: skip
DOCUMENTS: tuple[dict[str, Any], ...] = (
    TOKEN_MDP, SPARSE, ENDLESS, POLICIES, VALUES, GAUSSIAN, ATOMS, PAIRS, WITNESS,
)  # fmt: skip


def _marks(*ratings: str) -> dict[str, Any]:
    names = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    return {name: {"Rating": rating} for name, rating in zip(names, ratings, strict=True)}


# rows of JSON Lines in each of the formats of preferences
PREFERENCES: tuple[list[dict[str, Any]], ...] = (
    [{"prompt": "q", "chosen": " a", "rejected": " b"}] * 3,
    [{"prompt": f"q{i}", "answers": [
        {"text": "a", "scores": {"warm": 1, "short": 0.5}},
        {"text": "b", "scores": {"short": i, "warm": 0.25}},
    ]} for i in range(3)],
    [{"instruction": "q", "completions": [
        {"response": "x", "annotations": _marks("4", "5", "3", "5")},
        {"response": "y", "annotations": _marks("1", "2", "N/A", "5")},
        {"response": "z", "annotations": _marks("1", "2", "2", "5")},
    ]}] * 2,
)  # fmt: skip
_TALLY = {
    "states": 3, "scale": 1.5, "sides": {
        "ss.delta": {"lhs": 0.5, "rhs": 1.0, "scale": 1.0, "where": {"k": 0, "sequence": 1, "token": 4}},
    },
    "sums": {"delta": [1.0], "renyi": [0.5], "kl": [[0.0, 1.0], [1.0, 0.0]], "span": [2.0],
             "gram": [[1.0]]},
    "maxima": {"log_upper": [1.0], "neg_log_lower": [2.0], "delta": [1.0], "renyi": [0.5],
               "kl": [[0.0, 1.0], [1.0, 0.0]], "span": [2.0]},
}  # fmt: skip
# the file of a run "r" with two finished chunks
CHUNKS: list[dict[str, Any]] = [
    {"format": "soupcheck-llm-chunks/2", "run": "r"},
    *({"chunk": n, "tally": _TALLY, "tokens": []} for n in range(2)),
]

WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, 1e-310, 5e-324, 1e50, 1e160, 1.7e308, -1e308, 2**31, 2**63,
    10**30, 10**400, float("nan"), float("inf"), "", "1", "token-mdp/1", "\x1b[2J", "\ud800", "\u2028",
    [], [[]], [0], [1, 2], [[1, 0], [0, 1]], [None], ["a"], [[1], [1, 2]], {}, {"a": 1}, {"kind": []},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a document."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    return [*([path] if path else []), *(p for k, v in inside for p in places(v, (*path, k)))]


def replaced(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The document with another value at that place."""
    changed = copy.deepcopy(document)
    at: Any = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What stands at that place."""
    for key in path:
        value = value[key]
    return value


def as_json(document: dict[str, Any]) -> bytes:
    """Its JSON text; NaN and Infinity as Python writes them."""
    return json.dumps(document).encode()


def as_npz(document: dict[str, Any]) -> bytes:
    """Its archive; what NumPy cannot hold as an array without objects is left out."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key != "meta":
            flat.update({f"{key}.{k}": v for k, v in value.items()})
        elif value is not None:
            flat[key] = json.dumps(value) if key == "meta" else value
    arrays = {}
    for key, value in flat.items():
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError):
            continue
        if array.dtype != object:
            arrays[key.replace("/", "")] = array
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of these members."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")  # that a name stands twice is what is wanted
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    """The .npy member of an array."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def damaged(content: bytes, rng: Random) -> bytes:
    """Bytes cut, repeated, overwritten or inserted at random."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0:
            data[i : i + 1] = rng.randbytes(1)
        elif kind == 1:
            del data[i : min(j, i + 8)]
        elif kind == 2:
            data[i:i] = data[i:j][:64]
        elif kind == 3:
            data[i:i] = rng.choice((b"[", b"{", b'"', b",", b"\x00", b"\xff", b"1e9", b"-", b"NaN"))
        elif data:
            del data[rng.randrange(len(data)) :]
    return bytes(data)


def mutant(rng: Random) -> tuple[str, bytes]:
    """A suffix and content: a document with something wrong in its values, its bytes, or both."""
    document = rng.choice(DOCUMENTS)
    if rng.random() < 0.7:
        for _ in range(rng.choice((1, 1, 2))):
            document = replaced(document, rng.choice(places(document)), rng.choice(WRONG))
    npz = rng.random() < 0.3
    content = as_npz(document) if npz else as_json(document)
    if rng.random() < 0.5:
        content = damaged(content, rng)
    return (".npz" if npz else ".json"), content
