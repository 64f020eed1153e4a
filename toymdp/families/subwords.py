"""Byte-pair encoding trained on the texts at hand: the vocabulary of a language model's tokenizer.

With the library of such tokenizers, ``tokenizers`` (the extra ``llm``); nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import CorpusError
from ..extras import install
from .vocabulary import END, IntArray

FIRST = 2  # <s> and </s> come before the pieces


def subword_tokens(
    texts: Sequence[str], train: Sequence[bool], size: int
) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """All texts end to end, ``</s>`` after each: tokens [n], the text each is in [n], names of tokens.

    Byte-level pairs, merged on the training texts alone; every byte is a piece, so no text is unknown.
    Raises CorpusError where the library is missing or ``size`` has no room for the bytes.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise CorpusError(
            f"tokens = 'bpe': needs the library tokenizers; {install('llm')}"
        ) from None
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if size < FIRST + len(alphabet):
        raise CorpusError(
            f"vocab_size = {size}: byte-pair encoding needs {FIRST + len(alphabet)} or more"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - FIRST,
        initial_alphabet=sorted(alphabet),
        min_frequency=2,
        show_progress=False,
    )
    known = [text for text, trained in zip(texts, train, strict=True) if trained]
    tokenizer.train_from_iterator(known, trainer)
    pieces = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    flat = np.array([t for ids in pieces for t in [*(i + FIRST for i in ids), END]], dtype=np.int64)
    lengths = [len(ids) + 1 for ids in pieces]
    names = [tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())]
    return flat, np.repeat(np.arange(len(texts)), lengths), ("<s>", "</s>", *names)
