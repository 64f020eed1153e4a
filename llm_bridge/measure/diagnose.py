"""What the theory says about a bank of adapters on given answers: measures, verdicts, gap.

Sequences are taken in chunks; a finished chunk is one line of a file, and a later run with the same
inputs goes on after it. Verdicts use the ledger's words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bounds.claim import Check
from bounds.claims.catalogue import CLAIMS
from bounds.sides import Sides, decide
from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import Answer
from ..backend import torch
from ..bank import Bank
from .after_states import AfterStates, LinearFit, after_states, fit_linear, kl_bounds, logit_norm
from .measures import soup_weights
from .stream import Chunk, stream
from .totals import SoupSettings, Tally, tally_of

FORMAT = "soupcheck-llm-chunks/1"
OPTIMAL = "each adapter is the optimal policy of its reward"
BESPOKE = "the bespoke adapter is π_w"
SAMPLED = "judged on the tokens given, not on every reachable state"


def fingerprint(bank: Bank, lines: Sequence[Answer], settings: SoupSettings) -> str:
    """SHA-256 of what the numbers depend on: adapters, sequences, soups, temperatures."""
    digest = hashlib.sha256()
    for name, value in sorted(bank.model.named_parameters()):
        if ".lora_" in name or "norm" in name:
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().numpy().tobytes())
    digest.update(json.dumps([(line.ids, line.begin) for line in lines]).encode())
    digest.update(settings.lams.tobytes())
    digest.update(
        repr((bank.policies, settings.names, settings.beta, settings.beta_prime)).encode()
    )
    return digest.hexdigest()


class ChunkFile:
    """Finished chunks as JSON Lines: a header that names the run, then one line each.

    Raises InstanceError if the file belongs to another run.
    """

    def __init__(self, path: Path, run: str):
        self.path, self.finished = path, dict[int, dict[str, Any]]()
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        whole = []
        for line in lines:
            try:
                whole.append(json.loads(line))
            except json.JSONDecodeError:
                break  # the line that a killed run was writing
        if whole and (whole[0].get("format") != FORMAT or whole[0].get("run") != run):
            raise InstanceError.of(
                "chunks", str(path), "belongs to another run", "delete it or name another file"
            )
        self.finished = {row["chunk"]: row for row in whole[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [{"format": FORMAT, "run": run}, *self.finished.values()]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def write(self, number: int, tally: Tally, tokens: list[dict[str, Any]]) -> None:
        """Append one finished chunk."""
        row = {"chunk": number, "tally": tally.as_dict(), "tokens": tokens}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def per_token(chunk: Chunk, lines: Sequence[Answer], bank: Bank) -> list[dict[str, Any]]:
    """One record for each state of a chunk: Δ_k, D₂, extremes, KLs, spans in nats."""
    found = chunk.measures
    return [
        {
            "sequence": int(row), "token": int(place), "id": lines[int(row)].ids[int(place) + 1],
            "log_upper": found.log_upper[:, n].tolist(), "log_lower": found.log_lower[:, n].tolist(),
            "delta": found.delta[:, n].tolist(), "renyi": found.renyi[:, n].tolist(),
            "kl": found.kl[:, :, n].tolist(), "span": found.span[:, n].tolist(),
        }
        for n, (row, place) in enumerate(zip(chunk.row, chunk.place, strict=True))
    ]  # fmt: skip


def tally_lines(
    bank: Bank,
    lines: Sequence[Answer],
    settings: SoupSettings,
    *,
    precision: Any = torch.float32,
    batch: int = 16,
    chunks: Path | None = None,
    tokens: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Measure every answer state of the lines; with ``chunks``, resumable. Constant memory.

    tokens: also write one record for each state into the chunk file.
    """
    if not lines:
        raise InstanceError.of("prompts", 0, "there is nothing to measure", "check the file")
    run = fingerprint(bank, lines, settings)
    file = ChunkFile(chunks, run) if chunks is not None else None
    mu = soup_weights(torch.as_tensor(settings.lams), settings.beta, settings.beta_prime)
    eps = rounding_unit(bank, precision)
    total = Tally()
    for number, start in enumerate(range(0, len(lines), batch)):
        part = lines[start : start + batch]
        if file is not None and number in file.finished:
            total.add(Tally.from_dict(file.finished[number]["tally"]))
        else:
            tally, records = Tally(), list[dict[str, Any]]()
            for chunk in stream(bank, part, mu, precision=precision, batch=batch):
                row, place = (np.asarray(x.cpu()) for x in (chunk.row, chunk.place))
                tally.add(
                    tally_of(
                        chunk.measures, row + start, place, settings, bank.bespoke is not None, eps
                    )
                )
                if tokens and file is not None:
                    records += per_token(chunk, part, bank)
            if file is not None:
                file.write(number, tally, records)
            total.add(tally)
        if progress is not None:
            progress(len(part))
    return total


def rounding_unit(bank: Bank, precision: Any) -> float:
    """The coarser of the weights' and the arithmetic's units in the last place."""
    kinds = {p.dtype for p in bank.model.parameters()}
    return float(max(torch.finfo(kind).eps for kind in (*kinds, precision)))


def error_of(sides: Sides, eps: float) -> float:
    """Error radius of two sides made of logits that were rounded to ``eps``."""
    return 32 * eps * (sides.scale + abs(sides.lhs) + abs(sides.rhs))


def judged(claim: str, sides: Sides | None, eps: float, assumed: Sequence[str]) -> Check:
    """Verdict of a registered claim on sides that were found, or not-applicable without."""
    entry = CLAIMS[claim]
    base: dict[str, Any] = {
        "claim": claim,
        "status": entry.status,
        "kind": entry.kind,
        "assumed": tuple(assumed),
    }
    if sides is None:
        return Check(verdict="not-applicable", reason="nothing to compare on these tokens", **base)
    error = error_of(sides, eps) + sides.error
    verdict, reason = decide(entry.kind, sides, error)
    return Check(
        verdict=verdict, lhs=sides.lhs, rhs=sides.rhs, slack=sides.slack, error=error,
        reason=reason or sides.note, terms=sides.terms, where=sides.where, **base,
    )  # fmt: skip


def stream_checks(tally: Tally, bank: Bank, eps: float) -> list[Check]:
    """Verdicts that need no feature: ss.delta, and ss.thm1.gap.sharp state by state."""
    found = [judged("ss.delta", tally.sides.get("ss.delta"), eps, [SAMPLED])]
    if bank.bespoke is not None:
        sides = tally.sides.get("ss.thm1.gap.sharp")
        found.append(judged("ss.thm1.gap.sharp", sides, eps, [BESPOKE, SAMPLED]))
    return found


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """After-states at some states, the centred fit on them, and the checks that need it."""

    states: AfterStates
    fit: LinearFit
    checks: list[Check]
    bound: float | None
    logit_error: Mapping[str, float]


def feature_checks(
    bank: Bank,
    prefixes: Sequence[Sequence[int]],
    settings: SoupSettings,
    bound: float | None,
    *,
    top: int = 16,
    nu: Array | None = None,
    kl: Array | None = None,
    precision: Any = torch.float32,
) -> FeatureReport:
    """Lemma 1 and (9), printed and repaired, at some states.

    nu: [K+1, d] with ``Q = psi·nu`` in reward units, where they are known; else the centred fit's.
    bound: largest ‖psi‖ (None: unknown, then the mass outside the top tokens leaves (9) undecided).
    kl: [M, N] ``KL(π_w‖soup)`` at the prefixes' states.

    Where the fit's residual shows that no nu exists, Lemma 1's conclusion is false here and what
    rests on it is not-applicable, with the residual as reason.
    """
    eps = rounding_unit(bank, precision)
    mu = soup_weights(torch.as_tensor(settings.lams), settings.beta, settings.beta_prime)
    found = after_states(bank, prefixes, top, mu, precision=precision)
    fit = fit_linear(found)
    worst = int(np.argmax(fit.residual / np.where(fit.size > 0, fit.size, 1.0)))
    scale = 1.0 + float(fit.size.max()) + float(np.abs(found.log_probs[0][found.live]).max())
    sides = Sides(
        float(fit.residual[worst]), 0.0, scale, {"held-out R²": float(fit.held_out[worst])},
        {"k": worst}, note="residual of the centred fit",
    )  # fmt: skip
    lemma = judged("ss.lemma1", sides, eps, [OPTIMAL, SAMPLED])
    if lemma.verdict == "holds" and fit.rank >= fit.rows:
        lemma = replace(lemma, verdict="undecided", reason="as many features as equations")
    checks = [lemma]
    errors: dict[str, float] = {}
    linear = nu is not None or lemma.verdict == "holds"
    reason = (
        f"q-linear: no nu, largest residual {sides.lhs:.3g} nats of {fit.size[worst]:.3g}, "
        f"held-out R² {fit.held_out[worst]:.3f}"
    )
    if bank.bespoke is None or kl is None:
        return FeatureReport(found, fit, checks, bound, errors)
    vectors = settings.beta * fit.nu if nu is None else nu
    rows: dict[str, list[Sides]] = {"ss.thm1.kl.any": [], "ss.thm1.kl.repaired": []}
    for m, name in enumerate(settings.names):
        lam = settings.lams[m]
        errors[name] = logit_norm(vectors, lam, settings.beta, settings.beta_prime)
        outside = found.live.shape[1] < bank.vocab_size
        edge = (float("nan") if outside else 0.0) if bound is None else bound
        both = kl_bounds(found, edge, errors[name], settings.beta_prime, m)
        for claim, rhs in zip(rows, both, strict=True):
            n = int(np.argmin(rhs - kl[m]))
            where = {"soup": m, "state": n}
            rows[claim].append(Sides(float(kl[m, n]), float(rhs[n]), scale, where=where))
    for claim, sides_list in rows.items():
        check = judged(
            claim, min(sides_list, key=lambda s: s.slack), eps, [OPTIMAL, BESPOKE, SAMPLED]
        )
        if not linear:
            check = replace(check, verdict="not-applicable", reason=reason)
        checks.append(replace(check, hypotheses={"q-linear": linear}))
    return FeatureReport(found, fit, checks, bound, errors)


def effective_rank(gram: Array) -> float:
    """``exp`` of the entropy of the eigenvalues' shares: how many fields there are, in effect."""
    values = np.clip(np.linalg.eigvalsh(gram), 0.0, None)
    share = values / max(values.sum(), np.finfo(float).tiny)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def spanned(gram: Array) -> list[float]:
    """Share of the bespoke field's variance that the first 1..K specialists' fields explain.

    gram: [K+1, K+1], the bespoke last. ``g_wᵀ G⁺ g_w / G_ww``, centred under ref at each state.
    """
    K = len(gram) - 1
    total = max(float(gram[K, K]), np.finfo(float).tiny)
    found = []
    for k in range(1, K + 1):
        g = gram[:k, K]
        found.append(float(g @ np.linalg.lstsq(gram[:k, :k], g, rcond=1e-10)[0]) / total)
    return found
