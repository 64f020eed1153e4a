"""The product of a few rows of ref with weights of next contexts, in registers.

The one loop that soft backward induction spends its time in. It is written twice: as the Python that
says what it is, and as vectors of LLVM, for numba's own vectoriser leaves the sums in memory.

        lanes: 8 or 4 rewards              with s' = y·A + a the A next contexts of a block
        ┌───────────────┐
     a  │ weights[s', m]│                  ref[s, a] is spread over a vector, multiplied with the
        └───────────────┘                  vector weights[s', ·] and added to the vector sums[s, ·]:
  ┌───┐ ┌───────────────┐                  ROWS vectors stay in registers while a runs, so that each
  │ref│ │  sums[s, m]   │  ROWS rows       weight is loaded once for ROWS products
  └───┘ └───────────────┘
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

ROWS = 4  # a fused product takes four cycles, and one can begin in each


def product(ref, first, step, last, weights, begin, lane, lanes, sums):
    """Write ``sums[s, m] = Σ_a ref[s, a]·weights[begin + a, m]`` for up to ROWS rows s and some m.

    ref [S, A]; weights [·, P] and sums [S, P] have P lanes, of which ``lanes`` (8 or 4, a constant)
    from ``lane`` on are meant. Rows: ``s = first + step·i`` for ``i = 0..last``, ``last < ROWS``.
    """
    A, part = ref.shape[1], slice(lane, lane + lanes)
    for i in range(last + 1):
        s = first + step * i
        sums[s, part] = ref[s] @ weights[begin : begin + A, part]


@overload(product, prefer_literal=True, inline="always")
def _compiled(ref, first, step, last, weights, begin, lane, lanes, sums):
    def call(ref, first, step, last, weights, begin, lane, lanes, sums):
        _vectors(ref, first, step, last, weights, begin, lane, lanes, sums)

    return call


@intrinsic(prefer_literal=True)
def _vectors(typing, ref, first, step, last, weights, begin, lane, lanes, sums):
    word = types.int64
    signature = types.void(ref, word, word, word, weights, word, word, lanes, sums)
    return signature, _emit


def _emit(context, b, signature, args):
    """Build the loop over a; the last rows are repeated where there are fewer than ROWS."""
    integer, double = ir.IntType(64), ir.DoubleType()
    vector = ir.VectorType(double, signature.args[7].literal_value)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    ref, weights, sums = (
        context.make_array(signature.args[i])(context, b, args[i]) for i in (0, 4, 8)
    )
    first, step, last, begin, lane = (args[i] for i in (1, 2, 3, 5, 6))
    A, P = b.extract_value(ref.shape, 1), b.extract_value(weights.shape, 1)

    def place(array, row, width, offset=None):
        start = b.mul(row, width)
        return b.gep(array.data, [start if offset is None else b.add(start, offset)])

    def splat(scalar):
        nothing = ir.Constant(vector, ir.Undefined)
        return b.shuffle_vector(
            b.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0)), nothing, everywhere
        )

    zero, one = ir.Constant(integer, 0), ir.Constant(integer, 1)
    apart = []  # distances of the rows, in rows: these and their multiples are the same for each tile
    for i in range(ROWS):
        i = ir.Constant(integer, i)
        apart.append(b.mul(step, b.select(b.icmp_signed("<", i, last), i, last)))
    start, target = place(ref, first, A), place(sums, first, P, lane)
    starts = [b.gep(start, [b.mul(rows, A)]) for rows in apart]
    source = place(weights, begin, P, lane)
    head, loop, done = b.block, b.append_basic_block("token"), b.append_basic_block("tokens.end")
    b.branch(loop)
    b.position_at_end(loop)
    a = b.phi(integer)
    a.add_incoming(zero, head)
    totals = [b.phi(vector) for _ in apart]
    weight = b.load(b.bitcast(b.gep(source, [b.mul(a, P)]), vector.as_pointer()), align=8)
    grown = []
    for start, total in zip(starts, totals, strict=True):
        total.add_incoming(ir.Constant(vector, [0.0] * vector.count), head)
        term = b.fmul(splat(b.load(b.gep(start, [a]))), weight, flags=["contract"])
        grown.append(b.fadd(term, total, flags=["contract"]))
        total.add_incoming(grown[-1], loop)
    following = b.add(a, one)
    a.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, A), loop, done)
    b.position_at_end(done)
    for rows, total in zip(apart, grown, strict=True):
        b.store(total, b.bitcast(b.gep(target, [b.mul(rows, P)]), vector.as_pointer()), align=8)
    return context.get_dummy_value()
