"""A tiny Llama with its own tokenizer as a GGUF file, written here, and its weights read by plain code."""

from __future__ import annotations

import json

import gguf
import numpy as np
import torch
import transformers

from llm_bridge.training.pretrain import train_tokenizer

SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
}  # fmt: skip
TEXTS = ["Q: Is it so?\nA: No, it is not so.", "in 1212 and 1212 it's 12", "the cat sat on it"] * 9
QUANTISED = ("ffn_", "attn_q", "attn_k")  # of the tensors' names, in four bits


def tiny_gguf(path, seed=0, pre="smollm"):
    """Write the file; return the model it was made of, and the tokenizer's settings as JSON."""
    settings = json.loads(train_tokenizer(TEXTS, 300).backend_tokenizer.to_str())
    tokens = sorted(settings["model"]["vocab"], key=settings["model"]["vocab"].get)
    tokens[0] = (
        "<|endoftext|>"  # as in GPT-2's vocabulary, which a tokenizer from GGUF is taken for
    )
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=len(tokens), tie_word_embeddings=True, **SIZES)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(3)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges([" ".join(pair) for pair in settings["model"]["merges"]])
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    for key, weight in model.state_dict().items():
        name = names.get_name(key, try_suffixes=(".weight",))
        if key == "lm_head.weight":
            continue
        values = weight.numpy()
        for part, heads in (("q_proj", 2), ("k_proj", 1)):
            if part in key:  # rotary halves lie interleaved in the file
                values = values.reshape(heads, 2, 8, 32).swapaxes(1, 2).reshape(values.shape)
        if any(part in name for part in QUANTISED) and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, settings


def four_bits(raw):
    """Values of Q4_1 rows: blocks of a scale, a minimum, and 16 bytes of 32 numbers, halves in turn."""
    rows = []
    for row in np.asarray(raw):
        values = []
        for block in row.reshape(-1, 20):
            scale, least = block[:4].view(np.float16).astype(np.float32)
            values += [scale * float(b & 15) + least for b in block[4:]]
            values += [scale * float(b >> 4) + least for b in block[4:]]
        rows.append(values)
    return np.array(rows, dtype=np.float32)
