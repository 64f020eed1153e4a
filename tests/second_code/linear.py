"""Linear systems and least squares at 60 digits."""

from __future__ import annotations

from .instance import Number, length, mp, total

NOTHING_LEFT = mp.mpf(10) ** -40  # a direction shorter than this is linear dependence


def dot(x: list[Number], y: list[Number]) -> Number:
    return total(a * b for a, b in zip(x, y, strict=True))


def solve_system(matrix: list[list[Number]], right: list[list[Number]]) -> list[list[Number]]:
    """Gaussian elimination: the X of ``matrix·X = right`` [n][m].

    Raises ZeroDivisionError for a matrix that is singular to 40 digits.
    """
    rows = [list(a) + list(b) for a, b in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda j: abs(rows[j][i]))
        if abs(rows[pivot][i]) < NOTHING_LEFT:
            raise ZeroDivisionError("singular")
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(n):
            factor = rows[j][i]
            if j != i and factor:
                rows[j] = [x - factor * y for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


def orthonormal(vectors: list[list[Number]]) -> list[list[Number]]:
    """Gram–Schmidt, twice over; what is dependent is dropped."""
    basis: list[list[Number]] = []
    for vector in vectors:
        left = vector
        for _ in range(2):
            for b in basis:
                c = dot(left, b)
                left = [x - c * y for x, y in zip(left, b, strict=True)]
        size = length(left)
        if size > NOTHING_LEFT:
            basis.append([x / size for x in left])
    return basis


class LeastSquares:
    """``min ‖rows·nu − x‖₂``, the shortest nu of all that attain it.

    nu lies in the row space: with its orthonormal basis U, ``nu = Uᵀy`` and the normal equations of
    ``(rows·Uᵀ) y = x`` have one solution.
    """

    def __init__(self, rows: list[list[Number]]) -> None:
        self.rows = rows
        self.basis = orthonormal(rows)
        self.reduced = [[dot(row, b) for b in self.basis] for row in rows]
        columns = list(zip(*self.reduced, strict=True))
        self.normal = [[dot(a, b) for b in columns] for a in columns]
        self.columns = columns

    def nu(self, x: list[Number]) -> list[Number]:
        """The least-norm least-squares coefficients."""
        y = solve_system(self.normal, [[dot(c, x)] for c in self.columns])
        width = len(self.rows[0])
        return [total(y[i][0] * b[j] for i, b in enumerate(self.basis)) for j in range(width)]

    def residual(self, x: list[Number]) -> list[Number]:
        """What is left of x at each row."""
        nu = self.nu(x)
        return [target - dot(row, nu) for row, target in zip(self.rows, x, strict=True)]
