"""A soup written as one adapter, read back by peft alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_architectures import plain_logits, plain_policies, write_bank  # noqa: E402

from llm_bridge.answers import Answer  # noqa: E402
from llm_bridge.backend import quiet_transformers  # noqa: E402
from llm_bridge.comparison.export import export  # noqa: E402
from llm_bridge.loading import load_bank  # noqa: E402

IDS = (2, 5, 9, 33, 70, 8, 41, 6)
WEIGHTS = np.array([0.7, -0.4])
pytestmark = pytest.mark.filterwarnings("ignore")  # peft's own while the judge loads adapters


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Llama", "output"),
        ("Gemma3", "output"),
        ("Cohere", "output"),
        ("Llama", "all linear"),
        ("Gemma2", "output"),
    ],
    ids=lambda x: x.replace(" ", "-"),
)
def test_what_is_written_is_what_peft_reads(tmp_path, name, kind):
    quiet_transformers()
    root = write_bank(tmp_path, name, kind)
    bank = load_bank(str(root / "base"), [str(root / "a"), str(root / "b")], dtype="float64")
    answers = [Answer(IDS, 3)]
    found = export(bank, WEIGHTS, answers, root / "soup", str(root / "base"))
    models = plain_policies(root, ("a", "b", "soup"))
    z = torch.stack([plain_logits(m, IDS) for m in models])
    weights = torch.tensor(WEIGHTS)
    soup = (z[0] + torch.einsum("k,knc->nc", weights, z[1:3] - z[0])).log_softmax(dim=1)[2:-1]
    written, reference = (x.log_softmax(dim=1)[2:-1] for x in (z[3], z[0]))
    kl, of_ref = ((soup.exp() * (soup - x)).sum(dim=1) for x in (written, reference))
    assert found.tokens == len(kl) == 5
    assert found.kl[found.merge] == pytest.approx(float(kl.mean()), abs=1e-6)
    assert found.worst == pytest.approx(float(kl.max()), abs=1e-6)
    assert found.reference == pytest.approx(float(of_ref.mean()), abs=1e-6)
    assert found.exact == (kind == "output" and name != "Gemma2")  # whose soft cap is not linear
    if found.exact:
        assert found.merge == "cat"
        assert found.worst < 1e-6
    else:
        assert found.kl[found.merge] == min(found.kl.values())
        assert 1e-5 < found.kl[found.merge] < found.reference
    assert json.loads((root / "soup" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert not [n for n in bank.model.peft_config if n not in ("a", "b")]
    again = load_bank(str(root / "base"), [str(root / "soup")], dtype="float64")
    with again.using("soup") as base:
        torch.testing.assert_close(plain_logits(base, IDS), z[3], atol=1e-9, rtol=0)
