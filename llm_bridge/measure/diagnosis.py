"""One run of ``soupcheck llm diagnose``: every measure of a bank on given answers, as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bounds.records.output import number
from bounds.records.record import record
from bounds.runs.progress import OnProgress, one_part, silent
from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import Answer, fits, tokenised
from ..backend import peft, torch, transformers
from ..bank import Bank
from ..preferences import Pair, ScoredSet
from .after_states import LinearFit, decodability, norm_bound
from .chunks import fingerprint, tally_answers
from .linearity import state_linearity
from .measures import measure
from .reached import Reached, reach
from .rollout_gap import ASSUMED, rollout_gap
from .soups import SoupSettings
from .stream import rounding_unit
from .totals import Tally, effective_rank, explained_shares
from .verdicts import feature_checks, stream_checks

MOST_STATES = 2400  # on which log-ratios are fitted linearly in the state
LENGTHS = (1, 2, 4, 8, 16, 32, 64)  # of the context, for Assumption 2's defect


@dataclass(frozen=True)
class Effort:
    """How much is sampled: states for the feature fits and the decodability, answers for the gap.

    top: tokens of a state whose after-states are computed. prompts, rollouts: answers drawn are
    their product. tokens: length of an answer.
    """

    fit_states: int = 96
    top: int = 16
    window_states: int = 48
    prompts: int = 48
    rollouts: int = 2
    tokens: int = 40


def answers_of(
    bank: Bank,
    data: Sequence[Pair] | ScoredSet,
    limit: int | None,
    seed: int,
    lengths: Counter[str] | None = None,
) -> list[Answer]:
    """Prompts with answers of the data as token ids: one drawn answer a prompt, or both of a pair.

    lengths: where what is too long is counted; what cannot be cut is left out.
    """
    rng, lengths = np.random.default_rng(seed), Counter() if lengths is None else lengths
    if isinstance(data, ScoredSet):
        items = data.items[:limit]
        texts = [(i.prompt, i.answers[int(rng.integers(len(i.answers)))]) for i in items]
    else:
        texts = [(p.prompt, t) for p in data[:limit] for t in (p.chosen, p.rejected)]
    texts = [(prompt, text) for prompt, text in texts if fits(bank, prompt, [text], lengths)]
    if not texts:
        raise InstanceError.of(
            "prompts",
            dict(lengths),
            "there is nothing to measure",
            "check the file and --max-length",
        )
    return [tokenised(bank, prompt, text) for prompt, text in texts]


def sampled_prefixes(answers: Sequence[Answer], n: int, seed: int) -> list[tuple[int, ...]]:
    """Prefixes of n states drawn from the answers."""
    every = [(i, place) for i, answer in enumerate(answers) for place in answer.places]
    order = np.random.default_rng([seed, 3]).permutation(len(every))[:n]
    return [answers[every[j][0]].ids[: every[j][1] + 1] for j in order]


def kl_from_bespoke(
    bank: Bank, reached: Reached, settings: SoupSettings, precision: Any
) -> Array | None:
    """``KL(π_w‖soup_m)`` [M, N] in nats at given states; None without π_w."""
    if bank.bespoke is None:
        return None
    K, size = len(bank.names), bank.states_at_once(len(bank.policies) + len(settings.names))
    parts = []
    for start in range(0, len(reached.prefixes), size):
        z = bank.logits(reached.hidden[:, start : start + size])
        of = measure(z, settings.weights, bespoke=True, precision=precision)
        parts.append(np.asarray(of.kl[K + 1, K + 2 :].double().cpu()))
    return np.concatenate(parts, axis=1)


def diagnose_bank(
    bank: Bank,
    answers: Sequence[Answer],
    settings: SoupSettings,
    *,
    effort: Effort,
    seed: int = 0,
    precision: Any = torch.float32,
    chunks: Path | None = None,
    tokens: bool = False,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Run every diagnostic and return one JSON object (numbers in nats and reward units)."""
    on_progress("measuring answers", 0, len(answers))
    tally = tally_answers(
        bank, answers, settings, precision=precision, chunks=chunks, tokens=tokens,
        on_progress=on_progress,
    )  # fmt: skip
    eps = rounding_unit(bank, precision)
    checks = stream_checks(tally, bank, eps)
    bound = norm_bound(bank)
    on_progress("states after a token", 0, 3)
    # the first of a seeded order: the states of the fit on ψ((s,a)) are among those of that on ψ(s)
    width = bank.width
    fitted = min(4 * width, MOST_STATES)
    reached = reach(bank, sampled_prefixes(answers, max(effort.fit_states, fitted), seed))
    few = reached.first(effort.fit_states)
    kl = kl_from_bespoke(bank, few, settings, precision)
    features = feature_checks(
        bank, few, settings, bound, top=effort.top, kl=kl, precision=precision
    )
    checks += features.checks
    on_progress("states after a token", 1, 3)
    linear = state_linearity(bank, reached.first(fitted), seed)
    on_progress("states after a token", 2, 3)
    windows = sampled_prefixes(answers, effort.window_states, seed + 1)
    longest = max(map(len, windows))
    defect = decodability(bank, windows, [L for L in LENGTHS if longest > L])
    on_progress("states after a token", 3, 3)
    norms, fit = features.states.norms[features.states.live], features.fit
    gaps = gap_rows(bank, answers, settings, effort, seed, precision, on_progress)
    digest = fingerprint(bank, answers, settings)
    return {
        "bank": bank.name,
        "policies": list(bank.policies),
        "sequences": len(answers),
        "states": tally.states,
        "beta": settings.beta,
        "beta_prime": settings.beta_prime,
        "soups": {n: settings.lams[m].tolist() for m, n in enumerate(settings.names)},
        **measured(tally, bank, settings),
        "features": {
            "norm mean": float(norms.mean()), "norm least": float(norms.min()),
            "norm largest": float(norms.max()),
            "norm variation": float(norms.std() / norms.mean()), "norm bound": bound,
            "top tokens": int(features.states.live.shape[1]),
            "mass of top tokens under ref": float(
                np.where(features.states.live, np.exp(features.states.log_probs[0]), 0.0)
                .sum(axis=1).mean()
            ),
            "held-out R² on psi((s,a))": _by_policy(bank, fit.held_out if fit.half_enough else None),
            "largest residual": _by_policy(bank, fit.residual if fit.enough else None),
            "equations": fit.rows, "rank": fit.rank if fit.enough else None,
            "held-out R² on psi(s)": _by_policy(bank, linear), "width": width,
            "not told": too_few(fit, linear, min(fitted, len(reached.prefixes)) // 2, width),
            "logit error": dict(features.logit_error),
        },
        "decodability defect": {str(L): v for L, v in defect.items()},
        "gaps": gaps,
        "checks": [record(bank.name, digest, c, seed) for c in checks],
        "assumed": [*ASSUMED, "answers drawn and given, not all"],
        "versions": {
            "torch": torch.__version__, "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
    }  # fmt: skip


def too_few(fit: LinearFit, linear: Array | None, states: int, width: int) -> str | None:
    """Which linear fits have no more equations than unknowns, and so say nothing; None where all do."""
    rows = (
        ("residual and rank on ψ((s,a))", fit.rows, fit.enough),
        ("held-out R² on ψ((s,a))", fit.half[0], fit.half_enough),
        ("held-out R² on ψ(s)", states, linear is not None),
    )
    said = [f"{what}: {n} equations" for what, n, enough in rows if not enough]
    if not said:
        return None
    return f"{'; '.join(said)}, of up to {width} unknowns; give more prompts"


def _by_policy(bank: Bank, values: Array | None) -> dict[str, float | None]:
    names = bank.policies[1:]
    if values is None:
        return dict.fromkeys(names)
    return {n: number(float(v)) for n, v in zip(names, values, strict=True)}


def measured(tally: Tally, bank: Bank, settings: SoupSettings) -> dict[str, Any]:
    """What a tally says, by policy and by soup."""
    names = [*bank.policies, *settings.names]
    kl = tally.mean("kl")
    rows = {
        "log ratio, largest": tally.maxima["log_upper"],
        "log ratio, least": -tally.maxima["neg_log_lower"],
        "delta, mean": tally.mean("delta"),
        "delta, largest": tally.maxima["delta"],
        "renyi, mean": tally.mean("renyi"),
        "renyi, largest": tally.maxima["renyi"],
    }
    gram = tally.mean("gram")
    K = len(bank.names)
    return {
        "specialists": {key: _by_policy(bank, value) for key, value in rows.items()},
        "kl, mean": {
            a: {b: float(kl[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)
        },
        "span, mean": dict(zip(settings.names, tally.mean("span").tolist(), strict=False)),
        "span, largest": dict(zip(settings.names, tally.maxima["span"].tolist(), strict=False)),
        "effective rank": effective_rank(gram[:K, :K]),
        "bespoke explained by first k": explained_shares(gram)
        if bank.bespoke is not None
        else None,
    }


def gap_rows(
    bank: Bank, answers: Sequence[Answer], settings: SoupSettings, effort: Effort, seed: int,
    precision: Any, on_progress: OnProgress,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The gap of every soup, and of ref, by rollouts from prompts of the answers."""
    if bank.bespoke is None or effort.prompts < 2:
        return {}
    heads = list(dict.fromkeys(answer.ids[: answer.begin] for answer in answers))
    order = np.random.default_rng([seed, 5]).permutation(len(heads))[: effort.prompts]
    prompts = [heads[i] for i in order]
    gaps = {}
    cases = [("ref", np.zeros(len(bank.names))), *zip(settings.names, settings.lams, strict=True)]
    for case, (name, lam) in enumerate(cases):
        estimate = rollout_gap(
            bank, prompts, lam, beta=settings.beta, beta_prime=settings.beta_prime,
            rollouts=effort.rollouts, tokens=effort.tokens, seed=seed, precision=precision,
            on_progress=one_part(on_progress, case, len(cases)),
        )  # fmt: skip
        gaps[name] = {k: number(v) for k, v in asdict(estimate).items()}
    return gaps
