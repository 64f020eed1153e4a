"""Texts and token ids: what a tokenizer puts before a prompt and after an answer, chat templates.

Prompt and answer are encoded apart, so that the tokens of a prompt do not depend on the answer that
follows it. Start tokens are those that the tokenizer itself puts before a text, once. An answer ends
with the tokenizer's own end: of a turn, where a chat template writes the turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toymdp import InstanceError

ROLES = ("system", "user", "assistant")
SPEAKERS = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
MARK = "word"  # a text that every tokenizer and template leaves whole


@dataclass(frozen=True)
class Conversation:
    """A prompt of one or more turns ``(role, content)``, of which the last is not the assistant's."""

    turns: tuple[tuple[str, str], ...]

    def transcript(self) -> str:
        """As plain text, in the form of HH-RLHF, up to where the assistant begins."""
        return (
            "".join(SPEAKERS.get(role, "") + text for role, text in self.turns) + "\n\nAssistant:"
        )

    def with_last(self, text: str) -> Conversation:
        """The same turns with another text in the last."""
        return Conversation((*self.turns[:-1], (self.turns[-1][0], text)))


Prompt = str | Conversation  # verbatim, or turns


def shown(prompt: Prompt) -> str:
    """A prompt as people read it."""
    return prompt if isinstance(prompt, str) else prompt.transcript()


@dataclass(frozen=True, eq=False)
class Texts:
    """How one tokenizer writes prompts and answers.

    chat: whether prompts go through the tokenizer's chat template; None: those that are turns, if it
    has one. stops: token ids that end an answer, as the model's settings name them.
    """

    tokenizer: Any
    chat: bool | None = None
    stops: tuple[int, ...] = ()

    def _by_template(self, prompt: Prompt) -> bool:
        has = bool(getattr(self._known, "chat_template", None))
        if self.chat and not has:
            raise InstanceError.of(
                "--chat-template", True, "the tokenizer has none", "leave the option out"
            )
        return has and (self.chat if self.chat is not None else isinstance(prompt, Conversation))

    @property
    def _known(self) -> Any:
        if self.tokenizer is None:
            raise InstanceError.of("tokenizer", None, "is needed to read text", "load one")
        return self.tokenizer

    def _plain(self, text: str) -> list[int]:
        return list(self._known.encode(text, add_special_tokens=False))

    @cached_property
    def start(self) -> list[int]:
        """Token ids that the tokenizer by itself puts before a text."""
        bare, whole = self._plain(MARK), list(self._known.encode(MARK))
        for i in range(len(whole) - len(bare) + 1):
            if whole[i : i + len(bare)] == bare:
                return whole[:i]
        raise InstanceError.of(
            "tokenizer", whole, "writes a text otherwise with its start tokens", "use another"
        )

    def _rendered(self, turns: list[tuple[str, str]], asked: bool) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            text = self._known.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asked
            )
        except Exception as error:  # templates are programs: they raise what they like
            reason = f"the chat template refuses it ({str(error).splitlines()[0]})"
            roles = [role for role, _ in turns]
            raise InstanceError.of(
                "roles of a prompt", roles, reason, "--no-chat-template"
            ) from None
        return str(text)

    def prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, after the start tokens once."""
        if self._by_template(prompt):
            turns = [("user", prompt)] if isinstance(prompt, str) else [*prompt.turns]
            return self._plain(self._rendered(turns, asked=True))
        ids = self._plain(shown(prompt))
        begun = self.start and ids[: len(self.start)] == self.start
        return ids if begun else [*self.start, *ids]

    def answer(self, prompt: Prompt, text: str) -> list[int]:
        """Token ids of an answer to a prompt, its end token last (where the model has one)."""
        if self._by_template(prompt):
            ids, end = self._plain(text.strip()), self.end_of_turn
        else:
            # a transcript's speaker is followed by a space, which belongs to the answer
            ids = self._plain(text if isinstance(prompt, str) else f" {text.strip()}")
            end = self.end
        return [*ids, *([] if end is None else [end])]

    @property
    def end(self) -> int | None:
        """The token that ends a text: the tokenizer's own, else the model's first."""
        own = getattr(self.tokenizer, "eos_token_id", None)
        return own if own is not None else self.stops[0] if self.stops else None

    @cached_property
    def end_of_turn(self) -> int | None:
        """The special token that the chat template puts after an answer; else ``end``."""
        whole = self._rendered([("user", "q"), ("assistant", MARK)], asked=False)
        rest = self._plain(whole.rpartition(MARK)[2])
        special = {*self._known.all_special_ids, *getattr(self._known, "added_tokens_decoder", ())}
        return rest[0] if rest and rest[0] in special else self.end

    @property
    def ends(self) -> tuple[int, ...]:
        """Every token id that ends an answer: the model's, the tokenizer's, the template's."""
        own = [] if self.end is None else [self.end]
        if getattr(self.tokenizer, "chat_template", None) and self.chat is not False:
            own += [] if self.end_of_turn is None else [self.end_of_turn]
        return tuple(dict.fromkeys((*self.stops, *own)))
