"""Build the model of a run from its settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from research.data.batches.windows import Windows
from research.model.base_dtype import store_base_weights
from research.model.bidirectional import set_bidirectional
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import load_encoder, load_encoder_config
from research.model.families import disable_layerdrop, longest_input, set_dropout
from research.model.gradient_checkpointing import enable_gradient_checkpointing
from research.model.parameters import replace_parameters
from research.settings.config import Choice, RunConfig
from research.system.errors import one_line
from research.system.sharded_tensors import gather, is_sharded
from research.tasks.base import Task


def configure_encoder(config: RunConfig) -> PretrainedConfig:
    """Return the config of a run's encoder.

    Args:
        config: settings; uses encoder, dropout, attention_dropout, bidirectional, attn_implementation, max_length
            and window.
    Raises:
        ValueError: if the encoder cannot be used, or not with these settings.
    """
    encoder_config = load_encoder_config(config.encoder)
    set_dropout(encoder_config, dropout=config.dropout, attention_dropout=config.attention_dropout)
    disable_layerdrop(encoder_config)
    if config.bidirectional:
        try:
            set_bidirectional(encoder_config)
        except ValueError as error:
            raise ValueError(f"--bidirectional is not possible with {config.encoder}. {error}") from None
    if config.attn_implementation in ("flash_attention_2", "flex_attention") and not torch.cuda.is_available():
        # FlexAttention runs on a CPU, but has no gradients there.
        raise ValueError(f"--attn_implementation {config.attn_implementation} requires a GPU; none found.")
    if config.attn_implementation is not None:
        encoder_config._attn_implementation = config.attn_implementation
    longest = longest_input(encoder_config)
    if longest is not None and config.input_length > longest:
        raise ValueError(
            f"Expected {'max_length' if config.window is None else 'window'} of at most {longest}, the maximum of the "
            f"encoder '{config.encoder}', got {config.input_length}."
        )
    return encoder_config


def build_model(
    config: RunConfig, task: Task, *, vocabulary_size: int | None = None, with_weights: bool = True
) -> EncoderWithHead:
    """Return a pretrained encoder with a new head. Pretrained weights are loaded only here.

    Loaded weights are in float32, also with --base_dtype, so that --init_from can replace them before they are stored
    in fewer bits (`store_base_weights`). A model without weights has the data types of training.

    Args:
        config: the final settings; uses head, truncation, the settings of windows, pad_token, gradient_checkpointing,
            base_dtype and the settings of `configure_encoder`.
        task: the task, which determines the outputs.
        vocabulary_size: number of tokens of the tokenizer, to which --pad_token may have added one.
        with_weights: whether to load the weights. If not, all parameters are on torch's `meta` device.
    Raises:
        ValueError: if a name is unknown, or the encoder cannot be used with these settings.
    """
    assert config.head is not None, "expected the final settings"
    head = Choice.of(config.head, "head")
    encoder_config = configure_encoder(config)
    windows = windows_of(config)
    with _attention_errors(config):
        pretrained = load_encoder(config.encoder, encoder_config) if with_weights else None
        model_config = EncoderWithHeadConfig(
            encoder=encoder_config if pretrained is None else pretrained.config,
            head=head.name,
            head_options=head.options,
            max_input_length=config.input_length,
            truncation=config.truncation,
            windows=None if windows is None else windows.to_config(),
            problem_type=task.transformers_name,
            id2label=dict(enumerate(task.label_names)),
            label2id={name: index for index, name in enumerate(task.label_names)},
        )
        with contextlib.nullcontext() if with_weights else torch.device("meta"):
            model = EncoderWithHead(model_config, pretrained)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(model.encoder)
    if config.pad_token is not None and vocabulary_size is not None:
        embeddings = model.get_input_embeddings()
        assert isinstance(embeddings, nn.Embedding)
        if vocabulary_size > embeddings.num_embeddings:  # many encoders have more embeddings than tokens
            _make_whole(model, embeddings.weight)
            model.resize_token_embeddings(vocabulary_size, mean_resizing=False)
    if not with_weights:
        store_base_weights(model.encoder, config.base_dtype, model.device)
    return model


def _make_whole(model: EncoderWithHead, parameter: Tensor) -> None:
    """Replace a parameter that is split over the processes by a whole one; others stay as they are."""
    if is_sharded(parameter):
        whole = nn.Parameter(gather(parameter), parameter.requires_grad)
        replace_parameters(model, lambda each: whole if each is parameter else each)


def windows_of(config: RunConfig) -> Windows | None:
    """Return how a run cuts long texts into windows; None if it truncates them."""
    if config.window_stride is None:
        return None
    return Windows(config.window_stride, config.max_windows, config.window_batch_size)


@contextlib.contextmanager
def _attention_errors(config: RunConfig) -> Iterator[None]:
    """Return a context that attributes errors of Transformers to --attn_implementation, if it is set."""
    try:
        yield
    except (ImportError, ValueError) as error:
        if config.attn_implementation is None:
            raise
        name = config.attn_implementation
        raise ValueError(f"Expected an encoder that supports --attn_implementation {name}: {one_line(error)}") from None
