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
from toymdp.families.offspring import offspring
from toymdp.files import read_bytes
from toymdp.kinds import ALL_FAMILIES, SMALL_CLASSICS

from ..checking import Lambda, lambda_of
from ..claim import Claim
from ..claims.catalogue import claim_named
from ..records.loading import load_any, load_given
from ..records.witness import Witness, load_witness, stored_witness, stored_witness_claims

RANDOM_FAMILIES = ("softmax", "low-rank", "dirichlet", "unit-norm", "tree")
CORPUS_FAMILIES = ("corpus", "corpus-one-hot")
SMALL_FAMILIES = tuple(name for name in ALL_FAMILIES if name not in TOKEN_FAMILIES)
DEFAULT_N = 20
BUNDLED_TEXT = "bundled"  # what is given for the path of the text that comes with the package

Origin = Literal["file", "witness-file", "family", "offspring", "witness", "classic", "text"]


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


def from_files(paths: Sequence[Path], lam: Lambda = None) -> tuple[list[Case], list[str]]:
    """A case for each instance or witness file, and a line for each file that is neither.

    All are read once, before a run: a bad one costs neither the others nor a run half done.
    lam: the λ that they are going to be judged at. Raises InstanceError where it does not fit one.
    """
    cases, refused = [], []
    for path in paths:
        try:
            given = load_given(path)
            digest = _sha256(path)
            if isinstance(given, Witness):
                claim_of_witness(given, path)
        except InstanceError as error:
            refused.append(str(error))
            continue
        options = {"path": str(path), "sha256": digest}
        if isinstance(given, Witness):
            check_lambda(str(path), given.instance, lam)
            cases.append(Case(given.name, "file", "witness-file", options))
        else:
            check_lambda(str(path), given, lam)
            name = getattr(given, "name", None) or path.stem
            cases.append(Case(name, "file", "file", options))
    return cases, refused


def claim_of_witness(witness: Witness, path: Path) -> Claim:
    """The claim that a witness file breaks. Raises InstanceError, with the file, if there is none."""
    try:
        return claim_named(witness.claim)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def check_lambda(name: str, instance: Any, lam: Lambda) -> None:
    """Raise InstanceError, with the instance's name, for a λ that does not fit its specialists."""
    if not (lam is None or isinstance(lam, str)) and isinstance(instance, TokenMDP):
        try:
            lambda_of(instance, lam)
        except InstanceError as error:
            raise InstanceError(f"{name}: {error}") from None


def from_family(family: str, n: int, seed: int, **options: Any) -> Iterator[Case]:
    """N instances of a named family, seeds ``seed, seed + 1, ...``."""
    for i in range(seed, seed + n):
        yield Case(f"{family}-{i}", family, "family", {"family": family, "seed": i, **options})


def from_lineage(family: str, seed: int, steps: Sequence[int], **options: Any) -> Case:
    """A world of a family after some changes (see ``toymdp.families.offspring``)."""
    name = f"{family}-{seed}~{len(steps)}.{steps[-1]:x}"
    return Case(
        name, family, "offspring", {"family": family, "seed": seed, "steps": list(steps), **options}
    )


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


def _of_lineage(family: str, seed: int, steps: Sequence[int], **options: Any) -> TokenMDP:
    return offspring(TOKEN_FAMILIES[family](seed, **options), steps)


def _of_witness(name: str) -> Any:
    return stored_witness(name).instance


def _of_classics(name: str) -> Any:
    return SMALL_CLASSICS[name]()


def _paths(text: str, labels: str | Path | None) -> list[Path]:
    """The files that a text and its labels are read from."""
    named = BUNDLED if text == BUNDLED_TEXT else Path(text)
    return [named, *([] if labels is None else [Path(labels)])]


def text_instance(
    text: Path, labels: Path | None, *, one_hot: bool, seed: int = 0, **options: Any
) -> TokenMDP:
    """Fit a user's own text, or the bundled one by its name, under n-gram or one-hot features.

    options: of toymdp.families.corpus.corpus_fields. Raises CorpusError as the fit does.
    """
    make = corpus_one_hot if one_hot else corpus_ngrams
    return make(seed, text=None if str(text) == BUNDLED_TEXT else text, labels=labels, **options)


def _of_text(
    text: str, labels: str | None, sha256: str, seed: int, one_hot: bool, **options: Any
) -> TokenMDP:
    paths = _paths(text, labels)
    _unchanged(sha256, *paths)
    given = None if labels is None else paths[1]
    return text_instance(Path(text), given, seed=seed, one_hot=one_hot, **options)


_MAKERS: Mapping[Origin, Callable[..., Any]] = {
    "file": _of_file, "witness-file": _of_file, "family": _of_family, "offspring": _of_lineage,
    "witness": _of_witness,
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
    fit, alone = meta["perplexity"], meta["perplexity_unigram"]
    how_well = "no held-out word is covered"
    if fit is not None:
        how_well = f"held-out perplexity {fit:.2f} (of single words {alone:.2f})"
    what = "frequent words, and classes of the others" if mdp.dense else "words, or pieces of words"
    reference = (
        f"reference: the text's next word given the last {mdp.order}, over {mdp.vocab_size} tokens ({what}); "
        f"{how_well}"
    )
    if "coverage" in meta:
        reference += (
            f" on the {meta['coverage']:.1%} of held-out text that it covers, with at most {meta['most']} of "
            f"the tokens seen after each of {mdp.n_contexts} reachable contexts"
        )
    rewards = [
        f"reward '{name}': held-out accuracy {r['accuracy']:.3f} "
        f"(majority {r['accuracy_majority']:.3f}), AUC {r['auc']:.3f}"
        for name, r in meta["rewards"].items()
    ]
    return [reference, *rewards]
