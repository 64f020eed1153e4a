"""PAD-SF: PAD with weights of the specialists that depend on the state, learnt from a user's pairs.

``w(s) = softmax_k(C·ψ(s))`` with C [K, d] and ψ(s) the reference's state. C maximises

    Σ_n log σ(m_n) − ½ c²‖C‖²/v,   m_n = β Σ_t w(s_t)·ℓ(s_t, a_t)  of the winner less the loser,

``ℓ_k = log π_k/ref``; c² is the mean of ‖ψ‖², so that v is the prior variance of a score C_k·ψ.
The loss is that of section 4 with w(s) for λ; it is not concave in C, and C = 0 (equal weights
everywhere) is where the climb starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toymdp import InstanceError

from ..answers import Answer, taken_tokens, tokenised
from ..backend import torch
from ..bank import REF, Bank
from ..preferences import Pair
from .pad import Pad
from .request import Answers, Request

Tensor = Any
VARIANCE = 1.0
STEPS = 200


@dataclass(frozen=True)
class PadSF:
    """PAD-SF: the weights are ``softmax_k(scorer·ψ(s))``, a K-dimensional scorer on the state.

    scorer: [K, d], learnt by ``fit_scorer``. state: function from token ids [B, n] to the
    reference's states [B, d].
    """

    pad: Pad
    scorer: Tensor
    state: Any

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Logits [B, A]."""
        w = torch.softmax(self.state(ids).to(z) @ self.scorer.to(z).T, dim=1)
        return self.pad.tilted(z, w.T)


@torch.no_grad()
def token_tables(
    bank: Bank, answers: Sequence[Answer], batch: int = 32
) -> tuple[Tensor, Tensor, Tensor]:
    """States ψ(s) [n, d] of ref, ``log π_k/ref`` [n, K] of the tokens taken, their answer [n]."""
    states, ratios, owners = [], [], []
    for start in range(0, len(answers), batch):
        part = answers[start : start + batch]
        logs = []
        for policy in (REF, *bank.names):
            with bank.using(policy):
                taken = taken_tokens(bank, part, torch.float64)
            logs.append(taken.log_prob)
            if policy == REF:
                states.append(taken.states.double().cpu())
                owners.append(taken.row.cpu() + start)
        ratios.append((torch.stack(logs[1:], dim=1) - logs[0][:, None]).cpu())
    return torch.cat(states), torch.cat(ratios), torch.cat(owners)


def scorer_margins(
    scorer: Tensor, tables: tuple[Tensor, Tensor, Tensor], pairs: int, beta: float
) -> Tensor:
    """``m_n`` [N] of each pair, reward units; answers 2n and 2n + 1 are winner and loser."""
    states, ratios, owners = tables
    each = (torch.softmax(states @ scorer.T, dim=1) * ratios).sum(dim=1)
    totals = torch.zeros(2 * pairs, dtype=each.dtype).index_add(0, owners, each)
    return beta * (totals[::2] - totals[1::2])


def fit_scorer(
    bank: Bank, pairs: Sequence[Pair], beta: float, variance: float = VARIANCE
) -> tuple[Tensor, dict[str, float]]:
    """Learn the scorer [K, d] and say how it orders the pairs. Raises InstanceError without any."""
    if not pairs:
        raise InstanceError.of("pairs", 0, "a scorer needs at least one", "check the file")
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    tables = token_tables(bank, answers)
    size = (tables[0] ** 2).sum(dim=1).mean()
    shape = (len(bank.names), tables[0].shape[1])
    scorer = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    climb = torch.optim.LBFGS([scorer], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        climb.zero_grad()
        fit = torch.nn.functional.softplus(-scorer_margins(scorer, tables, len(pairs), beta)).sum()
        total = fit + 0.5 * size / variance * (scorer**2).sum()
        total.backward()
        return total

    climb.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    learned = scorer.detach()
    m = scorer_margins(learned, tables, len(pairs), beta)
    flat = scorer_margins(torch.zeros_like(learned), tables, len(pairs), beta)
    return learned, {
        "pairs": float(len(pairs)),
        "pairs ordered right": float((m > 0).double().mean()),
        "pairs ordered right by equal weights": float((flat > 0).double().mean()),
    }


@torch.no_grad()
def draw(
    bank: Bank, prompts: Sequence[Sequence[int]], scorer: Tensor, *, tokens: int, seed: int
) -> list[list[int]]:
    """Draw an answer for each prompt (token ids) by PAD-SF: ends with the end token or ``tokens``."""
    noise = torch.Generator(device=bank.device).manual_seed(seed)
    P = 1 + len(bank.names)  # ref and the specialists: a bespoke adapter is no part of it
    answers = []
    for prompt in prompts:
        ids: list[int] = list(prompt)
        answer: list[int] = []
        bank.check_length(len(ids) + tokens)
        while len(answer) < tokens and not (answer and answer[-1] in bank.ends):
            last = bank.hidden(torch.tensor([ids], device=bank.device))[:, :, -1]
            weights = torch.zeros(len(bank.names), dtype=torch.float64)
            law = PadSF(Pad(weights), scorer, lambda _, state=last[0]: state)
            logits = law(bank.logits(last)[:P].double(), None)
            gumbel = -torch.empty_like(logits).exponential_(generator=noise).log()
            answer.append(int((logits + gumbel).argmax()))
            ids.append(answer[-1])
        answers.append(answer)
    return answers


def answers(bank: Bank, request: Request) -> Answers:
    """Draws by PAD-SF, its scorer learnt from the user's pairs, and how it orders them."""
    scorer, fit = fit_scorer(bank, request.pairs, request.beta)
    drawn = draw(bank, request.prompts, scorer, tokens=request.tokens, seed=request.seed)
    return drawn, {"scorer from pairs": fit}
