"""One tokenizer per family, with the family's special tokens and a vocabulary of a few words and letters."""

from __future__ import annotations

from collections.abc import Callable

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

_LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789.,")
_WORDS = ["one", "two", "film", "good", "bad"]


def _wordpiece_vocabulary(*special: str) -> dict[str, int]:
    tokens = [*special, *_LETTERS, *[f"##{letter}" for letter in _LETTERS], *_WORDS]
    return {token: index for index, token in enumerate(tokens)}


def _unigram_vocabulary(*special: str) -> list[tuple[str, float]]:
    words = [(f"\u2581{word}", -1.0) for word in _WORDS]
    return [*[(token, 0.0) for token in special], ("\u2581", -2.0), *words, *[(letter, -3.0) for letter in _LETTERS]]


def _bpe_vocabulary(*special: str) -> dict[str, int]:
    return {token: index for index, token in enumerate([*special, "\u0120", *_LETTERS])}


_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _modernbert() -> PreTrainedTokenizerBase:
    backend = Tokenizer(models.BPE(vocab=_bpe_vocabulary(*_BERT), merges=[], unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"],
    )


FAMILIES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "albert": lambda: transformers.AlbertTokenizer(
        vocab=_unigram_vocabulary("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    ),
    "bert": lambda: transformers.BertTokenizer(vocab=_wordpiece_vocabulary(*_BERT)),
    "byt5": transformers.ByT5Tokenizer,
    "canine": transformers.CanineTokenizer,
    "deberta": lambda: transformers.DebertaTokenizer(
        vocab=_bpe_vocabulary("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"), merges=[]
    ),
    "deberta_v2": lambda: transformers.DebertaV2Tokenizer(
        vocab=_unigram_vocabulary("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
    ),
    "distilbert": lambda: transformers.DistilBertTokenizer(vocab=_wordpiece_vocabulary(*_BERT)),
    "electra": lambda: transformers.BertTokenizer(vocab=_wordpiece_vocabulary(*_BERT)),
    "modernbert": _modernbert,
    "mpnet": lambda: transformers.MPNetTokenizer(vocab=_wordpiece_vocabulary(*_ROBERTA, "[UNK]")),
    "roberta": lambda: transformers.RobertaTokenizer(vocab=_bpe_vocabulary(*_ROBERTA), merges=[]),
    "t5": lambda: transformers.T5Tokenizer(vocab=_unigram_vocabulary("<pad>", "</s>", "<unk>")),
    "xlm_roberta": lambda: transformers.XLMRobertaTokenizer(vocab=_unigram_vocabulary(*_ROBERTA)),
    "xlnet": lambda: transformers.XLNetTokenizer(
        vocab=_unigram_vocabulary("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>")
    ),
}
