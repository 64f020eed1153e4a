"""The ``corpus`` family: real text and real human labels -> the fields of a token-mdp/1 instance.

The reference policy is a Witten-Bell n-gram model of the texts, reward k a logistic regression of
attribute k on n-gram indicators of the next context: the logit of a text is an intercept plus the
sum of ``r_k(s') = psi(s')·theta_k`` over its tokens, ``</s>`` included. So Assumption 1 (r in the
span of psi) holds by construction. All is fitted on 80 % of the groups (questions) and judged on
the others; the n-grams and the L2 strength are chosen inside the 80 %.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from scipy.stats import rankdata

from toymdp.text import (
    BOS,
    END,
    CorpusError,
    FloatArray,
    IntArray,
    build_vocabulary,
    contexts,
    perplexity,
    witten_bell,
    words,
)

Mask = NDArray[np.bool_]

__all__ = ["BUNDLED", "CorpusError", "corpus_fields"]

BUNDLED = Path(__file__).with_name("corpora") / "truthfulqa.jsonl.gz"
MIN_TEXTS, MIN_GROUPS = 20, 5
STRENGTHS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # of the L2 penalty, strongest first
SELECTION_ROUNDS = 2  # n-grams overlap: the second half is judged beside the first
EXAMPLES = 8  # words shown of each class


@dataclass(frozen=True)
class _Corpus:
    """N texts, ``groups`` [N], ``labels`` [N,K] in [0,1], the names of the K, the file's name."""

    texts: list[str]
    groups: IntArray
    labels: FloatArray
    attributes: list[str]
    source: str


def corpus_fields(
    text: str | Path | None = None,
    labels: str | Path | None = None,
    *,
    vocab_size: int = 32,
    order: int = 2,
    horizon: int = 12,
    width: int = 64,
    features: Literal["ngram", "one-hot"] = "ngram",
    ending: Literal["pad", "eos"] = "pad",
    w: Sequence[float] | None = None,
    beta: float = 1.0,
    smoothing: float = 1.0,
    limit_gib: float = 2.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Fields of a token-mdp/1 instance (S = vocab_size**order contexts) from text and labels.

    ``text`` None: the bundled TruthfulQA answers, attributes truthful and informative. Otherwise a
    UTF-8 file with one text per line (a blank line is an empty text), or ``.jsonl`` rows with
    "text", optional "group" (never split over train and held-out; without it equal texts stay
    together) and, if ``labels`` is None, "labels" {attribute: number}. ``labels``: CSV, a header of
    attribute names and a row per text. Label numbers lie in [0,1]; the class is label >= 0.5.

    ``ending`` "pad": after ``</s>`` comes only ``</s>``, and each reward is shifted by a constant
    per token (no policy changes) so that its least value on a reachable next context is exactly 0;
    before the shift padding earns 0, through an indicator of its own (``</s>``,``</s>``). With
    ``order`` 1 that indicator cannot exist, and the weight of ``</s>`` itself is fixed at 0.
    ``ending`` "eos": ``eos`` is set and nothing is shifted (that would pay for length).

    ``width`` is the most features: ``vocab_size`` unigrams, then the n-grams of 2..order tokens the
    training texts say most about. ``smoothing`` as in ``witten_bell``. Rewards are in units of
    log-odds. Raises ``CorpusError``, one line that says what to do.
    """
    A, L = vocab_size, order
    padded = ending == "pad" and L > 1  # padding has an indicator of its own
    _check_integer("vocab_size", A, 8, 64)
    _check_integer("order", L, 1, 16)
    _check_integer("horizon", horizon, 1)
    _check_integer("width", width, A + padded, of=" (all unigrams, and the padding)")
    _check_integer("seed", seed, 0)
    _check(features in ("ngram", "one-hot"), "features", features, "'ngram' or 'one-hot'")
    _check(ending in ("pad", "eos"), "ending", ending, "'pad' or 'eos'")
    _check(0 < beta < math.inf, "beta", beta, "positive and finite")
    _check(0 < smoothing < math.inf, "smoothing", smoothing, "positive and finite")
    corpus = _read_corpus(text, labels)
    K = len(corpus.attributes)
    weights = np.full(K, 1 / K) if w is None else np.asarray(w, dtype=float)
    simplex = weights.shape == (K,) and bool((weights >= 0).all()) and abs(weights.sum() - 1) < 1e-9
    _check(simplex, "w", w, f"{K} numbers >= 0 that sum to 1 (one for each of {corpus.attributes})")
    gib = 8 * A**L * (A + K + (width if features == "ngram" else 0)) / 2**30
    if gib > limit_gib:
        raise CorpusError(
            f"vocab_size = {A}, order = {L}: {A**L} contexts need {gib:.3g} GiB, the limit is "
            f"{limit_gib:g} GiB; lower order or vocab_size, or raise limit_gib"
        )
    rng = np.random.default_rng(seed)
    train = _split(corpus.groups, np.ones(len(corpus.texts), dtype=bool), rng)
    inner = _split(corpus.groups, train, rng)  # the others of train choose the L2 strength
    y = corpus.labels
    for k, attribute in enumerate(corpus.attributes):
        for where, part in (("", slice(None)), (" among the training texts", train)):
            share = float((y[part, k] >= 0.5).mean())
            if share in (0.0, 1.0):
                raise CorpusError(
                    f"{corpus.source}: attribute {attribute!r} has only one class{where} (all "
                    f"{'>=' if share else '<'} 0.5); a reward needs both: add texts or drop it"
                )

    split_words = [words(t) for t in corpus.texts]
    vocabulary = build_vocabulary(
        [t for t, keep in zip(split_words, train, strict=True) if keep],
        y[train], A, seed, corpus.source,
    )  # fmt: skip
    token, text_of = vocabulary.encode(split_words)
    context = contexts(token, text_of, L, A)
    seen = train[text_of]
    ref = witten_bell(context[seen], token[seen], L, A, smoothing)
    unigram = witten_bell(np.zeros(int(seen.sum()), dtype=np.int64), token[seen], 0, A, smoothing)
    held_perplexity = perplexity(ref, context[~seen], token[~seen])
    unigram_perplexity = perplexity(unigram, 0 * context[~seen], token[~seen])

    nxt = (context * A + token) % A**L
    X, grams = _design(nxt, text_of, train, y, A, L, width - A - padded)
    if ending == "pad" and L == 1:
        X = X.multiply(np.arange(X.shape[1]) != END).tocsr()
    seen_before = {tuple(t) for t, keep in zip(split_words, train, strict=True) if keep}
    fresh = ~train & np.array([tuple(t) not in seen_before for t in split_words])
    fits = [_reward(X, y[:, k], train, inner) for k in range(K)]
    theta = np.array([theta for theta, _, _ in fits])
    if padded:
        grams = [*grams, (2, END * A + END)]
        theta = np.hstack([theta, -theta[:, [END]]])
    psi = _features(A, L, grams)
    rewards = theta @ psi.T
    if ending == "pad":
        ref.reshape(-1, A, A)[:, END] = np.eye(A)[END]
    shift = np.zeros(K)
    if ending == "pad":
        reached = _reachable(ref, L, horizon)
        shift = -rewards[:, reached].min(axis=1)
        rewards += shift[:, None]

    stem = "truthfulqa" if text is None else Path(text).stem
    fields: dict[str, Any] = {
        "format": "token-mdp/1",
        "vocab_size": A,
        "order": L,
        "horizon": horizon,
        "start": [BOS] * L,
        "bos": BOS,
        **({"eos": END} if ending == "eos" else {}),
        "ref_weights": ref,
        "rewards": rewards,
        "beta": float(beta),
        "w": weights.tolist(),
        "features": {"kind": "dense", "values": psi}
        if features == "ngram"
        else {"kind": "tabular", "per_step": True, "scale": 1.0},
        "name": f"corpus-{stem}-A{A}-L{L}-{ending}-seed{seed}",
    }
    names = vocabulary.names
    fields["meta"] = {
        "family": "corpus",
        "source": corpus.source,
        "seed": seed,
        "attributes": corpus.attributes,
        "tokens": [
            {"token": names[i], "words": len(m), "examples": list(m[:EXAMPLES])}
            for i, m in enumerate(vocabulary.members)
        ],
        "unknown_token": names[vocabulary.unknown],
        "texts_train": int(train.sum()),
        "texts_held_out": int((~train).sum()),
        "texts_held_out_not_in_train": int(fresh.sum()),
        "perplexity": held_perplexity,
        "perplexity_unigram": unigram_perplexity,
        "rewards": {
            name: {
                **_scores(y[:, k] >= 0.5, X @ fits[k][0][: X.shape[1]] + fits[k][1], train, fresh),
                "intercept": fits[k][1],
                "l2": fits[k][2],
                "shift": float(shift[k]),
            }
            for k, name in enumerate(corpus.attributes)
        },
        "ngrams": [
            " ".join(names[code // A**i % A] for i in reversed(range(m))) for m, code in grams
        ],
        "ending": ending,
        "smoothing": float(smoothing),
    }
    return fields


def _check_integer(
    field: str, value: int, least: int, most: float = math.inf, of: str = ""
) -> None:
    """Raise ``CorpusError`` unless ``value`` is an integer from ``least`` to ``most``."""
    rule = f"an integer of at least {least}{of}"
    rule += f" and at most {most}" if most < math.inf else ""
    _check(isinstance(value, (int, np.integer)) and least <= value <= most, field, value, rule)


def _check(ok: bool, field: str, value: object, rule: str) -> None:
    """Raise ``CorpusError`` with the field, its value and the rule unless ``ok``."""
    if not ok:
        raise CorpusError(f"{field} = {value!r}: must be {rule}")


def _read(path: Path) -> list[str]:
    """The lines of a UTF-8 file, one byte-order mark and a last line break forgiven."""
    try:
        data = path.read_bytes()
        content = data.decode("utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from error
    if not content.strip():
        raise CorpusError(f"{path}: the file is empty; give one text or row per line")
    # Not str.splitlines, which also breaks at form feeds and U+2028 inside a text.
    return content.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _label(value: object, place: str) -> float:
    """A label in [0,1] from a cell; ``place`` is its file, line and column."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise CorpusError(f"{place}: label {value!r} is not a number in [0, 1]; rescale or drop it")
    return number


def _read_csv(path: Path) -> tuple[list[str], list[list[float]]]:
    """The K attributes of the header and the labels, a list of K for each row."""
    reader = csv.reader(_read(path))
    try:
        table = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {reader.line_num}: not CSV ({error}); close its quotes"
        ) from error
    header = [name.strip() for name in table[0][1]]
    if not header or "" in header or len(set(header)) < len(header):
        raise CorpusError(f"{path}, line 1: header {header} needs one distinct name per attribute")
    rows = []
    for line, row in table[1:]:
        if not row:
            continue  # a blank line holds no labels; the count of rows tells if one is missing
        place = f"{path}, line {line}"
        if len(row) != len(header):
            raise CorpusError(f"{place}: {len(row)} cells, the header has {len(header)}; align it")
        cells = zip(row, header, strict=True)
        rows.append([_label(cell, f"{place}, column {name!r}") for cell, name in cells])
    return header, rows


def _read_jsonl(
    path: Path, with_labels: bool
) -> tuple[list[str], list[str | None], tuple[list[str], list[list[float]]]]:
    """Texts, groups (None where a row has none), and ``_read_csv``'s pair from rows with labels."""
    texts: list[str] = []
    groups: list[str | None] = []
    header: list[str] = []
    rows: list[list[float]] = []
    for i, line in enumerate(_read(path), 1):
        place = f"{path}, line {i}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(
                f"{place}: not JSON ({error.msg}); give one object per line"
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise CorpusError(f'{place}: {line[:60]!r} needs a string field "text"; add it')
        texts.append(row["text"])
        groups.append(None if row.get("group") is None else str(row["group"]))
        if with_labels:
            cells = row.get("labels")
            header = header or list(cells if isinstance(cells, dict) else ())
            if not isinstance(cells, dict) or not header or set(cells) != set(header):
                raise CorpusError(
                    f'{place}: "labels" must be an object with the attributes of line 1 '
                    f"({header or 'none'}); complete it or give a labels CSV"
                )
            rows.append([_label(cells[name], f"{place}, attribute {name!r}") for name in header])
    return texts, groups, (header, rows)


def _read_corpus(text: str | Path | None, labels: str | Path | None) -> _Corpus:
    """The user's corpus, or the bundled one; what the two arguments mean: ``corpus_fields``."""
    if text is None:
        _check(labels is None, "labels", labels, "given together with text")
        rows = [json.loads(line) for line in gzip.decompress(BUNDLED.read_bytes()).splitlines()]
        flat = [(row["question"], answer) for row in rows for answer in row["answers"]]
        names = ["truthful", "informative"]
        values = np.array([[answer[name] for name in names] for _, answer in flat], dtype=float)
        texts, questions = [a["text"] for _, a in flat], [question for question, _ in flat]
        return _Corpus(texts, _numbered(questions), values, names, BUNDLED.name)
    path = Path(text)
    if path.suffix == ".jsonl":
        texts, groups, (names, cells) = _read_jsonl(path, labels is None)
    else:
        _check(labels is not None, "labels", labels, f"a CSV file, since {path} is plain text")
        texts = _read(path)
        groups = [None] * len(texts)
    if labels is not None:
        names, cells = _read_csv(Path(labels))
    if len(cells) != len(texts):
        raise CorpusError(
            f"{labels}: {len(cells)} rows of labels for {len(texts)} texts in {path} (a blank line "
            "there is an empty text); give one row per text"
        )
    # Without groups, copies of one text on both sides of the split would be judged by heart.
    keys = [("text", t) if g is None else ("group", g) for t, g in zip(texts, groups, strict=True)]
    for what, have, least in (
        ("texts", len(texts), MIN_TEXTS),
        ("groups", len(set(keys)), MIN_GROUPS),
    ):
        if have < least:
            raise CorpusError(f"{path}: {have} {what}, at least {least} are needed; give more")
    return _Corpus(texts, _numbered(keys), np.array(cells), names, path.name)


def _numbered(keys: Sequence[Hashable]) -> IntArray:
    """The keys as numbers from 0 in order of first appearance: [N]."""
    first = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([first[key] for key in keys], dtype=np.int64)


def _split(group: IntArray, among: Mask, rng: np.random.Generator) -> Mask:
    """A mask of the texts of 80 % of the groups that occur among ``among`` (at least one less)."""
    present = rng.permutation(np.unique(group[among]))
    return among & np.isin(group, present[: min(round(0.8 * len(present)), len(present) - 1)])


def _fit(X: Any, y: FloatArray, l2: float, start: FloatArray) -> FloatArray:
    """L2-regularised logistic regression: [d+1], the free intercept last. ``start`` the same."""
    design = hstack([X, np.ones((X.shape[0], 1))]).tocsr()
    back = design.T.tocsr()
    penalty = np.append(np.full(X.shape[1], l2), 0.0)
    # Counts are nearly collinear: in coordinates q = root.T @ p, where the curvature is about 1,
    # L-BFGS needs tens of steps instead of hundreds. 0.2 is p(1-p) of a text of no clear class.
    root = np.linalg.cholesky(0.2 * (back @ design).toarray() + np.diag(penalty))
    inverse = solve_triangular(root, np.eye(len(penalty)), lower=True)
    moment = back @ y  # y @ z = moment @ p, and no long dot product wakes up BLAS threads

    def loss(q: FloatArray) -> tuple[float, FloatArray]:
        p = q @ inverse
        z = design @ p
        value = np.logaddexp(0, z).sum() - moment @ p + 0.5 * (penalty * p) @ p
        slope = inverse @ (back @ expit(z) - moment + penalty * p)
        return float(value) / len(y), slope / len(y)

    options = {"maxiter": 500, "gtol": 1e-8, "ftol": 1e-14}
    best = minimize(loss, start @ root, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(best.x @ inverse)


def _design(
    nxt: IntArray, text_of: IntArray, train: Mask, y: FloatArray, A: int, L: int, budget: int
) -> tuple[Any, list[tuple[int, int]]]:
    """Counts per text [N, A + grams] and the chosen n-grams as (length m, code mod A**m).

    An n-gram is chosen by its score test (Rao) beside the features already in: the squared slope
    of the log-likelihood over its information left after the others, summed over attributes.
    """
    n = len(train)
    X = _counts(text_of, nxt % A, n, A)
    grams: list[tuple[int, int]] = []
    columns = []
    for m in range(2, L + 1):
        code, column = np.unique(nxt % A**m, return_inverse=True)
        table = _counts(text_of, column, n, len(code))
        # Too rare says nothing; (<s>,<s>,x) says what (<s>,x) says.
        texts_with = np.asarray((table[train] > 0).sum(axis=0)).ravel()
        keep = np.flatnonzero((texts_with >= max(2, min(10, n // 50))) & (code >= A ** (m - 2)))
        columns.append(table[:, keep])
        grams += [(m, int(c)) for c in code[keep]]
    if not grams or budget <= 0:
        return X, []
    candidates = hstack(columns).tocsr()
    inside, squared = candidates[train], candidates[train].power(2)
    chosen: list[int] = []
    for i in range(SELECTION_ROUNDS):
        design = hstack([X, candidates[:, chosen]]).tocsr()[train]
        bordered = hstack([design, np.ones((design.shape[0], 1))]).tocsr()
        score = np.zeros(len(grams))
        for k in range(y.shape[1]):
            p = _fit(design, y[train, k], 1.0, np.zeros(design.shape[1] + 1))
            law = expit(bordered @ p)
            variance = law * (1 - law)
            weighted = bordered.multiply(variance[:, None]).tocsr()
            own = (weighted.T @ bordered).toarray() + 1e-3 * np.eye(len(p))
            cross = (weighted.T @ inside).toarray()
            left = squared.T @ variance - np.einsum("ij,ij->j", cross, np.linalg.solve(own, cross))
            slope = inside.T @ (y[train, k] - law)
            score += np.where(left > 0.25, slope**2 / np.maximum(left, 0.25), 0.0)
        score[chosen] = 0.0
        take = budget // SELECTION_ROUNDS if i < SELECTION_ROUNDS - 1 else budget - len(chosen)
        best = np.argsort(-score, kind="stable")[:take]
        chosen += [int(j) for j in best if score[j] > 0]
    return hstack([X, candidates[:, chosen]]).tocsr(), [grams[j] for j in chosen]


def _reward(X: Any, y: FloatArray, train: Mask, inner: Mask) -> tuple[FloatArray, float, float]:
    """Weights [d], intercept and the L2 strength with the least log-loss on ``train & ~inner``."""
    p = np.zeros(X.shape[1] + 1)
    outer = train & ~inner
    best, best_loss, best_start = STRENGTHS[0], np.inf, p
    for l2 in STRENGTHS:
        p = _fit(X[inner], y[inner], l2, p)
        z = X[outer] @ p[:-1] + p[-1]
        loss = float(np.mean(np.logaddexp(0, z) - y[outer] * z))
        if loss < best_loss:
            best, best_loss, best_start = l2, loss, p
    p = _fit(X[train], y[train], best, best_start)
    return p[:-1], float(p[-1]), best


def _features(A: int, L: int, grams: list[tuple[int, int]]) -> FloatArray:
    """Indicators of the next context: psi [S, A + len(grams)]."""
    s = np.arange(A**L)
    psi = np.zeros((len(s), A + len(grams)))
    psi[s, s % A] = 1.0
    for j, (m, code) in enumerate(grams, A):
        psi[code :: A**m, j] = 1.0
    return psi


def _reachable(ref: FloatArray, order: int, horizon: int) -> Mask:
    """Contexts [S] that some token of steps 1..horizon leads to from the start (index 0)."""
    n_context, size = ref.shape
    allowed = (ref > 0).reshape(size, n_context // size, size)
    here = np.zeros(n_context, dtype=bool)
    here[BOS] = True
    reached = np.zeros(n_context, dtype=bool)
    for _ in range(horizon):
        # s = (x, y) and a lead to (y, a), whatever the oldest token x.
        here = (allowed & here.reshape(size, -1)[:, :, None]).any(axis=0).ravel() & ~reached
        reached |= here
        if not here.any():
            break
    return reached


def _scores(y: Mask, logit: FloatArray, train: Mask, fresh: Mask) -> dict[str, float | None]:
    """Held-out scores; ``auc_fresh`` leaves out the texts that also occur in training."""
    held = ~train
    major = bool(y[train].mean() >= 0.5)
    return {
        "accuracy": float(np.mean((logit > 0)[held] == y[held])),
        "accuracy_majority": float(np.mean(y[held] == major)),
        "auc": _auc(y[held], logit[held]),
        "auc_fresh": _auc(y[fresh], logit[fresh]),
    }


def _auc(y: Mask, logit: FloatArray) -> float | None:
    """Area under the ROC curve (Mann-Whitney, ties one half); None if a class is missing."""
    n1 = int(y.sum())
    if n1 in (0, len(y)):
        return None
    return float((rankdata(logit)[y].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def _counts(text_of: IntArray, column: IntArray, n: int, width: int) -> Any:
    """Sparse counts [n, width] of each column in each text."""
    shape = (n, width)
    return csr_matrix((np.ones(len(column)), (text_of, column)), shape=shape)
