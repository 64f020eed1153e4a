"""What an attribute in the prompt does: ``π^a ∝ ref·exp(a/β)``, a token at a time.

Attributes ``domain.attributes`` [W, n, S] are in reward units on next contexts; sets add up. EXACT
(8) assumes nothing of π^A; this is the simplest family in which every set of attributes is a policy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..exact.tables import on_triples
from ..learning.feedback import Feedback
from .collect import going, sides
from .method import Domain


def set_logits(domain: Domain, w: int, chosen: tuple[int, ...]) -> Array:
    """Logits [T, S] of ``π^A`` in world w, nats."""
    tilt = domain.attributes[w, list(chosen)].sum(axis=0) / domain.beta
    return np.broadcast_to(tilt, (domain.mdp.steps, len(tilt)))


class Margins:
    """``log π^A(y_w)/ref − log π^A(y_l)/ref`` of a user's pairs, for any attribute set.

    rows: the states that the pairs pass, once; a set's normaliser is needed there alone.
    """

    def __init__(self, domain: Domain, pairs: Feedback) -> None:
        self.N = len(pairs)
        world = domain.world[pairs.prompt]
        A = domain.mdp.vocab_size
        refs = np.stack([mdp.ref for mdp in domain.worlds])
        tilts = on_triples(domain.attributes, A) / domain.beta
        self.ref, self.tilt, self.taken, self.sign = [], [], [], []
        for sign, nexts, s in sides(domain, pairs):
            w = np.broadcast_to(world[:, None], s.shape)
            self.ref.append(refs[w, s])  # [N, T, A]
            self.tilt.append(tilts[w, :, s])  # [N, T, n, A]
            self.taken.append(nexts % A)
            self.sign.append(sign * going(domain, s) * pairs.labels[:, None])

    def of(self, n: Any, weights: Array) -> Array:
        """The margins [M, m] of pairs n (an index or a slice) for tilts ``weights`` [M, n_attributes]."""
        total = 0.0
        for ref, tilt, taken, sign in zip(self.ref, self.tilt, self.taken, self.sign, strict=True):
            G = np.einsum("ma,ntab->mntb", weights, tilt[n], optimize=True)
            own = np.take_along_axis(G, taken[n][None, ..., None], axis=-1)[..., 0]
            top = G.max(axis=-1)
            log_z = top + np.log(np.einsum("ntb,mntb->mnt", ref[n], np.exp(G - top[..., None])))
            total = total + np.einsum("mnt,nt->mn", own - log_z, sign[n])
        return np.asarray(total)


def sets(n: int, chosen: list[tuple[int, ...]]) -> Array:
    """Indicators [M, n] of attribute sets."""
    rows = np.zeros((len(chosen), n))
    for row, members in zip(rows, chosen, strict=True):
        row[list(members)] = 1.0
    return rows
