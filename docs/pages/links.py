"""Links: pages written by hand point at files of a checkout, and in the docs at the pages made of them."""

from __future__ import annotations

import re
from os.path import normpath, relpath
from pathlib import Path, PurePosixPath

from bounds.claims.catalogue import CLAIMS
from bounds.records.formats import FORMATS
from bounds.report.sections import anchor

ROOT = Path(__file__).parents[2]
# a file of the repository (or a part of it) -> the page of the docs that shows it
PAGES = {
    "CONTRIBUTING.md": "docs/generated/adding.md",
    "bounds/SWEEPS.md": "docs/generated/sweeps.md",
    "llm_bridge/FORMATS.md": "docs/generated/preferences.md",
    "llm_bridge/MODELS.md": "docs/generated/models.md",
    "llm_bridge/default/README.md": "docs/generated/bank-default.md",
    "llm_bridge/smollm/README.md": "docs/generated/bank-smollm.md",
}
PLACES = PAGES | {
    "README.md": "docs/index.md", "README.md#words-and-symbols": "docs/generated/words.md",
    "notebooks/README.md": "docs/generated/notebooks/index.md",
}  # fmt: skip
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)(?=\))")
_NAME = re.compile(r"(?<!\[)`([\w./-]+)`(?!\])")


def linked(text: str, file: str, page: str) -> str:
    """The text of a file as a page of the docs, both by their paths in the repository.

    Links to files that have a page lead there, and names of claims and formats lead to what the docs
    say of them.
    """

    def lead(found: re.Match[str]) -> str:
        path, mark, place = found[1].partition("#")
        target = normpath(PurePosixPath(file).parent / path)
        if f"{target}{mark}{place}" in PLACES:
            return _from(page, PLACES[f"{target}{mark}{place}"])
        made = f"docs/generated/{target}" if target.startswith("notebooks/") else target
        return _from(page, PLACES.get(target, made)) + mark + place

    return _NAME.sub(lambda found: _named(found[1], page) or found[0], _LINK.sub(lead, text))


def pages() -> dict[str, str]:
    """File name -> Markdown of the pages that are files of the repository."""
    return {
        PurePosixPath(page).name: linked((ROOT / file).read_text(encoding="utf-8"), file, page)
        for file, page in PAGES.items()
    }


def _named(name: str, page: str) -> str:
    if name in CLAIMS:
        return f"[`{name}`]({_from(page, f'docs/generated/claims/{anchor(name)}.md')})"
    if name in FORMATS:
        return f"[`{name}`]({_from(page, 'docs/generated/formats.md')}#{name.replace('/', '')})"
    return ""


def _from(page: str, target: str) -> str:
    return relpath(target, PurePosixPath(page).parent)
