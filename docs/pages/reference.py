"""Formats, ranges, commands, Python names and words: reference pages, made from the package."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import soupcheck
import typer
from typer.models import ArgumentInfo

from bounds.cli import build
from bounds.commands.instance import parameters
from bounds.records.formats import FORMATS
from bounds.records.schemas import Format, Schema
from bounds.report.glossary import GLOSSARY
from bounds.runs.named import named
from toymdp import validators
from toymdp.files import to_plain
from toymdp.kinds import KINDS

from .text import code, page, paragraphs, plain, table


def formats() -> str:
    """Every format key by key, with what no schema says and an example."""
    head = page(
        "# File formats",
        "JSON, or NPZ with the same keys flattened by dots. A key that a format does not know is refused, "
        "so that a misspelt one is not ignored; free data goes in `meta`. A JSON number means the nearest "
        "binary64. Contexts are indexed `s = Σ token_i·A**(L-1-i)`, oldest token first; rewards and "
        "features belong to the *next* context.",
        "The schemas (JSON Schema, draft 2020-12) come with the package: `soupcheck schema token-mdp/1`, "
        'or `soupcheck.schema("token-mdp/1")` in Python. What a schema refuses no command reads.',
    )
    return page(head, *map(_format, FORMATS.values()), "## Accepted ranges", _ranges())


def _format(format: Format) -> str:
    rows = [
        row
        for key in format.keys
        for row in (
            (code(key.name), "must" if key.required else "may", plain(key.says)),
            *_inside(key.name, key.holds),
        )
    ]
    file = format.name.replace("/", "-")
    beyond = "\n".join(f"- {plain(rule)}" for rule in format.beyond)
    return page(
        f"## {format.name}", plain(format.says), table(("key", "", "holds"), rows),
        "\n".join(f"- {rule}" for rule in _ties(format.rules)),
        "What ties its keys together, and no schema says:" if beyond else "", beyond,
        _example(format), f"<a href='schemas/{file}.json'>Its JSON Schema</a>",
    ).strip()  # fmt: skip


def _inside(name: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
    """The keys of an object, or of each kind of object that a key may hold, from its schema."""
    for option in schema.get("oneOf") or schema.get("anyOf") or [schema]:
        inner = option.get("properties", {})
        if "format" in inner:  # an instance, which has a section of its own
            continue
        kind = f"kind {inner['kind']['const']}: " if "kind" in inner else ""
        for key, holds in inner.items():
            must = "must" if key in option["required"] else "may"
            if "const" not in holds:
                yield code(f"{name}.{key}"), must, plain(f"{kind}{_held(holds)}")


def _held(schema: Schema, *, many: bool = False) -> str:
    """What a schema lets a value be, in words; many: of several such values."""
    if "anyOf" in schema:
        return ", or ".join(_held(option) for option in schema["anyOf"])
    if schema["type"] == "array":
        return f"{'lists' if many else 'a list'} of {_held(schema['items'], many=True)}"
    if schema["type"] == "boolean":
        return "true or false"
    word = {"integer": "whole number"}.get(schema["type"], schema["type"])
    return f"{word}s" if many else f"a {word}"


def _ties(rules: Iterable[Schema]) -> Iterator[str]:
    """What ties keys together, of the rules that a schema can say."""
    for rule in rules:
        if "oneOf" in rule:
            groups = [_keys(option["required"]) for option in rule["oneOf"]]
            yield f"exactly one of these is needed: {', or '.join(groups)}"
            continue
        asked = rule["if"]
        when = _keys(asked.get("required", ())) or f"{_keys(asked['properties'])} null"
        then = rule["then"]
        if "required" in then:
            yield f"{when} needs {_keys(then['required'])}"
        else:
            yield f"{when} excludes {_keys(then['properties'])}"


def _keys(names: Iterable[str]) -> str:
    return " and ".join(map(code, names))


def _example(format: Format) -> str:
    if not format.example:
        return ""
    given: Any = named(format.example)
    whole = format.name == "soup-witness/1"
    fields = to_plain(given.as_dict() if whole else given.fields())
    lines = [f' "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in fields.items()]
    option = " --witness" if whole else ""
    text = "{\n" + ",\n".join(lines) + "\n}"
    return f"An example, `soupcheck instance {format.example}{option}`:\n\n```json\n{text}\n```"


def families() -> str:
    """Each seeded family with its parameters, as ``soupcheck instance FAMILY`` lists them."""
    parts = [
        "# Families",
        "A family makes an instance from a seed: `soupcheck instance softmax-12`, or "
        '`soupcheck.generate("softmax", 12)` in Python. Its parameters are given with '
        "`--set A=3,T=8`, as keywords in Python, or as a grid of a sweep.",
    ]
    for format, kind in KINDS.items():
        for name, make in kind.families.items():
            rows = [
                (code(row["name"]), plain(row["takes"]), plain(row["default"]), plain(row["means"]))
                for row in parameters(name)
            ]
            parts += [
                f"## {name}", f"{' '.join(paragraphs(make.__doc__))} Format: {code(format)}.",
                table(("parameter", "takes", "default", "means"), rows),
            ]  # fmt: skip
    return page(*parts)


def schemas() -> Iterator[tuple[str, str]]:
    """File name and JSON text of each schema."""
    for format in FORMATS.values():
        text = json.dumps(format.schema(), ensure_ascii=False, indent=1)
        yield f"{format.name.replace('/', '-')}.json", text + "\n"


def _ranges() -> str:
    rows = [line for line in (validators.__doc__ or "").splitlines() if line.startswith("|")]
    cells = [[plain(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]
    return page(table(cells[0], cells[2:]), "Outside them a file is refused, in one line.").strip()


def glossary() -> str:
    """The table of words, which the README repeats."""
    rows = [(f"**{plain(t.sign)}**", plain(t.name), plain(t.says)) for t in GLOSSARY]
    return table(("sign", "name", "means"), rows)


def words() -> str:
    """The glossary."""
    return page(
        "# Words and symbols", "Equation numbers are those of *Spectral Souping*.", glossary()
    )


def command_line() -> str:
    """Every command with its arguments and options, read from the functions that are the commands."""
    return page(
        "# Command line",
        "Exit code 0: done; 1: a gate failed, NOT PROVED, or no witness found; 2: bad input, in one line; "
        "130: interrupted. With `--json -` standard output holds JSON alone and tables go to standard error. "
        "Files may be pipes (`verify <(…)`, `/dev/stdin`); control characters in them are spelt out "
        "before they are shown; where an encoding has no λ, tables say `lambda`. "
        "`--html` writes a whole page or none.",
        *(_command(path, function) for path, function in commands("soupcheck", build())),
    )


def commands(path: str, app: typer.Typer) -> Iterator[tuple[str, Callable[..., Any]]]:
    """What is typed for each command, and its function."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield (
            f"{path} {command.name or command.callback.__name__.replace('_', '-')}",
            command.callback,
        )
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(f"{path} {group.name}", group.typer_instance)


def _command(path: str, function: Callable[..., Any]) -> str:
    usage, rows = [path], []
    for name, p in inspect.signature(function, eval_str=True).parameters.items():
        kind, told = get_args(p.annotation)[0], get_args(p.annotation)[1]
        says, default = (
            plain(told.help or ""),
            "" if p.default in (None, False, p.empty) else p.default,
        )
        if isinstance(told, ArgumentInfo):
            shown = told.metavar or (name.upper() if p.default is p.empty else f"[{name.upper()}]")
            usage.append(shown)
            rows.append((code(shown), says, ""))
        else:
            # in an annotation the first name stands where a default would
            given = [d for d in (told.default, *(told.param_decls or ())) if isinstance(d, str)]
            option = ", ".join(given or [f"--{name.replace('_', '-')}"])
            kinds = [k for k in (get_args(kind) or (kind,)) if k is not type(None)]
            word = told.metavar or getattr(kinds[0], "__name__", "value").upper()
            shown = option if kinds == [bool] else f"{option} {word}"
            rows.append((code(shown), says, code(str(default)) if default != "" else ""))
    return page(
        f"## {path}", *paragraphs(function.__doc__), f"    {' '.join(usage)} [OPTIONS]",
        table(("", "", "default"), rows) if rows else "",
    ).strip()  # fmt: skip


def python() -> str:
    """The names of ``import soupcheck``, with what their docstrings say."""
    parts = [_name(name, getattr(soupcheck, name)) for name in soupcheck.__all__ if name[0] != "_"]
    parts += ["## soupcheck.plot", *paragraphs(soupcheck.plot.__doc__)]
    parts += [_name(f"plot.{n}", getattr(soupcheck.plot, n)) for n in soupcheck.plot.__all__]
    return page(
        "# Python", "`import soupcheck` offers these names, each imported when it is first asked for. "
        "Values are in reward units, divergences in nats. Nothing here keeps memory of earlier calls: the "
        "same instance gives the same bits.", *parts,
    )  # fmt: skip


def _name(name: str, value: Any) -> str:
    if not callable(value):
        return page(f"## {name}", *paragraphs(type(value).__doc__)).strip()
    try:
        signature = str(inspect.signature(value))
    except ValueError:
        signature = "(...)"
    doc = value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)
    members = list(_members(value)) if inspect.isclass(value) else []
    return page(
        f"## {name}", f"```python\n{name}{_short(signature)}\n```", *paragraphs(doc),
        table(("", ""), members) if members else "",
    ).strip()  # fmt: skip


def _short(signature: str) -> str:
    """A signature a reader can take in: types without their modules, a long one argument by argument."""
    plainly = re.sub(r"(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", signature).replace("'", "")
    if len(plainly) < 80:
        return plainly
    inside, _, back = plainly[1:].rpartition(")")
    return (
        "(\n"
        + "".join(f"    {part},\n" for part in re.split(r", (?=\*?[a-z_]*(?::|=|$)|\*,)", inside))
        + f"){back}"
    )


def _members(kind: type) -> Iterator[tuple[str, str]]:
    for name, member in inspect.getmembers(kind):
        own = name[0] != "_" and (inspect.isfunction(member) or inspect.ismethod(member)
                                  or isinstance(member, property))  # fmt: skip
        doc = inspect.getdoc(member) if own else None
        if doc:
            called = "" if isinstance(member, property) else "()"
            yield code(f".{name}{called}"), plain(" ".join(doc.split("\n\n", 1)[0].split()))
