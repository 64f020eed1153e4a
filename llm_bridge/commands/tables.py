"""Tables of the bridge for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def short(value: Any) -> str:
    """Four digits, or a dash for what is not there."""
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text, the others numbers."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def accuracies(report: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Adapter × order, per cent with a standard error."""
    columns = list(next(iter(report.values())))
    rows = [
        [name, *(f"{100 * row[c][0]:.1f} ± {100 * row[c][1]:.1f}" for c in columns)]
        for name, row in report.items()
    ]
    return plain("Held-out accuracy, % (adapter × order)", ["adapter", *columns], rows)


def diagnosis_tables(report: Mapping[str, Any]) -> list[Table]:
    """Specialists, soups, features, decodability, verdicts."""
    measures = report["specialists"]
    policies = list(next(iter(measures.values())))
    parts = [
        plain(
            f"{report['bank']}: {report['states']} states of {report['sequences']} answers (nats)",
            ["", *policies],
            [[key, *(short(row[p]) for p in policies)] for key, row in measures.items()],
        )
    ]
    names = list(report["kl, mean"])
    rows = [[a, *(short(row[b]) for b in names)] for a, row in report["kl, mean"].items()]
    parts.append(plain("Mean KL(row‖column), nats", ["", *names], rows))
    gaps = report["gaps"]
    rows = [
        [
            name, short(g["gap"]), f"[{short(g['low'])}, {short(g['high'])}]", short(g["sharp"]),
            short(g["to_w"]), short(g["to_ref"]), str(g["rollouts"]), short(g["cut"]),
        ]
        for name, g in gaps.items()
    ]  # fmt: skip
    if rows:
        columns = ["soup", "gap", "95 %", "sharp bound", "β KL to π_w", "(β'/|λ|−β) KL to ref",
                   "answers", "cut"]  # fmt: skip
        parts.append(
            plain(
                "Gap to the bespoke policy over answers drawn to the measured prompts, reward units",
                columns,
                rows,
            )
        )
    features = dict(report["features"])
    tables = {k: features.pop(k) for k in list(features) if isinstance(features[k], dict)}
    features["effective rank of the specialists"] = report["effective rank"]
    explained = report["bespoke explained by first k"]
    if explained is not None:
        features["bespoke explained by first 1..K"] = ", ".join(short(x) for x in explained)
    for key, row in tables.items():
        features[key] = ", ".join(f"{n} {short(v)}" for n, v in row.items())
    features["decodability defect by L (nats)"] = ", ".join(
        f"{L}: {short(v)}" for L, v in report["decodability defect"].items()
    )
    parts.append(plain("Features", ["", ""], [[k, short(v)] for k, v in features.items()]))
    rows = [
        [c["claim"], c["verdict"], short(c["lhs"]), short(c["rhs"]), short(c["error"]), c["reason"]]
        for c in report["checks"]
    ]
    columns = ["claim", "verdict", "lhs", "rhs", "error", "why"]
    parts.append(plain("Verdicts", columns, rows))
    return parts


def page_tables(page: Mapping[str, Any]) -> list[Table]:
    """Policies on held-out pairs, and how the specialists' margins correlate."""
    if "policies" not in page:
        return []
    rows = []
    bare = all(row["gap"] is None for row in page["policies"].values())  # no bespoke adapter
    for name, row in page["policies"].items():
        lead = row["soup ahead by"]
        rows.append([
            name, f"{100 * row['accuracy']:.1f} ± {100 * row['standard error']:.1f}",
            "" if lead is None else f"{100 * lead:+.1f} ± {100 * row['error of that']:.1f}",
            *([] if bare else ["" if row["gap"] is None else f"{row['gap']:.3f} ± {row['its error']:.3f}"]),
        ])  # fmt: skip
    columns = ["policy", "accuracy, %", "soup ahead by, %", *([] if bare else ["gap to π_w"])]
    parts = [plain(f"Held-out pairs ({page['pairs']}), λ of the other half", columns, rows)]
    names = list(page["lambda"])
    if page["correlation"] is not None and len(names) > 1:
        rows = [
            [name, *(f"{x:+.2f} {shade(x)}" for x in row)]
            for name, row in zip(names, page["correlation"], strict=True)
        ]
        title = "Correlation of the specialists' margins (− conflict, + agree)"
        parts.append(plain(title, ["", *names], rows))
    return parts


def shade(value: float) -> str:
    """A correlation as a bar of up to four signs."""
    return ("+" if value > 0 else "−") * round(4 * abs(value)) or "·"


def merges(report: Mapping[str, Any]) -> Table:
    """Merges of adapters: value, share of the way to π_w, KL to the soup."""
    rows = [
        [r["factors"], r["merge"], short(r["value"]), short(r["share"]), f"{r['kl to soup']:.1e}"]
        for r in report["merges"]
    ]  # fmt: skip
    values = ", ".join(f"{name} {short(value)}" for name, value in report["values"].items())
    lam = ", ".join(map(short, report["lambda"]))
    title = f"{report['instance']}: merges at λ* = ({lam}), exact; values: {values}"
    return plain(title, ["factors", "merge", "value", "share", "KL to the soup"], rows)


def estimators(report: Mapping[str, Any]) -> Table:
    """Estimators of a KL: means, spreads, what a sample shows, what they are as a loss."""
    rows = []
    for name, row in report["estimators"].items():
        mean, error = row["drawn"]
        length = row["mean over an answer's tokens × mean length"]
        rows.append([
            name, short(row["mean of sums"]), f"{row['bias']:+.1e}", short(row["standard deviation"]),
            short(length), short(row["of the whole answer's ratio"]), f"{mean:.4f} ± {error:.4f}",
            short(row["as a loss"]["cosine"]), short(row["as a loss"]["size"]),
        ])  # fmt: skip
    title = (
        f"{report['instance']}: KL({report['policy']}‖ref) over whole answers is "
        f"{short(report['exact'])} nats, exactly ({report['answers']} answers)"
    )
    columns = ["", "mean of sums", "bias", "sd", "token mean × length", "of the whole ratio",
               f"{report['draws']} drawn", "loss: cosine", "size"]  # fmt: skip
    return plain(title, columns, rows)
