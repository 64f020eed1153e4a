"""``TokenMDP``: one language MDP, validated when it is made and frozen from then on.

Spectral Souping, section 2.1: states are token sequences of which the last L decide, transitions
append a token, ``ref`` proposes it and K rewards score the context it leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..cached import cached_property
from ..errors import InstanceError
from ..instance import Instance
from ..validators import (
    check_memory,
    dense_reference,
    in_nats,
    integer,
    positive,
    simplex,
    start_tokens,
    table,
    token,
)
from .features import Array, Dense, Features, read_features
from .reach import Mask, Reach, reach

FORMAT = "token-mdp/1"
NOTHING: Mapping[str, Any] = {}  # the meta of an instance that has none


@dataclass(frozen=True, eq=False, init=False)
class TokenMDP(Instance):
    """An instance of format ``token-mdp/1``; the constructor takes the file's keys.

    With A = vocab_size, L = order, S = A**L, T = horizon, K = number of rewards:

    ref_weights: [S, A] non-negative, normalised by row (0 forbids the token).
    rewards: [K, S] in reward units, earned on reaching the next context.
    beta, beta_prime: temperatures (reward units per nat). w: [K] on the simplex.
    start: L tokens, oldest first; context index ``s = Σ token_i · A**(L-1-i)``.
    features: see toymdp.worlds.features. ref_sparse: ``{indptr, tokens, weights}`` instead of ref_weights.

    Ranges of numbers: toymdp.validators. Raises InstanceError naming field, value, rule and remedy.
    """

    NULLABLE = ("horizon",)

    vocab_size: int
    order: int
    horizon: int | None
    start: tuple[int, ...]
    rewards: Array
    beta: float
    w: Array
    features: Features
    ref_weights: Array
    beta_prime: float
    eos: int | None
    bos: int | None
    start_feature: Array | None
    name: str | None
    meta: Mapping[str, Any]
    format: str = FORMAT

    def __init__(
        self,
        *,
        vocab_size: int,
        order: int,
        horizon: int | None,
        start: Sequence[int],
        rewards: ArrayLike,
        beta: float,
        w: ArrayLike,
        features: Features | Mapping[str, Any],
        ref_weights: ArrayLike | None = None,
        ref_sparse: Mapping[str, Any] | None = None,
        beta_prime: float | None = None,
        eos: int | None = None,
        bos: int | None = None,
        start_feature: ArrayLike | None = None,
        name: str | None = None,
        meta: Mapping[str, Any] = NOTHING,
        format: str = FORMAT,
    ) -> None:
        """Validate the keys of a file; beta_prime is beta by default."""
        self.check_labels(name, meta, format)
        A = integer("vocab_size", vocab_size, 1)
        L = integer("order", order, 1)
        T = None if horizon is None else integer("horizon", horizon, 1)
        check_memory(A, L, T, max(len(rewards) if isinstance(rewards, Sized) else 0, 1))
        S = A**L
        eos = None if eos is None else token("eos", eos, A)
        bos = None if bos is None else token("bos", bos, A)
        if eos is not None and eos == bos:
            raise InstanceError.of("bos", bos, "must differ from eos", "use another token")
        if T is None and eos is None:
            raise InstanceError.of("horizon", None, "needs eos", "set eos or a finite horizon")
        self.put(vocab_size=A, order=L, horizon=T, eos=eos, bos=bos)
        self.put(start=start_tokens(start, A, L, eos), beta=positive("beta", beta))
        self.put(beta_prime=positive("beta_prime", beta if beta_prime is None else beta_prime))
        self.put(rewards=table("rewards", rewards, (None, S)))
        in_nats("rewards", self.rewards, "beta", self.beta)
        in_nats("rewards", self.rewards, "beta_prime", self.beta_prime)
        self.put(w=simplex(w, len(self.rewards)))
        self.put(ref_weights=_read_reference(ref_weights, ref_sparse, A, S))
        self._check_support(A)
        self.put(features=read_features(features, S, T, self.reach.nexts))
        given = start_feature is not None
        self.put(start_feature=self._read_start_feature(start_feature) if given else None)

    def fields(self) -> dict[str, Any]:
        """Return the keys of ``token-mdp/1`` with arrays for tables."""
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

    def _read_start_feature(self, given: Any) -> Array:
        if not isinstance(self.features, Dense):
            raise InstanceError.of(
                "start_feature",
                "given",
                "only dense features have a common space for it",
                "drop it: a one-hot start has a coordinate of its own",
            )
        return table("start_feature", given, (self.features.width,))


def _read_reference(
    given: ArrayLike | None, sparse: Mapping[str, Any] | None, A: int, S: int
) -> Array:
    """Return the weights [S, A] of ref, given dense or sparse."""
    if (given is None) == (sparse is None):
        raise InstanceError.of(
            "ref_weights",
            None if given is None else "given twice",
            "exactly one of ref_weights and ref_sparse",
            "give one of them",
        )
    dense = sparse is None
    weights = (
        table("ref_weights", given, (S, A), np.inf) if dense else dense_reference(sparse, A, S)
    )
    if (weights < 0).any():
        s, a = np.argwhere(weights < 0)[0]
        raise InstanceError.of(
            f"ref_weights[{s}][{a}]",
            weights[s, a],
            "must be non-negative",
            "use 0 to forbid a token",
        )
    return weights
