"""The bridge from the token-MDP diagnostics to Gemma with LoRA adapters (needs the llm extra)."""
