"""Every per-token number of the theory from raw logits, streamed over the vocabulary.

Derivation. With raw logits ``z_i`` of policy i and ``d_i = z_i − z_ref`` on the tokens that ref
allows, ``ℓ_i = log π_i/ref = d_i − (log Z_i − log Z_ref)``, so that ``E_ref e^{ℓ_i} = 1``. From one
pass come ``log Z``, the extremes of d and ``log E_ref e^{−d}``; from a second the means
``E_i[ℓ_j]``, and with them every divergence, ``KL(i‖j) = E_i[ℓ_i] − E_i[ℓ_j]``: differences of
log-ratios, which are small, and not of logits, which are not. A soup is one more policy with
``ℓ = Σ_k weights_k ℓ_k`` up to a constant and ``weights = λβ/β'`` (measure/soups.py).

A CPU takes the vocabulary in slices that stay in its cache. A GPU would write and read each intermediate:
there the same two passes are one kernel each (measure/fused.py), where the vocabulary is worth it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
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


def _mask(reference: Tensor) -> Tensor | None:
    """``allowed_tokens``, or None where that is all of them: then nothing need be copied."""
    live = allowed_tokens(reference)
    return None if bool(live.all()) else live


def _where(mask: Tensor | None, values: Tensor, other: float) -> Tensor:
    return values if mask is None else torch.where(mask, values, other)


def _differences(z: Tensor, mask: Tensor | None) -> Tensor:
    """``z_i − z_ref`` [R, N, c] from raw logits [R+1, N, c], 0 where ref forbids.

    Forbidden tokens go before anything is mixed: ``−inf − (−inf)``, or a negative weight on −inf,
    is NaN or +inf.
    """
    return _where(mask, z[1:] - _where(mask, z[0], 0.0), 0.0)


def log_ratios(z: Tensor) -> tuple[Tensor, Tensor]:
    """``_differences``, and the mask of what ref allows. Raises InstanceError where one is infinite."""
    d = _differences(z, _mask(z[0]))
    if not bool(torch.isfinite(d.sum())) and bool(torch.isinf(d).any()):
        raise _forbids()
    return d, allowed_tokens(z[0])


def _forbids() -> InstanceError:
    return InstanceError.of(
        "a specialist's logit", "−inf", "its policy forbids a token that ref allows: log π/ref "
        "is not finite", "mask the same tokens in every policy",
    )  # fmt: skip


def _policies(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Of one slice: logits [P, N, c], −inf where ref forbids; d [P−1, N, c]; of soups [M, N, c]; the mask."""
    z, mask = z.to(weights.dtype), _mask(z[0])
    d = _differences(z, mask)
    soups = torch.einsum("mk,knc->mnc", weights, d[: weights.shape[1]])
    return _where(mask, z, -torch.inf), d, soups, mask


def _first(z: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """``log Z`` [R+1, N], ``log Σ e^{z_ref − d}`` [P−1, N], largest and least d [R, N] of one slice."""
    z, d, soups, mask = _policies(z, weights)
    return (
        torch.cat([torch.logsumexp(z, dim=2), torch.logsumexp(z[0] + soups, dim=2)]),
        torch.logsumexp(z[0] - d, dim=2),
        torch.cat([_where(mask, each, -torch.inf).amax(dim=2) for each in (d, soups)]),
        torch.cat([_where(mask, each, torch.inf).amin(dim=2) for each in (d, soups)]),
    )


def _second(
    z: Tensor, weights: Tensor, log_z: Tensor, high: Tensor, low: Tensor, *, bespoke: bool
) -> tuple[Tensor, ...]:
    """Of one slice: ``E_i[ℓ_j]`` [N, R+1, R], ``E_ref[ℓ_j ℓ_k]`` [K', K'], inner [K', N], span's ends.

    The ends are [M, N] each, [0, N] without a bespoke policy.
    """
    z, d, soups, mask = _policies(z, weights)
    P, R = len(z), len(z) - 1 + len(soups)
    shift = (log_z[1:] - log_z[:1])[:, :, None]
    ell = _where(mask, d - shift[: P - 1], 0.0)
    ell_soups = _where(mask, soups - shift[P - 1 :], 0.0)
    probs = torch.exp(z - log_z[:P, :, None])
    rows = torch.cat([probs, torch.exp(z[0] + soups - log_z[P:, :, None]), probs[0] * ell])
    products = torch.einsum("inc,jnc->nij", rows, torch.cat([ell, ell_soups]))
    apart = torch.minimum(d - low[: P - 1, :, None], high[: P - 1, :, None] - d)
    error = ell[P - 2] - ell_soups if bespoke else ell[:0]
    return (
        products[:, : R + 1],
        products[:, R + 1 :, : P - 1].sum(dim=0),
        _where(mask, apart, 0.0).amax(dim=2),
        _where(mask, error, -torch.inf).amax(dim=2),
        _where(mask, error, torch.inf).amin(dim=2),
    )


def _fused(z: Tensor, precision: Any) -> bool:
    """Whether the kernels of measure/fused.py can take these logits: Triton needs a C compiler too."""
    worth = z.is_cuda and z.shape[2] > SLICE and z.dtype is not torch.float64
    at_hand = find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
    return worth and precision is torch.float32 and at_hand


def measure(
    z: Tensor, weights: Tensor, *, bespoke: bool, precision: Any = torch.float32
) -> Measures:
    """Measure N states from raw logits z [P, N, A] (ref, K specialists, bespoke last if any).

    weights: [M, K] of the soups. precision: dtype of the arithmetic, float32 or better.
    """
    P, A = len(z), z.shape[2]
    weights = weights.to(device=z.device, dtype=precision)
    first, second, size = _first, _second, SLICE
    if _fused(z, precision):
        from . import fused  # Triton comes with torch for GPUs alone

        first, second, size, z = fused.first, fused.second, A, z.contiguous()
    slices = [z[:, :, start : start + size] for start in range(0, A, size)]
    found = [torch.stack(each) for each in zip(*(first(s, weights) for s in slices), strict=True)]
    log_z, log_z_neg = (torch.logsumexp(each, dim=0) for each in found[:2])
    high, low = found[2].amax(dim=0), found[3].amin(dim=0)
    if not bool((torch.isfinite(high - low).all(dim=0) & torch.isfinite(log_z).all(dim=0)).all()):
        raise _forbids()
    shift = log_z[1:] - log_z[:1]  # log E_ref e^{d}
    sums = [second(s, weights, log_z, high, low, bespoke=bespoke) for s in slices]
    parts = [torch.stack(each) for each in zip(*sums, strict=True)]
    means, gram = (each.sum(dim=0) for each in parts[:2])
    inner, top, bottom = parts[2].amax(dim=0), parts[3].amax(dim=0), parts[4].amin(dim=0)
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
        span=top - bottom,
        gram=gram - mean_ref.T @ mean_ref,
        inner=inner,
        scale=log_z[0].abs() + torch.maximum(high, -low).amax(dim=0).clamp(min=0.0),
    )
