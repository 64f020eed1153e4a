"""Start tokens, end tokens and chat templates, on tokenizers of every habit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from llm_models import TEXTS, tiny_bank

from llm_bridge.answers import fits, tokenised
from llm_bridge.backend import tokenizers, transformers
from llm_bridge.texts import Conversation, Texts
from toymdp import InstanceError

CHATML = (
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
TALK = Conversation((("user", "the cat"), ("assistant", "it is so"), ("user", "yes")))


def tokenizer(*, adds=True, bos="<s>", template=None, eos="</s>"):
    """A byte-level tokenizer that adds its start token or does not, with or without a template."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<turn>", "<end>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, special_tokens=specials, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator(TEXTS, trainer)
    if adds:
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    known = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token=eos, bos_token=bos
    )
    known.chat_template = template
    return known


def decoded(known, ids):
    return known.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("adds", "bos", "expected"), [(True, "<s>", "<s>"), (False, "<s>", ""), (False, None, "")]
)
def test_start_tokens_are_those_that_the_tokenizer_adds(adds, bos, expected):
    """Some have a start token and never write it; some have none."""
    known = tokenizer(adds=adds, bos=bos)
    texts = Texts(known)
    assert decoded(known, texts.prompt("the cat")) == f"{expected}the cat"
    assert texts.prompt("the cat") == known.encode("the cat")


def test_a_start_token_that_is_written_out_is_not_doubled():
    known = tokenizer()
    assert Texts(known).prompt("<s>the cat") == known.encode("the cat")
    assert Texts(known).prompt("<s>the cat").count(1) == 1
    with_template = tokenizer(template="<s>" + CHATML)
    assert Texts(with_template).prompt(TALK).count(1) == 1


def test_an_answer_ends_with_the_tokenizers_own_end():
    """A model may list several ends; the first is not the tokenizer's."""
    known = tokenizer(eos="</s>")
    texts = Texts(known, stops=(0, 4, 2))
    assert decoded(known, texts.answer("q", " yes")) == " yes</s>"
    assert texts.ends == (0, 4, 2)
    other = Texts(tokenizer(eos="<end>"), stops=(2, 4))
    assert other.answer("q", " yes")[-1] == 4
    none = Texts(tokenizer(eos=None), stops=(2, 4))
    assert none.answer("q", " yes")[-1] == 2
    assert Texts(tokenizer(eos=None)).answer("q", " yes")[-1] not in (2, 4)
    assert Texts(tokenizer(eos="</s>"), stops=(4,)).ends == (4, 2)


def test_turns_go_through_the_template_and_end_their_turn():
    known = tokenizer(template=CHATML, adds=False)
    texts = Texts(known, stops=(2,))
    expected = known.apply_chat_template(
        [{"role": r, "content": t} for r, t in TALK.turns],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert decoded(known, texts.prompt(TALK)) == expected
    assert decoded(known, texts.answer(TALK, " no it is not ")) == "no it is not<end>"
    assert texts.ends == (2, 4)
    # plain prompts stay plain unless they are asked for
    assert decoded(known, texts.prompt("the cat")) == "the cat"
    assert texts.answer("the cat", " yes")[-1] == 2
    asked = Texts(known, chat=True)
    assert decoded(known, asked.prompt("the cat")) == "<turn>user\nthe cat<end>\n<turn>assistant\n"
    assert asked.answer("the cat", " yes")[-1] == 4


def test_turns_without_a_template_are_a_transcript():
    known = tokenizer()
    whole = "<s>\n\nHuman: the cat\n\nAssistant: it is so\n\nHuman: yes\n\nAssistant:"
    for texts in (Texts(known), Texts(tokenizer(template=CHATML), chat=False)):
        assert decoded(known, texts.prompt(TALK)) == whole
        assert decoded(known, texts.answer(TALK, "no")) == " no</s>"
    with pytest.raises(InstanceError, match="the tokenizer has none"):
        Texts(known, chat=True).prompt("q")


def test_a_template_that_refuses_roles_is_one_line():
    refusal = "raise_exception('only users\\nhere') if m.role == 'system'"
    strict = f"{{% for m in messages %}}{{{{ {refusal} }}}}{{% endfor %}}"
    with pytest.raises(InstanceError, match="only users") as caught:
        Texts(tokenizer(template=strict)).prompt(Conversation((("system", "a"), ("user", "b"))))
    assert "\n" not in str(caught.value)


def test_long_answers_are_cut_or_refused():
    bank = tiny_bank(text=True)
    short = tokenised(bank, "the cat", " it")
    long = " it is what it is" * 4
    tight, cutting = replace(bank, length=9), replace(bank, length=9, truncate=True)
    counts = Counter()
    assert fits(bank, "the cat", [long, " it"], counts)
    assert fits(tight, "the cat", [" it"], counts)
    assert not counts
    assert not fits(tight, "the cat", [" it", long], counts)
    assert counts == {"too long, left out": 1}
    with pytest.raises(InstanceError, match="--max-length of 9"):
        tokenised(tight, "the cat", long)
    assert fits(cutting, "the cat", [long], counts)
    assert not fits(cutting, "the cat" * 9, [" it"], counts)  # no room for any answer
    assert counts == {"too long, left out": 2, "too long, cut": 1}
    cut = tokenised(cutting, "the cat", long)
    assert len(cut.ids) == 9
    assert cut.ids[-1] != 1  # what was cut has not ended
    assert cut.ids == tokenised(bank, "the cat", long).ids[:9]
    assert tokenised(cutting, "the cat", " it") == short
