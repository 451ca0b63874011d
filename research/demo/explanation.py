"""Which tokens of an input a trained model sees, and how much each of them counts in its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from research.data.batches.tokens import put_spaces_before, spaces_before_texts
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import errors_attributed_to_head
from research.system.user_code import describe_location
from research.tasks.base import Floats


@dataclass(frozen=True)
class Token:
    """A token of a text."""

    start: int
    """Position of its first character in the text."""
    stop: int
    """Position after its last character."""
    score: float | None
    """Its score; None if the token is truncated, so that the model does not see it."""


@dataclass(frozen=True)
class ExplainedText:
    """A text of an input, with its tokens."""

    text: str
    """The text after cleaning or, if the tokenizer gives no character positions, its tokens separated by spaces."""
    tokens: tuple[Token, ...]
    """All tokens in order, without special tokens."""


@dataclass(frozen=True)
class Explanation:
    """The logits of an input, and a score of each token."""

    logits: Floats
    """[1, num_labels]"""
    texts: tuple[ExplainedText, ...]
    """The text, or both texts of a pair."""
    is_attention: bool
    """Whether scores are the head's weights of the tokens, which sum to 1 over the tokens, the special tokens and the
    template. Otherwise, they are gradient x input, and a positive score speaks for the output."""
    output: int
    """Index of the output that gradient x input explains: the one with the highest probability."""
    special_score: float
    """Sum of the scores of the special tokens and the template."""
    has_positions: bool
    """Whether the tokenizer gives the positions of tokens in the text."""
    has_template: bool
    """Whether the texts are in a template."""


def explain(saved: SavedModel, texts: Sequence[str]) -> Explanation:
    """Compute the logits of an input, and how much each token counts in the prediction.

    If the head weights the tokens (`Head.token_weights`), the scores are these weights. Otherwise, they are gradient x
    input: the gradient of the logit of the most probable output with respect to the token's embedding, times the
    embedding, summed over the features. If the text has several windows, each with embeddings of its own, they are
    gradient x activation: the hidden states that the head reads take the place of the embedding.

    Source: Shrikumar et al. 2017, Learning Important Features Through Propagating Activation Differences, section 2.2.

    Args:
        saved: the trained model.
        texts: the cleaned text or, for a model of pairs, both texts.
    Raises:
        ValueError: if the head's token weights have the wrong shape.
    """
    spaces = spaces_before_texts(saved.inputs.parsed_template)
    tokenized = [_tokenize(saved.tokenizer, text, before) for text, before in zip(texts, spaces, strict=False)]
    columns: dict[str, list[Any]] = {
        name: [text.ids] for name, text in zip(("input_ids", "pair_ids"), tokenized, strict=False)
    }
    inputs = saved.collator({**columns, "id": [0], "label": [None]}).to(saved.model.device).inputs
    logits, weights = _attend(saved, inputs)
    output = int(saved.task.probabilities(logits).argmax())
    if weights is None:
        scores = (_gradient_x_activation if "windows" in inputs else _gradient_x_input)(saved, inputs, output)
    else:
        scores = weights
    scores = scores[inputs["attention_mask"][0].cpu().numpy() == 1]
    places = saved.collator.locate_tokens([len(text.ids) for text in tokenized])
    return Explanation(
        logits=logits,
        texts=tuple(
            _explain_text(text, kept, scores[part]) for text, (kept, part) in zip(tokenized, places, strict=True)
        ),
        is_attention=weights is not None,
        output=output,
        special_score=float(scores.sum() - sum(scores[part].sum() for _, part in places)),
        has_positions=saved.tokenizer.is_fast,
        has_template=saved.template is not None,
    )


@dataclass(frozen=True)
class _TokenizedText:
    """The tokens of a text, before truncation."""

    text: str
    ids: list[int]
    spans: list[tuple[int, int]]


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str, spaces: str) -> _TokenizedText:
    """Tokenize a text as `tokenize_texts` does, with the character positions of the tokens."""
    encoded = tokenizer(
        put_spaces_before(text, spaces),
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=tokenizer.is_fast,
        verbose=False,
    )
    ids: list[int] = encoded["input_ids"]
    if tokenizer.is_fast:
        offsets = [[max(0, position - len(spaces)) for position in span] for span in encoded["offset_mapping"]]
        return _TokenizedText(text, ids, [(start, stop) for start, stop in offsets])
    spans, stop = [], -1
    tokens = tokenizer.convert_ids_to_tokens(ids)
    for token in tokens:
        start, stop = stop + 1, stop + 1 + len(token)
        spans.append((start, stop))
    return _TokenizedText(" ".join(tokens), ids, spans)


def _explain_text(text: _TokenizedText, kept: Sequence[int] | Any, scores: Floats) -> ExplainedText:
    """Return a text with the scores of its kept tokens."""
    score_of = dict(zip(kept, scores.tolist(), strict=True))
    tokens = tuple(Token(start, stop, score_of.get(index)) for index, (start, stop) in enumerate(text.spans))
    return ExplainedText(text.text, tokens)


@torch.no_grad()
def _attend(saved: SavedModel, inputs: dict[str, Tensor]) -> tuple[Floats, Floats | None]:
    """Return the logits, [1, num_labels], and the head's weights of the tokens, [seq], or None if it has none."""
    model, mask = saved.model, inputs["attention_mask"]
    hidden_states = model.run_encoder(**inputs, all_layers=model.head.wants == "all_hidden_states")
    logits = model(**inputs, hidden_states=hidden_states).logits.float().cpu().numpy()
    with errors_attributed_to_head(model.head, model.config.head):
        weights = model.head.token_weights(hidden_states, mask)
    if weights is None:
        return logits, None
    if not isinstance(weights, Tensor) or weights.shape != mask.shape:
        actual = list(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(
            f"Expected token_weights of the head '{model.config.head}' to return shape {list(mask.shape)} (batch, seq) "
            f"or None, got {actual}{describe_location(type(model.head).token_weights)}."
        )
    return logits, weights[0].float().cpu().numpy()


def _gradient_x_input(saved: SavedModel, inputs: dict[str, Tensor], output: int) -> Floats:
    """Return the gradient of an output's logit with respect to each token's embedding, times the embedding, [seq]."""
    embedded: list[Tensor] = []

    def keep_embeddings(module: torch.nn.Module, arguments: Any, embeddings: Tensor) -> Tensor:
        embedded.append(embeddings.detach().requires_grad_())
        return embedded[0]

    handle = saved.model.encoder.get_input_embeddings().register_forward_hook(keep_embeddings)
    try:
        # cuDNN computes no gradients of recurrent layers in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            logit = saved.model(**inputs).logits[0, output]
            (gradient,) = torch.autograd.grad(logit, embedded)
    finally:
        handle.remove()
    scores: Floats = (gradient * embedded[0]).sum(dim=-1)[0].detach().float().cpu().numpy()
    return scores


def _gradient_x_activation(saved: SavedModel, inputs: dict[str, Tensor], output: int) -> Floats:
    """Return the gradient of an output's logit with respect to each token's hidden states, times the states, [seq]."""
    model = saved.model
    with torch.no_grad():
        states = model.run_encoder(**inputs, all_layers=model.head.wants == "all_hidden_states")
    layers = [layer.detach().requires_grad_() for layer in (states if isinstance(states, tuple) else (states,))]
    # cuDNN computes no gradients of recurrent layers in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        hidden_states = tuple(layers) if isinstance(states, tuple) else layers[0]
        logit = model(**inputs, hidden_states=hidden_states).logits[0, output]
        gradients = torch.autograd.grad(logit, layers, allow_unused=True)  # a head may skip layers
    of_layers = [layer * gradient for layer, gradient in zip(layers, gradients, strict=True) if gradient is not None]
    scores: Floats = torch.stack(of_layers).sum(dim=(0, -1))[0].detach().float().cpu().numpy()
    return scores
