"""The rooms whose tests are tried by mutation, and which tests those are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = "toymdp/kernels/"


@dataclass(frozen=True)
class Room:
    """Files (globs, those with ``!`` left out) and their tests, the fastest and most telling first."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "formulas": Room(
        ("bounds/formulas.py",),
        ("formulas", "second_code", "hypothesis_thresholds", "proof_claims", "symbolic"),
    ),
    "claims": Room(
        ("bounds/claims/*.py", "!bounds/claims/hypotheses*.py", "!bounds/claims/catalogue.py"),
        ("proof_claims", "second_code", "second_code_verdicts", "section4", "rounding_scales",
         "hypothesis_thresholds"),
    ),
    "hypotheses": Room(
        ("bounds/claims/hypotheses*.py",),
        ("hypothesis_thresholds", "rounding_scales", "proof_claims", "second_code"),
    ),
    "facts": Room(
        ("bounds/facts/*.py",),
        ("tilt", "rounding_scales", "proof_claims", "second_code", "second_code_verdicts",
         "hypothesis_thresholds", "facts"),
    ),
    "exact": Room(
        ("toymdp/exact/*.py", *(f"{KERNELS}{x}.py" for x in ("rows", "blocks", "scans", "ratios"))),
        ("kernels_in_python", "evaluate", "tilt", "sampling", "solver", "second_code", "section4"),
    ),
    "soup": Room(
        ("toymdp/soup/*.py", *(f"{KERNELS}{x}.py" for x in ("soups", "boxes", "envelopes"))),
        ("kernels_in_python", "remainder_formula", "envelope", "soup", "second_code", "remainder", "branch"),
    ),
    "kernels": Room(
        tuple(f"{KERNELS}{x}.py" for x in ("backward", "curvature", "tiles", "elementary")),
        ("backward", "soup", "kernels_in_python"),
    ),
    "certificates": Room(
        ("bounds/certificates/*.py",),
        ("second_code_certificates", "certificate_parts", "certificates"),
    ),
}  # fmt: skip
# files of worlds that are no token MDPs: the tests of their own, and no others, come near them
APART = {
    "bounds/claims/exact_selection.py": ("exact_claims",),
    "bounds/claims/exact_topics.py": ("topic_claims",),
    "bounds/claims/appendix_c.py": ("appendix_c", "batch_posterior"),
    "bounds/claims/hypotheses_small_worlds.py": (
        "exact_claims",
        "topic_claims",
        "appendix_c",
        "rounding_scales",
    ),
    "bounds/facts/attribute_set.py": ("exact_claims", "rounding_scales"),
    "bounds/facts/set_functions.py": ("exact_claims",),
    "bounds/facts/topic_cloud.py": ("topic_claims", "rounding_scales"),
    "bounds/facts/preference_pairs.py": ("appendix_c", "batch_posterior"),
}
# seconds of statistics, or of a proof at great length, that tell less than what goes before them
LEFT_OUT = (
    "no_proved_claim_is_violated", "extreme_temperatures", "stored_witnesses_are_the_classics",
    "nothing_keeps_instances_alive", "alone_in_another_process", "gap-trap-loop", "kl-rare-trap",
    "gap-constant-norm", "kl_classic_by_hand", "hardly_ends",
)  # fmt: skip
# whose tests go before the room's
NEAREST = {
    "toymdp/exact/solution.py": "solver", "toymdp/exact/backward.py": "solver",
    "toymdp/exact/cross_checks.py": "solver", "toymdp/soup/bound.py": "envelope",
    "toymdp/kernels/soups.py": "second_code", "bounds/claims/section4.py": "second_code",
}  # fmt: skip


def members(room: Room) -> list[str]:
    """The room's files."""
    chosen: set[str] = set()
    for pattern in room.files:
        paths = {p.relative_to(ROOT).as_posix() for p in ROOT.glob(pattern.lstrip("!"))}
        chosen = chosen - paths if pattern.startswith("!") else chosen | paths
    return sorted(chosen)


def tests_of(file: str, room: Room) -> list[str]:
    """The tests of one file of a room, the nearest first."""
    if file in APART:
        return list(APART[file])
    first = [NEAREST[file]] if file in NEAREST else []
    return [*first, *(t for t in room.tests if t not in first)]
