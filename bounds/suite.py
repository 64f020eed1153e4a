"""What a run of ``verify`` looks at, instance by instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toymdp import TokenMDP
from toymdp.families import generate

from .witness import Witness, stored_witnesses
from .worlds import load_instance

RANDOM_FAMILIES = ("softmax", "low-rank", "dirichlet", "tree")
CORPUS_FAMILIES = ("corpus", "corpus-one-hot")
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
        yield Case(str(path), "file", lambda path=path: load_instance(path))  # type: ignore[misc]


def from_family(family: str, n: int, seed: int) -> Iterator[Case]:
    """N instances of a named family, seeds ``seed, seed + 1, ...``."""
    for i in range(seed, seed + n):
        yield Case(f"{family}-{i}", family, lambda i=i: generate(family, i))  # type: ignore[misc]


def from_witnesses() -> Iterator[Case]:
    """The stored witnesses."""
    for w in stored_witnesses():
        yield Case(w.name, "witness", lambda w=w: w.instance, w)  # type: ignore[misc]


def default_suite(n: int = DEFAULT_N, seed: int = 0) -> list[Case]:
    """The bundled default: real text under both feature maps, random families, witnesses."""
    cases = [Case(name, name, lambda name=name: generate(name, seed)) for name in CORPUS_FAMILIES]  # type: ignore[misc]
    for family in RANDOM_FAMILIES:
        cases.extend(from_family(family, n, seed))
    cases.extend(from_witnesses())
    return cases


def corpus_lines(mdp: Any) -> list[str]:
    """What a corpus instance's fit to its text and labels was worth, on held-out texts."""
    meta = mdp.meta if isinstance(mdp, TokenMDP) else {}
    if meta.get("family") != "corpus":
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
