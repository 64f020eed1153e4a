"""Every per-token number of the theory from raw logits, streamed over the vocabulary.

Derivation. With raw logits ``z_i`` of policy i and ``d_i = z_i − z_ref`` on the tokens that ref
allows, ``ℓ_i = log π_i/ref = d_i − (log Z_i − log Z_ref)``, so that ``E_ref e^{ℓ_i} = 1``. From one
pass come ``log Z``, the extremes of d and ``log E_ref e^{−d}``; from a second the means
``E_i[ℓ_j]``, and with them every divergence, ``KL(i‖j) = E_i[ℓ_i] − E_i[ℓ_j]``: differences of
log-ratios, which are small, and not of logits, which are not. A soup is one more policy with
``ℓ = Σ_k weights_k ℓ_k`` up to a constant and ``weights = λβ/β'`` (measure/soups.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bounds import formulas
from toymdp import InstanceError

from ..backend import torch

Tensor = Any
SLICE = 16384  # tokens of the vocabulary taken at once: what stays in a cache


@dataclass(frozen=True, eq=False)
class Measures:
    """Numbers of N states; R = K + 1 + M policies beside ref: specialists, bespoke, soups.

    Without a bespoke policy R = K + M and the rows that name it are absent. All in nats.

    log_upper, log_lower: [K', N], extremes of ``log π_k/ref`` (K' = K + 1 with the bespoke last).
    delta: [K', N] of (18). renyi: [K', N], ``D₂(ref‖π_k)``.
    kl: [R+1, R+1, N], ``KL(row‖column)``, row 0 is ref. span: [M, N], of ``e`` of the sharp bound
    ([0, N] without a bespoke policy). gram: [K', K'], ``Σ_states Cov_ref(ℓ_j, ℓ_k)``. inner:
    [K', N], how far a log-ratio stays inside its extremes: 0 where it takes two values. scale: [N],
    size of what was subtracted, for rounding.
    """

    log_upper: Tensor
    log_lower: Tensor
    delta: Tensor
    renyi: Tensor
    kl: Tensor
    span: Tensor
    gram: Tensor
    inner: Tensor
    scale: Tensor


def allowed_tokens(reference: Tensor) -> Tensor:
    """Mask of the tokens that ref allows: logits above −inf and the floats that stand for it."""
    return reference > torch.finfo(reference.dtype).min / 8


def where_live(live: Tensor, values: Tensor, other: float) -> Tensor:
    """``values`` where live, ``other`` elsewhere; without a copy where everything is live."""
    return values if bool(live.all()) else torch.where(live, values, other)


def log_ratios(z: Tensor) -> tuple[Tensor, Tensor]:
    """``z_i − z_ref`` [R, N, c] from raw logits [R+1, N, c], 0 where ref forbids; and the mask.

    Forbidden tokens go before anything is mixed: ``−inf − (−inf)``, or a negative weight on −inf,
    is NaN or +inf. Raises InstanceError where a policy forbids what ref allows.
    """
    live = allowed_tokens(z[0])
    d = where_live(live, z[1:] - where_live(live, z[0], 0.0), 0.0)
    if not bool(torch.isfinite(d.sum())) and bool(torch.isinf(d).any()):
        raise InstanceError.of(
            "a specialist's logit", "−inf", "its policy forbids a token that ref allows: log π/ref "
            "is not finite", "mask the same tokens in every policy",
        )  # fmt: skip
    return d, live


def measure(
    z: Tensor, weights: Tensor, *, bespoke: bool, precision: Any = torch.float32
) -> Measures:
    """Measure N states from raw logits z [P, N, A] (ref, K specialists, bespoke last if any).

    weights: [M, K] of the soups. precision: dtype of the arithmetic, float32 or better.
    """
    P, N, A = z.shape
    K = P - 1 - int(bespoke)
    weights = weights.to(device=z.device, dtype=precision)
    M, R = len(weights), P - 1 + len(weights)
    inf = torch.full((R, N), torch.inf, dtype=precision, device=z.device)
    log_z, log_z_neg = -torch.cat([inf, inf[:1]]), -inf[: P - 1]
    high, low = -inf, inf.clone()

    def pieces() -> Any:
        for start in range(0, A, SLICE):
            piece = z[:, :, start : start + SLICE].to(precision)
            d, live = log_ratios(piece)
            if M:
                d = torch.cat([d, torch.einsum("mk,knc->mnc", weights, d[:K])])
            yield where_live(live, piece[0], -torch.inf), d, live

    for base, d, live in pieces():
        rows = torch.cat([base[None], base + d])
        log_z = torch.logaddexp(log_z, torch.logsumexp(rows, dim=2))
        log_z_neg = torch.logaddexp(log_z_neg, torch.logsumexp(base - d[: P - 1], dim=2))
        high = torch.maximum(high, where_live(live, d, -torch.inf).amax(dim=2))
        low = torch.minimum(low, where_live(live, d, torch.inf).amin(dim=2))
    shift = log_z[1:] - log_z[:1]  # log E_ref e^{d}
    means = torch.zeros((N, R + 1, R), dtype=precision, device=z.device)
    second = torch.zeros((P - 1, P - 1), dtype=precision, device=z.device)
    top, bottom = -inf[:M], inf[:M].clone()
    inner = torch.zeros_like(log_z_neg)
    for base, d, live in pieces():
        ell = where_live(live, d - shift[:, :, None], 0.0)
        probs = torch.exp(torch.cat([base[None], base + d]) - log_z[:, :, None])
        means += torch.einsum("inc,jnc->nij", probs, ell)
        policies = ell[: P - 1]
        raw = d[: P - 1]
        apart = torch.minimum(raw - low[: P - 1, :, None], high[: P - 1, :, None] - raw)
        inner = torch.maximum(inner, where_live(live, apart, 0.0).amax(dim=2))
        second += torch.einsum("inc,jnc->ij", probs[0] * policies, policies)
        if bespoke and M:
            error = ell[K] - ell[P - 1 :]
            top = torch.maximum(top, where_live(live, error, -torch.inf).amax(dim=2))
            bottom = torch.minimum(bottom, where_live(live, error, torch.inf).amin(dim=2))
    self_means = means[:, 1:].diagonal(dim1=1, dim2=2)  # E_i[ℓ_i]
    self_means = torch.cat([torch.zeros_like(means[:, :1, 0]), self_means], dim=1)
    columns = torch.cat([torch.zeros_like(means[:, :, :1]), means], dim=2)
    kl = torch.clamp(self_means[:, :, None] - columns, min=0.0)  # below 0 is rounding
    kl.diagonal(dim1=1, dim2=2).zero_()
    mean_ref = means[:, 0, : P - 1]
    log_upper = torch.clamp(high[: P - 1] - shift[: P - 1], min=0.0)
    log_lower = torch.clamp(low[: P - 1] - shift[: P - 1], max=0.0)
    renyi = formulas.renyi(shift[: P - 1], log_z_neg - log_z[:1])
    return Measures(
        log_upper=log_upper,
        log_lower=log_lower,
        delta=formulas.delta(log_upper, log_lower),
        renyi=torch.clamp(renyi, min=0.0),
        kl=kl.permute(1, 2, 0),
        span=top - bottom if bespoke else top[:0],
        gram=second - mean_ref.T @ mean_ref,
        inner=inner,
        scale=log_z[0].abs() + torch.maximum(high, -low).amax(dim=0).clamp(min=0.0),
    )
