"""One witness as one program: no package, integers alone, both sides enclosed anew.

The program is put together from the sections of a template, with the numbers of the witness in it.
It shares no code with what else certifies.
"""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from flint import fmpq

from .instance import Instance, need, read, witness_of

SIDES = {"ss.thm1.kl": "kl", "ss.thm1.gap": "gap", "ss.thm1.gap.constant-norm": "gap"}
STEPS = {"ss.lemma1": "[range(T)]", "ss.lemma1.per-step": "[[t] for t in range(T)]"}
NONNEGATIVE = """    if min(R[k][n] for k in range(K) for _, n in PLACES) < 0:
        raise ArithmeticError("a reward below 0")
"""
CONSTANT = """    if len(set(SQUARED.values())) > 1:
        raise ArithmeticError("the features have more than one norm")
"""
LONG = """

I take from a minute to an hour, the longer the more rewards and steps: every box of weights that may hold
the best soup λ* is looked at. How many were, and how many wait, is said on stderr every five seconds."""
SPARE = 96  # bits of what the largest exponentials and the rarest token leave
WIDEST = 105  # columns


def standalone(path: Path) -> str:
    """Return the program that proves a witness file to break its claim.

    Raises WitnessError for a bad file, and for what such a program cannot say.
    """
    file = read(path)
    claim = file.claim
    fields = file.instance
    known = sorted({*SIDES, *STEPS})
    need(claim in known, f"claim {claim!r}: programs are written for {', '.join(known)}")
    witness = witness_of(file)
    world = witness.instance
    need("ref_sparse" not in fields, "ref_sparse: programs are written of ref_weights")
    need(not world.ended and fields.get("eos") is None, "eos: programs are written without it")
    own = len({i for row in world.psi.values() for i in row}) == len(world.used) and all(
        len(row) == 1 for row in world.psi.values()
    )
    scales = own and claim in SIDES
    psi = {
        place: float_of(next(iter(row.values()))) if scales
        else {i: float_of(x) for i, x in sorted(row.items())}
        for place, row in world.psi.items()
    }  # fmt: skip
    rows = ["scales"] if scales else ["rows"]
    if claim in STEPS:
        rest = ["eliminate", "lemma1"]
    else:
        table = ["diagonal"] if scales else ["eliminate", "dense"]
        rest = ["search", "sides", *table, "error", SIDES[claim], "optimum"]
    parts = _sections()
    text = "\n\n\n".join(parts[x] for x in ("common", *rows, "values", *rest, "verdict")) + "\n"
    values = {
        "CLAIM": claim, "NAME": path.stem, "STEPS": STEPS.get(claim, ""),
        "SIDES": f"{SIDES.get(claim, '')}_sides", "SCALE": "1" if claim == "ss.thm1.kl" else "BETA",
        "SIZES": f"{fields['vocab_size']}, {world.order}, {world.steps}, {world.start}",
        "BETA": _literal(fields["beta"]), "BITS": str(_bits(world)), "W": _literal(fields["w"]),
        "WEIGHTS": _lines(fields["ref_weights"]), "REWARDS": _lines(fields["rewards"]),
        "TIME": "import time\n" if claim in SIDES else "",
        "TAKES": LONG if claim in SIDES else "",
        "IMPORTS": "import functools\nimport heapq\nimport itertools\n" if claim in SIDES else "",
        "PSI": _lines(psi), "EXPECTED": "{lhs!r}, {rhs!r}".format(**witness.expected),
        "PSI_SAYS": "by (t, new context): " + ("each has a coordinate" if scales else "its coordinates"),
        "HYPOTHESES": (NONNEGATIVE if "gap" in claim else "")
        + (CONSTANT if claim.endswith("constant-norm") else ""),
    }  # fmt: skip
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _sections() -> dict[str, str]:
    """The template's sections by name, without the blank lines around them."""
    template = files("bounds.certificates") / "templates" / "standalone.txt"
    _, *parts = template.read_text(encoding="utf-8").split("#%% ")
    named = (part.split("\n", 1) for part in parts)
    return {name: text.strip("\n") for name, text in named}


def _bits(world: Instance) -> int:
    """Digits enough for e^Q and for the rarest token, and to spare."""
    rarest = min(p for moves in world.moves.values() for _, p in moves)
    least, most = (f(f(r) for r in world.rewards) for f in (min, max))
    nats = world.steps * float((most - least) / world.beta)
    return SPARE - math.floor(math.log2(float_of(rarest))) + math.ceil(nats / math.log(2))


def float_of(x: fmpq) -> float:
    """The nearest double; every number of a witness is one."""
    return float(int(x.p) / int(x.q))


def _literal(x: Any) -> str:
    """Numbers, lists and objects of numbers in Python; what is whole without a point."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {_literal(y)}" for k, y in x.items()) + "}"
    if isinstance(x, list):
        return "[" + ", ".join(map(_literal, x)) + "]"
    return repr(int(x) if float(x).is_integer() and abs(x) < 2**53 else x)


def _lines(value: Any) -> str:
    """A Python literal, broken where a line would become too long."""
    if isinstance(value, dict):
        items = [f"{k!r}: {_literal(x)}" for k, x in value.items()]
        ends = "{}"
    else:
        items, ends = list(map(_literal, value)), "[]"
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) > WIDEST:
            lines.append(line.rstrip())
            line = ""
        line += f"{item}, "
    lines.append(line.rstrip(", "))
    if len(lines) == 1 and len(lines[0]) < 98:
        return ends[0] + lines[0] + ends[1]
    body = "\n    ".join(lines)
    return f"{ends[0]}\n    {body},\n{ends[1]}"
