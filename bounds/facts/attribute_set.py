"""What the claims of EXACT sections 3 to 5.1 are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.cached import cached_property
from toymdp.instance import nudged
from toymdp.worlds.attribute_set import AttributeSet

from ..sides import Array
from .once import ComputesOnce


@dataclass(frozen=True)
class AttributeFacts(ComputesOnce):
    """What EXACT 3 to 5.1 is judged on; is_second: inputs nudged, margins by normalised policies."""

    instance: AttributeSet
    is_second: bool = False

    @cached_property
    def second(self) -> AttributeFacts:
        """The same facts, computed another way."""
        return AttributeFacts(self.instance, is_second=True)

    @property
    def depth(self) -> int:
        """Additions in one value of F."""
        pairs = self.instance.pairs
        return self.instance.n_attributes**2 + (0 if pairs is None else len(pairs))

    def read(self, key: str) -> Array:
        """A table of the instance, nudged the second time."""
        values: Array = getattr(self.instance, key)
        return nudged(values, len(key)) if self.is_second else values

    @cached_property
    def base(self) -> Array:
        """[P, Y]: the base policy, rows normalised."""
        weights = self.read("base")
        # a first division by the largest weight keeps rows near the overflow threshold finite
        weights = weights / weights.max(axis=1, keepdims=True)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    @cached_property
    def set_tilts(self) -> Array:
        """[2**n, P, Y]: the log-tilt of every attribute set."""
        tilts = self.read("tilts")
        total = np.zeros((2 ** len(tilts), *tilts.shape[1:]))
        for a, tilt in enumerate(tilts):
            total[1 << a : 2 << a] = total[: 1 << a] + tilt
        if self.instance.interactions is not None:
            couples = combinations(range(len(tilts)), 2)
            for (a, b), tilt in zip(couples, self.read("interactions"), strict=True):
                both = 1 << a | 1 << b
                total[(np.arange(len(total)) & both) == both] += tilt
        return total

    @cached_property
    def policies(self) -> Array:
        """[2**n, P, Y]: ``log π^A(y|x)`` of (8), −inf where base forbids."""
        with np.errstate(divide="ignore"):
            logits = np.log(self.base) + self.set_tilts
        return np.asarray(logits - scipy.special.logsumexp(logits, axis=2, keepdims=True))

    @cached_property
    def margins(self) -> Array:
        """[N, 2**n]: ``log π^A(w)/π(w) − log π^A(l)/π(l)`` of every pair and attribute set.

        The normaliser of a prompt cancels, so the margin is the difference of two tilts; the
        second time takes the policies' logarithms as (12) prints them.
        """
        assert self.instance.pairs is not None
        x, w, loser = self.instance.pairs.T
        scores = self.policies if self.is_second else self.set_tilts
        gaps = scores[:, x, w] - scores[:, x, loser]
        return np.asarray((gaps - gaps[0]).T)

    @cached_property
    def F(self) -> Array:
        """[2**n]: the set function (12), the mean margin over the user's pairs."""
        if self.instance.values is not None:
            return self.read("values")
        return np.asarray(self.margins.mean(axis=0))

    @cached_property
    def size(self) -> float:
        """Size of what is added up in F."""
        terms = self.F[None] if self.instance.values is not None else self.margins
        return float(np.abs(terms).mean(axis=0).max())
