"""Text to tokens: a word-class vocabulary and a Witten-Bell n-gram model.

Real text has thousands of word types, an exactly solvable language MDP a few dozen tokens. So the
few words that say most about the human labels stay tokens of their own, and all other words share
classes of words used alike. Everything here is fitted on the training texts it is handed.

Token numbers: 0 is ``<s>`` (pads the start, never emitted), 1 is ``</s>`` (the end of a text), then
the single words, then the classes. A context of ``L`` tokens has the index
``Σ token_i * A**(L-1-i)``, oldest token first, as in token-mdp/1.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import CorpusError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BOS, END = 0, 1
CLASS_SHARE = 0.4  # of the tokens besides <s> and </s>; more classes cost single words
CONTEXT_WORDS = 100  # neighbours distinguished in a word's context vector, by frequency
DIRECTIONS = 20  # singular directions kept
MIN_COUNT = 5  # below this a context vector is mostly noise: it joins classes, it shapes none
LABEL_PULL = 1.5  # weight of the label log-odds beside the unit-length context vector
RESTARTS = 5  # of k-means; the smallest inertia wins

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")


def words(text: str) -> list[str]:
    """Lowercased words (an inner apostrophe belongs to its word), punctuation marks on their own.

    >>> words("No, it doesn’t.")
    ['no', ',', 'it', "doesn't", '.']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


@dataclass(frozen=True)
class Vocabulary:
    """Words to tokens ``0..size-1``.

    ``token_of`` knows every training word; ``unknown`` is the token of all others, the class with
    the most once-seen training words, since an unseen word is most like a word hardly seen.
    ``names`` [size] are readable token strings, ``members[token]`` its words, frequent first.
    """

    size: int
    token_of: dict[str, int]
    unknown: int
    names: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]

    def encode(self, texts: Sequence[Sequence[str]]) -> tuple[IntArray, IntArray]:
        """All texts end to end, ``</s>`` after each: tokens [n] and the text each is in [n]."""
        get, unknown = self.token_of.get, self.unknown
        flat: list[int] = []
        for text in texts:
            flat += [get(word, unknown) for word in text]
            flat.append(END)
        lengths = [len(text) + 1 for text in texts]
        return np.array(flat, dtype=np.int64), np.repeat(np.arange(len(texts)), lengths)


def build_vocabulary(
    texts: Sequence[Sequence[str]], labels: FloatArray, size: int, seed: int, source: str = "text"
) -> Vocabulary:
    """Single words by mutual information with the labels, the rest by distributional clustering.

    ``texts`` are the N training texts as words, ``labels`` [N,K] in [0,1]. A word's vector is the
    unit-length projection of its square-rooted left and right neighbour counts on the leading
    singular directions, beside its shrunken log-odds under each label; k-means groups them. Raises
    ``CorpusError`` if the texts have fewer word types than ``size`` - 2.
    """
    types = sorted({word for text in texts for word in text})
    n_class = max(1, round(CLASS_SHARE * (size - 2)))
    n_single = size - 2 - n_class
    if len(types) < size - 2:
        raise CorpusError(
            f"{source}: the training texts have {len(types)} different words, vocab_size={size} "
            f"needs at least {size - 2}: lower vocab_size or give more text"
        )
    number = {word: i for i, word in enumerate(types)}
    flat = np.array([number[word] for text in texts for word in text], dtype=np.int64)
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    count = np.bincount(flat, minlength=len(types))
    information, log_odds = _label_association(flat, text_of, len(types), labels)

    # MI of a word's presence falls with its rarity by itself: no separate frequency cut is needed.
    single = np.argsort(-information, kind="stable")[:n_single]
    rest = np.setdiff1d(np.arange(len(types)), single)
    vectors = _context_vectors(flat, text_of, count)
    frequent = rest[count[rest] >= MIN_COUNT]
    if len(frequent) < 4 * n_class:
        frequent = rest
    # The right singular vectors, from the small Gram matrix: a tall SVD costs more than all else.
    gram = vectors[frequent].T @ vectors[frequent]
    points = vectors @ np.linalg.eigh(gram)[1][:, ::-1][:, :DIRECTIONS]
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    points = np.hstack([points, LABEL_PULL / np.sqrt(labels.shape[1]) * log_odds])
    centre = _centroids(points[frequent], n_class, np.random.default_rng(seed))
    member = _nearest(points[rest], centre)
    _fill_empty(member, count[rest], n_class)

    # Classes are numbered by how much text they cover, so that token numbers mean something.
    rank = np.argsort(-np.bincount(member, count[rest], n_class), kind="stable")
    place = np.empty(n_class, dtype=np.int64)
    place[rank] = np.arange(n_class)
    token = np.empty(len(types), dtype=np.int64)
    token[single] = 2 + np.arange(n_single)
    token[rest] = 2 + n_single + place[member]
    once = np.bincount(token[rest][count[rest] == 1], minlength=size)
    unknown = int(np.argmax(once if once.any() else np.bincount(token[rest], minlength=size)))

    by_count = np.argsort(-count, kind="stable")
    members: list[list[str]] = [[] for _ in range(size)]
    for i in by_count:
        members[token[i]].append(types[i])
    names = ["<s>", "</s>", *(types[i] for i in single)]
    names += ["{" + " ".join(m[:3]) + "}" for m in members[2 + n_single :]]
    token_of = {word: int(t) for word, t in zip(types, token, strict=True)}
    return Vocabulary(size, token_of, unknown, tuple(names), tuple(map(tuple, members)))


def frequent_words(texts: Sequence[Sequence[str]], size: int) -> Vocabulary:
    """The most frequent words of the training texts, each a token; all others are ``<unk>``, token 2.

    A word that is met once is ``<unk>``, from which the model learns what follows an unknown word.
    There may be fewer tokens than ``size``: the vocabulary is then all of them.
    """
    count = Counter(word for text in texts for word in text)
    kept = sorted((word for word, n in count.items() if n > 1), key=lambda w: (-count[w], w))
    kept = kept[: size - 3]
    token_of = {word: i for i, word in enumerate(kept, 3)}
    names = ("<s>", "</s>", "<unk>", *kept)
    members = ((), (), (), *((word,) for word in kept))
    return Vocabulary(len(names), token_of, 2, names, members)


def _label_association(
    flat: IntArray, text_of: IntArray, n_types: int, labels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Of a word's presence: Σ_k mutual information [V] in nats, shrunken log-odds [V,K]."""
    n = len(labels)
    pair = np.unique(text_of * n_types + flat)
    present_in, word = pair // n_types, pair % n_types
    present = np.bincount(word, minlength=n_types).astype(float)
    information = np.zeros(n_types)
    log_odds = np.zeros((n_types, labels.shape[1]))
    for k in range(labels.shape[1]):
        y = labels[:, k]
        share = float(y.mean())
        both = np.bincount(word, weights=y[present_in], minlength=n_types)
        cells = (
            (both, present * share),
            (present - both, present * (1 - share)),
            (n * share - both, (n - present) * share),
            (n * (1 - share) - present + both, (n - present) * (1 - share)),
        )
        for seen, expected in cells:
            ok = (seen > 1e-9) & (expected > 0)  # sums of fractional labels round around 0
            information[ok] += seen[ok] * np.log(seen[ok] / expected[ok]) / n
        # Ten pseudo-texts at the base rate: a word seen once says next to nothing.
        odds = (both + 10 * share) / np.maximum(present - both + 10 * (1 - share), 1e-9)
        log_odds[:, k] = np.log(odds) - np.log(share / (1 - share))
    return information, log_odds


def _context_vectors(flat: IntArray, text_of: IntArray, count: IntArray) -> FloatArray:
    """Square-rooted counts of left and right neighbours, unit length: [V, 2*(M+2)]."""
    n_types = len(count)
    top = np.argsort(-count, kind="stable")[:CONTEXT_WORDS]
    column = np.full(n_types + 1, CONTEXT_WORDS)  # the column of all other words
    column[top] = np.arange(len(top))
    column[n_types] = CONTEXT_WORDS + 1  # the edge of a text is a neighbour too
    width = CONTEXT_WORDS + 2
    first = np.append(True, text_of[1:] != text_of[:-1])
    last = np.append(first[1:], True)
    left = column[np.where(first, n_types, np.roll(flat, 1))]
    right = column[np.where(last, n_types, np.roll(flat, -1))]
    near = [
        np.bincount(flat * width + side, minlength=n_types * width).reshape(n_types, width)
        for side in (left, right)
    ]
    vectors = np.sqrt(np.hstack(near).astype(float))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _nearest(points: FloatArray, centre: FloatArray) -> IntArray:
    """The nearest centroid of each point, the first of equals: [n]."""
    distance = (centre**2).sum(1) - 2 * points @ centre.T  # + |point|², the same for all
    return np.asarray(distance.argmin(axis=1))


def _centroids(points: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """k-means with k-means++ starts drawn here, so that a seed means the same in every SciPy."""
    best, best_inertia = points[:k], np.inf
    for _ in range(RESTARTS):
        start = [points[rng.integers(len(points))]]
        far = ((points - start[0]) ** 2).sum(1)
        for _ in range(k - 1):
            # All points may coincide with a centre already chosen: then any will do.
            total = far.sum()
            pick = rng.choice(len(points), p=far / total) if total > 0 else rng.integers(len(far))
            start.append(points[pick])
            far = np.minimum(far, ((points - points[pick]) ** 2).sum(1))
        with warnings.catch_warnings():
            # An emptied cluster keeps its old centre; _fill_empty gives it a word in the end.
            warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
            centre, label = scipy.cluster.vq.kmeans2(
                points, np.array(start), iter=25, minit="matrix"
            )
        inertia = float(((points - centre[label]) ** 2).sum())
        if inertia < best_inertia:
            best, best_inertia = centre, inertia
    return best


def _fill_empty(member: IntArray, count: IntArray, k: int) -> None:
    """Give each empty class, in place, the most frequent word of the class with most words."""
    for empty in np.flatnonzero(np.bincount(member, minlength=k) == 0):
        donors = np.flatnonzero(member == np.bincount(member, minlength=k).argmax())
        member[donors[count[donors].argmax()]] = empty


def contexts(tokens: IntArray, text_of: IntArray, order: int, size: int) -> IntArray:
    """The context before each token [n], ``<s>`` in front of each text. ``order`` >= 1."""
    starts = np.flatnonzero(np.append(True, text_of[1:] != text_of[:-1]))
    position = np.arange(len(tokens)) - np.repeat(starts, np.diff(np.append(starts, len(tokens))))
    context = np.zeros(len(tokens), dtype=np.int64)
    for back in range(1, order + 1):
        context += np.where(position >= back, np.roll(tokens, back), BOS) * size ** (back - 1)
    return context


def witten_bell(
    context: IntArray, token: IntArray, order: int, size: int, smoothing: float = 1.0
) -> FloatArray:
    """Interpolated Witten-Bell model: P[s, a] of shape [size**order, size].

    ``P_k(a|s) = (c(s,a) + θ T(s) P_{k-1}(a|s without its oldest token)) / (c(s) + θ T(s))`` with
    T(s) the number of different tokens seen after s and θ = ``smoothing`` (1: the original; Witten
    and Bell 1991), down to the uniform law over all tokens but ``<s>``: every token but ``<s>`` has
    positive probability after every context. An unseen context takes the shorter one's row.
    ``context`` [n] are contexts of ``order`` tokens, ``token`` [n] what followed.
    """
    table = np.full((1, size), 1.0 / (size - 1))
    table[0, BOS] = 0.0
    for k in range(order + 1):
        n_context = size**k
        if k:
            table = np.tile(table, (size, 1))  # row s backs off to row s mod size**(k-1)
        cell, seen = np.unique(context % n_context * size + token, return_counts=True)
        row = cell // size
        total = np.bincount(row, weights=seen, minlength=n_context)
        kinds = smoothing * np.bincount(row, minlength=n_context)
        denominator = np.where(total > 0, total + kinds, 1.0)
        table *= np.where(total > 0, kinds / denominator, 1.0)[:, None]
        table.ravel()[cell] += seen / denominator[row]
    return table


def perplexity(table: FloatArray, context: IntArray, token: IntArray) -> float:
    """``exp`` of the mean negative log-probability of ``token`` [n], ``</s>`` counted."""
    return float(np.exp(-np.mean(np.log(table[context, token]))))
