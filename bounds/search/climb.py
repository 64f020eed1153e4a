"""Two ways to climb one objective: Adam on a whole population, and CMA-ES around one instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch
from cmaes import CMA

from ..sides import Array, Mask
from .adam import Adam
from .batch_solver import Batch, Tensor, soup_values
from .objectives import BatchFacts, Objective, batch_facts
from .population import Population

PENALTY = 3.0  # nats of objective for a lead in J, of the best challenger, as large as the gap
TOLERATED = 1e-3  # of the gap: a challenger that leads by less is left to the judge
RATE = 0.05  # Adam's step
REFRESH = 10  # steps between two searches for challengers

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Ranked:
    """Parameters [n] of an instance of a population, with the objective's value there."""

    population: Population
    theta: Tensor
    score: float


def ball(directions: int = 48, K: int = 2) -> Tensor:
    """Soups of the whole ℓ₁ ball [N, K]: directions times radii, 0 left out.

    For K = 2 directions at equal angles, for more all whole points of size 4.
    """
    angle = 2 * np.pi * np.arange(directions) / directions
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if K > 2:
        points = np.array(list(product(range(-4, 5), repeat=K)), dtype=float)
        rays = points[np.abs(points).sum(axis=1) == 4]
    rays /= np.abs(rays).sum(axis=1, keepdims=True)
    radii = np.array([1.0, 0.97, 0.9, 0.75, 0.5, 0.25, 0.08])
    return torch.as_tensor((radii[:, None, None] * rays).reshape(-1, rays.shape[1]))


def challengers(batch: Batch, grid: Tensor) -> Tensor:
    """The best soup of each orthant, inside and on the budget [B, 2^{K+1}, K], without gradients."""
    K = grid.shape[1]
    full = grid.abs().sum(dim=1) > 0.99
    powers = 2 ** torch.arange(K)
    groups = 2**K * full.long() + ((grid >= 0).long() * powers).sum(dim=1)
    with torch.no_grad():
        J = soup_values(batch, grid.expand(len(batch.w), -1, -1))
    chosen = []
    for group in range(2 ** (K + 1)):
        members = torch.nonzero(groups == group)[:, 0]
        chosen.append(grid[members[J[:, members].argmax(dim=1)]])
    return torch.stack(chosen, dim=1)


def neighbours(lam: Tensor) -> Tensor:
    """Soups [B, N, K] next to some λ ≥ 0: along the face both ways, and a little in and out."""
    K = lam.shape[1]
    unit = torch.eye(K, dtype=lam.dtype)
    shift = 0.02 * torch.stack([unit[i] - unit[j] for i, j in permutations(range(K), 2)])
    along = (lam[:, None] + shift).clamp_min(0.0)
    budget = lam.sum(dim=1, keepdim=True)
    along = along * (budget[:, None] / along.sum(dim=2, keepdim=True))
    outward = (1.03 * lam) / (1.03 * budget).clamp_min(1.0)
    return torch.cat([along, 0.97 * lam[:, None], outward[:, None]], dim=1)


def penalised(objective: Objective, f: BatchFacts, rivals: Tensor | None) -> tuple[Tensor, Tensor]:
    """Objective [B] to climb, and the share [B] of the gap by which λ falls short of the optimum.

    With rivals [B, N, K] the lead in J of the best of them, as a share of the gap, is subtracted as
    a penalty; without them (λ is free) the share is 0.
    """
    ratio = objective.places(f).flatten(1).amax(dim=1)
    if rivals is None:
        return ratio, torch.zeros_like(ratio)
    ahead = (soup_values(f.batch, rivals).amax(dim=1) - f.J).clamp_min(0.0)
    short = ahead / (f.gap.detach() + 1e-6)
    return ratio - PENALTY * short, short


def ascend(
    objective: Objective, population: Population, theta: Tensor, steps: int, stop: Stop
) -> list[Ranked]:
    """Climb every instance with Adam; return the best point that each passed, best first."""
    theta = theta.clone().requires_grad_()
    adam = Adam(theta, RATE)
    reach, grid = population.reach(), ball(K=population.sizes.K)
    best = torch.full((len(theta),), -np.inf, dtype=theta.dtype)
    best_theta = theta.detach().clone()
    rivals: Tensor | None = None
    for step in range(steps):
        batch, lam = population.solve(theta, reach)
        f = batch_facts(batch, objective.soup(population, batch, lam))
        if objective.matched:
            if step % REFRESH == 0:
                far = challengers(batch, grid)
            rivals = torch.cat([far, neighbours(f.lam)], dim=1)
        value, short = penalised(objective, f, rivals)
        with torch.no_grad():
            better = (short < TOLERATED) & (value > best)
            best = torch.where(better, value, best)
            best_theta[better] = theta.detach()[better]
        if stop():
            break
        loss = -value[torch.isfinite(value)].sum()
        (gradient,) = torch.autograd.grad(loss, [theta])
        adam.step(gradient.nan_to_num(0.0, 0.0, 0.0))
    order = torch.argsort(-best)
    return [
        Ranked(population.single(int(i)), best_theta[i : i + 1], float(best[i]))
        for i in order
        if torch.isfinite(best[i])
    ]


def generation_size(population: Population) -> int:
    """Instances of one generation of CMA-ES, its authors' default."""
    return 4 + int(3 * np.log(population.width))


def evolve(
    objective: Objective,
    population: Population,
    theta: Tensor,
    generations: int,
    seed: int,
    stop: Stop,
) -> list[Ranked]:
    """CMA-ES from instance 0 of a population, a generation as one batch; the best point found."""
    size = generation_size(population)
    cma = CMA(mean=theta[0].numpy().copy(), sigma=1.0, seed=seed, population_size=size)
    copies, grid = population.single(0, size), ball(K=population.sizes.K)
    reach = copies.reach()
    best = Ranked(population.single(0), theta[:1].clone(), -np.inf)
    for _ in range(generations):
        if stop() or cma.should_stop():
            break
        candidates = np.stack([cma.ask() for _ in range(size)])
        values, short = _values(objective, copies, torch.as_tensor(candidates), reach, grid)
        cma.tell([(x, -float(v)) for x, v in zip(candidates, values, strict=True)])
        values = np.where(short < TOLERATED, values, -np.inf)
        i = int(np.argmax(values))
        if values[i] > best.score:
            best = Ranked(best.population, torch.as_tensor(candidates[i : i + 1]), float(values[i]))
    return [best] if np.isfinite(best.score) else []


def _values(
    objective: Objective, copies: Population, theta: Tensor, reach: tuple[Mask, Mask], grid: Tensor
) -> tuple[Array, Array]:
    with torch.no_grad():
        batch, lam = copies.solve(theta, reach)
        f = batch_facts(batch, objective.soup(copies, batch, lam))
        rivals = None
        if objective.matched:
            rivals = torch.cat([challengers(batch, grid), neighbours(f.lam)], dim=1)
        value, short = penalised(objective, f, rivals)
    return np.nan_to_num(value.numpy(), nan=-1e9, posinf=-1e9, neginf=-1e9), short.numpy()
