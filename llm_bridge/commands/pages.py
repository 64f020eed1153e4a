"""The first page of a diagnosis, from what the command holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from bounds.formulas import budget_used
from bounds.runs.progress import OnProgress
from toymdp import InstanceError

from ..comparison.crossfit import cross_fit
from ..comparison.finished import Finished
from ..comparison.gaps import shortfalls
from ..comparison.page import first_page
from ..measure.diagnosis import Effort
from ..measure.soups import SoupSettings
from .data import User


def of_given(settings: SoupSettings) -> str:
    """What is to be said of a λ that was given, on a page of the λ that is fitted."""
    lam = settings.lams[0]
    used = float(budget_used(lam, settings.beta, settings.beta_prime))
    rule = (
        "within the budget" if used <= 1 else
        "BEYOND the budget, in which (7) and every bound on the best soup are stated"
    )  # fmt: skip
    return (
        f"This page is of λ fitted to the pairs. The λ given, ({', '.join(f'{x:g}' for x in lam)}), is the "
        f"column “given” of the tables below; β|λ|₁/β' = {used:.3g}: {rule}."
    )


def page_of(
    user: User, report: dict[str, Any], effort: Effort, beta: float, beta_prime: float, *,
    finished: Finished, on_progress: OnProgress,
) -> dict[str, Any]:  # fmt: skip
    """Cross-fit on the user's pairs, draw by every policy; too few pairs: the reason alone."""
    bank, pairs, seed = user.bank, user.pairs, user.seed
    try:
        fit = cross_fit(
            bank,
            pairs,
            beta,
            beta_prime,
            seed,
            finished,
            on_progress,
            lambda: user.log_probs,
            user.states,
        )
    except InstanceError as refusal:
        return {"says": [f"No page of answers: {refusal}."]}
    heads = list(dict.fromkeys(tuple(bank.encode(p.prompt)) for p in pairs))
    order = np.random.default_rng([seed, 5]).permutation(len(heads))[: effort.prompts]
    gaps = shortfalls(
        bank, [heads[i] for i in order], fit.lam * beta / beta_prime, beta=beta, tokens=effort.tokens,
        seed=seed, left_out=fit.left_out, finished=finished, on_progress=on_progress,
    )  # fmt: skip
    return first_page(
        bank.names, fit, report["features"]["held-out R² on psi(s)"], beta=beta,
        beta_prime=beta_prime, gaps=gaps,
    )  # fmt: skip
