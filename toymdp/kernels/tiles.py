"""The loops that kernels spend their time in, with what they hold in registers.

Each is written twice: as the Python that says what it is, and as vectors of LLVM, for numba's own
vectoriser leaves sums in memory. ``product`` is for many rewards at once, ``dots`` for a few fields,
with the weights of one token, ``columns[a, s]``, in order for a row of contexts; ``turn`` is the step
from one of these layouts to the other.

        lanes: 12, 8 or 4 rewards          with s' = y·A + a the A next contexts of a block
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
from numba.extending import intrinsic

from .compiled import njit

WIDE = (
    16  # neighbours whose sums over tokens run together: so many are read, if fewer are asked for
)
ROWS = 4  # a fused product takes four cycles, and one can begin in each
SIDE = 4  # of the squares that are turned


def _product(ref, first, step, last, weights, begin, lane, lanes, factor, each, sums):
    """Write ``sums[s, m] = factor·Σ_a ref[s, a]·weights[begin + a, m]`` for up to ROWS rows s, some m.

    ref [S, A]; factor, weights [·, P] and sums [S, P] have P lanes, of which ``lanes`` (12, 8 or 4, a
    constant) from ``lane`` on are meant. Rows: ``s = first + step·i`` for ``i = 0..last``,
    ``last < ROWS``. The factor of row s is ``factor[each·s, m]``: the same of all where each = 0.
    """
    A, part = ref.shape[1], slice(lane, lane + lanes)
    for i in range(last + 1):
        s = first + step * i
        sums[s, part] = factor[each * s, part] * (ref[s] @ weights[begin : begin + A, part])


def _dots(f, at, step, g, begin, stride, count, fields, lanes, sums, to):
    """Write ``sums[h, to + i] = Σ_j f[at + j·step + i]·g[h, begin + j·stride + i]``, j < count.

    f flat; g [·, N] and sums [·, N'], of which the first ``fields`` rows h are meant; i < lanes. Both
    numbers are constants.
    """
    for h in range(fields):
        total = 0.0
        for j in range(count):
            here, there = at + j * step, begin + j * stride
            total = total + f[here : here + lanes] * g[h, there : there + lanes]
        sums[h, to : to + lanes] = total


def _turn(f, at, step, g, to, stride):
    """Write ``g[to + j·stride + i] = f[at + i·step + j]`` for ``i, j < SIDE``: f, g flat."""
    for j in range(SIDE):
        g[to + j * stride : to + j * stride + SIDE] = f[at + j : at + j + SIDE * step : step]


def _emit_product(context, b, signature, args):
    """Build the loop over a; the last rows are repeated where there are fewer than ROWS."""
    integer, double = ir.IntType(64), ir.DoubleType()
    lanes = signature.args[7].literal_value
    parts = [(i, min(8, lanes - i)) for i in range(0, lanes, 8)]  # vectors: where, and how long
    ref, weights, factor, sums = (
        context.make_array(signature.args[i])(context, b, args[i]) for i in (0, 4, 8, 10)
    )
    first, step, last, begin, lane, each = (args[i] for i in (1, 2, 3, 5, 6, 9))
    A, P = b.extract_value(ref.shape, 1), b.extract_value(weights.shape, 1)

    def vector(size):
        return ir.VectorType(double, size)

    def place(array, row, width, offset=None):
        start = b.mul(row, width)
        return b.gep(array.data, [start if offset is None else b.add(start, offset)])

    def at(start, row, part):
        """Address of a vector of lanes, so many rows on."""
        offset = b.add(b.mul(row, P), ir.Constant(integer, part[0]))
        return b.bitcast(b.gep(start, [offset]), vector(part[1]).as_pointer())

    def splat(scalar, size):
        nothing = ir.Constant(vector(size), ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), size), [0] * size)
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
    source, shares = place(weights, begin, P, lane), place(factor, b.mul(each, first), P, lane)
    head, loop, done = b.block, b.append_basic_block("token"), b.append_basic_block("tokens.end")
    b.branch(loop)
    b.position_at_end(loop)
    a = b.phi(integer)
    a.add_incoming(zero, head)
    totals = [[b.phi(vector(part[1])) for part in parts] for _ in apart]
    weight = [b.load(at(source, a, part), align=8) for part in parts]
    grown = []
    for start, row in zip(starts, totals, strict=True):
        chance, row_grown = b.load(b.gep(start, [a])), []
        for (_, size), total, w in zip(parts, row, weight, strict=True):
            total.add_incoming(ir.Constant(vector(size), [0.0] * size), head)
            term = b.fmul(splat(chance, size), w, flags=["contract"])
            row_grown.append(b.fadd(term, total, flags=["contract"]))
            total.add_incoming(row_grown[-1], loop)
        grown.append(row_grown)
    following = b.add(a, one)
    a.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, A), loop, done)
    b.position_at_end(done)
    for rows, row in zip(apart, grown, strict=True):
        for part, total in zip(parts, row, strict=True):
            share = b.load(at(shares, b.mul(each, rows), part), align=8)
            b.store(b.fmul(share, total), at(target, rows, part), align=8)
    return context.get_dummy_value()


def _emit_turn(context, b, signature, args):
    """Build a square's way: rows loaded, brought together, and every SIDE-th number taken."""
    f, g = (context.make_array(signature.args[i])(context, b, args[i]) for i in (0, 3))
    at, step, to, stride = (args[i] for i in (1, 2, 4, 5))
    word, vector = ir.IntType(32), ir.VectorType(ir.DoubleType(), SIDE)

    def place(array, start, distance, i):
        offset = b.add(start, b.mul(distance, ir.Constant(ir.IntType(64), i)))
        return b.bitcast(b.gep(array.data, [offset]), vector.as_pointer())

    def chosen(first, second, places):
        return b.shuffle_vector(
            first, second, ir.Constant(ir.VectorType(word, len(places)), places)
        )

    rows = [b.load(place(f, at, step, i), align=8) for i in range(SIDE)]
    while len(rows) > 1:
        both = list(range(2 * rows[0].type.count))
        rows = [chosen(rows[i], rows[i + 1], both) for i in range(0, len(rows), 2)]
    for j in range(SIDE):
        column = chosen(rows[0], rows[0], list(range(j, SIDE * SIDE, SIDE)))
        b.store(column, place(g, to, stride, j), align=8)
    return context.get_dummy_value()


def _emit_dots(context, b, signature, args):
    """Build the loop over j; vectors longer than the machine's are several of its own."""
    integer = ir.IntType(64)
    fields, lanes = (signature.args[i].literal_value for i in (7, 8))
    vector = ir.VectorType(ir.DoubleType(), lanes)
    f, g, sums = (context.make_array(signature.args[i])(context, b, args[i]) for i in (0, 3, 9))
    at, step, begin, stride, count, to = (args[i] for i in (1, 2, 4, 5, 6, 10))

    def place(array, row, offset):
        """Address of entry ``offset`` of a row."""
        start = b.mul(ir.Constant(integer, row), b.extract_value(array.shape, 1)) if row else None
        return b.gep(array.data, [offset if start is None else b.add(start, offset)])

    def load(start, offset):
        return b.load(b.bitcast(b.gep(start, [offset]), vector.as_pointer()), align=8)

    source = b.gep(f.data, [at])
    others = [place(g, h, begin) for h in range(fields)]
    head, loop, done = b.block, b.append_basic_block("term"), b.append_basic_block("terms.end")
    b.branch(loop)
    b.position_at_end(loop)
    j = b.phi(integer)
    j.add_incoming(ir.Constant(integer, 0), head)
    totals = [b.phi(vector) for _ in others]
    factor, grown = load(source, b.mul(j, step)), []
    for other, total in zip(others, totals, strict=True):
        total.add_incoming(ir.Constant(vector, [0.0] * lanes), head)
        term = b.fmul(factor, load(other, b.mul(j, stride)), flags=["contract"])
        grown.append(b.fadd(term, total, flags=["contract"]))
        total.add_incoming(grown[-1], loop)
    following = b.add(j, ir.Constant(integer, 1))
    j.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, count), loop, done)
    b.position_at_end(done)
    for h, total in enumerate(grown):
        b.store(total, b.bitcast(place(sums, h, to), vector.as_pointer()), align=8)
    return context.get_dummy_value()


@intrinsic(prefer_literal=True)
def product(typing, ref, first, step, last, weights, begin, lane, lanes, factor, each, sums):
    """Type the arguments of ``_product``."""
    word = types.int64
    given = ref, word, word, word, weights, word, word, lanes, factor, word, sums
    return types.void(*given), _emit_product


@intrinsic(prefer_literal=True)
def dots(typing, f, at, step, g, begin, stride, count, fields, lanes, sums, to):
    """Type the arguments of ``_dots``."""
    word = types.int64
    given = f, word, word, g, word, word, word, fields, lanes, sums, word
    return types.void(*given), _emit_dots


@intrinsic
def turn(typing, f, at, step, g, to, stride):
    """Type the arguments of ``_turn``."""
    word = types.int64
    return types.void(f, word, word, g, word, word), _emit_turn


# kept beside what is compiled, as numba keeps a kernel's own Python
product.py_func, dots.py_func, turn.py_func = _product, _dots, _turn  # type: ignore[attr-defined]


@njit(cache=True, nogil=True)
def turned(f, rows, columns, step, g, stride):
    """Write ``g[j·stride + i] = f[i·step + j]`` for ``i < rows``, ``j < columns``: f, g flat."""
    for i in range(0, rows - SIDE + 1, SIDE):
        for j in range(0, columns - SIDE + 1, SIDE):
            turn(f, i * step + j, step, g, j * stride + i, stride)
    whole, square = columns - columns % SIDE, rows - rows % SIDE
    for i in range(rows):
        for j in range(whole if i < square else 0, columns):
            g[j * stride + i] = f[i * step + j]
