"""``exp`` and ``log`` as polynomials: loops over them are vectorised, and no bit hangs on a library.

Wherever a kernel takes one of the two for many numbers it takes these; the error is below 2e-16 of
the result (a unit in the last place is up to 2.2e-16).
"""

from __future__ import annotations

import numpy as np

from .compiled import njit

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has 32 trailing zero bits, so that a multiple of it is exact
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5·2^52: adding it rounds to an integer, held in the last bits
ROUND_BITS = np.int64(0x4338000000000000)
ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)


@njit(cache=True, nogil=True, fastmath={"contract"})
def exp(x):
    """``e^x``: 0 below −708, infinite above 709.7; NaN stays NaN.

    ``x = n·ln 2 + r`` with ``|r| ≤ ½ ln 2``, where the series of degree 13 is exact to 4e-18.
    """
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = 1 / 39916800 + r * (1 / 479001600 + r * (1 / 6227020800))
    p = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * p))
    p = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * p))
    p = 0.5 + r * (1 / 6 + r * (1 / 24 + r * p))
    bits = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    y = (1.0 + (r + r * r * p)) * np.int64(bits).view(np.float64)
    y = 0.0 if x < -708.0 else y
    return np.inf if x > 709.7 else y


@njit(cache=True, nogil=True, fastmath={"contract"})
def log(x):
    """``ln x`` of a normal number: −inf at 0 and below; infinities and NaN stay.

    ``x = 2^k (1 + f)`` with ``√½ ≤ 1 + f < √2`` and ``s = f/(2 + f)``: ``ln(1 + f) = 2 artanh s``, of
    which the series beyond ``2s`` is taken as the minimax polynomial in s² of FreeBSD's ``e_log.c``.
    """
    bits = np.float64(x).view(np.int64)
    k = (bits - ROOT_HALF_BITS) >> np.int64(52)
    f = np.int64(bits - (k << np.int64(52))).view(np.float64) - 1.0
    n = np.int64(k + ROUND_BITS).view(np.float64) - ROUND
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (0.3999999999940941908 + w * (0.2222219843214978396 + w * 0.1531383769920937332))
    even = z * (
        0.6666666666666735130
        + w * (0.2857142874366239149 + w * (0.1818357216161805012 + w * 0.1479819860511658591))
    )
    half = 0.5 * f * f
    y = n * LN2_HIGH - ((half - (s * (half + (odd + even)) + n * LN2_LOW)) - f)
    y = y if x > 0.0 else -np.inf
    return y if x < np.inf else x
