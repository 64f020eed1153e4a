"""The report: one self-contained HTML page of a run, readable without a network or scripts.

Instance names and reasons may come from users' files: the template escapes everything but what is
made here (MathML of our own statements, plots, our own style and script), and the page's content
policy admits no script but the one whose hash it names, and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toymdp.errors import printable
from toymdp.shown import short

from ..records.output import versions
from ..runs.progress import OnProgress, silent
from ..verdicts import RELATION
from . import plots
from .glossary import GLOSSARY
from .mathml import breakable
from .sections import anchor, sections
from .summary import VERDICTS, Summary, weights


def _shown(value: object) -> object:
    """What a template writes: strings, which may come from files, without control characters."""
    return printable(value) if type(value) is str else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bounds.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    environment.filters["short"] = short
    environment.filters["anchor"] = anchor
    environment.filters["breakable"] = breakable
    environment.filters["weights"] = weights
    environment.filters["place"] = lambda where: ", ".join(f"{k} = {v}" for k, v in where.items())
    return environment


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def filled(template: str, **values: Any) -> str:
    """A page of a template, with the house's style and what its numbers may depend on."""
    style = Markup(_source("report.css"))
    return _environment().get_template(template).render(style=style, versions=versions(), **values)


def render(
    summary: Summary,
    *,
    title: str = "soupcheck report",
    certificates: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: OnProgress = silent,
) -> str:
    """Return the page of a run's records (see ``summarise``).

    certificates: of stored witnesses, by witness name: ``{"verdict", "reason", "lhs", "rhs",
    "bits"}`` with sides as intervals [low, high] or None.
    """
    script = _source("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = sections(summary)
    pictures = {}
    for done, s in enumerate(shown):
        on_progress("report", done, len(shown))
        pictures[s.claim.id] = plots.tightness(s)
    on_progress("report", len(shown), len(shown))
    broken = [
        (s, s.numbers.counts["violated"]) for s in shown
        if s.claim.status == "proved" and s.numbers.counts["violated"]
    ]  # fmt: skip
    return filled(
        "report.html.j2", title=title, script=Markup(script), digest=digest, sections=shown,
        instances=summary.instances, pictures=pictures, overview=plots.overview(shown),
        dependence=plots.dependence(shown),
        totals={v: sum(s.numbers.counts[v] for s in shown) for v in VERDICTS}, verdicts=VERDICTS,
        broken=broken, relation=RELATION, glossary=GLOSSARY, statuses=sorted({s.claim.status for s in shown}),
        certificates=certificates or {},
    )  # fmt: skip
