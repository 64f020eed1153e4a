"""``TokenMDP``: one language MDP, validated once at the door and frozen after it.

Spectral Souping, section 2.1: states are token sequences of which the last L decide, transitions
append a token, ``ref`` proposes it and K rewards score the context it leads to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..cached import cached_property
from ..errors import InstanceError
from ..validators import (
    check_memory,
    dense_reference,
    integer,
    positive,
    simplex,
    start_tokens,
    table,
    token,
)
from .features import Array, Features, read_features
from .reach import Mask, Reach, reach

FORMAT = "token-mdp/1"


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenMDP:
    """An instance of format ``token-mdp/1``; the fields are the file's keys.

    With A = vocab_size, L = order, S = A**L, T = horizon, K = number of rewards:

    ref_weights: [S, A] non-negative, normalised by row (0 forbids the token).
    rewards: [K, S] in reward units, earned on reaching the next context.
    beta, beta_prime: temperatures (reward units per nat). w: [K] on the simplex.
    start: L tokens, oldest first; context index ``s = Σ token_i · A**(L-1-i)``.
    features: see toymdp.worlds.features. ref_sparse: ``{indptr, tokens, weights}`` instead of ref_weights.

    Raises InstanceError naming field, value, rule and remedy.
    """

    vocab_size: int
    order: int
    horizon: int | None
    start: Sequence[int]
    rewards: Array
    beta: float
    w: Array
    features: Features | Mapping[str, Any]
    ref_weights: Array = None  # type: ignore[assignment]  # one of the two; an array afterwards
    ref_sparse: Mapping[str, Any] | None = None
    beta_prime: float | None = None
    eos: int | None = None
    bos: int | None = None
    start_feature: Array | None = None
    name: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        def put(key: str, value: object) -> None:
            object.__setattr__(self, key, value)

        if self.format != FORMAT:
            raise InstanceError.of("format", self.format, f"must be '{FORMAT}'", "convert the file")
        A = integer("vocab_size", self.vocab_size, 1)
        L = integer("order", self.order, 1)
        T = None if self.horizon is None else integer("horizon", self.horizon, 1)
        for key, value in (("vocab_size", A), ("order", L), ("horizon", T)):
            put(key, value)
        K = len(self.rewards) if hasattr(self.rewards, "__len__") else 0
        check_memory(A, L, T, max(K, 1))
        S = A**L
        for key in ("eos", "bos"):
            if getattr(self, key) is not None:
                put(key, token(key, getattr(self, key), A))
        if self.eos is not None and self.eos == self.bos:
            raise InstanceError.of("bos", self.bos, "must differ from eos", "use another token")
        if T is None and self.eos is None:
            raise InstanceError.of("horizon", None, "needs eos", "set eos or a finite horizon")
        put("start", start_tokens(self.start, A, L, self.eos))
        put("beta", positive("beta", self.beta))
        prime = self.beta if self.beta_prime is None else self.beta_prime
        put("beta_prime", positive("beta_prime", prime))

        put("rewards", table("rewards", self.rewards, (None, S)))
        put("w", simplex(self.w, len(self.rewards)))
        put("ref_weights", self._read_reference(A, S))
        put("ref_sparse", None)
        self._check_support(A)
        put("features", read_features(self.features, S, T, self.reach.nexts))
        if self.start_feature is not None:
            put("start_feature", self._read_start_feature())
        if self.name is not None and not isinstance(self.name, str):
            raise InstanceError.of("name", self.name, "must be a string", "quote it")
        if not isinstance(self.meta, Mapping):
            raise InstanceError.of("meta", self.meta, "must be an object", "use {...}")
        for key in ("rewards", "w", "ref_weights"):
            getattr(self, key).setflags(write=False)

    # -- reading ---------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TokenMDP:
        """Read a ``token-mdp/1`` file, JSON or NPZ by its suffix."""
        from ..files import read_fields

        return cls(**read_fields(Path(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the instance as JSON or NPZ by the suffix of ``path``."""
        from ..files import write_fields

        write_fields(self.fields(), Path(path))

    def fields(self) -> dict[str, Any]:
        """Return the keys of ``token-mdp/1`` with arrays for tables."""
        assert not isinstance(self.features, Mapping)
        known: dict[str, Any] = {
            "format": self.format, "name": self.name, "vocab_size": self.vocab_size,
            "order": self.order, "horizon": self.horizon, "eos": self.eos, "bos": self.bos,
            "start": list(self.start), "ref_weights": self.ref_weights, "rewards": self.rewards,
            "beta": self.beta, "beta_prime": self.beta_prime, "w": self.w,
            "features": self.features.as_dict(), "start_feature": self.start_feature,
            "meta": dict(self.meta),
        }  # fmt: skip
        if not self.meta:
            del known["meta"]
        optional = ("name", "eos", "bos", "start_feature")
        return {k: v for k, v in known.items() if k not in optional or v is not None}

    def replace(self, **changes: Any) -> TokenMDP:
        """Return a copy with some fields changed, validated again."""
        return TokenMDP(**{**self.fields(), **changes})

    # -- derived ---------------------------------------------------------------------------

    @property
    def n_contexts(self) -> int:
        """Number of contexts S = A**L."""
        return int(self.vocab_size**self.order)

    @property
    def n_rewards(self) -> int:
        """Number of rewards K."""
        return int(self.rewards.shape[0])

    @property
    def steps(self) -> int:
        """Length of the step axis of every table: T, or 1 for an instance until ``eos``."""
        return 1 if self.horizon is None else self.horizon

    @cached_property
    def start_context(self) -> int:
        """Index of the start context."""
        index = 0
        for next_token in self.start:
            index = index * self.vocab_size + next_token
        return index

    @cached_property
    def ended(self) -> Mask:
        """[S]: contexts whose last token is ``eos``; nothing follows them."""
        ended = np.zeros(self.n_contexts, dtype=bool)
        if self.eos is not None:
            ended[self.eos :: self.vocab_size] = True
        return ended

    @cached_property
    def ref(self) -> Array:
        """[S, A]: the reference policy; all-zero rows stay zero (they are unreachable)."""
        # a first division by the largest weight keeps rows near the overflow threshold finite
        scale = self.ref_weights.max(axis=1, keepdims=True)
        weights = self.ref_weights / np.where(scale > 0, scale, 1.0)
        total = weights.sum(axis=1, keepdims=True)
        ref: Array = weights / np.where(total > 0, total, 1.0)
        ref[self.ended] = 0.0
        ref.setflags(write=False)
        return ref

    @cached_property
    def columns(self) -> Array:
        """[A, S]: ``ref`` transposed, so that the weights of one token lie in order."""
        return np.ascontiguousarray(self.ref.T)

    @cached_property
    def reach(self) -> Reach:
        """Support of ``ref`` from the start context."""
        return reach(self.ref > 0, self.start_context, self.horizon, self.ended)

    @cached_property
    def reward_w(self) -> Array:
        """[S]: ``r_w = Σ_k w_k r_k`` (section 2.2)."""
        return np.asarray(self.w @ self.rewards)

    @cached_property
    def budget(self) -> float:
        """Largest ``|mu|₁ = |λ|₁/β'`` that (7) admits, 1/β."""
        return 1.0 / self.beta

    # -- checks ----------------------------------------------------------------------------

    def _read_reference(self, A: int, S: int) -> Array:
        if (self.ref_weights is None) == (self.ref_sparse is None):
            raise InstanceError.of(
                "ref_weights",
                None if self.ref_weights is None else "given twice",
                "exactly one of ref_weights and ref_sparse",
                "give one of them",
            )
        if self.ref_sparse is not None:
            weights = dense_reference(self.ref_sparse, A, S)
        else:
            weights = table("ref_weights", self.ref_weights, (S, A))
        if (weights < 0).any():
            s, a = np.argwhere(weights < 0)[0]
            raise InstanceError.of(
                f"ref_weights[{s}][{a}]",
                weights[s, a],
                "must be non-negative",
                "use 0 to forbid a token",
            )
        return weights

    def _check_support(self, A: int) -> None:
        empty = self.reach.any_state & ~self.reach.allowed.any(axis=1)
        if empty.any():
            s = int(np.argmax(empty))
            raise InstanceError.of(
                f"ref_weights[{s}]",
                "all 0",
                "context is reachable, so some token must follow",
                "give a token weight, or make the context unreachable",
            )
        if self.bos is not None and self.reach.nexts[:, self.bos :: A].any():
            s = int(np.argmax(self.reach.any_state & self.reach.allowed[:, self.bos]))
            raise InstanceError.of(
                f"ref_weights[{s}][{self.bos}]",
                self.ref_weights[s, self.bos],
                "bos is never emitted",
                "set the weight to 0",
            )
        if self.horizon is None:
            self._check_termination()

    def _check_termination(self) -> None:
        """Until ``eos`` every reachable context must be able to end (else no value exists)."""
        can_end = self.ended.copy()
        A, S = self.vocab_size, self.n_contexts
        while True:
            block = can_end.reshape(S // A, A)
            grown = (self.reach.allowed.reshape(A, S // A, A) & block[None]).any(axis=2).reshape(S)
            if not (grown & ~can_end).any():
                break
            can_end |= grown
        stuck = self.reach.any_state & ~can_end
        if stuck.any():
            s = int(np.argmax(stuck))
            raise InstanceError.of(
                "horizon",
                None,
                f"eos cannot be reached from context {s}, which ref visits",
                "give eos weight there, or set a finite horizon",
            )

    def _read_start_feature(self) -> Array:
        from .features import Dense

        if not isinstance(self.features, Dense):
            raise InstanceError.of(
                "start_feature",
                "given",
                "only dense features have a common space for it",
                "drop it: a one-hot start has a coordinate of its own",
            )
        return table("start_feature", self.start_feature, (self.features.width,))
