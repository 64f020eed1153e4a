"""Sections 2–3: the Bellman equations, Lemma 1, and the displays of its proof."""

from __future__ import annotations

from itertools import product

from .instance import World, length, mp, number, total
from .linear import LeastSquares, dot, orthonormal, solve_system
from .pair import Nothing, Pair, farthest
from .solve import Truth, divergence, soft_values

LINEAR = mp.mpf(10) ** -9  # a residual below this share of the field counts as none
ZERO = mp.mpf(0)


def reference_rows(world: World):
    """``(psi(s), s)`` of the reachable contexts, each row once; the start's own if it is given."""
    rows = {}
    for t, s in world.places():
        if world.horizon is None:
            if s in world.nexts[0]:
                rows[s] = world.psi[0, s]
        elif t:
            rows[(t - 1, s) if world.per_step else s] = world.psi[t - 1, s]
    found = [(row, at[1] if isinstance(at, tuple) else at) for at, row in rows.items()]
    if world.start_feature is not None:
        found.append((world.start_feature, world.start))
    return found


def tokens(world: World) -> list[int]:
    return [a for a in range(world.vocab) if a != world.bos]


def log_ref(world: World, s: int) -> list:
    """Logs of ref over all tokens but bos. Raises KeyError for a forbidden one."""
    law = {a: p for a, _, p in world.moves[s]}
    return [mp.log(law[a]) for a in tokens(world)]


def centred(x: list) -> list:
    mean = total(x) / len(x)
    return [y - mean for y in x]


def columns(table: list[list]) -> list[list]:
    return [list(column) for column in zip(*table, strict=True)]


def largest_residual(rows: list[list], table: list[list]):
    """Largest least-squares residual over the columns of a table."""
    span = LeastSquares(rows)
    return max(abs(x) for column in columns(table) for x in span.residual(column))


def softmax_setup(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    every = {s for _, s in world.places()}
    if any(len(world.moves[s]) < len(tokens(world)) for s in every):
        return Pair(mp.mpf(1), ZERO)
    found = reference_rows(world)
    if not found:
        return Pair(ZERO, ZERO)
    table = [centred(log_ref(world, s)) for _, s in found]
    off = largest_residual([row for row, _ in found], table) > LINEAR
    return Pair(mp.mpf(int(off)), ZERO)


def linear_rewards(truth: Truth, mix, seen) -> Pair:
    used = truth.world.used()
    for r in truth.world.rewards:
        field = [number(r[n]) for _, n in used]
        if max(map(abs, truth.span.residual(field))) > LINEAR * max(map(abs, field)):
            return Pair(mp.mpf(1), ZERO)
    return Pair(ZERO, ZERO)


def decodable(truth: Truth, mix, seen) -> Pair:
    return Pair(ZERO, ZERO)


def bellman(truth: Truth, mix, seen) -> Pair:
    """How far the table's ``V_w(start)`` is from the recursion's."""
    _, V = soft_values(truth.world, truth.world.rewards[-1])
    return Pair(abs(truth.V[-1][truth.start] - V[truth.start]), ZERO)


def _worst_fitted(residuals, sizes) -> Pair:
    """The largest residual of the field that is fitted worst, as a share of its size."""
    most = [max(map(abs, r.values())) for r in residuals]
    m = max(range(len(most)), key=lambda i: most[i] / sizes[i])
    t, n = max(residuals[m], key=lambda at: abs(residuals[m][at]))
    return Pair(most[m], ZERO, {"t": t, "s'": n, "k": m})


def linear_values(truth: Truth, mix, seen) -> Pair:
    used = truth.world.used()
    residuals = [
        dict(zip(used, truth.span.residual([Q[at] for at in used]), strict=True)) for Q in truth.Q
    ]
    sizes = [max(truth.world.beta, *(abs(x) for x in Q.values())) for Q in truth.Q]
    return _worst_fitted(residuals, sizes)


def values_of_independent_rows(truth: Truth, mix, seen) -> Pair:
    """``psi·nu`` and Q where they are farthest apart or, if they are equal, where Q is largest."""
    missed = linear_values(truth, mix, seen)
    k, at = missed.where["k"], (missed.where["t"], missed.where["s'"])
    if missed.lhs < LINEAR:
        places = [(k, at) for k in range(len(truth.Q)) for at in truth.world.used()]
        k, at = max(places, key=lambda place: abs(truth.Q[place[0]][place[1]]))
    predicted = dot(truth.world.psi[at], truth.value_nu[k])
    return Pair(predicted, truth.Q[k][at], {"t": at[0], "s'": at[1], "k": k})


def linear_values_per_step(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    residuals = [{} for _ in truth.Q]
    for t, contexts in enumerate(world.nexts):
        if not contexts:  # every episode has ended
            continue
        span = LeastSquares([world.psi[t, n] for n in contexts])
        for Q, left in zip(truth.Q, residuals, strict=True):
            found = span.residual([Q[t, n] for n in contexts])
            left.update({(t, n): x for n, x in zip(contexts, found, strict=True)})
    sizes = [max(world.beta, *(abs(x) for x in Q.values())) for Q in truth.Q]
    return _worst_fitted(residuals, sizes)


def desirability(truth: Truth, mix, seen) -> Pair:
    """Distance of ``exp(V(·,y)/β)`` from the column space of Π_y, as a share of its largest entry."""
    world = truth.world
    blocks = world.vocab ** (world.order - 1)

    def block(t, y):
        live = [s for s in world.states[t] if s % blocks == y]
        laws = [{a: p for a, _, p in world.moves[s]} for s in live]
        return live, [[law.get(a, ZERO) for law in laws] for a in range(world.vocab)]

    def deficient(t, y):
        live, vectors = block(t, y)
        return len(orthonormal(vectors)) < len(live)

    places = [(t, y) for t in range(world.steps) for y in range(blocks)]
    if not any(deficient(t, y) for t, y in places):
        raise Nothing("every block has full row rank")
    t, y, k = (seen.where[name] for name in ("t", "y", "k"))
    live, vectors = block(t, y)
    values = [truth.V[k][t, s] / world.beta for s in live]
    left = z = [mp.exp(v - max(values)) for v in values]
    for b in orthonormal(vectors):
        c = dot(z, b)
        left = [x - c * u for x, u in zip(left, b, strict=True)]
    return Pair(max(map(abs, left)), ZERO)


def single_exponential(truth: Truth, mix, seen) -> Pair:
    found = reference_rows(truth.world)
    if not found:
        raise Nothing("only the start")
    table = [[-total(x) / len(x)] for x in (log_ref(truth.world, s) for _, s in found)]
    return Pair(largest_residual([row for row, _ in found], table), ZERO)


def _embedding(truth: Truth):
    """Rows psi(s), and the least-norm nu_ref(a) of the centred logits for each token a."""
    found = reference_rows(truth.world)
    if not found:
        raise Nothing("no context has a feature")
    rows = [row for row, _ in found]
    table = [centred(log_ref(truth.world, s)) for _, s in found]
    span = LeastSquares(rows)
    return rows, [span.nu(column) for column in columns(table)], [s for _, s in found]


def random_fourier(truth: Truth, mix, seen) -> Pair:
    """``E cos(ω·(nu − psi))`` in closed form; of all places the one that is nearest to what was seen."""
    rows, nus, _ = _embedding(truth)
    values = []
    for row in rows:
        for nu in nus:
            distance = length([x - y for x, y in zip(row, nu, strict=True)])
            if distance <= 6:
                values.append(mp.exp(-(distance**2) / 2))
    if not values:
        raise Nothing("both sides vanish")
    value = min(values, key=lambda v: abs(v - seen.lhs))
    return Pair(value, value)


def _unrolled(truth: Truth, k: int, last):
    """``r + β log E exp(Σ_{i=t+1}^{t+L−1} r/β + last(t+L, s))`` after each (t, s')."""
    world = truth.world

    def log_mean(t, s, left):
        if s in world.ended or (world.horizon is not None and t >= world.horizon):
            return ZERO
        if not left:
            return last(t, s)
        r, ahead = world.rewards[k], world.after(t)
        return mp.log(total(
            p * mp.exp(number(r[n]) / world.beta + log_mean(ahead, n, left - 1))
            for _, n, p in world.moves[s]
        ))  # fmt: skip

    def at(t, n):
        ahead = log_mean(world.after(t), n, world.order - 1)
        return number(world.rewards[k][n]) + world.beta * ahead

    return at


def unrolling_printed(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    room = [
        (t, n) for t, n in world.used()
        if n not in world.ended and (world.horizon is None or t <= world.horizon - 1 - world.order)
    ]  # fmt: skip
    distances = {}
    for k in range(world.K):
        for choose in (min, max):
            typed = _unrolled(
                truth, k,
                lambda t, s, k=k, choose=choose: choose(
                    truth.Q[k][t, n] for _, n, _ in world.moves[s]
                ),
            )  # fmt: skip
            for t, n in room:
                apart = abs(typed(t, n) - truth.Q[k][t, n])
                distances[t, n, k] = max(apart, distances.get((t, n, k), ZERO))
    return farthest(distances, ("t", "s'", "k"))


def unrolling_repaired(truth: Truth, mix, seen) -> Pair:
    world = truth.world
    distances = {}
    for k in range(world.K):
        repaired = _unrolled(truth, k, lambda t, s, k=k: truth.V[k][t, s] / world.beta)
        for t, n in world.used():
            if n not in world.ended:
                distances[t, n, k] = abs(repaired(t, n) - truth.Q[k][t, n])
    return farthest(distances, ("t", "s'", "k"))


def _continuations(world: World):
    """Rows psi with L more steps to come, each context once, and the laws of what follows (or None)."""
    rows = {}
    for t, n in world.used():
        whole = world.horizon is None or t <= world.horizon - 1 - world.order
        if n not in world.ended and whole:
            rows[(t, n) if world.per_step else n] = world.psi[t, n], n
    if not rows:
        raise Nothing("no room for L more steps")
    laws = []
    for _, begin in rows.values():
        law = []
        for continuation in product(range(world.vocab), repeat=world.order):
            s, log_p = begin, ZERO
            for a in continuation:
                found = [(n, p) for b, n, p in world.moves.get(s, []) if b == a]
                if not found or log_p is None:
                    log_p = None
                    break
                s, log_p = found[0][0], log_p + mp.log(found[0][1])
            law.append(log_p)
        laws.append(law)
    return [row for row, _ in rows.values()], [n for _, n in rows.values()], laws


def forward_law(truth: Truth, mix, seen) -> Pair:
    """The law itself where mu is a sum of exponentials of frequencies at multiples of the rows.

    ``Σ_j α_j E_ω[φ_ω(psi_i) e^{iMω·psi_j}]``, the mean a Gaussian's characteristic function, in the
    proportions that the law has: divided by its sum over the continuations.
    """
    rows, contexts, logs = _continuations(truth.world)
    kept = {tuple(row): i for i, row in reversed(list(enumerate(rows)))}
    index = sorted(i for i in kept.values() if any(x is not None for x in logs[i]))
    if not index:
        raise Nothing("every episode ends too soon")
    rows, contexts, logs = ([x[i] for i in index] for x in (rows, contexts, logs))
    table = [[ZERO if x is None else mp.exp(x) for x in log] for log in logs]
    table = [[x / total(row) for x in row] for row in table]
    i, c = contexts.index(seen.where["s'"]), seen.where["continuation"]
    law = table[i]
    if len({tuple(row) for row in rows}) < len(set(contexts)):
        return Pair(seen.lhs, law[c])  # two contexts share a row: the hypothesis is false
    unit = min((length([x - y for x, y in zip(p, q, strict=True)]) ** 2
                for a, p in enumerate(rows) for q in rows[:a]), default=mp.mpf(1))  # fmt: skip
    M = 40 / unit  # any that is large enough
    kernel = [[mp.exp(-M * length([x - y for x, y in zip(p, q, strict=True)]) ** 2 / 2)
               for q in rows] for p in rows]  # fmt: skip
    alpha = solve_system(kernel, table)
    found = [total(k * row[d] for k, row in zip(kernel[i], alpha, strict=True))
             for d in range(len(law))]  # fmt: skip
    return Pair(found[c] / total(found), law[c])


def forward_law_by_one_vector(truth: Truth, mix, seen) -> Pair:
    rows, _, laws = _continuations(truth.world)
    if len({tuple(x is None for x in law) for law in laws}) > 1:
        return Pair(mp.mpf(1), ZERO)
    table = [centred([x for x in law if x is not None]) for law in laws]
    return Pair(largest_residual(rows, table), ZERO)


def _to_kernel(truth: Truth, rows, nus, contexts) -> Pair:
    apart = []
    for row, s in zip(rows, contexts, strict=True):
        kernel = centred([
            -(length([x - y for x, y in zip(row, nu, strict=True)]) ** 2) / 2 for nu in nus
        ])  # fmt: skip
        apart += [abs(x - y) for x, y in zip(kernel, centred(log_ref(truth.world, s)), strict=True)]
    return Pair(max(apart), ZERO)


def gaussian_given(truth: Truth, mix, seen) -> Pair:
    return _to_kernel(truth, *_embedding(truth))


def gaussian(truth: Truth, mix, seen) -> Pair:
    """Vectors made for the case at hand, and their distances measured."""
    rows, nus, contexts = _embedding(truth)
    basis, n = orthonormal(rows), len(rows[0])
    if len(basis) < n:
        axes = [[mp.mpf(int(i == j)) for j in range(n)] for i in range(n)]
        spare = orthonormal([*basis, *axes])[len(basis)]
        most = max(length(nu) ** 2 for nu in nus)
        lengthened = []
        for nu in nus:
            more = mp.sqrt(most - length(nu) ** 2)
            lengthened.append([x + more * z for x, z in zip(nu, spare, strict=True)])
        return _to_kernel(truth, rows, lengthened, contexts)
    span = LeastSquares(rows)
    ones = [mp.mpf(1)] * len(rows)
    if max(map(abs, span.residual(ones))) < LINEAR:
        u = span.nu(ones)
        square = dot(u, u)
        # far along −u every token has a root: a power of two that is far enough
        tau = next(t for t in (mp.mpf(2) ** i for i in range(200)) if all(
            (1 - dot(u, nu) + t * square) ** 2
            > square * length([x - t * y for x, y in zip(nu, u, strict=True)]) ** 2
            and 1 - dot(u, nu) + t * square > 0
            for nu in nus))  # fmt: skip
        solved = []
        for nu in nus:
            moved = [x - tau * y for x, y in zip(nu, u, strict=True)]
            b, size = dot(u, moved) - 1, length(moved) ** 2
            c = (-b - mp.sqrt(b * b - square * size)) / square
            solved.append([x + c * y for x, y in zip(moved, u, strict=True)])
        return _to_kernel(truth, rows, solved, contexts)
    middle = [total(x) / len(nus) for x in zip(*nus, strict=True)]
    half = [dot(nu, nu) / 2 for nu in nus]
    off = [[x - m for x, m in zip(nu, middle, strict=True)] for nu in nus]
    k = LeastSquares(off).nu([total(half) / len(half) - h for h in half])
    return _to_kernel(
        truth, rows, [[x + y for x, y in zip(nu, k, strict=True)] for nu in nus], contexts
    )


def _logit_law(truth: Truth, divisor) -> Pair:
    world = truth.world
    distances = {}
    for k in range(world.K):
        scaled = {at: q / divisor for at, q in truth.Q[k].items()}
        exponent = {at: q / world.beta for at, q in truth.Q[k].items()}
        for t, s in world.places():
            kl = divergence(truth.bases[k][t, s], truth.tilt((t, s), scaled))
            mass = abs(truth.log_mean((t, s), exponent) - truth.V[k][t, s] / world.beta)
            distances[t, s, k] = kl + mass
    return farthest(distances, ("t", "s", "k"))


def logits_printed(truth: Truth, mix, seen) -> Pair:
    return _logit_law(truth, mp.mpf(1))


def logits_repaired(truth: Truth, mix, seen) -> Pair:
    return _logit_law(truth, truth.world.beta)
