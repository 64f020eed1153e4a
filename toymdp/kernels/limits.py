"""The limits at which the kernels change their way of computing."""

from __future__ import annotations

# Below this a block-scaled row sum may have lost terms to underflow; the row is then rescaled by
# its own maximum. Terms that vanish beside 1e-280 are smaller by 1e28 than what is kept.
ROW_FLOOR = 1e-280
