"""A tiny Llama with a byte-level BPE tokenizer, which has no padding token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.builders.tiny_families import tiny_family_encoder
from tests.conftest import WORDS


def save_tiny_decoder(folder: Path, *, padding_side: str = "left", family: str = "llama", **tokens: Any) -> Path:
    """Save a tiny decoder with random weights, and return its folder.

    Args:
        folder: the new folder.
        padding_side: side on which the tokenizer pads.
        family: family of the decoder.
        **tokens: further special tokens of the tokenizer, such as `pad_token`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special_tokens = ["<s>", "</s>", *tokens.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS)] * 9, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        padding_side=padding_side,
        model_input_names=["input_ids", "attention_mask"],
        **tokens,
    )
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    encoder = tiny_family_encoder(
        family,
        std=0.1,
        vocab_size=len(tokenizer),
        pad_token_id=None,
        bos_token_id=0,
        eos_token_id=1,
        max_position_embeddings=128,
    )
    encoder.save_pretrained(folder)
    return folder
