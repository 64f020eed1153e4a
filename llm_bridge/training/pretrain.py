"""A small Gemma-3 of the real architecture, pretrained on real text with its own tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent

from ..backend import tokenizers, torch, transformers
from .adapter import schedule
from .checkpoint import load_state, save_state

PAD, EOS, BOS = "<pad>", "<eos>", "<bos>"
EOS_ID, BOS_ID = 1, 2  # their order in train_tokenizer


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; every ``pattern``-th layer attends globally, the others in a window."""

    vocab: int = 1024
    width: int = 128
    inner: int = 384
    layers: int = 6
    heads: int = 4
    head_width: int = 32
    window: int = 64
    context: int = 512
    pattern: int = 3


@dataclass(frozen=True)
class Pretraining:
    """Steps of ``batch`` windows of ``length`` tokens, AdamW with warm-up and cosine decay."""

    steps: int = 1400
    batch: int = 16
    length: int = 128
    rate: float = 3e-3
    seed: int = 0


def train_tokenizer(texts: Sequence[str], vocab: int) -> Any:
    """Byte-level BPE of ``vocab`` tokens on the pretraining text; no token is unknown."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[PAD, EOS, BOS], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator(texts, trainer)
    # it puts <bos> before a text by itself, as the model reads every document
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=EOS, bos_token=BOS
    )


def small_gemma(shape: Shape, seed: int) -> Any:
    """A ``Gemma3ForCausalLM`` with random weights: sliding and global layers, tied embeddings."""
    torch.manual_seed(seed)
    kinds = [
        "full_attention" if (i + 1) % shape.pattern == 0 else "sliding_attention"
        for i in range(shape.layers)
    ]
    config = transformers.Gemma3TextConfig(
        vocab_size=shape.vocab, hidden_size=shape.width, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=1,
        head_dim=shape.head_width, query_pre_attn_scalar=shape.head_width,
        sliding_window=shape.window, max_position_embeddings=shape.context, layer_types=kinds,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return transformers.Gemma3ForCausalLM(config)


def pretrain(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    plan: Pretraining,
    *,
    checkpoint: Path | None = None,
    every: int = 100,
    on_progress: OnProgress = silent,
) -> list[float]:
    """Train in place on packed documents (``bos … eos``); return the loss (nats per token) by step."""
    stream = np.concatenate([
        np.array([BOS_ID, *ids, EOS_ID], dtype=np.int64)
        for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ])  # fmt: skip
    device = next(model.parameters()).device
    weights = dict(model.named_parameters())
    decayed = [p for p in weights.values() if p.ndim > 1]
    plain = [p for p in weights.values() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=plan.rate, betas=(0.9, 0.95),
    )  # fmt: skip
    run = json.dumps({"tokens": len(stream), **asdict(plan)}, sort_keys=True)
    done = load_state(checkpoint, weights, optimizer, run) if checkpoint is not None else 0
    model.train()
    losses = []
    for step in range(done, plan.steps):
        rng = np.random.default_rng([plan.seed, step])
        begins = rng.integers(len(stream) - plan.length - 1, size=plan.batch)
        ids = torch.from_numpy(stream[begins[:, None] + np.arange(plan.length)]).to(device)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * schedule(step, plan.steps)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"pretraining diverged at step {step}")
        if checkpoint is not None and (step + 1) % every == 0:
            save_state(checkpoint, weights, optimizer, step + 1, run)
        on_progress("pretraining", step + 1, plan.steps)
    model.eval()
    return losses
