"""Compare an exported model with the trained model, in a process that can import only Transformers and PyTorch."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from research.data.batches.tokens import spaces_before_texts, tokenize_texts
from research.export.isolated_process import BASE, run_isolated
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from research.model.encoder_with_head import EncoderWithHead
from research.tasks.base import Floats

TOLERANCE = 1e-6
"""Largest allowed difference of a logit, for logits between -1 and 1; larger logits may differ in proportion."""
MERGE_TOLERANCE = 1e-5
"""The same for merged adapters: one product instead of a sum of two rounds differently in every layer."""
CLASSIFY_SCRIPT = Path(__file__).with_name("classify_isolated.py")
"""The script that classifies texts in the other process."""
_NUM_TOKENS = (1, 2, 7, 25)
"""Lengths of sample texts in tokens, in addition to those around the model's maximum length."""
_UNCLEAN_TEXTS = ("An <b>UPPER</b>  case\u00e9\u0000 text<br />with\ttags &amp; entities e\u0301 1234 https://x.org",)


def check_pipeline(
    saved: SavedModel,
    model: EncoderWithHead,
    folder: Path,
    *,
    is_native: bool = False,
    requirements: Iterable[str] = (),
) -> float:
    """Classify sample texts with the exported folder, and return the largest difference of a logit.

    Args:
        saved: the trained model.
        model: the model that the folder should contain, on the CPU: the trained model, possibly with merged adapters.
        folder: the exported folder.
        is_native: whether the folder contains one of Transformers' own classes, which does not truncate by itself.
        requirements: distributions that the head needs in addition to Transformers and PyTorch.
    Raises:
        ValueError: if the folder does not load, or the logits differ by more than TOLERANCE.
    """
    config = saved.model.config
    longest = config.max_input_length - len(saved.collator.special_tokens)
    num_tokens = {*_NUM_TOKENS, longest, longest + 1, 2 * config.max_input_length + 5}
    if is_native and config.truncation == "head_tail":
        # Only texts that are not truncated, because a tokenizer alone cannot keep both ends of a text.
        num_tokens = {min(number, longest) for number in num_tokens}
    rows = sample_rows(saved, sorted(num_tokens))
    request = {
        "texts": [dict(zip(("text", "text_pair"), row, strict=False)) for row in rows],
        "batch_sizes": [1, len(rows)],
        "unclean_texts": _UNCLEAN_TEXTS,
        "options": {"truncation": True} if is_native else {},
        "trust_remote_code": not is_native,
        "num_threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory(prefix="midway-export-") as temporary:
        file = Path(temporary, "texts.json")
        file.write_text(json.dumps(request), encoding="utf-8")
        run_isolated(CLASSIFY_SCRIPT, [str(folder), str(file)], [*BASE, *requirements])
        result = json.loads(file.read_text(encoding="utf-8"))
    if result["cleaned"] not in (None, [saved.clean(text) for text in _UNCLEAN_TEXTS]):
        raise ValueError("The exported cleaning steps change texts in another way than those of the run.")
    alone, together = result["logits"]
    return max(
        check_difference(alone, np.concatenate([compute_logits(saved, model, [row]) for row in rows]), "one by one"),
        check_difference(together, compute_logits(saved, model, rows), "in one batch"),
    )


def check_merged(saved: SavedModel, merged: EncoderWithHead) -> float:
    """Compare a model with merged adapters with the trained model, and return the largest difference of a logit.

    Raises:
        ValueError: if the logits differ by more than rounding explains.
    """
    rows = sample_rows(saved, _NUM_TOKENS)
    logits = compute_logits(saved, merged, rows)
    expected = compute_logits(saved, saved.model, rows)
    return check_difference(logits, expected, "after merging the adapters", MERGE_TOLERANCE)


def check_difference(exported: Any, expected: Floats, description: str, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference of a logit.

    Args:
        exported: logits of the exported model, [num_texts, num_labels].
        expected: logits of the trained model, [num_texts, num_labels].
        description: how the texts were classified, for the message.
        tolerance: largest allowed difference, relative to the largest logit if that is above 1.
    Raises:
        ValueError: if the difference is larger, or not a number.
    """
    difference = float(np.abs(np.asarray(exported) - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ValueError(
            f"The exported model gives other logits than the trained model for texts {description}: they differ by up "
            f"to {difference:.1e}, more than {allowed:.1e}."
        )
    return difference


def sample_rows(saved: SavedModel, num_tokens: Sequence[int]) -> list[tuple[str, ...]]:
    """Return texts or pairs of random tokens, one row per length.

    A tokenizer treats an empty second text as a missing one, so rows whose second text would be empty are left out. An
    empty single text is added if the tokenizer adds special tokens, without which a pipeline cannot classify it.

    Args:
        saved: the trained model.
        num_tokens: length of each row in tokens, without special tokens and template. No row is longer, and a row is
            shorter only if one more character would make it too long.
    """
    generator = np.random.default_rng(0)
    tokenizer = saved.tokenizer
    vocabulary = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))

    spaces = spaces_before_texts(saved.inputs.parsed_template)

    def sample(length: int, spaces: str) -> str:
        # The text of random tokens may be tokenized into more or fewer tokens, so its tokens are counted.
        text = str(tokenizer.decode(generator.choice(vocabulary, 2 * length)))
        stops = range(len(text) + 1)
        return text[: bisect_right(stops, length, key=lambda stop: _count_tokens(saved, text[:stop], spaces)) - 1]

    if saved.inputs.has_pairs:
        pairs = [(sample(number // 3, spaces[0]), sample(number - number // 3, spaces[1])) for number in num_tokens]
        return [pair for pair in pairs if pair[1]]
    rows: list[tuple[str, ...]] = [(text,) for number in num_tokens if (text := sample(number, spaces[0]))]
    return [*rows, ("",)] if len(saved.collator.special_tokens) else rows


def _count_tokens(saved: SavedModel, text: str, spaces: str) -> int:
    """Return the number of tokens of a text with a template's spaces in front of it, without special tokens."""
    return len(tokenize_texts(saved.tokenizer, [text], spaces)[0])


def compute_logits(saved: SavedModel, model: EncoderWithHead, rows: Sequence[tuple[str, ...]]) -> Floats:
    """Return the logits of rows in one batch that is padded to its longest row, [num_rows, num_labels] float32.

    Args:
        saved: the trained model, whose tokenizer and truncation are used.
        model: the model to run.
        rows: texts, without cleaning.
    """
    scorer = Scorer(saved, device=torch.device("cpu"))
    inputs = scorer.collate(scorer.tokenize(rows), range(len(rows))).inputs
    # The collator pads to a multiple of 32, which rounds differently.
    has_tokens = inputs["attention_mask"].any(dim=0)
    with torch.inference_mode():
        logits = model(**{name: values[:, has_tokens] for name, values in inputs.items()}).logits
    return np.asarray(logits.float().numpy())
