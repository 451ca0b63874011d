"""Show one input with its template, as the model sees it."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.tokens import spaces_before_texts, tokenize_texts
from research.data.prepare.load import Splits
from research.settings.template import Template
from research.system.plain_text import for_message

_TOKENS_SHOWN = 32
"""Maximum number of tokens of the texts that are shown."""


def describe_example(
    template: Template | None, tokenizer: PreTrainedTokenizerBase, collator: Collator, texts: Splits
) -> list[str]:
    """Return a line with the first training row in its template, decoded from its tokens; no line without a template.

    If the training rows are streamed, the first validation row is shown.

    Args:
        template: the template.
        tokenizer: the tokenizer.
        collator: the collator, which has the template.
        texts: the rows, before tokenization.
    """
    if template is None:
        return []
    split, name = ("train", "training") if texts.streamed is None else ("validation", "validation")
    row = getattr(texts, split)[0]
    names = {"text": "input_ids", "text_pair": "pair_ids"} if texts.has_pairs else {"text": "input_ids"}
    columns = {
        column: tokenize_texts(tokenizer, [row[text]], spaces)
        for (text, column), spaces in zip(names.items(), spaces_before_texts(template), strict=False)
    }
    num_tokens = sum(len(ids) for (ids,) in columns.values())
    length = min(collator.max_length, len(collator.special_tokens) + _TOKENS_SHOWN)
    inputs = collator({**columns, "id": [row["id"]], "label": [None]}, max_length=length).inputs
    decoded = str(tokenizer.decode(inputs["input_ids"][0][inputs["attention_mask"][0] == 1]))
    num_shown = length - len(collator.special_tokens)
    shortened = f", with {num_shown} of {num_tokens:,} tokens of text" if num_shown < num_tokens else ""
    return [
        f"template of {collator.num_template_tokens} tokens; the first {name} row as the model sees it{shortened}: "
        f"{for_message(decoded)}"
    ]
