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
from research.model.adapters import AdapterSettings, inject_adapters, restore_unsaved_buffers
from research.model.encoders import (
    check_loading_info,
    check_weights,
    load_encoder,
    load_encoder_config,
    quiet_loading,
)
from research.model.families import longest_input
from research.model.input_settings import MODEL_FORMAT
from research.model.poolers import pooler_arguments
from research.model.shared_parameters import shared_parameters
from research.settings.config import Choice, RunConfig
from research.settings.options import errors_attributed_to_entry, resolve_options
from research.system.user_code import ErrorsAttributedTo, describe_location
from research.tasks.base import Task

HiddenStates = Float[Tensor, "batch seq hidden"] | tuple[Float[Tensor, "batch seq hidden"], ...]
"""Hidden states of the last layer, or a tuple with those of all layers."""


class EncoderWithHeadConfig(PretrainedConfig):
    """Config of a model: everything except its weights.

    Args:
        encoder: the encoder's config, or its fields.
        head: registered name of the head.
        head_options: all options of the head, defaults included, so that a saved model does not change when a default
            does.
        max_input_length: maximum length of the inputs on which the model was trained, in tokens. (Transformers reserves
            the name max_length for text generation and does not save it.)
        truncation: the part of longer inputs that was kept: `head` (their start), `tail` (their end) or `head_tail`.
        adapters: settings of the encoder's adapters (see `research.model.adapters.AdapterSettings`); None if
            it has none.
        inputs: how rows become inputs (see `research.model.input_settings.InputSettings`); None for a model that was
            not trained by a run.
        calibration_temperature: temperature by which the logits are divided (Guo et al. 2017, On Calibration of Modern
            Neural Networks). `EncoderWithHead.set_temperature` has applied it to `logit_scale` and `logit_shift`.
        thresholds: for a multi-label model, the probability above which each label is predicted; None means 0.5.
        special_tokens: in an exported model, how many special tokens are around the texts of a row (see
            `research.export.exported_code.truncation.truncate`); otherwise None.
        output_units: in exported adapters, the values of `logit_shift` and `logit_scale`, which PEFT does not save;
            otherwise None.
        model_format: version of the saved model, MODEL_FORMAT.
        **kwargs: fields of Transformers: `problem_type`, `id2label`, `label2id`, ...
    """

    model_type = "encoder_with_head"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012
    has_no_defaults_at_init = True  # tells Transformers that a config without an encoder is not valid

    def __init__(
        self,
        encoder: PretrainedConfig | dict[str, Any] | None = None,
        head: str = "linear",
        head_options: dict[str, Any] | None = None,
        max_input_length: int = 512,
        truncation: str = "head_tail",
        adapters: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        calibration_temperature: float = 1.0,
        thresholds: list[float] | None = None,
        special_tokens: dict[str, Any] | None = None,
        output_units: list[list[float]] | None = None,
        model_format: int = MODEL_FORMAT,
        **kwargs: Any,
    ) -> None:
        attention = kwargs.get("attn_implementation")
        super().__init__(**kwargs)
        # After super().__init__, which would overwrite the encoder's attn_implementation with its own, usually None.
        self.encoder = AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder
        if attention is not None:
            self._attn_implementation = attention
        self.head = head
        self.head_options = dict(head_options or {})
        self.max_input_length = max_input_length
        self.truncation = truncation
        self.adapters = adapters
        self.inputs = inputs
        self.calibration_temperature = calibration_temperature
        self.thresholds = thresholds
        self.special_tokens = special_tokens
        self.output_units = output_units
        self.model_format = model_format


class EncoderWithHead(PreTrainedModel):
    """A pretrained encoder with a custom head.

    Args:
        config: the model's config.
        encoder: an existing encoder; None builds one from the config, with random weights.
    """

    config_class = EncoderWithHeadConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    logit_shift: Tensor
    logit_scale: Tensor
    # Transformers checks these on the whole model. The encoder, which is built separately, checks its own support.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: EncoderWithHeadConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if config.encoder is None:
            raise ValueError("Expected the config of an encoder in `encoder`, got None.")
        if encoder is None:
            encoder = AutoModel.from_config(config.encoder, trust_remote_code=False, **pooler_arguments(config.encoder))
        self.encoder = encoder
        # The same object, so that an edit of the encoder's config also changes the model's config.
        assert encoder.config is config.encoder
        if config.adapters is not None:
            inject_adapters(encoder, AdapterSettings.from_config(config.adapters))
        self.trainable_before_adapters: dict[str, bool] | None = None
        """Whether each parameter of the encoder was trainable before add_lora; None without added adapters."""
        assert config.num_labels is not None
        config.head_options = resolve_head_options(config.head, config.head_options)
        self.head = build_head(config.head, config.head_options, config.encoder, config.num_labels)
        shift, scale = config.output_units or ([0.0] * config.num_labels, [1.0] * config.num_labels)
        self.register_buffer("logit_shift", torch.tensor(shift))
        self.register_buffer("logit_scale", torch.tensor(scale))
        self.supports_gradient_checkpointing = encoder.supports_gradient_checkpointing
        self.loss_type = "ForSequenceClassification"
        self.takes_token_type_ids = "token_type_ids" in inspect.signature(type(encoder).forward).parameters
        self.post_init()
        # Encoders ignore some unexpected or missing keys of old checkpoints. This model must ignore none.
        self._keys_to_ignore_on_load_unexpected: set[str] = set()
        self._keys_to_ignore_on_load_missing: set[str] = set()
        self._declare_shared_parameters()

    def _declare_shared_parameters(self) -> None:
        """Declare parameters of the head that have several names, as Transformers requires to save and load them."""
        previous = dict(getattr(self, "_shared_in_head", {}))
        self._shared_in_head = shared_parameters(self.head, "head")
        self._tied_weights_keys = {f"^{re.escape(name)}$": first for name, first in self._shared_in_head.items()}
        in_encoder = {name: first for name, first in self.all_tied_weights_keys.items() if name not in previous}
        self.all_tied_weights_keys = in_encoder | self._shared_in_head

    def replace_head(self, name: str, options: Mapping[str, Any]) -> None:
        """Replace the head with a new one.

        Args:
            name: registered name of the new head.
            options: options of the new head; missing options have their defaults.
        Raises:
            ValueError: see `resolve_head_options` and `build_head`.
        """
        config = self.config
        resolved = resolve_head_options(name, options)
        assert config.num_labels is not None
        # Built on the CPU like the first head, so that the same seed gives the same head on every device.
        with torch.device("meta" if self.device.type == "meta" else "cpu"):
            head = build_head(name, resolved, config.encoder, config.num_labels)
        self.head = head.to(self.device)
        config.head, config.head_options = name, resolved
        self._declare_shared_parameters()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: the head initialises itself, and the encoder's modules are initialised by the encoder."""

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
        labels: Num[Tensor, "batch ..."] | None = None,
        hidden_states: HiddenStates | None = None,
    ) -> SequenceClassifierOutput:
        """Return the logits, and the mean loss if there are labels.

        Args:
            input_ids: token ids, padded on the right, [batch, seq]. (Padding on the left changes the result of ALBERT,
                BERT, DistilBERT and ELECTRA, whose positions count from the left end of the row.)
            attention_mask: 1 = token, 0 = padding, [batch, seq].
            token_type_ids: 0 = first text, 1 = second text, [batch, seq]; ignored if the encoder does not use them.
            labels: labels, [batch] or [batch, num_labels], depending on the config's `problem_type`.
            hidden_states: result of `run_encoder` for these inputs; if given, the encoder is not run.
        Returns:
            Unnormalised logits, [batch, num_labels], and the loss.
        Raises:
            ValueError: if the model is an exported one, and inputs are longer than its maximum length.
        """
        longest = self.config.max_input_length
        if self.config.special_tokens is not None and input_ids.shape[1] > longest:
            # Its users need not truncate inputs, because the code in its folder does so. But Transformers prefers this
            # class in a process that has imported Midway.
            raise ValueError(
                f"Expected at most {longest} tokens, got {input_ids.shape[1]}. The code in the folder of this exported "
                "model would truncate them, but in a process that has imported Midway, Transformers does not use that "
                "code. Predict with research.load_model(folder).predict(texts) there."
            )
        if hidden_states is None:
            hidden_states = self.run_encoder(
                input_ids, attention_mask, token_type_ids, all_layers=self.head.wants == "all_hidden_states"
            )
        assert self.config.num_labels is not None
        if torch.compiler.is_compiling():  # dynamo does not support custom context managers
            outputs_of_head: Float[Tensor, "batch labels"] = self.head(hidden_states, attention_mask)
        else:
            with errors_attributed_to_head(self.head, self.config.head):
                outputs_of_head = self.head(hidden_states, attention_mask)
        check_logits(outputs_of_head, self.config.head, input_ids.shape[0], self.config.num_labels, self.head)
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
        """Return the hidden states of the encoder's last layer, or of all layers.

        Args:
            input_ids: see `forward`.
            attention_mask: see `forward`.
            token_type_ids: see `forward`.
            all_layers: whether to return a tuple with the embeddings and the hidden states of all layers.
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
        """Set the affine map logits = head output * scale + shift, [num_labels] each; see `Objective.output_units`."""
        self.logit_shift.copy_(shift)
        self.logit_scale.copy_(scale)

    def set_temperature(self, temperature: float) -> None:
        """Divide the logits by a temperature, in place of the temperature that was set before.

        The temperature becomes part of the affine map of the logits, so that exported models contain it.
        """
        factor = self.config.calibration_temperature / temperature
        self.set_output_units(self.logit_shift * factor, self.logit_scale * factor)
        self.config.calibration_temperature = temperature

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a saved model. The arguments are those of Transformers' method.

        Raises:
            ValueError: if weights are missing, unexpected, of the wrong shape, or only available as a pickle.
        """
        if Path(pretrained_model_name_or_path).is_dir():
            check_weights(Path(pretrained_model_name_or_path))
        returns_info = kwargs.pop("output_loading_info", False)
        # With ignore_mismatched_sizes, mismatches are in the loading info, and check_loading_info reports them.
        strict = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        with quiet_loading(pretrained_model_name_or_path):
            loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *model_args, **(kwargs | strict))
        model, info = loaded
        if model.config.adapters is not None:
            restore_unsaved_buffers(model.encoder, AdapterSettings.from_config(model.config.adapters))
        check_loading_info(info, pretrained_model_name_or_path)
        return (model, info) if returns_info else model


AutoConfig.register(EncoderWithHeadConfig.model_type, EncoderWithHeadConfig)
AutoModelForSequenceClassification.register(EncoderWithHeadConfig, EncoderWithHead)


def build_model(config: RunConfig, task: Task, *, with_weights: bool = True) -> EncoderWithHead:
    """Return a pretrained encoder with a new head. Pretrained weights are loaded only here.

    Args:
        config: settings; uses encoder, head, dropout, attention_dropout, max_length and truncation.
        task: the task, which determines the outputs.
        with_weights: whether to load the weights. If not, all parameters are on torch's `meta` device.
    Raises:
        ValueError: if a name is unknown, the encoder cannot be used, or `max_length` exceeds the encoder's maximum.
    """
    head = Choice.of(config.head, "head")
    dropouts = {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
    encoder_config = load_encoder_config(config.encoder, **dropouts)
    longest = longest_input(encoder_config)
    if longest is not None and config.max_length > longest:
        raise ValueError(
            f"Expected max_length of at most {longest}, the maximum of the encoder '{config.encoder}', got "
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


def resolve_head_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a head with checked types, defaults included.

    Args:
        name: registered name of the head.
        options: the options to set; missing options have their defaults.
    Raises:
        UnknownNameError: if there is no such head or option.
        ValueError: if a value has the wrong type, or a required option is missing.
    """
    if name not in HEADS:
        raise UnknownNameError(
            describe_unknown("head", name, HEADS) + " If it is your own head, import the file that registers it first."
        )
    return resolve_options(HEADS, Choice(name, dict(options)))


def build_head(name: str, options: Mapping[str, Any], encoder: PretrainedConfig, num_labels: int) -> Head:
    """Return a new head for an encoder.

    Args:
        name: registered name of the head.
        options: all options of the head, as returned by `resolve_head_options`.
        encoder: the encoder's config.
        num_labels: number of outputs.
    Raises:
        ValueError: if the head has buffers that are not saved, has no `forward`, or does not call
            `super().__init__()`.
    """
    spec = EncoderSpec(hidden_size=encoder.hidden_size, num_hidden_states=encoder.num_hidden_layers + 1)
    with errors_attributed_to_entry(HEADS, name):
        head: Head = HEADS[name](spec, num_labels, **options)
    if "_modules" not in vars(head):  # super().__init__() was not called, so no method of nn.Module works
        raise ValueError(
            f"The head '{name}' must call super().__init__() at the start of its __init__"
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
            f"The head '{name}' has buffers that are not saved ({', '.join(sorted(unsaved))}), so they would be "
            "missing when the model is loaded. Register them with persistent=True."
        )
    return head


def errors_attributed_to_head(head: Head, name: str) -> ErrorsAttributedTo:
    """Return a context in which errors raised in a head's code are attributed to the head.

    Args:
        head: the head.
        name: registered name of the head.
    """
    return ErrorsAttributedTo(f"head '{name}'", type(head).forward)


def check_logits(outputs: object, name: str, num_rows: int, num_labels: int, head: Head) -> None:
    """Check that a head returned one logit per row and label.

    Args:
        outputs: the head's return value.
        name: registered name of the head.
        num_rows: number of rows in the batch.
        num_labels: number of labels of the task.
        head: the head.
    Raises:
        ValueError: if it did not; the message names the head and describes the return value.
    """
    expected = (num_rows, num_labels)
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        actual = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"Expected logits of shape {list(expected)} (batch, labels) from the head '{name}', got {actual}"
            f"{describe_location(type(head).forward)}."
        )
