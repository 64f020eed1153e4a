"""The contract of a method: a domain, its bases and a user's feedback give a policy.

    fit(domain, bases, feedback, seed) -> Fitted

A *world* is a reference policy with its rewards; a *prompt* is a start context in one of them. A
policy is fitted for each world, and no policy can choose its prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, IntArray
from ..cached import cached_property
from ..errors import InstanceError
from ..exact.sampling import log_norms
from ..exact.tables import Optimum, on_triples, optima, optimum, tilt
from ..learning.feedback import Feedback
from ..worlds.token_mdp import TokenMDP

X = TypeVar("X")


class NotApplicable(Exception):  # noqa: N818  # an outcome, not an error
    """Raised by a method that has no policy here; its text is the reason that a record gives."""


@dataclass(frozen=True, eq=False)
class Domain:
    """Prompts to answer, base rewards that specialists are made for, users to please.

    worlds: [W], one ref and K rewards each, all of one vocabulary, order, finite horizon and β.
    world, start: [P], of each prompt. train: [P], prompts that feedback is about; the others test.
    attributes: [W, n, S], what decides whether a pair is contentious, reward units.
    users: [U, W, S], the users' rewards, which no method but an oracle may read, reward units.
    embedding: [P, e] of each prompt, by which the nearest is found; by default the one-hot tokens of
    its start. topic: [P], what prompts have in common; by default their world.
    """

    name: str
    worlds: tuple[TokenMDP, ...]
    world: IntArray
    start: IntArray
    train: NDArray[np.bool_]
    attributes: Array
    users: Array
    embedding: Array = None  # type: ignore[assignment]  # an array in the object
    topic: IntArray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        first = self.worlds[0]
        shape = (first.vocab_size, first.order, first.horizon, first.beta, first.n_rewards)
        for w, mdp in enumerate(self.worlds):
            its = (mdp.vocab_size, mdp.order, mdp.horizon, mdp.beta, mdp.n_rewards)
            if its != shape or mdp.horizon is None:
                rule = "worlds share vocabulary, order, finite horizon, beta and number of rewards"
                raise InstanceError.of(f"worlds[{w}]", its, f"{rule}: {shape}", "correct it")
        embedding: Array | None = self.embedding
        topic: IntArray | None = self.topic
        if embedding is None:
            digits = first.vocab_size ** np.arange(first.order)
            tokens = self.start[:, None] // digits % first.vocab_size
            one_hot = np.eye(first.vocab_size)[tokens].reshape(len(self.start), -1)
            object.__setattr__(self, "embedding", one_hot)
        if topic is None:
            object.__setattr__(self, "topic", self.world)
        if not self.train.any():
            raise InstanceError.of("train", "none", "feedback needs a prompt", "mark one")

    @property
    def mdp(self) -> TokenMDP:
        """The first world: what has the sizes that all share."""
        return self.worlds[0]

    @property
    def beta(self) -> float:
        """Temperature, reward units per nat."""
        return self.mdp.beta

    def prompt(self, p: int) -> TokenMDP:
        """The token MDP of one prompt: its world, begun at its start."""
        mdp = self.worlds[self.world[p]]
        A, L = mdp.vocab_size, mdp.order
        tokens = [int(self.start[p]) // A ** (L - 1 - i) % A for i in range(L)]
        alone: TokenMDP = mdp.replace(start=tokens, name=f"{self.name}-prompt-{p}")
        return alone

    def with_users(self, users: Array) -> Domain:
        """The same domain with other users [U, W, S]."""
        return replace(self, users=users)

    @cached_property
    def split(self) -> Domain:
        """The same prompts with a world each, for policies that depend on the prompt."""
        return replace(
            self, worlds=tuple(self.worlds[w] for w in self.world), world=np.arange(len(self.world)),
            attributes=self.attributes[self.world], users=self.users[:, self.world],
        )  # fmt: skip

    @cached_property
    def _optima(self) -> dict[int, tuple[Optimum, ...]]:
        return {}

    def best(self, user: int) -> tuple[Optimum, ...]:
        """The optimum of a user in each world, computed once."""
        if user not in self._optima:
            pairs = zip(self.worlds, self.users[user], strict=True)
            self._optima[user] = tuple(optimum(mdp, reward) for mdp, reward in pairs)
        return self._optima[user]

    def starts(self, w: int, which: NDArray[np.bool_] | None = None) -> Array:
        """[S]: the weight of each start context of world w among the prompts ``which`` (train)."""
        chosen = self.train if which is None else which
        weights = np.zeros(self.worlds[w].n_contexts)
        np.add.at(weights, self.start[chosen & (self.world == w)], 1.0 / chosen.sum())
        return weights


@dataclass(frozen=True, eq=False)
class Bases:
    """The K specialists as a method sees them, exact or learnt.

    Q: [W] of [K, T, S] on next contexts, V: [W] of [K, T, S] ``β log E_ref exp(Q_k/β)``, reward
    units; ``log π_k/ref = (Q_k − V_k)/β``. exact: whether they are the optima of the rewards.
    """

    Q: tuple[Array, ...]
    V: tuple[Array, ...]
    beta: float
    vocab_size: int
    exact: bool

    @classmethod
    def optimal(cls, domain: Domain) -> Self:
        """The exact specialists of the domain's K rewards."""
        pairs = [optima(mdp, mdp.rewards) for mdp in domain.worlds]
        Q = tuple(q for q, _ in pairs)
        V = tuple(np.ascontiguousarray(v[:, :-1]) for _, v in pairs)
        return cls(Q, V, domain.beta, domain.mdp.vocab_size, exact=True)

    @classmethod
    def given(cls, domain: Domain, Q: tuple[Array, ...]) -> Self:
        """Specialists π_k ∝ ref·exp(Q_k/β) of any Q, such as learnt ones."""
        return cls(
            Q, tuple(map(_log_means, domain.worlds, Q)), domain.beta, domain.mdp.vocab_size,
            exact=False,
        )  # fmt: skip

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}

    def once(self, function: Callable[..., X], *args: Any) -> X:
        """``function(*args)``, computed when first asked for: what several methods share on these bases.

        function: of a module, and a function of its arguments and of these bases alone.
        """
        key = function, *(a if isinstance(a, int | str) else id(a) for a in args)
        if key not in self._kept:
            # the arguments are kept too, so that no other object can come to have their identity
            self._kept[key] = function(*args), args
        result: X = self._kept[key][0]
        return result

    @property
    def n(self) -> int:
        """Number of specialists K."""
        return len(self.Q[0])

    def mixed(self, weights: Array) -> tuple[Array, ...]:
        """[W] of the logits ``Σ_k weights_k Q_k/β`` [T, S] in nats."""
        return tuple(np.tensordot(weights, Q, axes=1) / self.beta for Q in self.Q)

    @cached_property
    def log_ratios(self) -> tuple[Array, ...]:
        """[W] of ``f_k = log π_k/ref`` [K, T, S, A] in nats."""
        return tuple(
            (on_triples(Q, self.vocab_size) - V[..., None]) / self.beta
            for Q, V in zip(self.Q, self.V, strict=True)
        )


def _log_means(mdp: TokenMDP, Q: Array) -> Array:
    """``β log E_ref exp(Q_k/β)`` [K, T, S] wherever ref allows a token, 0 elsewhere."""
    T, S = Q.shape[1:]
    t, s = (x.ravel() for x in np.indices((T, S)))
    norms = mdp.beta * log_norms(mdp, np.ascontiguousarray(Q), mdp.beta, t, s).reshape(-1, T, S)
    return np.where(mdp.reach.live, norms, 0.0)


@dataclass(frozen=True, eq=False)
class AnswerLaw:
    """A law over enumerated answers to one prompt, of which no Markov policy need exist.

    answers: [n, T] next contexts; log_ref: [n] log of ref's mass; law: [n], sums to 1.
    """

    answers: IntArray
    log_ref: Array
    law: Array


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a fit.

    lam: [K] where the method learns one; covariance: [K, K] of its posterior, where it has one. soup:
    whether the policy is exactly the soup at lam. hyper: hyper-parameters chosen. acceptance: chances
    "token", "answer" of a rejection sampler. evaluations: policies evaluated for one token of an answer.
    """

    lam: Array | None = None
    soup: bool = False
    hyper: Mapping[str, Any] = field(default_factory=dict)
    acceptance: Mapping[str, float] | None = None
    evaluations: int = 1
    covariance: Array | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A method's policy: logits on ref, or laws over answers, and the facts of the fit.

    logits: [W] of [T, S] or [T, S, A], nats. laws: [P], in place of logits. scalable: whether
    ``c·logits`` is the same method at another strength. by_prompt: the logits are [P], of each prompt.
    scores: [W] of [T, S], by whose sums answers are compared; by default ``log π/ref``.
    """

    logits: tuple[Array, ...] | None
    facts: Facts = Facts()
    laws: tuple[AnswerLaw, ...] | None = None
    scalable: bool = True
    by_prompt: bool = False
    scores: tuple[Array, ...] | None = None

    def place(self, domain: Domain) -> Domain:
        """The domain whose worlds the logits belong to."""
        return domain.split if self.by_prompt else domain

    def tables(self, domain: Domain) -> tuple[Array, ...]:
        """[W] of the policy's tables [T, S, A]. Raises NotApplicable for a law over answers."""
        if self.logits is None:
            raise NotApplicable("a law over whole answers, not a policy token by token")
        pairs = zip(self.place(domain).worlds, self.logits, strict=True)
        return tuple(tilt(mdp, G) for mdp, G in pairs)


Fit = Callable[[Domain, Bases, Feedback, int], Fitted]
Asks = Callable[[Domain, Bases, Feedback, int], Feedback]
Knows = Literal["nothing", "pairs", "weights", "reward"]


@dataclass(frozen=True)
class Method:
    """One row of the catalogue.

    id, variant: its names in records. fit: ``fit(domain, bases, feedback, seed)``. knows: what of the
    user it reads: the pairs of the feedback, or ``domain.users[feedback.user]`` itself ("reward"), or
    that reward's nearest mixture of the base rewards ("weights"; its strength is by the pairs). source:
    where it is from. slow: left out of quick runs. asks: chooses n pairs of a pool for the user to label.
    """

    id: str
    variant: str
    fit: Fit
    knows: Knows
    source: str
    says: str
    slow: bool = False
    asks: Asks | None = None

    def shown(self, domain: Domain, bases: Bases, pool: Feedback, n: int) -> Feedback:
        """The n pairs that it learns from: the pool's first, or those that it asks for."""
        return pool.take(n) if self.asks is None else self.asks(domain, bases, pool, n)

    @property
    def sees_pairs(self) -> bool:
        """Whether its policy depends on the feedback."""
        return self.knows in ("pairs", "weights")

    @property
    def oracle(self) -> bool:
        """Whether it knows something of the true reward."""
        return self.knows in ("reward", "weights")

    @property
    def name(self) -> str:
        """Method and variant, as tables and options write it."""
        return f"{self.id}[{self.variant}]" if self.variant else self.id
