"""Adam (Kingma and Ba 2015, Algorithm 1), to be had without torch.optim.

The first optimiser that torch.optim makes imports torch's compiler, hundreds of modules and seconds
of a short search, for a step of four lines.
"""

from __future__ import annotations

import math

import torch

from .batch_solver import Tensor

DECAYS = 0.9, 0.999  # of the means of the gradient and of its square
EPS = 1e-8  # added to the root of the latter


class Adam:
    """Steps down the gradient of one tensor, each coordinate in units of its usual gradient."""

    def __init__(self, theta: Tensor, rate: float) -> None:
        self.theta, self.rate, self.steps = theta, rate, 0
        self.mean = torch.zeros_like(theta, requires_grad=False)
        self.square = torch.zeros_like(theta, requires_grad=False)

    def step(self, gradient: Tensor) -> None:
        """Move theta, in place, by one step; gradient: of what is to fall, shaped like theta.

        ``θ −= rate·m̂/(√v̂ + eps)``, where m̂ and v̂ are the decaying means of the gradient and of
        its square, divided by the weight they have gathered. The first step is rate·sign(gradient).
        """
        first, second = DECAYS
        self.steps += 1
        with torch.no_grad():
            self.mean.lerp_(gradient, 1.0 - first)
            self.square.mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
            root = (self.square.sqrt() / math.sqrt(1.0 - second**self.steps)).add_(EPS)
            rate = self.rate / (1.0 - first**self.steps)
            self.theta.addcdiv_(self.mean, root, value=-rate)
