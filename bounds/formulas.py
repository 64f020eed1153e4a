"""The right sides, each written once, for any array library of the Python array API standard.

The toy side calls them with NumPy float64, the bridge with torch tensors; the namespace is taken
from the arguments. Divergences in nats, values and bounds in reward units.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

NEAR = 40.0  # from here on e^x − 1 is e^x to the last digit
HUGE = 700.0  # logarithm of what can still be added to without overflow
TINY = 1e-300  # stands for what underflows inside a logarithm
UNIT = 2.0**-48  # sixteen units in the last place: what a few roundings leave of a number's digits
Tensor = Any  # an array of any library that array-api-compat knows


def kl_bound(norm_w: Tensor, norm_other: Tensor, logit_error: Tensor, beta_prime: float) -> Tensor:
    """Return ``(1/β')(E_{π_w}‖ψ‖ + E_other‖ψ‖)·‖(β'/β)ν_w − Σ λ_k ν_k‖``.

    SS eq (9) with ``other = ref``; its repair (ss.thm1.kl.repaired) with ``other = π~_λ``.
    logit_error: the last norm. Worked: norms 1 and 1, error 0.5, β' = 2 give 0.5 nats.
    """
    return (norm_w + norm_other) * logit_error / beta_prime


def gap_bound(reward_term: Tensor, penalty: Tensor, logit_term: Tensor) -> Tensor:
    """Return the three terms of SS eq (10) added up."""
    return reward_term + penalty + logit_term


def negative_weight_penalty(delta: Tensor, lam: Tensor, beta: float, beta_prime: float) -> Tensor:
    """Return ``(β²/β') Σ_k Δ_k max(0, −λ_k)`` over the last axis (K); SS eq (10), second term."""
    xp = array_namespace(delta, lam)
    negative = xp.where(lam < 0, -lam, xp.zeros_like(lam))
    return beta * beta / beta_prime * xp.matmul(delta, negative)


def delta(log_upper: Tensor, log_lower: Tensor) -> Tensor:
    """Return ``Δ = log(M̄ + M̲ − 1) − log(M̄·M̲)`` of SS eq (18) from log M̄ ≥ 0 ≥ log M̲.

    ``(M̄ + M̲ − 1)/M̄`` is taken as ``1 + (M̲ − 1)/M̄`` where M̲ is near 1 and as the sum of two
    non-negative terms where it is not: nothing cancels, and ratios as small as e^-1e4 are
    ordinary. Worked: M̄ = 3/2, M̲ = 1/2 give log(4/3).
    """
    xp = array_namespace(log_upper, log_lower)
    close = log_lower > -0.5
    zero = xp.zeros_like(log_lower)
    near = xp.log1p(xp.expm1(xp.where(close, log_lower, zero)) * xp.exp(-log_upper))
    apart = xp.exp(log_lower - log_upper) - xp.expm1(-log_upper)
    # both parts underflow only where M̄ is 1 and M̲ is 0 to rounding: the floor stands for them
    apart = xp.log(xp.where(apart > TINY, apart, zero + TINY))
    return xp.where(close, near, apart) - log_lower


def anchored_delta(log_double: Tensor, log_lower: Tensor) -> Tensor:
    """Return ``log (2a − 1) − log M̲ − log(2a − M̲)``, the bound of SS eq (17) for an anchor a.

    log_double: ``log 2a``, not log a: at the least anchor that the paper admits 2a may be M̄, and
    where that is next to 1 its logarithm has the digits that ``log M̄ − log 2`` would lose.
    Worked: a = 1, M̲ = 0.9 give log(1/0.99).
    """
    xp = array_namespace(log_double, log_lower)
    above_one = xp.clip(-xp.expm1(-log_double), min=TINY)
    above_lower = xp.clip(-xp.expm1(log_lower - log_double), min=TINY)
    return xp.log(above_one) - log_lower - xp.log(above_lower)


def renyi(log_partition: Tensor, log_partition_negative: Tensor) -> Tensor:
    """Return ``D₂(ref‖π_k) = log E_ref[ref/π_k] = log E_ref e^{q} + log E_ref e^{−q}``."""
    return log_partition + log_partition_negative


def hoeffding(span: Tensor) -> Tensor:
    """Return ``span²/8``, the most that ``KL(p‖p·e^f/Z)`` can be for f of this span (nats)."""
    return span * span / 8.0


def bennett(top: Tensor, log_variance: Tensor) -> Tensor:
    """Return ``log[b²/(b²+v) e^{−v/b} + v/(b²+v) e^b]``: the most that ``log E e^Y`` can be.

    For Y of mean 0, variance v and maximum b = top (Bennett 1962, nats); 0 at b = 0, where Y is 0.
    v is given by its logarithm. Worked: b = v = 1 gives log cosh 1 = 0.43378.
    """
    xp = array_namespace(top, log_variance)
    some = top > 0
    log_top = xp.log(xp.where(some, top, xp.ones_like(top)))
    log_low = xp.where(some, log_variance - log_top, xp.full_like(top, -float("inf")))
    return chord(log_low, top)


def chord(log_below: Tensor, above: Tensor) -> Tensor:
    """Return ``log[(y e^{−x} + x e^y)/(x + y)]``: the most that ``log E e^Y`` can be on [−x, y].

    For Y of mean 0 with values from −x to y = above (nats); 0 at x = 0. x is given by its logarithm:
    an x that underflows counts where y is large. At most ``(x + y)²/8``; of all variances the
    two-point law on −x and y has the largest, xy. Taken as ``log(1 + e^L) − x`` with
    ``e^L = x/(x + y)·(e^{x+y} − 1)``. Worked: x = y = 1 gives log cosh 1 = 0.43378.
    """
    xp = array_namespace(log_below, above)
    log_below = xp.clip(log_below, max=HUGE)  # from there on e^-x is 0 and x/(x + y) is 1
    below = xp.exp(log_below)
    span = below + above
    some = span > 0
    length = xp.where(some, span, 1.0)
    share = below / length
    near = (span < NEAR) & (share > TINY)
    log_near = xp.log1p(xp.where(near, share, 0.0) * xp.expm1(xp.where(near, span, 0.0))) - below
    # as log(e^-x + e^{L − x}): x may be so large that y is lost beside it
    solid = below > above
    log_share = -xp.log1p(above / xp.where(solid, below, 1.0))
    log_share = xp.where(solid, log_share, log_below - xp.log(length))
    log_far = xp.logaddexp(-below, log_share + above)
    return xp.where(near, log_near, log_far)


def gap_rate(kl_w: Tensor, kl_ref: Tensor, beta: float, temperature: float) -> Tensor:
    """Return ``β KL(π~‖π_w) + (β'/|λ|₁ − β) KL(π~‖ref)``, the gap's rate of ss.thm1.gap.identity.

    temperature: ``β'/|λ|₁``, infinite at λ = 0 where ``KL(π~‖ref) = 0`` and the term vanishes.
    """
    xp = array_namespace(kl_w, kl_ref)
    if temperature == float("inf"):
        return beta * kl_w + xp.zeros_like(kl_ref)
    return beta * kl_w + (temperature - beta) * kl_ref


def budget_used(lam: Tensor, beta: float, beta_prime: float) -> Tensor:
    """Return ``β|λ|₁/β'`` over the last axis (K): at most 1 where the soup keeps to its budget.

    Worked: λ = (1/2, −1/4), β = 2, β' = 3 give 1/2.
    """
    xp = array_namespace(lam)
    return beta * xp.sum(xp.abs(lam), axis=-1) / beta_prime


def soup_temperature(size: Tensor, beta_prime: float) -> Tensor:
    """Return ``β'/|λ|₁``, the weight of ``KL(π~_λ‖ref)`` in J of SS eq (8); infinite at λ = 0.

    size: ``|λ|₁``. Worked: |λ|₁ = 3/4, β' = 3 give 4.
    """
    xp = array_namespace(size)
    some = size > 0
    quotient = beta_prime / xp.where(some, size, xp.ones_like(size))
    return xp.where(some, quotient, xp.full_like(size, math.inf))
