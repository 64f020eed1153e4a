"""One witness file read into exact rationals: a JSON number is the nearest binary64, a dyadic.

Weights are normalised by definition: the rows of ``ref_weights`` and the user weights ``w`` are
divided by their sums, exactly. Only what the reference policy can reach is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flint import fmpq, fmpq_mat

BARE = "an instance, without a claim to break: see `soupcheck instance NAME --witness`, or search"
WITNESS = ("format", "instance", "claim", "lambda", "seed", "expected")
REQUIRED = ("format", "vocab_size", "order", "horizon", "start", "rewards", "beta", "w", "features")
OPTIONAL = (
    "ref_weights",
    "ref_sparse",
    "beta_prime",
    "eos",
    "bos",
    "start_feature",
    "name",
    "meta",
)
MOST_BYTES = 2**26  # of a witness file
LARGEST = 4096  # contexts, steps: certified witnesses are small
MOST_PLACES = 2**17  # steps times contexts, which are walked one by one


class WitnessError(ValueError):
    """The file is not a witness that could be certified; the text says why, on one line."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.splitlines())[:1000])  # it may quote what the file holds


def need(condition: object, text: str) -> None:
    """Raise WitnessError unless the condition holds."""
    if not condition:
        raise WitnessError(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    need(len(fields) == len(pairs), "a key is given twice in one object")
    return fields


def _refuse(constant: str) -> None:
    raise WitnessError(f"{constant} is no JSON number")


def keys(name: str, fields: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Raise WitnessError unless these are the keys of an object."""
    need(isinstance(fields, dict), f"{name}: must be an object")
    missing = [k for k in required if k not in fields]
    extra = [k for k in fields if k not in (*required, *optional)]
    need(not missing, f"{name}: missing {missing}")
    need(not extra, f"{name}: no such key {extra}")


def _number(name: str, x: Any) -> fmpq:
    need(isinstance(x, int | float) and not isinstance(x, bool), f"{name} = {x!r:.40}: no number")
    try:
        value = float(x)
    except OverflowError:
        value = math.inf
    need(math.isfinite(value), f"{name}: does not fit a binary64")
    return fmpq(*value.as_integer_ratio())


def numbers(name: str, x: Any, *shape: int) -> Any:
    """Nested lists of exact numbers of this shape."""
    if not shape:
        return _number(name, x)
    need(isinstance(x, list) and len(x) == shape[0], f"{name}: must list {shape[0]} entries")
    return [numbers(f"{name}[{i}]", entry, *shape[1:]) for i, entry in enumerate(x)]


def whole(name: str, x: Any, low: int, high: int) -> int:
    """A whole number from low to high."""
    fits = isinstance(x, int) and not isinstance(x, bool) and low <= x <= high
    need(fits, f"{name} = {x!r:.40}: must be an integer from {low} to {high}")
    return int(x)


@dataclass(frozen=True, eq=False)
class Instance:
    """An instance of ``token-mdp/1`` with a finite horizon, in exact rationals.

    moves: context s -> [(next context, ref)] over allowed tokens, of sum 1. states: for each step
    the reachable contexts; used: the reachable (t, s'). rewards: [K][S]. psi: (t, s') -> feature
    row {coordinate: value}. ended: last token is eos, nothing follows. row_of: context -> weight
    of every token but bos. width: coordinates of ψ. tokens, eos, bos: of the vocabulary.
    """

    steps: int
    order: int
    start: int
    beta: fmpq
    beta_prime: fmpq
    w: list[fmpq]
    rewards: list[list[fmpq]]
    moves: dict[int, list[tuple[int, fmpq]]]
    states: list[list[int]]
    used: list[tuple[int, int]]
    ended: set[int]
    psi: dict[tuple[int, int], dict[int, fmpq]]
    per_step: bool
    start_feature: dict[int, fmpq] | None
    row_of: dict[int, list[fmpq]]
    width: int
    tokens: int
    eos: int | None
    bos: int | None

    @property
    def K(self) -> int:
        """Number of specialists."""
        return len(self.w)

    @cached_property
    def rewards_w(self) -> list[fmpq]:
        """``r_w = Σ_k w_k r_k`` [S]."""
        rows = zip(*self.rewards, strict=True)
        return [sum((w * x for w, x in zip(self.w, r, strict=True)), fmpq(0)) for r in rows]

    def rows(self, places: list[tuple[int, int]]) -> fmpq_mat:
        """Feature rows of these (t, s') as a matrix."""
        return matrix([self.psi[place] for place in places])


@dataclass(frozen=True, eq=False)
class Witness:
    """What a witness file says. lam: [K] or None."""

    instance: Instance
    claim: str
    lam: list[fmpq] | None
    expected: dict[str, float]
    sha256: str


def matrix(rows: list[dict[int, fmpq]]) -> fmpq_mat:
    """Sparse rows as a matrix over the coordinates that occur."""
    columns = sorted({j for row in rows for j in row}) or [0]
    return fmpq_mat([[row.get(j, fmpq(0)) for j in columns] for row in rows])


def square(row: dict[int, fmpq]) -> fmpq:
    """``‖row‖²``, exact."""
    return sum((x * x for x in row.values()), fmpq(0))


@dataclass(frozen=True, eq=False)
class File:
    """A witness file, of any kind of world, as it was read."""

    instance: dict[str, Any]
    claim: str
    lam: Any
    expected: dict[str, float]
    sha256: str


def read(path: Path) -> File:
    """Read a witness file up to its instance. Raises WitnessError for extra or missing fields."""
    try:
        with path.open("rb") as stream:  # which may have no end
            raw = stream.read(MOST_BYTES + 1)
        need(len(raw) <= MOST_BYTES, f"more than {MOST_BYTES} bytes: certified witnesses are small")
        file = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse
        )
    except OSError as error:
        raise WitnessError(f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # WitnessError, bad UTF-8 and bad JSON
        raise WitnessError(str(error)) from None
    bare = isinstance(file, dict) and "claim" not in file and "format" in file
    need(not bare, BARE)
    keys("witness", file, WITNESS)
    need(file["format"] == "soup-witness/1", f"format = {file['format']!r}: not soup-witness/1")
    need(isinstance(file["claim"], str), "claim: must be a string")
    whole("seed", file["seed"], 0, 2**63)
    keys("expected", file["expected"], ("lhs", "rhs"))
    expected = {k: float(_number(f"expected.{k}", x)) for k, x in file["expected"].items()}
    world = file["instance"]
    need(isinstance(world, dict), "instance: must be an object")
    return File(world, file["claim"], file["lambda"], expected, hashlib.sha256(raw).hexdigest())


def load(path: Path) -> Witness:
    """Read a witness about a token MDP. Raises WitnessError for inconsistent fields."""
    return witness_of(read(path))


def witness_of(file: File) -> Witness:
    """The witness of a file about a token MDP. Raises WitnessError as ``load`` does."""
    need(file.instance.get("format") == "token-mdp/1", "instance: no token-mdp/1")
    instance = _instance(file.instance)
    lam = None if file.lam is None else numbers("lambda", file.lam, instance.K)
    return Witness(instance, file.claim, lam, file.expected, file.sha256)


def _instance(fields: dict[str, Any]) -> Instance:
    keys("instance", fields, REQUIRED, OPTIONAL)
    need(fields["horizon"] is not None, "horizon = null: only finite horizons can be certified")
    A = whole("vocab_size", fields["vocab_size"], 1, LARGEST)
    L = whole("order", fields["order"], 1, 12)
    S, T = A**L, whole("horizon", fields["horizon"], 1, LARGEST)
    need(S <= LARGEST, f"{S} contexts: certified witnesses have at most {LARGEST}")
    need(S * T <= MOST_PLACES, f"{T} steps of {S} contexts: at most {MOST_PLACES} in all")
    marks: dict[str, int | None] = {
        k: None if fields.get(k) is None else whole(k, fields[k], 0, A - 1) for k in ("eos", "bos")
    }
    eos, bos = marks["eos"], marks["bos"]
    need(eos is None or eos != bos, "eos and bos must differ")
    need(isinstance(fields["start"], list) and len(fields["start"]) == L, f"start: {L} tokens")
    tokens = [whole("start", x, 0, A - 1) for x in fields["start"]]
    need(eos is None or tokens[-1] != eos, "start ends in eos")
    start = sum(token * A ** (L - 1 - i) for i, token in enumerate(tokens))
    beta = _number("beta", fields["beta"])
    prime = fields.get("beta_prime")
    beta_prime = beta if prime is None else _number("beta_prime", prime)
    need(beta > 0 and beta_prime > 0, "beta, beta_prime: must be positive")
    rewards, w = fields["rewards"], fields["w"]
    need(isinstance(rewards, list) and rewards, "rewards: must list K >= 1 rows")
    K = len(rewards)
    rewards, w = numbers("rewards", rewards, K, S), numbers("w", w, K)
    need(min(w) >= 0 and abs(sum(w) - 1) <= fmpq(1, 10**9), "w: must lie on the simplex")
    w = [x / sum(w) for x in w]
    weights = _reference(fields, S, A)
    ended = {s for s in range(S) if s % A == eos}
    moves: dict[int, list[tuple[int, fmpq]]] = {}
    states, used, now = [], [], {start}
    for t in range(T):
        states.append(sorted(now))
        for s in now:
            total = sum(weights[s], fmpq(0))
            need(total > 0, f"ref_weights[{s}]: all 0 at a reachable context")
            need(bos is None or weights[s][bos] == 0, f"ref_weights[{s}]: emits bos")
            moves[s] = [((s * A + a) % S, x / total) for a, x in enumerate(weights[s]) if x > 0]
        nexts = {x for s in now for x, _ in moves[s]}
        used += [(t, x) for x in sorted(nexts)]
        now = nexts - ended
    psi, per_step, width = _features(fields["features"], S, T, used)
    first = fields.get("start_feature")
    need(first is None or width is not None, "start_feature: belongs to dense features only")
    row = None if first is None else _sparse(numbers("start_feature", first, width or 0))
    row_of = {s: [x for a, x in enumerate(weights[s]) if a != bos] for s in moves}
    return Instance(
        T, L, start, beta, beta_prime, w, rewards, moves, states, used, ended, psi, per_step, row,
        row_of, width or S * (T if per_step else 1), A, eos, bos,
    )  # fmt: skip


def _sparse(row: list[fmpq]) -> dict[int, fmpq]:
    return {i: x for i, x in enumerate(row) if x != 0}


def _reference(fields: dict[str, Any], S: int, A: int) -> list[list[fmpq]]:
    given = [key for key in ("ref_weights", "ref_sparse") if fields.get(key) is not None]
    need(len(given) == 1, "exactly one of ref_weights and ref_sparse")
    if given == ["ref_weights"]:
        weights = numbers("ref_weights", fields["ref_weights"], S, A)
    else:
        sparse = fields["ref_sparse"]
        keys("ref_sparse", sparse, ("indptr", "tokens", "weights"))
        need(all(isinstance(x, list) for x in sparse.values()), "ref_sparse: three lists")
        n = len(sparse["tokens"])
        ends = [whole("ref_sparse.indptr", x, 0, n) for x in sparse["indptr"]]
        rises = len(ends) == S + 1 and ends[0] == 0 and ends[-1] == n and ends == sorted(ends)
        need(rises, f"ref_sparse.indptr: must rise from 0 to {n} in {S + 1} entries")
        values = numbers("ref_sparse.weights", sparse["weights"], n)
        weights = [[fmpq(0)] * A for _ in range(S)]
        for s in range(S):
            ids = [whole("ref_sparse.tokens", x, 0, A - 1)
                   for x in sparse["tokens"][ends[s] : ends[s + 1]]]  # fmt: skip
            need(len(set(ids)) == len(ids), f"ref_sparse.tokens: one twice in context {s}")
            for a, x in zip(ids, values[ends[s] : ends[s + 1]], strict=True):
                weights[s][a] = x
    need(all(x >= 0 for row in weights for x in row), "reference weights: must be non-negative")
    return list(weights)


def _features(
    spec: Any, S: int, T: int, used: list[tuple[int, int]]
) -> tuple[dict[tuple[int, int], dict[int, fmpq]], bool, int | None]:
    """Feature rows at the reachable (t, s'), whether they know the step, and the dense width."""
    need(
        isinstance(spec, dict) and spec.get("kind") in ("dense", "tabular"),
        "features.kind: unknown",
    )
    if spec["kind"] == "tabular":
        keys("features", spec, ("kind", "per_step"), ("scale",))
        per_step = spec["per_step"]
        need(isinstance(per_step, bool), "features.per_step: must be true or false")
        scale = spec.get("scale", 1.0)
        if isinstance(scale, list):
            scale = numbers("features.scale", scale, *((T, S) if per_step else (S,)))
            at = {(t, s): scale[t][s] if per_step else scale[s] for t, s in used}
        else:
            at = dict.fromkeys(used, _number("features.scale", scale))
        need(all(x > 0 for x in at.values()), "features.scale: must be positive where reachable")
        return {(t, s): {t * S + s if per_step else s: at[t, s]} for t, s in used}, per_step, None
    keys("features", spec, ("kind", "values"))
    depth, values = 0, spec["values"]
    while isinstance(values, list) and values:
        depth, width, values = depth + 1, len(values), values[0]
    need(depth in (2, 3), "features.values: must be [S][d] or [T][S][d]")
    table = numbers("features.values", spec["values"], *((T, S, width)[3 - depth :]))
    rows = {(t, s): table[t][s] if depth == 3 else table[s] for t, s in used}
    return {place: _sparse(row) for place, row in rows.items()}, depth == 3, width
