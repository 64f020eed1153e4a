"""Tiny random models of architectures that people have, and adapters as peft writes them.

The judge of the bridge: plain transformers and peft, one policy at a time, nothing of llm_bridge.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import peft
import torch
import transformers

SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "eos_token_id": 1, "bos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip
GQA = SIZES | {"num_key_value_heads": 2}
HEADS = GQA | {"head_dim": 8}
MOE = GQA | {"num_local_experts": 4, "num_experts_per_tok": 2}
SPARSE = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1,
}  # fmt: skip
CAPPED = {"query_pre_attn_scalar": 8, "final_logit_softcapping": 0.5}
BY_LAYER = {"vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8}
LAYERED = BY_LAYER | {
    "num_kv_shared_layers": 0, "laurel_rank": 4, "altup_num_inputs": 2, "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"], "final_logit_softcapping": 0.5,
    "activation_sparsity_pattern": [0.0, 0.0],
}  # fmt: skip
LATENT = SIZES | {
    "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 4, "n_shared_experts": 1,
    "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
OLDER = {
    "vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "eos_token_id": 1,
    "bos_token_id": 2,
}  # fmt: skip
# name -> (configuration's class, its sizes); what makes each of them different is in the comment
ARCHITECTURES = {
    "Llama": ("Llama", GQA),
    "Mistral": ("Mistral", GQA | {"sliding_window": 4}),
    "Qwen2": ("Qwen2", GQA),  # biases
    "Qwen3": ("Qwen3", HEADS),
    "Gemma": ("Gemma", HEADS),  # states times √d, 1 + gain
    "Gemma2": ("Gemma2", HEADS | CAPPED | {"sliding_window": 4}),
    "Gemma3": ("Gemma3Text", HEADS | {"query_pre_attn_scalar": 8, "sliding_window": 4}),
    "Gemma3n": ("Gemma3nText", HEADS | LAYERED),  # soft capping, states in several streams
    "Gemma4": ("Gemma4Text", HEADS | BY_LAYER | {"sliding_window": 4, "global_head_dim": 8}),
    "GLM-4": ("Glm4", HEADS),
    "MPT": ("Mpt", {"vocab_size": 96, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}),
    "Mamba": ("Mamba", {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "DeepSeek-V3": ("DeepseekV3", LATENT),
    "Cohere": ("Cohere", GQA | {"logit_scale": 0.25}),
    "Cohere2": ("Cohere2", GQA | {"logit_scale": 0.25, "sliding_window": 4}),
    "Granite": ("Granite", GQA | {"logits_scaling": 3.0, "embedding_multiplier": 2.0}),
    "OPT": ("OPT", SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": True}),
    "GPT-2": ("GPT2", OLDER),
    "GPT-NeoX": ("GPTNeoX", SIZES | {"rotary_pct": 0.5, "hidden_act": "gelu"}),
    "GPT-J": ("GPTJ", OLDER | {"rotary_dim": 4}),
    "Phi": ("Phi", GQA),  # bias on the output layer
    "Phi-3": ("Phi3", GQA),
    "Falcon": ("Falcon", SIZES | {"num_kv_heads": 2, "new_decoder_architecture": True}),
    "BLOOM": ("Bloom", OLDER | {"hidden_size": 32}),
    "StableLM": ("StableLm", GQA),
    "StarCoder2": ("Starcoder2", GQA),
    "OLMo-2": ("Olmo2", GQA),
    "Nemotron": ("Nemotron", GQA),
    "SmolLM3": ("SmolLM3", GQA),
    "Mixtral": ("Mixtral", MOE),
    "Qwen2-MoE": ("Qwen2Moe", GQA | SPARSE | {"shared_expert_intermediate_size": 24}),
    "Qwen3-MoE": ("Qwen3Moe", HEADS | SPARSE),
    "Granite-MoE": ("GraniteMoe", MOE | {"logits_scaling": 3.0}),
    "GPT-OSS": ("GptOss", HEADS | MOE | {"sliding_window": 4}),
}  # fmt: skip


def tiny_model(name, seed=0, dtype=torch.float64):
    """A random model of an architecture, its weights large enough for every part to matter."""
    kind, sizes = ARCHITECTURES[name]
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.set_experts_implementation("eager")  # grouped products know no doubles
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model.eval()


def all_linear(model):
    """Names of every linear layer but the output, by looking at the model."""
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    head = model.get_output_embeddings()
    return {n for n, m in model.named_modules() if isinstance(m, kinds) and m is not head}


def experts(model):
    """Names of fused expert weights."""
    return [n for n, p in model.named_parameters() if p.ndim == 3]


def head_name(model):
    head = model.get_output_embeddings()
    return next(n for n, m in model.named_modules() if m is head)


def settings(kind, model):
    """The LoRA settings of a kind of adapter."""
    plain = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", "target_modules": "all-linear"}
    inside = sorted(all_linear(model))
    return (
        plain
        | {
            "all linear": {},
            "one layer": {"target_modules": inside[:2]},
            "rank-stabilised": {"use_rslora": True},
            "output": {"target_modules": [head_name(model)]},
            "experts": {"target_modules": inside[:1], "target_parameters": experts(model)},
            "DoRA": {"use_dora": True},
            "bias": {"bias": "lora_only"},
            "modules to save": {"modules_to_save": [head_name(model)]},
            "PiSSA": {"init_lora_weights": "pissa"},
            "OLoRA": {"init_lora_weights": "olora"},
        }[kind]
    )


def write_bank(root: Path, name, kind, adapters=("a", "b"), spread=0.1):
    """A base model and random adapters as peft saves them by default, in folders."""
    base = root / "base"
    if not base.is_dir():
        tiny_model(name).save_pretrained(base)
    for number, adapter in enumerate(adapters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            single = kind in ("PiSSA", "OLoRA")  # which know no doubles
            model = plain_model(base, torch.float32 if single else torch.float64)
            model.name_or_path = str(base)
            wrapped = peft.get_peft_model(model, peft.LoraConfig(**settings(kind, model)))
            generator = torch.Generator().manual_seed(number)
            for n, p in wrapped.named_parameters():
                if ".lora_" in n:
                    p.data = spread * torch.randn(p.shape, generator=generator, dtype=p.dtype)
            wrapped.save_pretrained(root / adapter)
    return root


def plain_model(base, dtype=torch.float64):
    """The base model by transformers alone."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype).eval()
    model.set_experts_implementation("eager")
    return model


def plain_policies(root, adapters=("a", "b")):
    """ref and each adapter, a model of its own each, by transformers and peft alone."""
    models = [plain_model(root / "base")]
    for adapter in adapters:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models.append(
                peft.PeftModel.from_pretrained(plain_model(root / "base"), root / adapter).eval()
            )
    return models


@torch.no_grad()
def plain_logits(model, ids):
    """Logits [n, A] of one sequence by the model's own forward pass."""
    return model(input_ids=torch.tensor([list(ids)])).logits[0]


def edited(path, **changes):
    """Change a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
