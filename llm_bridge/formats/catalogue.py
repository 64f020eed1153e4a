"""The formats of preferences, one row each: by which keys a file is known, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import comparisons, ratings
from .gathered import Gathered, Row


@dataclass(frozen=True)
class Format:
    """A format: the keys that its rows have, and (where others have them too) a look at one row.

    read: takes one row into what is gathered. scores: whether its rows score answers, or compare two.
    about: schema and meaning, for the documents.
    """

    name: str
    keys: tuple[str, ...]
    read: Callable[[Row, Gathered], None]
    about: str
    fits: Callable[[dict[str, Any]], bool] = lambda row: True
    scores: bool = False

    def knows(self, row: dict[str, Any]) -> bool:
        """Whether a row is of this format."""
        return all(key in row for key in self.keys) and self.fits(row)


def _messages(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith('[{"'))


def _ranked(row: dict[str, Any]) -> bool:
    first = (row["answers"] or [None])[0] if isinstance(row["answers"], list) else None
    return isinstance(first, dict) and "rank" in first


_ROWS = (
    Format(
        "conversational", ("chosen", "rejected"), comparisons.conversational,
        "`chosen`, `rejected`: lists of messages `{role, content}`, whole conversations that differ in "
        "the last (binarized UltraFeedback; equal `score_chosen`, `score_rejected` are a tie), or one "
        "answer each to `prompt` (messages or a string)",
        lambda row: _messages(row["chosen"]),
    ),
    Format(
        "pairs", ("prompt", "chosen", "rejected"), comparisons.pairs,
        "`prompt` (a string, verbatim, or messages), `chosen`, `rejected`: strings",
    ),
    Format(
        "hh-rlhf", ("chosen", "rejected"), comparisons.transcripts,
        "`chosen`, `rejected`: transcripts `\\n\\nHuman: …\\n\\nAssistant: …` that differ in the last turn",
    ),
    Format(
        "ultrafeedback", ("instruction", "completions"), ratings.ultrafeedback,
        "`instruction`, `completions: [{response, annotations: {helpfulness, honesty, "
        "instruction_following, truthfulness: {Rating}}}]`", scores=True,
    ),
    Format(
        "nectar", ("prompt", "answers"), ratings.ranked,
        "`prompt` (transcript or string), `answers: [{answer, rank}]`, rank 1 best; attribute `rank` "
        "(its negative)", _ranked, scores=True,
    ),
    Format(
        "scored", ("prompt", "answers"), ratings.scored,
        "`prompt`, `answers: [{text, scores: {name: number}}]`", scores=True,
    ),
    Format(
        "helpsteer2-preference", ("prompt", "response_1", "response_2", "preference_strength"),
        comparisons.helpsteer_pairs,
        "`prompt`, `response_1`, `response_2`, `preference_strength`: below 0 the first is better, 0 a tie",
    ),
    Format(
        "helpsteer3", ("context", "response1", "response2", "overall_preference"), comparisons.helpsteer3,
        "`context`: messages, `response1`, `response2`, `overall_preference`: below 0 the first is better, 0 "
        "a tie; where it is null, the mean of `individual_preference: [{score}]` in its place",
    ),
    Format(
        "helpsteer", ("prompt", "response", *ratings.HELPSTEER), ratings.helpsteer,
        "`prompt`, `response`, `helpfulness`, `correctness`, `coherence`, `complexity`, `verbosity`: "
        "HelpSteer 1 and 2, one answer a row", scores=True,
    ),
    Format(
        "prism", ("conversation_history",), ratings.prism,
        "`conversation_history: [{turn, role: user or model, content, score, if_chosen}]`; attribute "
        "`score`", scores=True,
    ),
    Format(
        "prism-utterances",
        ("conversation_id", "turn", "user_prompt", "model_response", "score", "if_chosen"),
        ratings.prism_utterances, "one answer a row, turns of a conversation in order; attribute `score`",
        scores=True,
    ),
    Format(
        "kto", ("prompt", "completion", "label"), ratings.labelled,
        "`prompt`, `completion` (strings or messages), `label`: true or false; attribute `good`",
        scores=True,
    ),
    Format(
        "shp", ("history", "human_ref_A", "human_ref_B", "labels"), comparisons.shp,
        "`history`, `human_ref_A`, `human_ref_B`, `labels`: 1 where A is better, 0 where B is",
    ),
    Format(
        "arena", ("conversation_a", "conversation_b", "winner"), comparisons.arena,
        "`conversation_a`, `conversation_b`: messages, `winner`: `model_a`, `model_b`, or a tie",
    ),
    Format(
        "arena-columns",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        comparisons.arena_columns,
        "`prompt`, `response_a`, `response_b`: lists of texts as JSON, `winner_model_a`, "
        "`winner_model_b`, `winner_tie`: 1 or 0",
    ),
)  # fmt: skip
FORMATS = {row.name: row for row in _ROWS}


def markdown() -> str:
    """The table of formats for the documents."""
    lines = ["| format | keys and their meaning | gives |", "|---|---|---|"]
    for row in FORMATS.values():
        lines.append(f"| `{row.name}` | {row.about} | {'scores' if row.scores else 'pairs'} |")
    return "\n".join(lines)
