"""Formats whose rows score answers: one answer a row, several answers a row, ranks, labels."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from ..preferences import ULTRAFEEDBACK
from ..texts import Conversation, Prompt
from .comparisons import steered, transcript_turns
from .gathered import Gathered, Row, score

RATING = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def scored(row: Row, out: Gathered) -> None:
    """Read ``prompt, answers: [{text, scores: {name: number}}]``."""
    answers = row.objects("answers")
    if not answers:
        raise row.refuse("answers", "must be a list of at least one", "add it")
    for answer in answers:
        scores = answer.fields.get("scores")
        out.names = out.names or tuple(scores if isinstance(scores, dict) else ())
        if not isinstance(scores, dict) or not out.names or set(scores) != set(out.names):
            raise answer.refuse("scores", f"must name the attributes {out.names}", "complete it")
        values = [score(f"{answer.place}: score of {name}", scores[name]) for name in out.names]
        out.rated(row.place, row.prompt(), answer.text("text"), values)


def ultrafeedback(row: Row, out: Gathered) -> None:
    """Read UltraFeedback as published: ``instruction, completions: [{response, annotations}]``."""
    prompt = row.text("instruction")
    out.names = ULTRAFEEDBACK
    for answer in row.objects("completions"):
        marks = answer.fields.get("annotations")
        if marks is not None and not isinstance(marks, dict):
            raise answer.refuse("annotations", "must be an object", "see README")
        ratings = [_rating((marks or {}).get(name)) for name in ULTRAFEEDBACK]
        if None in ratings:
            out.left_out["answers without a rating"] += 1
            continue
        out.rated(row.place, prompt, answer.text("response"), [r for r in ratings if r is not None])


def _rating(mark: Any) -> float | None:
    """A number, as a string or not; None for "N/A" and the like: the annotator gave none."""
    given = mark.get("Rating") if isinstance(mark, dict) else None
    rating = "" if isinstance(given, bool) else str(given).strip()
    return float(rating) if RATING.fullmatch(rating) else None


def helpsteer(row: Row, out: Gathered) -> None:
    """Read HelpSteer 1 and 2: one answer a row, five attributes; rows of one prompt belong together."""
    out.names = HELPSTEER
    scores = [row.number(name) for name in HELPSTEER]
    prompt = steered(row)
    out.rated(prompt, prompt, row.text("response"), scores)


def labelled(row: Row, out: Gathered) -> None:
    """Read KTO's ``prompt, completion, label``: answers that were found good or bad."""
    out.names = ("good",)
    prompt = row.prompt()
    if isinstance(row.fields.get("completion"), list):
        turns = row.turns("completion")
        if len(turns) != 1 or turns[0][0] != "assistant":
            raise row.refuse("completion", "must be one message of the assistant")
        if isinstance(prompt, str):
            prompt = Conversation((("user", prompt),))
        text = turns[0][1]
    else:
        text = row.text("completion")
    out.rated(prompt, prompt, text, [float(row.flag("label"))])


def ranked(row: Row, out: Gathered) -> None:
    """Read Nectar's ``prompt, answers: [{answer, rank}]``; rank 1 is the best."""
    out.names = ("rank",)
    text = row.text("prompt")
    turns = transcript_turns(text)
    if turns is not None and turns[-1] == ("assistant", ""):  # where the answer begins
        turns = turns[:-1]
    prompt: Prompt = text if turns is None or not turns else Conversation(turns)
    for answer in row.objects("answers"):
        out.rated(row.place, prompt, answer.text("answer"), [-answer.number("rank")])


def prism(row: Row, out: Gathered) -> None:
    """Read PRISM's conversations: of each turn the answers with their scores, the chosen one goes on."""
    out.names = ("score",)
    history: list[tuple[str, str]] = []
    turns: dict[int, list[Row]] = {}
    for said in row.objects("conversation_history"):
        turns.setdefault(int(said.number("turn")), []).append(said)
    for n in sorted(turns):
        asked = [said for said in turns[n] if said.text("role") == "user"]
        answers = [said for said in turns[n] if said.text("role") != "user"]
        if len(asked) != 1:
            raise row.refuse("conversation_history", f"must have one user's message in turn {n}")
        prompt = Conversation((*history, ("user", asked[0].text("content"))))
        went_on = [a for a in answers if a.flag("if_chosen")]
        for answer in answers:
            _judged((row.place, n), prompt, answer, "content", out)
        if len(went_on) != 1:
            out.left_out["turns after one without a chosen answer"] += len(turns) - n - 1
            return
        history = [*prompt.turns, ("assistant", went_on[0].text("content"))]


def _judged(group: Hashable, prompt: Prompt, answer: Row, key: str, out: Gathered) -> None:
    if answer.fields.get("score") is None:
        out.left_out["answers without a rating"] += 1
        return
    out.rated(group, prompt, answer.text(key), [answer.number("score")])


def prism_utterances(row: Row, out: Gathered) -> None:
    """Read PRISM's utterances: one answer a row; earlier turns of a conversation stand before it."""
    out.names = ("score",)
    conversation, turn = row.text("conversation_id"), int(row.number("turn"))
    said, answer = row.text("user_prompt"), row.text("model_response")
    chosen: dict[int, tuple[str, str]] = out.memory.setdefault(conversation, {})
    if any(n not in chosen for n in range(turn)):
        out.left_out["turns after one without a chosen answer"] += 1
        return
    before = [
        one for n in range(turn) for one in (("user", chosen[n][0]), ("assistant", chosen[n][1]))
    ]
    prompt = Conversation((*before, ("user", said)))
    if row.flag("if_chosen"):
        chosen[turn] = (said, answer)
    _judged((conversation, turn), prompt, row, "model_response", out)
