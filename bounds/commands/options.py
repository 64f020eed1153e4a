"""Options that several commands declare alike."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from toymdp import InstanceError
from toymdp.families.options import Option, checked_options
from toymdp.kinds import ALL_FAMILIES
from toymdp.validators import plain_number

from ..claims.catalogue import CLAIMS


def _add_claims(modules: list[str] | None) -> list[str]:
    for name in modules or ():
        CLAIMS.add_module(name)
    return modules or []


def numbers(text: str, what: str) -> list[float]:
    """Numbers by commas, of the option ``what``; InstanceError otherwise."""
    try:
        values = [plain_number(x) for x in text.split(",")]
    except ValueError:
        raise InstanceError.of(what, text, "must be numbers by commas", "correct it") from None
    if not all(map(math.isfinite, values)):
        raise InstanceError.of(what, text, "must be finite", "correct it")
    return values


def family_options(settings: list[str] | None, family: str) -> dict[str, Option]:
    """The parameters ``beta=0.25,T=8`` of a family, of one or several ``--set``.

    Raises InstanceError for what it does not take, or for a name that is given twice.
    """
    given: dict[str, float] = {}
    for part in ",".join(settings or ()).split(",") if settings else ():
        name, _, value = part.partition("=")
        name = name.strip()
        if name in given:
            raise InstanceError.of(
                f"--set {name}", value.strip(), "is given twice", "leave one out"
            )
        (given[name],) = numbers(value, f"--set {name}")
    whole = {name: int(x) if x.is_integer() else x for name, x in given.items()}
    return checked_options(family, ALL_FAMILIES[family], whole) if given else {}


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=NUMBER",
        help="Parameters of the family, by commas or one an option; `soupcheck instance FAMILY` lists them.",
    ),
]
Json = Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")]
Seed = Annotated[int, typer.Option(min=0, help="First seed.")]
Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        callback=_add_claims,
        is_eager=True,  # the other options may name its claims
        help="A module, or a .py file, whose CLAIMS to add; several times for several.",
    ),
]
