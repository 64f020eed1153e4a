"""The instances of a run: files, families, stored witnesses, a user's text, the default suite.

A case is plain values, from which the instance is made again wherever a task is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toymdp import InstanceError, TokenMDP
from toymdp.families import FAMILIES as TOKEN_FAMILIES
from toymdp.families.corpus import BUNDLED, corpus_ngrams, corpus_one_hot
from toymdp.files import read_bytes
from toymdp.kinds import ALL_FAMILIES, SMALL_CLASSICS

from ..checking import lambda_of
from ..claims.catalogue import claim_named
from ..records.loading import load_any, load_given
from ..records.witness import Witness, load_witness, stored_witness, stored_witness_claims

RANDOM_FAMILIES = ("softmax", "low-rank", "dirichlet", "unit-norm", "tree")
CORPUS_FAMILIES = ("corpus", "corpus-one-hot")
SMALL_FAMILIES = tuple(name for name in ALL_FAMILIES if name not in TOKEN_FAMILIES)
DEFAULT_N = 20
BUNDLED_TEXT = "bundled"  # what is given for the path of the text that comes with the package

Origin = Literal["file", "witness-file", "family", "witness", "classic", "text"]


@dataclass(frozen=True)
class Case:
    """One instance of a run.

    family: what it is grouped by. origin, options: how it is made, as keyword arguments.
    """

    name: str
    family: str
    origin: Origin
    options: Mapping[str, Any]

    def build(self) -> Any:
        """Make the instance. Raises InstanceError if a file is no longer what it was."""
        return _MAKERS[self.origin](**self.options)

    def witness(self) -> Witness | None:
        """The witness that the instance comes from, which must break its claim; None: from none."""
        if self.origin not in _WITNESSES:
            return None
        return _WITNESSES[self.origin](**self.options)


def from_files(paths: Sequence[Path], lam: Sequence[float] | None = None) -> Iterator[Case]:
    """One case for each instance or witness file, all read once: a bad one must not cost a run half done.

    lam: the λ that they are going to be judged at.
    """
    for path in paths:
        given = load_given(path)
        options = {"path": str(path), "sha256": _sha256(path)}
        if isinstance(given, Witness):
            claim_named(given.claim)
            check_lambda(str(path), given.instance, lam)
            yield Case(given.name, "file", "witness-file", options)
        else:
            check_lambda(str(path), given, lam)
            yield Case(getattr(given, "name", None) or path.stem, "file", "file", options)


def check_lambda(name: str, instance: Any, lam: Sequence[float] | None) -> None:
    """Raise InstanceError, with the instance's name, for a λ that does not fit its specialists."""
    if lam is not None and isinstance(instance, TokenMDP):
        try:
            lambda_of(instance, lam)
        except InstanceError as error:
            raise InstanceError(f"{name}: {error}") from None


def from_family(family: str, n: int, seed: int, **options: Any) -> Iterator[Case]:
    """N instances of a named family, seeds ``seed, seed + 1, ...``."""
    for i in range(seed, seed + n):
        yield Case(f"{family}-{i}", family, "family", {"family": family, "seed": i, **options})


def from_witnesses() -> Iterator[Case]:
    """The stored witnesses, which must break their claims."""
    for name in stored_witness_claims():
        yield Case(name, "witness", "witness", {"name": name})


def from_text(
    text: Path, labels: Path | None, seed: int, fitting: Mapping[str, Any]
) -> Iterator[Case]:
    """A user's own text, or the bundled one by its name, under both feature maps.

    fitting: options of toymdp.families.corpus.corpus_fields.
    """
    options = {
        "text": str(text), "labels": None if labels is None else str(labels), "seed": seed,
        "sha256": _sha256(*_paths(str(text), labels)), **fitting,
    }  # fmt: skip
    yield Case(text.stem, "corpus", "text", {**options, "one_hot": False})
    yield Case(f"{text.stem}-1hot", "corpus-one-hot", "text", {**options, "one_hot": True})


def default_suite(n: int = DEFAULT_N, seed: int = 0) -> Iterator[Case]:
    """The bundled default: real text under both feature maps, random families, witnesses.

    Each family of token MDPs and of the small worlds gives n instances; then the classics.
    """
    for name in CORPUS_FAMILIES:
        yield Case(name, name, "family", {"family": name, "seed": seed})
    for family in RANDOM_FAMILIES:
        yield from from_family(family, n, seed)
    yield from from_witnesses()
    for family in SMALL_FAMILIES:
        yield from from_family(family, n, seed)
    for name in SMALL_CLASSICS:
        yield Case(name, "classic", "classic", {"name": name})


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(read_bytes(path))
    return digest.hexdigest()


def _unchanged(sha256: str, *paths: Path) -> None:
    if _sha256(*paths) != sha256:
        raise InstanceError(f"{paths[0]}: was changed while the run was going on; start it again")


def _of_file(path: str, sha256: str) -> Any:
    _unchanged(sha256, Path(path))
    return load_any(Path(path))


def _witness_of_file(path: str, sha256: str) -> Witness:
    _unchanged(sha256, Path(path))
    return load_witness(Path(path))


def _of_family(family: str, seed: int, **options: Any) -> Any:
    return ALL_FAMILIES[family](seed, **options)


def _of_witness(name: str) -> Any:
    return stored_witness(name).instance


def _of_classics(name: str) -> Any:
    return SMALL_CLASSICS[name]()


def _paths(text: str, labels: str | Path | None) -> list[Path]:
    """The files that a text and its labels are read from."""
    named = BUNDLED if text == BUNDLED_TEXT else Path(text)
    return [named, *([] if labels is None else [Path(labels)])]


def _of_text(
    text: str, labels: str | None, sha256: str, seed: int, one_hot: bool, **options: Any
) -> TokenMDP:
    _unchanged(sha256, *_paths(text, labels))
    make = corpus_one_hot if one_hot else corpus_ngrams
    given = None if text == BUNDLED_TEXT else Path(text)
    return make(seed, text=given, labels=None if labels is None else Path(labels), **options)


_MAKERS: Mapping[Origin, Callable[..., Any]] = {
    "file": _of_file, "witness-file": _of_file, "family": _of_family, "witness": _of_witness,
    "classic": _of_classics, "text": _of_text,
}  # fmt: skip


def _witness_by_name(name: str) -> Witness:
    return stored_witness(name)


_WITNESSES: Mapping[Origin, Callable[..., Witness]] = {
    "witness-file": _witness_of_file,
    "witness": _witness_by_name,
}


def corpus_lines(mdp: Any) -> list[str]:
    """What a corpus instance's fit to its text and labels was worth, on held-out texts."""
    meta = mdp.meta if isinstance(mdp, TokenMDP) else {}
    # meta is free data: only what corpus_fields itself wrote is read
    if meta.get("family") != "corpus" or not {"perplexity_unigram", "rewards"} <= set(meta):
        return []
    if meta["perplexity"] is None:
        fit = "no held-out token covered"
    else:
        fit = f"held-out perplexity {meta['perplexity']:.2f} (unigram {meta['perplexity_unigram']:.2f})"
    reference = f"reference: {mdp.order}-gram over {mdp.vocab_size} tokens, {fit}"
    if "coverage" in meta:
        reference += (
            f" on the {meta['coverage']:.1%} of held-out tokens that are covered; {mdp.n_contexts} "
            f"reachable contexts, {len(mdp.rows.ref)} allowed tokens, at most {meta['most']} a context"
        )
    rewards = [
        f"reward '{name}': held-out accuracy {r['accuracy']:.3f} "
        f"(majority {r['accuracy_majority']:.3f}), AUC {r['auc']:.3f}"
        for name, r in meta["rewards"].items()
    ]
    return [reference, *rewards]
