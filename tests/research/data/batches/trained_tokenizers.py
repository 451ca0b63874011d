"""Tokenizers of the common kinds, trained on a few sentences, with special tokens around texts."""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

_SENTENCES = [
    "Review: a great film, and not a bad one!\nSentiment: great",
    "Premise: the plot was dull (very dull).\nHypothesis: a bad plot\nEntailment: yes",
    "Question: is it great? Answer: 7 of 10.",
    "it was great.  The plot was not.\n\n",
] * 20
_SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]


def _finish(backend: Tokenizer, *, adds_special: bool = True) -> PreTrainedTokenizerBase:
    if adds_special:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=[("<s>", 2), ("</s>", 3)]
        )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def byte_level(*, adds_special: bool = True) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer, like those of GPT-2, RoBERTa and ModernBERT."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_SENTENCES, trainer)
    return _finish(backend, adds_special=adds_special)


def unigram() -> PreTrainedTokenizerBase:
    """Return a SentencePiece tokenizer with a unigram model, like those of T5, ALBERT and XLM-R."""
    backend = Tokenizer(models.Unigram())
    spaces = (normalizers.Replace("\n", " "), normalizers.Replace(" {2,}", " "))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), *spaces])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=_SPECIAL, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(_SENTENCES, trainer)
    return _finish(backend)


def sentencepiece_bpe() -> PreTrainedTokenizerBase:
    """Return a SentencePiece tokenizer with merges and without collapsed spaces, like that of Llama 2."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.train_from_iterator(
        _SENTENCES, trainers.BpeTrainer(vocab_size=200, special_tokens=_SPECIAL, show_progress=False)
    )
    return _finish(backend)


def wordpiece() -> PreTrainedTokenizerBase:
    """Return a WordPiece tokenizer, like that of BERT."""
    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=_SPECIAL, show_progress=False)
    backend.train_from_iterator(_SENTENCES, trainer)
    return _finish(backend)


KINDS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "byte-level BPE": byte_level,
    "SentencePiece unigram": unigram,
    "SentencePiece BPE": sentencepiece_bpe,
    "WordPiece": wordpiece,
}
