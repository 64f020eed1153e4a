"""What a run of ``verify`` looks at, instance by instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toymdp import TokenMDP
from toymdp.families import FAMILIES as TOKEN_FAMILIES
from toymdp.kinds import ALL_FAMILIES, SMALL_CLASSICS, load_instance

from ..records.witness import Witness, stored_witnesses

RANDOM_FAMILIES = ("softmax", "low-rank", "dirichlet", "unit-norm", "tree")
CORPUS_FAMILIES = ("corpus", "corpus-one-hot")
SMALL_FAMILIES = tuple(name for name in ALL_FAMILIES if name not in TOKEN_FAMILIES)
DEFAULT_N = 20


@dataclass(frozen=True)
class Case:
    """One instance of a run: where it comes from, and how to get it.

    witness: set where the instance is a stored witness, which must break its claim.
    """

    name: str
    family: str
    build: Callable[[], Any]
    witness: Witness | None = None


def from_files(paths: list[Path]) -> Iterator[Case]:
    """One case for each instance file."""
    for path in paths:
        instance = load_instance(path)  # at once: a bad file must not cost a run half done
        name = getattr(instance, "name", None) or path.stem
        yield Case(name, "file", partial(_given, instance))


def _given(instance: Any) -> Any:
    return instance


def from_family(family: str, n: int, seed: int) -> Iterator[Case]:
    """N instances of a named family, seeds ``seed, seed + 1, ...``."""
    for i in range(seed, seed + n):
        yield Case(f"{family}-{i}", family, partial(ALL_FAMILIES[family], i))


def from_witnesses() -> Iterator[Case]:
    """The stored witnesses."""
    for w in stored_witnesses():
        yield Case(w.name, "witness", partial(getattr, w, "instance"), w)


def default_suite(n: int = DEFAULT_N, seed: int = 0) -> list[Case]:
    """The bundled default: real text under both feature maps, random families, witnesses.

    Each family of token MDPs and of the small worlds gives n instances; then the classics.
    """
    cases = [Case(name, name, partial(ALL_FAMILIES[name], seed)) for name in CORPUS_FAMILIES]
    for family in RANDOM_FAMILIES:
        cases.extend(from_family(family, n, seed))
    cases.extend(from_witnesses())
    for family in SMALL_FAMILIES:
        cases.extend(from_family(family, n, seed))
    cases.extend(Case(name, "classic", make) for name, make in SMALL_CLASSICS.items())
    return cases


def corpus_lines(mdp: Any) -> list[str]:
    """What a corpus instance's fit to its text and labels was worth, on held-out texts."""
    meta = mdp.meta if isinstance(mdp, TokenMDP) else {}
    # meta is free data: only what corpus_fields itself wrote is read
    if meta.get("family") != "corpus" or not {"perplexity_unigram", "rewards"} <= set(meta):
        return []
    reference = (
        f"reference: {mdp.order}-gram over {mdp.vocab_size} tokens, held-out perplexity "
        f"{meta['perplexity']:.2f} (unigram {meta['perplexity_unigram']:.2f})"
    )
    rewards = [
        f"reward '{name}': held-out accuracy {r['accuracy']:.3f} "
        f"(majority {r['accuracy_majority']:.3f}), AUC {r['auc']:.3f}"
        for name, r in meta["rewards"].items()
    ]
    return [reference, *rewards]
