"""The model: a pretrained encoder and a head, saved and loaded as one."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from heads import HEADS, EncoderSpec, Head
from heads.registry import UnknownNameError, describe_unknown
from research.model.adapters import AdapterSettings, inject_adapters
from research.model.encoders import (
    check_loading_info,
    check_weights,
    load_encoder,
    load_encoder_config,
    pooler_arguments,
    quiet_loading,
)
from research.model.families import longest_input
from research.settings.config import Choice, RunConfig
from research.settings.options import constructing, resolve_options
from research.system.user_code import CodeOf, describe_location
from research.tasks.base import Task

HiddenStates = Float[Tensor, "batch seq hidden"] | tuple[Float[Tensor, "batch seq hidden"], ...]
"""Of the last layer, or of all."""


class EncoderWithHeadConfig(PretrainedConfig):
    """Everything but the weights.

    Args:
        encoder: the encoder's config, or its fields.
        head: registered name of the head.
        head_options: all of the head's options, those left at their defaults included: a saved model does not change
            when a default does.
        max_input_length: longest input that the model was trained on, in tokens (Transformers keeps the name
            max_length for text generation, and refuses to save it).
        truncation: what was kept of longer ones: `head`, `tail` or `head_tail`.
        adapters: the encoder's low-rank adapters (see `research.model.adapters.AdapterSettings`), where it has some.
        **kwargs: Transformers' own fields: `problem_type`, `id2label`, `label2id`, ...
    """

    model_type = "encoder_with_head"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012
    has_no_defaults_at_init = True

    def __init__(
        self,
        encoder: PretrainedConfig | dict[str, Any] | None = None,
        head: str = "linear",
        head_options: dict[str, Any] | None = None,
        max_input_length: int = 512,
        truncation: str = "head_tail",
        adapters: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        attention = kwargs.get("attn_implementation")
        super().__init__(**kwargs)
        # Only now: the base would reset the encoder's choice of attention to its own, which is mostly None.
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        if attention is not None:
            self._attn_implementation = attention
        self.head = head
        self.head_options = dict(head_options or {})
        self.max_input_length = max_input_length
        self.truncation = truncation
        self.adapters = adapters


class EncoderWithHead(PreTrainedModel):
    """A pretrained encoder with a head of one's own.

    Args:
        config: what to build.
        encoder: the encoder, where there is one already; by default one is built from the config, with random weights.
    """

    config_class = EncoderWithHeadConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    logit_shift: Tensor
    logit_scale: Tensor
    # Asked of the whole model; the encoder, which is built by itself, answers with what its family can do.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: EncoderWithHeadConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if config.encoder is None:
            raise ValueError("Expected an encoder's config in `encoder`, got None.")
        if encoder is None:
            encoder = AutoModel.from_config(config.encoder, trust_remote_code=False, **pooler_arguments(config.encoder))
        self.encoder = encoder
        # One object, so that an edit of the encoder's config is one of the model's.
        assert encoder.config is config.encoder
        if config.adapters is not None:
            inject_adapters(encoder, AdapterSettings(**config.adapters))
        self.mask_before_adapters: dict[str, bool] | None = None
        assert config.num_labels is not None
        config.head_options = resolve_head(config.head, config.head_options)
        self.head = build_head(config.head, config.head_options, config.encoder, config.num_labels)
        self.register_buffer("logit_shift", torch.zeros(config.num_labels))
        self.register_buffer("logit_scale", torch.ones(config.num_labels))
        self.supports_gradient_checkpointing = encoder.supports_gradient_checkpointing
        self.loss_type = "ForSequenceClassification"
        self.takes_token_type_ids = "token_type_ids" in inspect.signature(type(encoder).forward).parameters
        self.post_init()
        # Families leave out of the loading info what their old checkpoints have too much; this model has none.
        self._keys_to_ignore_on_load_unexpected: set[str] = set()
        self._keys_to_ignore_on_load_missing: set[str] = set()
        self._declare_shared()

    def _declare_shared(self) -> None:
        """Declare the head's parameters of several names: only then does Transformers save and load them."""
        old = dict(getattr(self, "_shared_in_head", {}))
        self._shared_in_head = shared_parameters(self.head, "head")
        self._tied_weights_keys = {f"^{re.escape(name)}$": first for name, first in self._shared_in_head.items()}
        others = {name: first for name, first in self.all_tied_weights_keys.items() if name not in old}
        self.all_tied_weights_keys = others | self._shared_in_head

    def replace_head(self, name: str, options: Mapping[str, Any]) -> None:
        """Put a new head in the place of the old one.

        Args:
            name: registered name.
            options: its options that are not left at their defaults.
        Raises:
            ValueError: as `resolve_head` and `build_head`.
        """
        config = self.config
        resolved = resolve_head(name, options)
        assert config.num_labels is not None
        # Built on the CPU like the first one, so that the same random numbers give the same head on every device.
        with torch.device("meta" if self.device.type == "meta" else "cpu"):
            head = build_head(name, resolved, config.encoder, config.num_labels)
        self.head = head.to(self.device)
        config.head, config.head_options = name, resolved
        self._declare_shared()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the head as it initialised itself; Transformers sends the encoder's modules to the encoder's own."""

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
        labels: Num[Tensor, "batch ..."] | None = None,
        hidden_states: HiddenStates | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits, and the mean loss when there are labels.

        Args:
            input_ids: token ids, padded on the right, [batch, seq]. (Padding on the left changes the result of ALBERT,
                BERT, DistilBERT and ELECTRA, whose positions count from the left end of the row.)
            attention_mask: 1 = token, 0 = padding, [batch, seq].
            token_type_ids: 0 = first text, 1 = second text, [batch, seq]; left out where the family has none.
            labels: [batch] or [batch, num_labels], as `problem_type` in the config has them.
            hidden_states: result of `run_encoder` for these inputs; if given, the encoder is not run.
        Returns:
            Unnormalised logits [batch, num_labels], and the loss.
        """
        if hidden_states is None:
            hidden_states = self.run_encoder(
                input_ids, attention_mask, token_type_ids, all_layers=self.head.wants == "all_hidden_states"
            )
        assert self.config.num_labels is not None
        if torch.compiler.is_compiling():  # which follows no context managers of one's own
            outputs_of_head: Float[Tensor, "batch labels"] = self.head(hidden_states, attention_mask)
        else:
            with code_of_head(self.head, self.config.head):
                outputs_of_head = self.head(hidden_states, attention_mask)
        check_logits(outputs_of_head, self.config.head, len(input_ids), self.config.num_labels, self.head)
        logits = outputs_of_head * self.logit_scale + self.logit_shift
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def run_encoder(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
        *,
        all_layers: bool,
    ) -> HiddenStates:
        """Return the encoder's hidden states: of the last layer, or of all, embeddings first.

        Args:
            input_ids: as in `forward`.
            attention_mask: as in `forward`.
            token_type_ids: as in `forward`.
            all_layers: whether all are wanted.
        """
        token_types = {"token_type_ids": token_type_ids} if self.takes_token_type_ids else {}
        outputs = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=all_layers, **token_types
        )
        hidden_states: HiddenStates = outputs.hidden_states if all_layers else outputs.last_hidden_state
        return hidden_states

    @property
    def label_names(self) -> list[str]:
        """Name of each output."""
        assert self.config.id2label is not None
        return [str(name) for name in self.config.id2label.values()]

    def set_output_units(self, shift: Tensor, scale: Tensor) -> None:
        """Set logits = head x scale + shift, [num_labels] each; see `Objective.output_units`."""
        self.logit_shift.copy_(shift)
        self.logit_scale.copy_(scale)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a saved model; takes what Transformers' own method takes.

        Raises:
            ValueError: if weights are missing, left over, of another shape, or only there as a pickle.
        """
        if Path(pretrained_model_name_or_path).is_dir():
            check_weights(Path(pretrained_model_name_or_path))
        returns_info = kwargs.pop("output_loading_info", False)
        strict = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        with quiet_loading(pretrained_model_name_or_path):
            loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *model_args, **(kwargs | strict))
        model, info = loaded
        check_loading_info(info, pretrained_model_name_or_path)
        return (model, info) if returns_info else model


AutoConfig.register(EncoderWithHeadConfig.model_type, EncoderWithHeadConfig)
AutoModelForSequenceClassification.register(EncoderWithHeadConfig, EncoderWithHead)


def build_model(config: RunConfig, task: Task, *, with_weights: bool = True) -> EncoderWithHead:
    """Return a pretrained encoder with a new head; nothing else loads pretrained weights.

    Args:
        config: settings; uses encoder, head, dropout, attention_dropout, max_length and truncation.
        task: what is predicted.
        with_weights: whether the weights are loaded; without, all parameters are on torch's `meta` device.
    Raises:
        ValueError: if a name is unknown, the encoder cannot be used, or it takes no inputs as long as `max_length`.
    """
    head = Choice.of(config.head, "head")
    dropouts = {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
    encoder_config = load_encoder_config(config.encoder, **dropouts)
    longest = longest_input(encoder_config)
    if longest is not None and config.max_length > longest:
        raise ValueError(
            f"Expected max_length of at most {longest}, as the encoder '{config.encoder}' takes, got "
            f"{config.max_length}."
        )
    pretrained = load_encoder(config.encoder, **dropouts) if with_weights else None
    model_config = EncoderWithHeadConfig(
        encoder=encoder_config if pretrained is None else pretrained.config,
        head=head.name,
        head_options=head.options,
        max_input_length=config.max_length,
        truncation=config.truncation,
        problem_type=task.transformers_name,
        id2label=dict(enumerate(task.label_names)),
        label2id={name: index for index, name in enumerate(task.label_names)},
    )
    with contextlib.nullcontext() if with_weights else torch.device("meta"):
        return EncoderWithHead(model_config, pretrained)


def resolve_head(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a head, typed, those left at their defaults included.

    Raises:
        UnknownNameError: if there is no such head, or it has no such option.
        ValueError: if a value is not of the option's type, or a required option is missing.
    """
    if name not in HEADS:
        raise UnknownNameError(
            describe_unknown("head", name, HEADS) + " Import the file that registers a head of your own first."
        )
    return resolve_options(HEADS, Choice(name, dict(options)))


def build_head(name: str, options: Mapping[str, Any], encoder: PretrainedConfig, num_labels: int) -> Head:
    """Return a new head for an encoder.

    Args:
        name: registered name.
        options: all of its options, as `resolve_head` returns them.
        encoder: the encoder's config.
        num_labels: number of outputs.
    Raises:
        ValueError: if it has buffers that are not saved, or forgot to initialise its base class.
    """
    spec = EncoderSpec(hidden_size=encoder.hidden_size, num_hidden_states=encoder.num_hidden_layers + 1)
    with constructing(HEADS, name):
        head: Head = HEADS[name](spec, num_labels, **options)
    if "_modules" not in vars(head):  # nothing of nn.Module works then
        raise ValueError(
            f"The head '{name}' must call super().__init__() first in its __init__; it does not call it"
            f"{describe_location(type(head).__init__)}."
        )
    if type(head).forward is Head.forward:
        raise ValueError(
            f"The head '{name}' has no method forward(self, hidden_states, attention_mask)"
            f"{describe_location(type(head).__init__)}."
        )
    unsaved = {buffer for buffer, _ in head.named_buffers()} - head.state_dict().keys()
    if unsaved:
        raise ValueError(
            f"The head '{name}' has buffers that are not saved ({', '.join(sorted(unsaved))}), and would not be there "
            "when it is loaded; register them with persistent=True."
        )
    return head


def code_of_head(head: Head, name: str) -> CodeOf:
    """Return a context in which a head is called.

    Args:
        head: the head.
        name: its registered name.
    """
    return CodeOf(f"head '{name}'", type(head).forward)


def check_logits(outputs: object, name: str, num_rows: int, num_labels: int, head: Head) -> None:
    """Refuse outputs of a head that are not one logit per row and label.

    Args:
        outputs: what it returned.
        name: its registered name.
        num_rows: rows of the batch.
        num_labels: labels of the task.
        head: the head.
    Raises:
        ValueError: naming the head, and what it returned.
    """
    expected = (num_rows, num_labels)
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"Expected logits of shape {list(expected)} (batch, labels) from the head '{name}', got {found}"
            f"{describe_location(type(head).forward)}."
        )


def shared_parameters(module: nn.Module, prefix: str) -> dict[str, str]:
    """Return the further names of parameters that have several, and the first name of each."""
    first_names: dict[nn.Parameter, str] = {}
    named = list(module.named_parameters(prefix, remove_duplicate=False))
    for name, parameter in named:
        first_names.setdefault(parameter, name)
    return {name: first_names[parameter] for name, parameter in named if first_names[parameter] != name}
