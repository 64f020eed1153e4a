"""The kernels of a GPU against torch, state by state: run by Triton's interpreter where there is no GPU.

Triton comes with torch for GPUs alone; elsewhere ``pip install triton`` lets these tests run.
"""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from llm_bridge.measure import fused, measures  # noqa: E402
from toymdp import InstanceError  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CASES = {  # policies, states, tokens, soups, bespoke, forbidden, dtype
    "plain": (5, 2, 512, 1, False, False, torch.float32),
    "forbidden": (6, 3, 700, 2, True, True, torch.float32),
    "no soup": (4, 2, 300, 0, True, False, torch.float32),
    "half": (6, 2, 300, 3, True, True, torch.bfloat16),
    "wide": (12, 2, 300, 8, True, False, torch.float32),
}


def logits(P, N, A, forbid, kind):
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn((P, N, A), generator=generator)
    if forbid:
        z[:, :, 7:90] = -torch.inf
    return z.to(kind).to(DEVICE)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fused, "BLOCK", 64)
    monkeypatch.setattr(fused, "STRETCH", 256)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NaN, not taken
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_kernels_say_what_torch_says(case, monkeypatch):
    P, N, A, M, bespoke, forbid, kind = case
    z, K = logits(P, N, A, forbid, kind), P - 1 - int(bespoke)
    weights = torch.randn((M, K), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    found = []
    for fuse in (False, True):
        monkeypatch.setattr(measures, "_fused", lambda z, precision, fuse=fuse: fuse)
        found.append(measures.measure(z, weights, bespoke=bespoke))
    for name in vars(found[0]):
        a, b = (getattr(each, name) for each in found)
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_policy_that_forbids_what_ref_allows_is_refused(monkeypatch):
    z = logits(4, 2, 300, False, torch.float32)
    z[2, 1, 290] = -torch.inf
    monkeypatch.setattr(measures, "_fused", lambda z, precision: True)
    with pytest.raises(InstanceError, match="forbids a token that ref allows"):
        measures.measure(z, torch.zeros((0, 3)), bespoke=False)
