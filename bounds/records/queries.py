"""Questions to the parts of a sweep, in SQL, answered by DuckDB without all rows in memory.

The same statements can be asked by hand, of ``read_parquet('DIR/parts/**/*.parquet')``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toymdp.errors import InstanceError
from toymdp.extras import install

from .output import Record
from .parts import PARAMETERS

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
# how much a row is to be looked at: a violation first, then the largest ratio or distance
SIZE = "CASE WHEN kind = 'equality' THEN abs(slack) ELSE ratio END"
DECIDED = "verdict IN ('holds', 'violated')"
VERDICTS = ("holds", "violated", "undecided", "not-applicable", "error")
GROUPS = ("family", *(f"p_{name}" for name in sorted(PARAMETERS)))

COUNTS = ", ".join(f"count(*) FILTER (verdict = '{v}') AS \"{v}\"" for v in VERDICTS)

SUMMARY = f"""
SELECT claim, {{by}} any_value(status) AS status, any_value(kind) AS kind, count(*) AS n,
  {COUNTS},
  quantile_cont(ratio, {list(QUANTILES)}) AS quantiles,
  max(struct_pack(violated := verdict = 'violated', size := {SIZE}, family := family, seed := seed,
    instance := instance)) FILTER ({DECIDED} AND {SIZE} IS NOT NULL) AS worst
FROM rows WHERE steps IS NULL GROUP BY ALL ORDER BY ALL
"""
WORST = f"""
SELECT *, {SIZE} AS size FROM rows WHERE claim = ? AND {DECIDED} AND {SIZE} IS NOT NULL
ORDER BY verdict = 'violated' DESC, size DESC, family, seed, sha256 LIMIT ?
"""
# each world once: a child may be what another is
TIGHTEST = f"""
SELECT COLUMNS('^(family|seed|steps|instance|sha256|p_.*)$'), {SIZE} AS size, verdict
FROM rows WHERE claim = ? AND family <> 'file' AND {DECIDED} AND {SIZE} IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY instance, task) = 1
ORDER BY verdict = 'violated' DESC, {SIZE} DESC, sha256 LIMIT ?
"""
GATE = """
SELECT claim, verdict, count(*) AS n, min(reason) AS reason, min(instance) AS instance
FROM rows WHERE status = 'proved' GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Rows:
    """The rows of some files. tasks: where they hold others' rows too, those that count."""

    files: Sequence[Path]
    tasks: Sequence[str] | None = None

    def ask(self, statement: str, *values: Any) -> list[Record]:
        """The rows of an answer. Raises InstanceError without DuckDB, or without files."""
        try:
            import duckdb
        except ImportError:
            rule = "asks DuckDB, which is not installed"
            raise InstanceError(f"sweep: {rule}; {install('sweep')}") from None
        if not self.files:
            raise InstanceError("no task of this sweep is done; start it, or wait")
        try:
            with duckdb.connect() as connection:
                parts = connection.read_parquet([str(path) for path in self.files])
                parts.create_view("rows")
                if self.tasks is not None:
                    connection.execute(
                        "CREATE TABLE counted AS SELECT unnest(?) AS task", [self.tasks]
                    )
                    parts.filter("task IN (SELECT task FROM counted)").create_view(
                        "rows", replace=True
                    )
                answer = connection.execute(statement, list(values))
                names = [column[0] for column in answer.description or ()]
                return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        except (
            duckdb.Error
        ) as error:  # a file is damaged, or gone: parts were put together meanwhile
            said = str(error).split("\n")[0]
            raise InstanceError(f"sweep: {said}; go on with it, or ask again") from None


def summary(rows: Rows, by: Sequence[str] = ()) -> list[Record]:
    """A record for each claim, and for each value of the columns ``by``; of the grids and files alone,
    for worlds that were bred to be tight say nothing of a distribution.

    Raises InstanceError for a column that is none of family and the parameters.
    """
    for name in by:
        if name not in GROUPS:
            rule = "is no column to group by"
            raise InstanceError.of("--by", name, rule, f"choose from {', '.join(GROUPS)}")
    return rows.ask(SUMMARY.format(by="".join(f"{name}, " for name in by)))


def worst(rows: Rows, claim: str, n: int) -> list[Record]:
    """The n rows of a claim to look at first, as a part holds them."""
    return rows.ask(WORST, claim, n)


def tightest(rows: Rows, claim: str, n: int) -> list[Record]:
    """The n worlds of families where a claim is tightest, or broken, each with what makes it."""
    return rows.ask(TIGHTEST, claim, n)
