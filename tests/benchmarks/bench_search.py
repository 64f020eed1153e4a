"""How fast search breaks each claim, seed by seed, and what it reaches on the proved ones.

    python tests/benchmarks/bench_search.py CLAIMS SECONDS SEEDS [--json PATH]

CLAIMS: ids or shell patterns, by commas. For each: seconds to the first witness (- where none), how
many seeds found one, and the largest strength (lhs/rhs; above 1 it is broken).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from bounds.claims.catalogue import select
from bounds.search.budget import Budget
from bounds.search.engine import State, search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("claims")
    parser.add_argument("seconds", type=float)
    parser.add_argument("seeds", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for claim in select(options.claims):
        if claim.world != "token-mdp/1" or claim.status in ("hypothesis", "set-up"):
            continue
        times, strengths, looks = [], [], 0
        for seed in range(options.seeds):
            state = search(State(claim.id, seed), Budget(options.seconds), 1.05, lambda state: None)
            times.append(round(state.seconds, 1) if state.breaks_by(1.05) else None)
            strengths.append(float(state.strength))
            looks += state.looks
        shown = " ".join("-" if t is None else f"{t:g}" for t in times)
        found = sum(t is not None for t in times)
        print(
            f"{claim.id:32s} {claim.status:8s} {found}/{options.seeds}  strength "
            f"{max(strengths):.6g}  instances {looks:,}  seconds {shown}",
            flush=True,
        )
        rows.append(
            {"claim": claim.id, "status": claim.status, "seconds": times, "strength": strengths}
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
