"""The findings of both papers' experiments, one row each (SS §5 and B.3; EXACT §6, C.5).

The papers' percentages are quoted as bars to be reached; nothing here reproduces them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..records.output import Record
from .findings import Finding, Side, Size, Triple
from .knee import knee
from .seeds import over_seeds

PSOUPS, PAD, RLHF = ("p-soups[rank 2]",), ("pad",), ("rlhf-learnt",)
PAD_SF = ("pad-sf[5 starts]", "pad-sf")
PRINTED, BUDGET = ("ss-implicit-printed[m=0, budget]",), ("ss-explicit[m=0, budget]",)
IMPLICIT = ("ss-implicit[m=0]",)
# domain of records, experiment, share of RLHF that SS §5 reports
WORLDS = (
    ("ultrafeedback", "ultrafeedback", 0.83), ("t2i", "t2i", 0.88), ("sleep", "sleep", 0.72),
)  # fmt: skip
EXACT, DRIFT = ("exact[k=3]",), ("drift",)
WIDE, NARROW = "width 125", "width 25"  # features of the models of ``bases``
SIZES: tuple[Size, Size] = ("few", "most")


def of_papers(labels: str) -> tuple[Finding, ...]:
    """Every row; labels: of the run, since ranks fix no scale and souping needs its budget there."""
    souping = BUDGET if labels == "rank" else ("ss-explicit[m=0]",)
    return (*_online(souping), *_bases(souping), *_exact())


def _online(souping: tuple[str, ...]) -> Iterator[Finding]:
    """SS §5, Figures 1, 2, 4, 5."""
    ss = Side(souping)
    for domains, experiment, share in WORLDS:

        def row(
            source: str, says: str, left: Side, right: Side | float, *, same: bool = False,
            domains: str = domains, experiment: str = experiment,
        ) -> Finding:  # fmt: skip
            return Finding(source, says, experiment, left, right, same, domains)

        explicit = ("ss-explicit[m=0]",)
        yield row("SS §5", f"souping reaches {share:.0%} of RLHF", ss, share)
        yield row("SS §5", "implicit and explicit are comparable (a sound sampler)", Side(IMPLICIT),
                  Side(explicit), same=True)  # fmt: skip
        yield row("SS §5", "implicit and explicit are comparable (the sampler as printed)",
                  Side(PRINTED), Side(BUDGET), same=True)  # fmt: skip
        yield row("SS Fig. 1", "souping is above P-SOUPS, tuned", ss, Side(PSOUPS))
        yield row("SS Fig. 1", "souping is above PAD", ss, Side(PAD))
        yield row("SS Fig. 1", "souping is above PAD-SF", ss, Side(PAD_SF))
        yield row(
            "SS Fig. 1", "RLHF from the user's pairs bounds souping: many pairs", Side(RLHF), ss
        )
        yield row("SS Fig. 1", "RLHF from the user's pairs bounds souping: few pairs",
                  Side(RLHF, "few"), Side(souping, "few"))  # fmt: skip
        yield row("SS Fig. 2", "what holds on train prompts holds on test prompts",
                  Side(souping, prompts="train"), ss, same=True)  # fmt: skip
        baselines = (
            ("P-SOUPS", PSOUPS), ("PAD *, which is told the user's weights", PAD),
            ("PAD-SF", PAD_SF), ("learnt RLHF", RLHF),
        )  # fmt: skip
        for name, other in baselines:
            yield row("SS §5", f"souping needs less data than {name} (mean over the curve)",
                      Side(souping, "all"), Side(other, "all"))  # fmt: skip


def _bases(souping: tuple[str, ...]) -> Iterator[Finding]:
    """SS Figure 3."""
    few, most = (Side(souping, bases=size) for size in ("few", "most"))
    name = "bases"
    yield Finding("SS Fig. 3", "fewer specialists cost", name, most, few)
    yield Finding("SS Fig. 3", "there is a knee: two segments beat a smooth curve on held-out seeds",
                  name, Side(souping, bases="all"), 0.0, of=knee)  # fmt: skip
    yield Finding(
        "SS Fig. 3", "a larger model does better on average over K", name,
        Side(souping, bases="all", domain=WIDE), Side(souping, bases="all", domain=NARROW),
        domains=WIDE,
    )  # fmt: skip
    yield Finding(
        "SS Fig. 3", "a larger model loses less of what it has as specialists are removed", name,
        most, few, domains=WIDE, of=_gentler,
    )  # fmt: skip


def _gentler(side: Side, records: Sequence[Record], domain: str) -> list[Triple]:
    """(seed, what the narrow model loses from all specialists to the fewest, what the wide one does).

    Each as a share of what the model reaches with all of them, on average over seeds.
    """
    lost = []
    for width in (NARROW, WIDE):
        few, most = (replace(side, bases=n, domain=width).values(records, domain) for n in SIZES)
        whole = over_seeds((who[0], x) for who, x in most.items())
        if whole is None or whole[0] <= 0:
            return []
        lost.append({who: (most[who] - few[who]) / whole[0] for who in set(few) & set(most)})
    narrow, wide = lost
    return [(who[0], narrow[who], wide[who]) for who in sorted(set(narrow) & set(wide))]


def _exact() -> Iterator[Finding]:
    """EXACT §6: Tables 2, 3, 7, 8, Figure 1; accuracies anchored at ref, on test prompts."""

    def right(names: tuple[str, ...], key: str = "accuracy") -> Side:
        return Side(names, key=key)

    exact = right(EXACT)
    for name, other in (("Base", ("base",)), ("Drift", DRIFT), ("Reward", ("reward",))):
        yield Finding(
            "EX Table 2", f"EXACT is more accurate than {name}", "exact", exact, right(other)
        )
    for name, other in (("Drift", DRIFT), ("Reward", ("reward",))):
        yield Finding("EX Table 3", f"EXACT wins more often against plain answers than {name}", "exact",
                      right(EXACT, "win_bt"), right(other, "win_bt"))  # fmt: skip
    yield Finding("EX Table 3", "EXACT wins more than half against plain answers", "exact",
                  right(EXACT, "win_bt"), 0.5)  # fmt: skip
    yield Finding("EX Fig. 1", "accuracy rises from k = 1 to 5", "exact", right(("exact[k=5]",)),
                  right(("exact[k=1]",)))  # fmt: skip
    yield Finding("EX Fig. 1", "and is comparable from k = 5 to 10", "exact", right(("exact[k=10]",)),
                  right(("exact[k=5]",)), same=True)  # fmt: skip
    yield Finding("EX Table 7", "greedy reaches 0.90 of the best set", "exact",
                  right(EXACT, "greedy_ratio"), 0.9)  # fmt: skip
    yield Finding("EX Table 8", "retrieval is more accurate than the best single set", "exact", exact,
                  right(("exact[k=3, best set]",)))  # fmt: skip
    yield Finding("EX §5.2", "retrieval is more accurate than one set for all pairs", "exact", exact,
                  right(("exact[k=3, pooled]",)))  # fmt: skip
    yield Finding("EX Thm 5.2", "retrieval as analysed (by topic) beats one set for all pairs", "exact",
                  right(("exact[k=3, topic-pooled]",)), right(("exact[k=3, pooled]",)))  # fmt: skip
