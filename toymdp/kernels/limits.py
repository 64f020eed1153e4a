"""The limits at which the kernels change their way of computing."""

from __future__ import annotations

# Below this a block-scaled row sum may have lost terms to underflow; the row is then rescaled by
# its own maximum. Terms that vanish beside 1e-280 are smaller by 1e28 than what is kept.
ROW_FLOOR = 1e-280

# Below this many nats a divergence is summed again from non-negative terms: at logits less than
# 0.1 apart (KL ≤ 0.1²/8) the short form would cancel digits.
NEAR = 1e-6
