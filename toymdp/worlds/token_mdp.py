"""``TokenMDP``: one language MDP, validated when it is made and frozen from then on.

Spectral Souping, section 2.1: states are token sequences of which the last L decide, transitions
append a token, ``ref`` proposes it and K rewards score the context it leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import IntArray
from ..cached import cached_property
from ..errors import InstanceError, NoTable
from ..instance import Instance
from ..validators import (
    in_nats,
    integer,
    positive,
    simplex,
    start_tokens,
    table,
    token,
)
from .features import Array, Dense, Features, read_features
from .reach import Mask, Reach, reach, successors
from .rows import Rows, rows_of_table
from .sparse import SparseReference, read_reference

FORMAT = "token-mdp/1"
BESIDE = 16  # numbers beyond the last context in TokenMDP.columns: kernels take 16 at a time
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
    contexts: with ref_sparse, the contexts there are, ascending; every S above is then their number
    (toymdp.worlds.sparse). Without it a ref_sparse whose table fits is kept as that table.

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
    reference: Array | SparseReference
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
        contexts: ArrayLike | None = None,
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
        K = max(len(rewards) if isinstance(rewards, Sized) else 0, 1)
        self.put(reference=read_reference(ref_weights, ref_sparse, contexts, A, L, T, K))
        eos = None if eos is None else token("eos", eos, A)
        bos = None if bos is None else token("bos", bos, A)
        if eos is not None and eos == bos:
            raise InstanceError.of("bos", bos, "must differ from eos", "use another token")
        if T is None and eos is None:
            raise InstanceError.of("horizon", None, "needs eos", "set eos or a finite horizon")
        self.put(vocab_size=A, order=L, horizon=T, eos=eos, bos=bos)
        self.put(start=start_tokens(start, A, L, eos), beta=positive("beta", beta))
        self.put(beta_prime=positive("beta_prime", beta if beta_prime is None else beta_prime))
        S = self.n_contexts
        self.put(rewards=table("rewards", rewards, (None, S)))
        in_nats("rewards", self.rewards, "beta", self.beta)
        in_nats("rewards", self.rewards, "beta_prime", self.beta_prime)
        self.put(w=simplex(w, len(self.rewards)))
        self._check_support()
        self.put(features=read_features(features, S, T, self.reach.nexts))
        given = start_feature is not None
        self.put(start_feature=self._read_start_feature(start_feature) if given else None)

    def fields(self) -> dict[str, Any]:
        """Return the keys of ``token-mdp/1`` with arrays for tables."""
        known: dict[str, Any] = {
            "format": self.format, "name": self.name, "vocab_size": self.vocab_size,
            "order": self.order, "horizon": self.horizon, "eos": self.eos, "bos": self.bos,
            "start": list(self.start),
            **({"ref_weights": self.reference} if self.dense else self.sparse.as_dict()),
            "rewards": self.rewards,
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
    def dense(self) -> bool:
        """Whether there is a table of every token after every context."""
        return isinstance(self.reference, np.ndarray)

    @property
    def sparse(self) -> SparseReference:
        """The sparse reference. Raises NoTable where it is dense."""
        if not isinstance(self.reference, SparseReference):
            raise NoTable("written for a sparse reference; ref is a table")
        return self.reference

    @property
    def ref_weights(self) -> Array:
        """[S, A]: the weights. Raises NoTable where the reference is sparse."""
        if isinstance(self.reference, SparseReference):
            A, S = self.vocab_size, self.n_contexts
            raise NoTable(f"written for a table of {A} tokens after {S} contexts; ref is sparse")
        return self.reference

    @property
    def n_contexts(self) -> int:
        """Number of contexts S: A**L, or those that a sparse instance lists."""
        held = self.reference
        return len(held.contexts if isinstance(held, SparseReference) else held)

    @property
    def last_tokens(self) -> IntArray:
        """[S]: the last token of each context."""
        A, S = self.vocab_size, self.n_contexts
        return (np.arange(S) if self.dense else self.sparse.contexts) % A

    @property
    def n_rewards(self) -> int:
        """Number of rewards K."""
        return int(self.rewards.shape[0])

    @property
    def steps(self) -> int:
        """Length of the step axis of every table: T, or 1 for an instance until ``eos``."""
        return 1 if self.horizon is None else self.horizon

    @cached_property
    def block_starts(self) -> IntArray:
        """First context of each block: those that differ in the last token alone lie together."""
        if self.dense:
            return np.arange(0, self.n_contexts, self.vocab_size)
        return np.flatnonzero(np.diff(self.sparse.contexts // self.vocab_size, prepend=-1))

    @cached_property
    def start_context(self) -> int:
        """Index of the start context."""
        index = 0
        for next_token in self.start:
            index = index * self.vocab_size + next_token
        if self.dense:
            return index
        row = self.sparse.index(index)
        if row is None:
            rule = f"is context {index}, not in contexts"
            raise InstanceError.of("start", list(self.start), rule, "list it")
        return row

    @cached_property
    def ended(self) -> Mask:
        """[S]: contexts whose last token is ``eos``; nothing follows them."""
        ended = np.zeros(self.n_contexts, dtype=bool)
        if self.eos is not None:
            ended[self.last_tokens == self.eos] = True
        return ended

    @cached_property
    def ref(self) -> Array:
        """[S, A]: the reference policy; all-zero rows stay zero (they are unreachable).

        Raises NoTable where the reference is sparse: toymdp.worlds.rows has it row by row.
        """
        # a first division by the largest weight keeps rows near the overflow threshold finite
        scale = self.ref_weights.max(axis=1, keepdims=True)
        ref: Array = self.ref_weights / np.where(scale > 0, scale, 1.0)
        total = ref.sum(axis=1, keepdims=True)
        ref /= np.where(total > 0, total, 1.0)
        ref[self.ended] = 0.0
        ref.setflags(write=False)
        return ref

    @cached_property
    def rows(self) -> Rows:
        """``ref`` row by row, its positive entries alone."""
        return rows_of_table(self.ref) if self.dense else self.sparse.rows(self.ended)

    @cached_property
    def columns(self) -> Array:
        """[A, S + BESIDE]: ``ref`` transposed, so that the weights of one token lie in order, and zeros.

        The zeros let a kernel read whole vectors; nor are rows a power of 2 apart, as caches have it.
        """
        columns = np.zeros((self.vocab_size, self.n_contexts + BESIDE))
        columns[:, : self.n_contexts] = self.ref.T
        return columns

    @cached_property
    def reach(self) -> Reach:
        """Support of ``ref`` from the start context."""
        A, rest = self.vocab_size, (self.start_context, self.n_contexts, self.horizon, self.ended)
        if not self.dense:
            return Reach(*reach(self.rows.successors, *rest), self.rows.counts, A)
        allowed = self.ref > 0
        step = partial(successors, allowed=allowed)
        return Reach(*reach(step, *rest), allowed.sum(axis=1), A, allowed)

    @cached_property
    def reward_w(self) -> Array:
        """[S]: ``r_w = Σ_k w_k r_k`` (section 2.2)."""
        return np.asarray(self.w @ self.rewards)

    @cached_property
    def budget(self) -> float:
        """Largest ``|mu|₁ = |λ|₁/β'`` that (7) admits, 1/β."""
        return 1.0 / self.beta

    # -- checks ----------------------------------------------------------------------------

    def _check_support(self) -> None:
        empty = self.reach.any_state & ~self.reach.live
        if empty.any():
            s = int(np.argmax(empty))
            raise InstanceError.of(
                f"ref_weights[{s}]",
                "all 0",
                "context is reachable, so some token must follow",
                "give a token weight, or make the context unreachable",
            )
        if self.bos is not None:
            emitted = self.reach.nexts.any(axis=0) & (self.last_tokens == self.bos)
            if emitted.any():
                s = self._first_before(emitted)
                rule, remedy = "bos is never emitted", "set the weight to 0"
                raise InstanceError.of(f"ref_weights[{s}][{self.bos}]", "> 0", rule, remedy)
        if self.horizon is None:
            self._check_termination()

    def _first_before(self, nexts: Mask) -> int:
        """The first reachable context that leads to a marked one."""
        rows = self.rows
        return int(rows.owners[np.argmax(nexts[rows.nexts] & self.reach.any_state[rows.owners])])

    def _check_termination(self) -> None:
        """Until ``eos`` every reachable context must be able to end (else no value exists)."""
        can_end, rows = self.ended.copy(), self.rows
        while True:
            grown = np.zeros_like(can_end)
            grown[rows.owners[can_end[rows.nexts]]] = True
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
