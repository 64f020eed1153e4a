"""Answers drawn in a domain, pairs of them, a user's labels; and what bases make of pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array, IntArray
from ..errors import InstanceError
from ..exact.sampling import draw_answers
from ..learning.feedback import Feedback, Mode, answered, contentious
from .method import Bases, Domain

MOST_ROUNDS = 200  # of drawing, each of as many pairs as are wanted


def draw_pairs(
    domain: Domain, n: int, seed: int, *, train: bool = True, disputed: bool = True,
    tables: tuple[Array, ...] | None = None,
) -> Feedback:  # fmt: skip
    """n pairs of answers, two to a prompt that is drawn uniformly, still without a user.

    tables: [W] of the policy that answers, [T, S, A]; ref by default.

    disputed: keep contentious pairs only, on which the attributes disagree; otherwise two different
    answers. Labels are all +1 until ``label`` has a user answer. Raises InstanceError where such pairs
    are too rare.
    """
    rng = np.random.default_rng([seed, int(train), 0xFEED])
    prompts = np.flatnonzero(domain.train == train)
    if len(prompts) == 0:
        kind = "train" if train else "test"
        raise InstanceError.of("prompts", kind, "the domain has none", "mark some")
    mdps = {p: domain.prompt(p) for p in prompts.tolist()}
    T = domain.mdp.steps
    found: list[tuple[IntArray, IntArray, IntArray]] = []
    have = 0
    for _ in range(MOST_ROUNDS):
        which = prompts[rng.integers(len(prompts), size=n)]
        heights = rng.random((2, n, T))
        pair = np.empty((2, n, T), dtype=np.int64)
        for p, mdp in mdps.items():
            rows = np.flatnonzero(which == p)
            if len(rows):
                chances = heights[:, rows].reshape(-1, T)
                if tables is None:
                    drawn = draw_answers(mdp, chances)[0][:, 1:]
                else:
                    drawn = answers_of(tables[domain.world[p]], mdp.start_context, chances)
                pair[:, rows] = drawn.reshape(2, len(rows), T)
        some = Feedback(pair[0], pair[1], np.ones(n), which)
        keep = (pair[0] != pair[1]).any(axis=1)
        if disputed:
            keep &= contentious(differences(domain, domain.attributes, some))
        found.append((pair[0][keep], pair[1][keep], which[keep]))
        have += int(keep.sum())
        if have >= n:
            first, second, which = (np.concatenate(x)[:n] for x in zip(*found, strict=True))
            return Feedback(first, second, np.ones(n), which, seed=seed)
    rule = f"of {MOST_ROUNDS * n} pairs drawn {have} are contentious"
    raise InstanceError.of("pairs", n, rule, "ask for fewer, or use attributes that disagree")


def answers_of(table: Array, start: int, heights: Array) -> IntArray:
    """Next contexts [n, T] of answers drawn from a policy's table [T, S, A] by heights [n, T] on [0, 1)."""
    T, S, A = table.shape
    s = np.full(len(heights), start)
    nexts = np.empty(heights.shape, dtype=np.int64)
    for t in range(T):
        ladder = np.cumsum(table[t, s], axis=1)
        # the last token with mass takes what rounding leaves below 1
        last = A - 1 - np.argmax(table[t, s][:, ::-1] > 0, axis=1)
        a = np.minimum((heights[:, t, None] >= ladder).sum(axis=1), last)
        s = (s * A + a) % S
        nexts[:, t] = s
    return nexts


def label(
    domain: Domain, pairs: Feedback, user: int, mode: Mode, seed: int, temperature: float = 1.0
) -> Feedback:
    """The pairs with the labels of a user of the domain."""
    rng = np.random.default_rng([seed, user, 0x1ABE1])
    asked = replace(pairs, user=user, mode=mode, temperature=temperature)
    return replace(
        asked, labels=answered(margins(domain, asked), mode, temperature, rng.random(len(pairs)))
    )


def margins(domain: Domain, pairs: Feedback) -> Array:
    """[N]: by how much the user is for the first answer, reward units.

    Over the second; or, where answers are judged one by one ("binary"), over what the user's own optimum
    is worth: ``R_u − V_u(s_0) = β Σ log π_u/ref``, as SS §4 models a good answer.
    """
    own = differences(domain, domain.users[pairs.user][:, None], pairs)[:, 0]
    if pairs.mode != "binary":
        return own
    V = np.stack([best.V[0] for best in domain.best(pairs.user)])
    return np.asarray(own - V[domain.world[pairs.prompt], domain.start[pairs.prompt]])


def sides(domain: Domain, pairs: Feedback) -> list[tuple[float, IntArray, IntArray]]:
    """(sign, next contexts [N, T], states before [N, T]) of the first answer and, less it, the second.

    Of answers that are judged one by one there is no second.
    """
    starts = domain.start[pairs.prompt][:, None]
    both = ((1.0, pairs.first), (-1.0, pairs.second))
    return [
        (sign, nexts, np.hstack([starts, nexts[:, :-1]]))
        for sign, nexts in (both[:1] if pairs.mode == "binary" else both)
    ]


def going(domain: Domain, before: IntArray) -> Array:
    """[N, T]: 1 where a step was taken, 0 after eos."""
    return np.asarray(~domain.mdp.ended[before], dtype=np.float64)


def differences(domain: Domain, tables: Array, pairs: Feedback) -> Array:
    """``Σ_t table[s_{t+1}]`` of first less second [N, n], of tables [W, n, S] on next contexts."""
    w = domain.world[pairs.prompt][:, None]
    total = np.zeros((len(pairs), tables.shape[1]))
    for sign, nexts, s in sides(domain, pairs):
        steps = tables.transpose(0, 2, 1)[w, nexts]
        total += sign * np.einsum("ntk,nt->nk", steps, going(domain, s))
    return total


def returns(domain: Domain, bases: Bases, pairs: Feedback) -> Array:
    """``X`` [N, K]: ``β Σ_t log π_k/ref`` of first less second, reward units, as the method sees it.

    With exact specialists it is ``R_k(first) − R_k(second)``: the start's value cancels.
    """
    X = np.zeros((len(pairs), bases.n))
    t = np.arange(domain.mdp.steps)
    w = domain.world[pairs.prompt]
    for sign, nexts, s in sides(domain, pairs):
        on = going(domain, s)
        for world in range(len(domain.worlds)):
            rows = w == world
            steps = bases.Q[world][:, t, nexts[rows]] - bases.V[world][:, t, s[rows]]
            X[rows] += sign * np.einsum("knt,nt->nk", steps, on[rows])
    return X


def visits(domain: Domain, pairs: Feedback) -> scipy.sparse.csr_array:
    """Sparse [N, W·T·S·A]: how often first passed (w, t, s, a), less how often second did."""
    mdp, N = domain.mdp, len(pairs)
    A, S, T = mdp.vocab_size, mdp.n_contexts, mdp.steps
    world = domain.world[pairs.prompt][:, None]
    t = np.arange(T)
    columns, values = [], []
    for sign, nexts, s in sides(domain, pairs):
        columns.append(((world * T + t) * S + s) * A + nexts % A)
        values.append(sign * going(domain, s))
    rows = np.repeat(np.arange(N), len(columns) * T)
    entries = np.hstack(values).ravel(), (rows, np.hstack(columns).ravel())
    shape = N, len(domain.worlds) * T * S * A
    return scipy.sparse.coo_array(entries, shape=shape).tocsr()


def context_counts(domain: Domain, pairs: Feedback) -> Array:
    """[N, W·S]: how often first reached a next context, less how often second did."""
    mdp = domain.mdp
    S, W = mdp.n_contexts, len(domain.worlds)
    counts = np.zeros((len(pairs), W * S))
    rows = np.arange(len(pairs))[:, None]
    world = domain.world[pairs.prompt][:, None]
    for sign, nexts, s in sides(domain, pairs):
        np.add.at(counts, (rows, world * S + nexts), sign * going(domain, s))
    return counts
