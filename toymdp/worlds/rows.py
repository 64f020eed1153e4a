"""The allowed tokens of each context, row by row: what every formula that is not a table reads.

Of a sparse instance this is how ``ref`` is kept; of a dense one it is made when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array, IntArray
from ..cached import cached_property
from ..errors import NoTable
from ..validators import memory_limit
from .reach import Mask


@dataclass(frozen=True, eq=False)
class Rows:
    """S rows with E entries in all; row s holds the entries ``indptr[s] .. indptr[s+1]``.

    indptr: [S+1]. tokens: [E], ascending in a row. nexts: [E], the context that the token leads to.
    ref: [E] > 0, its probability, which may have underflowed to 0. ended: [S], where nothing follows.
    """

    indptr: IntArray
    tokens: IntArray
    nexts: IntArray
    ref: Array

    @cached_property
    def counts(self) -> IntArray:
        """[S]: how many tokens a context allows."""
        return np.diff(self.indptr)

    @cached_property
    def owners(self) -> IntArray:
        """[E]: the row of each entry."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def csr(self) -> tuple[IntArray, IntArray, Array]:
        """indptr, nexts and ref."""
        return self.indptr, self.nexts, self.ref

    @cached_property
    def matrix(self) -> scipy.sparse.csr_array:
        """``ref`` as a matrix [S, S] from contexts to next contexts."""
        shape = (len(self.counts), len(self.counts))
        return scipy.sparse.csr_array((self.ref, self.nexts, self.indptr), shape=shape)

    def at(self, s: int) -> tuple[IntArray, IntArray, Array]:
        """Tokens, next contexts and probabilities of row s, each [n]."""
        row = slice(int(self.indptr[s]), int(self.indptr[s + 1]))
        return self.tokens[row], self.nexts[row], self.ref[row]

    def padded(self, s: IntArray) -> tuple[Array, IntArray]:
        """Probabilities and next contexts [m, n] of the rows s [m], n the longest; 0 where a row ends."""
        n = int(self.counts[s].max(initial=0))
        place = np.minimum(self.indptr[s][:, None] + np.arange(n), len(self.ref) - 1)
        inside = np.arange(n) < self.counts[s][:, None]
        return np.where(inside, self.ref[place], 0.0), np.where(inside, self.nexts[place], 0)

    def successors(self, states: Mask) -> Mask:
        """[S]: next contexts of the marked contexts."""
        reached = np.zeros(len(states), dtype=bool)
        reached[self.nexts[np.repeat(states, self.counts)]] = True
        return reached

    def table(self, s: IntArray, A: int) -> Array:
        """The probabilities of all A tokens after the contexts s [n], as [n, A].

        Raises NoTable where that does not fit.
        """
        if 8 * len(s) * A > memory_limit():
            raise NoTable(
                f"needs a table of {A} tokens after {len(s)} contexts, which does not fit"
            )
        counts, table = self.counts[s], np.zeros((len(s), A))
        row = np.repeat(np.arange(len(s)), counts)
        entry = np.arange(len(row)) + np.repeat(self.indptr[s] - np.cumsum(counts) + counts, counts)
        table[row, self.tokens[entry]] = self.ref[entry]
        return table

    def sums(self, terms: Array) -> Array:
        """``Σ`` over each row of terms [.., E], as [.., S]; 0 of an empty row."""
        return self._reduced(np.add, terms, 0.0)

    def largest(self, terms: Array) -> Array:
        """The largest of each row of terms [.., E], as [.., S]; −∞ of an empty row."""
        return self._reduced(np.maximum, terms, -np.inf)

    def lightest(self, weights: Array, marked: Mask) -> Mask:
        """One entry of each row that has marked ones: of these the least weight, the first of equals."""
        kept = np.where(marked, weights, np.inf)
        chosen = np.flatnonzero(marked & (kept == -self.largest(-kept)[self.owners]))
        _, first = np.unique(self.owners[chosen], return_index=True)
        one = np.zeros(len(marked), dtype=bool)
        one[chosen[first]] = True
        return one

    def _reduced(self, ufunc: np.ufunc, terms: Array, nothing: float) -> Array:
        some = self.counts > 0
        reduced = np.full((*terms.shape[:-1], len(some)), nothing)
        if some.any():
            reduced[..., some] = ufunc.reduceat(terms, self.indptr[:-1][some], axis=-1)
        return reduced


def rows_of_table(ref: Array) -> Rows:
    """The rows of a dense ``ref`` [S, A], in which ``s = x1·B + y`` leads to ``y·A + a``."""
    S, A = ref.shape
    owners, tokens = np.nonzero(ref)
    indptr = np.searchsorted(owners, np.arange(S + 1))
    return Rows(indptr, tokens, owners % (S // A) * A + tokens, ref[owners, tokens])
