"""``import soupcheck``: the names that programs use, each imported when it is first asked for.

This folder is installed under the name ``soupcheck``. Nothing of ours imports it. What lies above this
package (``oracle`` of the bridge, ``plot`` of the figures) is found by entry points, in the group
``soupcheck.names``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toymdp.face import shows

if TYPE_CHECKING:
    from bounds import (
        CLAIMS,
        Check,
        Claim,
        Facts,
        Hypothesis,
        NotApplicable,
        Sides,
        Soup,
        Undecidable,
        assert_claim,
        check,
    )
    from bounds.conformance import assert_conforms
    from bounds.proofs.ladder import ladder
    from bounds.proofs.walk import explain
    from bounds.records.formats import schema
    from bounds.records.ledger import compare
    from bounds.records.reading import read
    from bounds.records.witness import stored_witnesses
    from bounds.report.tables import table
    from toymdp import (
        InstanceError,
        Solution,
        SolverError,
        SoupOptimum,
        TokenMDP,
        soft_values,
        solve,
        soup_optimum,
    )
    from toymdp.exact.evaluate import evaluate
    from toymdp.exact.policy import Policy
    from toymdp.exact.sampling import sample
    from toymdp.families import generate

    __version__: str
    oracle: Any  # of llm_bridge, and the module plot of paper_figs, which no type checker
    plot: Any  # of this package reads

__all__ = [  # noqa: RUF022  # as a reader meets them: an instance, what is true of it, the claims
    "TokenMDP", "generate", "solve", "Solution", "soup_optimum", "SoupOptimum", "soft_values",
    "Policy", "evaluate", "sample", "CLAIMS", "check", "Check", "assert_claim", "explain", "ladder", "Claim",
    "Sides", "Hypothesis", "Facts", "Soup", "NotApplicable", "Undecidable", "assert_conforms",
    "stored_witnesses", "read", "compare", "schema", "table", "InstanceError", "SolverError", "__version__",
]  # fmt: skip
_HOMES = {
    "bounds": (
        "CLAIMS", "Check", "Claim", "Facts", "Hypothesis", "NotApplicable", "Sides", "Soup",
        "Undecidable", "assert_claim", "check",
    ),
    "bounds.conformance": ("assert_conforms",),
    "bounds.proofs.ladder": ("ladder",),
    "bounds.proofs.walk": ("explain",),
    "bounds.records.formats": ("schema",),
    "bounds.records.ledger": ("compare",),
    "bounds.records.reading": ("read",),
    "bounds.records.witness": ("stored_witnesses",),
    "bounds.report.tables": ("table",),
    "toymdp": (
        "InstanceError", "Solution", "SolverError", "SoupOptimum", "TokenMDP", "soft_values",
        "solve", "soup_optimum",
    ),
    "toymdp.exact.evaluate": ("evaluate",),
    "toymdp.exact.policy": ("Policy",),
    "toymdp.exact.sampling": ("sample",),
    "toymdp.families": ("generate",),
}  # fmt: skip
_ABOVE = (
    "oracle",
    "plot",
)  # not in __all__: one needs the extra ``llm``, the other imports matplotlib
if not TYPE_CHECKING:  # a type checker sees the imports above, and no other name
    _shown, _ = shows(__name__, _HOMES)

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            globals()[name] = version("soupcheck")
            return globals()[name]
        if name in _ABOVE:
            from importlib.metadata import entry_points

            for entry in entry_points(group="soupcheck.names", name=name):
                globals()[name] = entry.load()
                return globals()[name]
        return _shown(name)

    def __dir__() -> list[str]:
        return sorted((*__all__, *_ABOVE))
