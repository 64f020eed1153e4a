"""The two passes of ``measures`` as one kernel each, for a GPU: logits are read, and nothing else is written.

A program takes a state and a stretch of the vocabulary, some tokens at a time. Its tile is

    rows    0        1 … P−1               P … P+M−1          up to a power of two
    D       0        z_i − z_ref           Σ_k w_k (z_k − z_ref)      0
            ref      specialists, π_w      soups

made by one product ``mixing · (z − z_ref)``, where ``mixing`` holds the identity and the soups' weights; two
more products give ``Σ_c p_i ℓ_j`` and ``Σ_c p_ref ℓ_i ℓ_j``. Stretches are put together in float64 by
torch. A policy that forbids what ref allows makes NaN of its state's ``log Z``.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ..backend import torch

Tensor = Any
BLOCK = 32  # tokens at a time
STRETCH = 8192  # tokens of one program
LEAST = 16  # rows and columns of the smallest product
WARPS = 1  # more would each take the small products in whole
# three products of rounded parts, which is float32 to some units in the last place
PRODUCT = "tf32x3"


@triton.jit
def _tile(
    z, state, of_policy, rows, tokens, mixing, WIDTH, FLOOR, P: tl.constexpr, PRODUCT: tl.constexpr
):
    """D [rows, tokens], the reference's logits [tokens], and which tokens it allows."""
    inside = tokens < WIDTH
    base = tl.load(z + state * WIDTH + tokens, mask=inside, other=float("-inf")).to(tl.float32)
    live = base > FLOOR
    where = z + rows[:, None].to(tl.int64) * of_policy + state * WIDTH + tokens[None, :]
    logits = tl.load(where, mask=(rows < P)[:, None] & inside[None, :], other=0.0).to(tl.float32)
    apart = tl.where((rows < P)[:, None] & live[None, :], logits - base[None, :], 0.0)
    return tl.dot(mixing, apart, input_precision=PRODUCT), base, live


@triton.jit
def _first_kernel(
    z, weights, out, of_policy, N, WIDTH, FLOOR,
    P: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, STRETCH: tl.constexpr,
    PRODUCT: tl.constexpr,
):  # fmt: skip
    """out [4, stretches, N, ROWS]: ``log Σ e^{z_ref + D}``, ``log Σ e^{z_ref − D}``, largest and least D."""
    state = tl.program_id(0).to(tl.int64)
    part, parts = tl.program_id(1), tl.num_programs(1)
    rows, columns = tl.arange(0, ROWS), tl.arange(0, ROWS)
    mixing = tl.load(weights + rows[:, None] * ROWS + columns[None, :])
    least = float("-inf")
    high = tl.full([ROWS], least, tl.float32)
    low = tl.full([ROWS], float("inf"), tl.float32)
    top, total = high, tl.zeros([ROWS], tl.float32)
    top_neg, total_neg = high, tl.zeros([ROWS], tl.float32)
    for start in range(0, STRETCH, BLOCK):
        tokens = part * STRETCH + start + tl.arange(0, BLOCK)
        d, base, live = _tile(z, state, of_policy, rows, tokens, mixing, WIDTH, FLOOR, P, PRODUCT)
        keep = live[None, :] & (rows >= 0)[:, None]
        high = tl.maximum(high, tl.max(tl.where(keep, d, least), axis=1))
        low = tl.minimum(low, tl.min(tl.where(keep, d, float("inf")), axis=1))
        up = tl.where(keep, base[None, :] + d, least)
        new = tl.maximum(tl.maximum(top, tl.max(up, axis=1)), -1e38)
        total = total * tl.exp(top - new) + tl.sum(tl.exp(up - new[:, None]), axis=1)
        top = new
        down = tl.where(keep, base[None, :] - d, least)
        new = tl.maximum(tl.maximum(top_neg, tl.max(down, axis=1)), -1e38)
        total_neg = total_neg * tl.exp(top_neg - new) + tl.sum(tl.exp(down - new[:, None]), axis=1)
        top_neg = new
    place = out + (part * N + state) * ROWS + rows
    size = parts * N * ROWS
    tl.store(place, top + tl.log(total))
    tl.store(place + size, top_neg + tl.log(total_neg))
    tl.store(place + 2 * size, high)
    tl.store(place + 3 * size, low)


@triton.jit
def _second_kernel(
    z, weights, log_z, high, low, products, extremes, of_policy, N, WIDTH, FLOOR, BESPOKE,
    P: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, STRETCH: tl.constexpr,
    PRODUCT: tl.constexpr,
):  # fmt: skip
    """products [2, stretches, N, ROWS, ROWS]: ``Σ p_i ℓ_j``, ``Σ p_ref ℓ_i ℓ_j``.

    extremes [3, stretches, N, ROWS]: how far D stays inside its extremes, largest and least ``ℓ_w − ℓ``.
    """
    state = tl.program_id(0).to(tl.int64)
    part, parts = tl.program_id(1), tl.num_programs(1)
    rows, columns = tl.arange(0, ROWS), tl.arange(0, ROWS)
    mixing = tl.load(weights + rows[:, None] * ROWS + columns[None, :])
    least = float("-inf")
    at = state * ROWS + rows
    whole, up, down = tl.load(log_z + at), tl.load(high + at), tl.load(low + at)
    of_ref = tl.load(log_z + state * ROWS)
    means = tl.zeros([ROWS, ROWS], tl.float32)
    second = tl.zeros([ROWS, ROWS], tl.float32)
    inner = tl.zeros([ROWS], tl.float32)
    top = tl.full([ROWS], least, tl.float32)
    bottom = tl.full([ROWS], float("inf"), tl.float32)
    for start in range(0, STRETCH, BLOCK):
        tokens = part * STRETCH + start + tl.arange(0, BLOCK)
        d, base, live = _tile(z, state, of_policy, rows, tokens, mixing, WIDTH, FLOOR, P, PRODUCT)
        keep = live[None, :] & (rows >= 0)[:, None]
        ell = tl.where(keep, d - (whole - of_ref)[:, None], 0.0)
        probs = tl.where(keep, tl.exp(base[None, :] + d - whole[:, None]), 0.0)
        ref = tl.where(live, tl.exp(base - of_ref), 0.0)
        across = tl.trans(ell)
        means += tl.dot(probs, across, input_precision=PRODUCT)
        second += tl.dot(ref[None, :] * ell, across, input_precision=PRODUCT)
        inside = tl.minimum(d - down[:, None], up[:, None] - d)
        inner = tl.maximum(inner, tl.max(tl.where(keep, inside, 0.0), axis=1))
        bespoke = tl.sum(tl.where((rows == BESPOKE)[:, None], ell, 0.0), axis=0)
        error = bespoke[None, :] - ell
        top = tl.maximum(top, tl.max(tl.where(keep, error, least), axis=1))
        bottom = tl.minimum(bottom, tl.min(tl.where(keep, error, float("inf")), axis=1))
    square = rows[:, None] * ROWS + columns[None, :]
    place = products + (part * N + state) * ROWS * ROWS + square
    tl.store(place, means)
    tl.store(place + parts * N * ROWS * ROWS, second)
    line = extremes + (part * N + state) * ROWS + rows
    size = parts * N * ROWS
    tl.store(line, inner)
    tl.store(line + size, top)
    tl.store(line + 2 * size, bottom)


def _mixing(weights: Tensor, P: int, ROWS: int) -> Tensor:
    """[ROWS, ROWS]: the identity on policies, and the soups' weights on the specialists below it."""
    M, K = weights.shape
    matrix = torch.zeros((ROWS, ROWS), dtype=torch.float32, device=weights.device)
    matrix[:P, :P].fill_diagonal_(1.0)
    matrix[P : P + M, 1 : K + 1] = weights
    return matrix


def first(z: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """What ``measures._first`` says of all of z [P, N, A], contiguous."""
    P, N, A = z.shape
    R = P - 1 + len(weights)
    ROWS = max(LEAST, triton.next_power_of_2(R + 1))
    parts = triton.cdiv(A, STRETCH)
    out = torch.empty((4, parts, N, ROWS), dtype=torch.float32, device=z.device)
    _first_kernel[(N, parts)](
        z, _mixing(weights, P, ROWS), out, z.stride(0), N, A, torch.finfo(z.dtype).min / 8,
        P, ROWS, BLOCK, STRETCH, PRODUCT, num_warps=WARPS,
    )  # fmt: skip
    logs = torch.logsumexp(out[:2].double(), dim=1).float()
    high, low = out[2].amax(dim=0), out[3].amin(dim=0)
    return logs[0, :, : R + 1].T, logs[1, :, 1:P].T, high[:, 1 : R + 1].T, low[:, 1 : R + 1].T


def second(
    z: Tensor, weights: Tensor, log_z: Tensor, high: Tensor, low: Tensor, *, bespoke: bool
) -> tuple[Tensor, ...]:
    """What ``measures._second`` says of all of z."""
    P, N, A = z.shape
    R = P - 1 + len(weights)
    ROWS = max(LEAST, triton.next_power_of_2(R + 1))
    parts = triton.cdiv(A, STRETCH)

    def by_state(values: Tensor, skip: int) -> Tensor:
        wide = torch.zeros((N, ROWS), dtype=torch.float32, device=z.device)
        wide[:, skip : skip + len(values)] = values.T
        return wide

    products = torch.empty((2, parts, N, ROWS, ROWS), dtype=torch.float32, device=z.device)
    extremes = torch.empty((3, parts, N, ROWS), dtype=torch.float32, device=z.device)
    _second_kernel[(N, parts)](
        z, _mixing(weights, P, ROWS), by_state(log_z, 0), by_state(high, 1), by_state(low, 1),
        products, extremes, z.stride(0), N, A, torch.finfo(z.dtype).min / 8, P - 1,
        P, ROWS, BLOCK, STRETCH, PRODUCT, num_warps=WARPS,
    )  # fmt: skip
    means, gram = products.double().sum(dim=1).float()
    soups = slice(P, R + 1) if bespoke else slice(P, P)
    return (
        means[:, : R + 1, 1 : R + 1], gram.double().sum(dim=0).float()[1:P, 1:P],
        extremes[0].amax(dim=0)[:, 1:P].T, extremes[1].amax(dim=0)[:, soups].T,
        extremes[2].amin(dim=0)[:, soups].T,
    )  # fmt: skip
