"""Formats whose rows compare two answers: plain and conversational pairs, transcripts, votes."""

from __future__ import annotations

import re

from ..texts import SPEAKERS, Conversation, Prompt
from .gathered import Gathered, Row, Turns

SPEAKER = re.compile("(" + "|".join(re.escape(mark.rstrip()) for mark in SPEAKERS.values()) + ") ?")
ROLE_OF = {mark.rstrip(): role for role, mark in SPEAKERS.items()}


def transcript_turns(text: str) -> Turns | None:
    r"""The turns of ``\n\nHuman: … \n\nAssistant: …``, texts stripped; None if it does not begin so."""
    parts = SPEAKER.split(text if text.startswith("\n\n") else f"\n\n{text.lstrip()}")
    if len(parts) < 3 or parts[0].strip():
        return None
    return tuple(
        (ROLE_OF[mark], said.strip()) for mark, said in zip(parts[1::2], parts[2::2], strict=True)
    )


def of_turns(first: Turns, second: Turns, out: Gathered, better: bool = True) -> None:
    """Two whole conversations: what is before the last turn is the prompt, and must be the same."""
    if first[:-1] != second[:-1] or not first[:-1]:
        out.left_out["different prompts"] += 1
    elif {first[-1][0], second[-1][0]} != {"assistant"}:
        out.left_out["no answer at the end"] += 1
    else:
        texts = (first[-1][1], second[-1][1])
        out.compared(Conversation(first[:-1]), *(texts if better else texts[::-1]))


def pairs(row: Row, out: Gathered) -> None:
    """Read ``prompt``, ``chosen``, ``rejected`` as strings; the prompt may be messages."""
    out.compared(row.prompt(), row.text("chosen"), row.text("rejected"))


def conversational(row: Row, out: Gathered) -> None:
    """Read ``chosen``, ``rejected`` as messages: whole conversations, or answers to ``prompt``."""
    scores = [row.fields.get(f"score_{key}") for key in ("chosen", "rejected")]
    if None not in scores and row.number("score_chosen") == row.number("score_rejected"):
        out.left_out["ties"] += 1
        return
    chosen, rejected = row.turns("chosen"), row.turns("rejected")
    if len(chosen) == len(rejected) == 1 and row.fields.get("prompt") is not None:
        before = row.prompt()
        turns = (("user", before),) if isinstance(before, str) else before.turns
        chosen, rejected = (*turns, *chosen), (*turns, *rejected)
    of_turns(chosen, rejected, out)


def transcripts(row: Row, out: Gathered) -> None:
    """Read HH-RLHF's ``chosen``, ``rejected``: transcripts that differ in their last turn."""
    both = [transcript_turns(row.text(key)) for key in ("chosen", "rejected")]
    for key, turns in zip(("chosen", "rejected"), both, strict=True):
        if turns is None:
            raise row.refuse(key, "must begin with a speaker, Human: or Assistant:")
    assert both[0] is not None
    assert both[1] is not None
    of_turns(both[0], both[1], out)


def shp(row: Row, out: Gathered) -> None:
    """Read SHP's ``history``, ``human_ref_A``, ``human_ref_B`` and ``labels``: 1 where A is better."""
    texts = (row.text("human_ref_A"), row.text("human_ref_B"))
    out.compared(row.text("history"), *(texts if row.flag("labels") else texts[::-1]))


def helpsteer_pairs(row: Row, out: Gathered) -> None:
    """Read HelpSteer2's preferences: ``preference_strength`` below 0 where the first is better."""
    strength = row.number("preference_strength")
    if strength == 0:
        out.left_out["ties"] += 1
        return
    texts = (row.text("response_1"), row.text("response_2"))
    out.compared(steered(row), *(texts if strength < 0 else texts[::-1]))


def helpsteer3(row: Row, out: Gathered) -> None:
    """Read HelpSteer3's preferences: a conversation, two answers, what the annotators made of them.

    ``overall_preference`` is theirs together, below 0 where the first answer is better; where it is null, the
    mean of their own scores says it.
    """
    if row.fields.get("overall_preference") is not None:
        strength = row.number("overall_preference")
    else:
        own = [
            one.number("score")
            for one in row.objects("individual_preference")
            if one.fields.get("score") is not None
        ]
        if not own:
            out.left_out["answers without a rating"] += 1
            return
        strength = sum(own) / len(own)
    if strength == 0:
        out.left_out["ties"] += 1
        return
    texts = (row.text("response1"), row.text("response2"))
    prompt = Conversation(row.turns("context"))
    out.compared(prompt, *(texts if strength < 0 else texts[::-1]))


TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def steered(row: Row) -> Prompt:
    """HelpSteer's prompt: a string, with marks of turns where it has several."""
    text = row.text("prompt")
    first, *rest = TURN.split(text)
    if not rest:
        return text
    roles = [name.lower() for name in rest[::2]]
    turns = [("user", first), *zip(roles, rest[1::2], strict=True)]
    if turns[-1] == ("assistant", ""):  # the mark where the answer begins
        turns.pop()
    return Conversation(tuple(turns))


def arena(row: Row, out: Gathered) -> None:
    """Read votes on two conversations: ``conversation_a``, ``conversation_b``, ``winner``."""
    winner = row.text("winner")
    if winner not in ("model_a", "model_b"):
        if "tie" not in winner and winner != "both_bad":
            raise row.refuse("winner", "must be model_a, model_b or a tie")
        out.left_out["ties"] += 1
        return
    both = row.turns("conversation_a"), row.turns("conversation_b")
    of_turns(*both, out, better=winner == "model_a")


def arena_columns(row: Row, out: Gathered) -> None:
    """Read votes as columns: lists ``prompt``, ``response_a``, ``response_b``, and who won."""
    won = [row.flag(f"winner_{name}") for name in ("model_a", "model_b", "tie")]
    if sum(won) != 1:
        raise row.refuse("winner_model_a", "exactly one of model_a, model_b, tie must have won")
    if won[2]:
        out.left_out["ties"] += 1
        return
    questions, *answers = (row.texts(key) for key in ("prompt", "response_a", "response_b"))
    talks = []
    for texts in answers:
        if len(texts) != len(questions):
            raise row.refuse("prompt", "must have as many texts as each response")
        talks.append(tuple(
            turn for q, a in zip(questions, texts, strict=True) for turn in (("user", q), ("assistant", a))
        ))  # fmt: skip
    of_turns(talks[0], talks[1], out, better=won[0])
