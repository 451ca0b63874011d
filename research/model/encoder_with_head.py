"""The model: a pretrained encoder and a head, saved and loaded as one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    initialization,
)
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from heads import HEADS, EncoderSpec, Head
from heads.masking import POOLINGS
from heads.registry import UnknownNameError, describe_unknown
from research.data.batches.windows import Windows
from research.model.adapters import AdapterSettings, inject_adapters, restore_unsaved_buffers
from research.model.base_dtype import saved_state_dict
from research.model.bidirectional import attend_to_all_tokens
from research.model.encoder_classes import build_encoder, hidden_size_of
from research.model.encoder_inputs import accepted_inputs, as_attention_mask, complete_inputs
from research.model.encoder_outputs import hidden_states_of
from research.model.encoders import (
    check_loading_info,
    check_weights,
    quiet_loading,
)
from research.model.families import (
    first_position,
    is_causal,
    positions_of,
    uncalled_layers,
    unused_parameters,
)
from research.model.family import Positions
from research.model.input_settings import MODEL_FORMAT
from research.model.prompt_tuning import Prompt
from research.model.shared_parameters import shared_parameters
from research.model.windows import run_on_windows
from research.settings.config import Choice
from research.settings.options import errors_attributed_to_entry, resolve_options
from research.system.user_code import ErrorsAttributedTo, describe_location

HiddenStates = Float[Tensor, "batch seq hidden"] | tuple[Float[Tensor, "batch seq hidden"], ...]
"""Hidden states of the last layer, or a tuple with those of all layers."""
PooledStates = Float[Tensor, "batch 1 hidden"] | tuple[Float[Tensor, "batch 1 hidden"], ...]
"""Hidden states that a head's `input_pooling` has pooled over tokens."""


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
        windows: how texts longer than max_input_length are cut into windows (see
            `research.data.batches.windows.Windows`); None if they are truncated to max_input_length.
        adapters: settings of the encoder's adapters (see `research.model.adapters.AdapterSettings`); None if
            it has none.
        inputs: how rows become inputs (see `research.model.input_settings.InputSettings`); None for a model that was
            not trained by a run.
        calibration_temperature: temperature by which the logits are divided (Guo et al. 2017, On Calibration of Modern
            Neural Networks). `EncoderWithHead.set_temperature` has applied it to `logit_scale` and `logit_shift`.
        thresholds: for a multi-label model, the probability above which each label is predicted; None means 0.5.
        special_tokens: in an exported model, how many special tokens are around the texts of a row (see
            `research.export.exported_code.truncation.truncate`), and the `template` that its tokenizer adds; otherwise
            None.
        first_position: in an exported model, `EncoderWithHead.first_position`; otherwise None.
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
        windows: dict[str, Any] | None = None,
        adapters: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        calibration_temperature: float = 1.0,
        thresholds: list[float] | None = None,
        special_tokens: dict[str, Any] | None = None,
        output_units: list[list[float]] | None = None,
        first_position: int | None = None,
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
        self.windows = windows
        self.adapters = adapters
        self.inputs = inputs
        self.calibration_temperature = calibration_temperature
        self.thresholds = thresholds
        self.special_tokens = special_tokens
        self.output_units = output_units
        self.first_position = first_position
        self.model_format = model_format

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PretrainedConfig:
        """Return the encoder's config, in which Transformers looks for the size of the vocabulary."""
        inner = vars(self).get("encoder")  # Transformers calls this before __init__ has set the encoder, too
        if inner is None:
            return self
        text_config: PretrainedConfig = inner.get_text_config(decoder=decoder, encoder=encoder)
        return text_config


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
            encoder = build_encoder(config.encoder)
        self.encoder = encoder
        # The same object, so that an edit of the encoder's config also changes the model's config.
        assert encoder.config is config.encoder
        self.unused_parameters = unused_parameters(encoder)
        """Parameters of the encoder that never get a gradient, such as those of a pooler. They are always frozen."""
        for parameter in self.unused_parameters:
            parameter.requires_grad_(False)
        self.uncalled_layers = uncalled_layers(encoder)
        """Linear layers whose weights the encoder reads without calling them. They cannot have adapters."""
        if getattr(config.encoder, "is_causal", None) is False:  # see --bidirectional
            attend_to_all_tokens(encoder)
        if config.adapters is not None:
            inject_adapters(encoder, AdapterSettings.from_config(config.adapters))
        self.trainable_before_adapters: dict[str, bool] | None = None
        """Whether each parameter of the encoder was trainable before add_lora; None without added adapters."""
        assert config.num_labels is not None
        config.head_options = resolve_head_options(config.head, config.head_options)
        self.head = build_head(config.head, config.head_options, config.encoder, config.num_labels)
        shift, scale = self._initial_output_units()
        self.register_buffer("logit_shift", torch.tensor(shift))
        self.register_buffer("logit_scale", torch.tensor(scale))
        self.supports_gradient_checkpointing = encoder.supports_gradient_checkpointing
        self.loss_type = "ForSequenceClassification"
        self.accepted_inputs = accepted_inputs(encoder)
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
        """Initialise the affine map of the logits. The head and the encoder initialise themselves."""
        if module is self:
            shift, scale = self._initial_output_units()
            initialization.copy_(self.logit_shift, torch.tensor(shift))
            initialization.copy_(self.logit_scale, torch.tensor(scale))

    def _initial_output_units(self) -> list[list[float]]:
        """Return the values of `logit_shift` and `logit_scale` in a new model."""
        num_labels = self.config.num_labels
        assert num_labels is not None
        return self.config.output_units or [[0.0] * num_labels, [1.0] * num_labels]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | None = None,
        attention_mask: Int[Tensor, "batch seq"] | Bool[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
        position_ids: Int[Tensor, "batch seq"] | None = None,
        inputs_embeds: Float[Tensor, "batch seq embedding"] | None = None,
        labels: Num[Tensor, "batch ..."] | None = None,
        hidden_states: HiddenStates | None = None,
        windows: Int[Tensor, "batch windows 2"] | None = None,
        pooled_states: PooledStates | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Return the logits, and the mean loss if there are labels.

        Args:
            input_ids: token ids, [batch, seq]. Padding may be on either side, unless the encoder numbers positions from
                the left end of the row (`Positions.FROM_LEFT_END`).
            attention_mask: 1 or True = token, 0 or False = padding, [batch, seq]; without padding by default.
            token_type_ids: 0 = first text, 1 = second text, [batch, seq]; ignored if the encoder does not use them.
            position_ids: positions of the tokens, [batch, seq]; by default, counted by the attention mask.
            inputs_embeds: embeddings of the tokens, [batch, seq, embedding], instead of `input_ids`.
            labels: labels, [batch] or [batch, num_labels], depending on the config's `problem_type`.
            hidden_states: result of `run_encoder` for these inputs; if given, the encoder is not run.
            windows: see `run_encoder`.
            pooled_states: hidden states of these inputs, pooled as the head's `input_pooling` says, [batch, 1, hidden],
                or a tuple of such tensors; if given, the encoder is not run, and the head reads them as rows of a
                single token.
            output_attentions: whether to return the encoder's attention weights; by default, its config decides.
            output_hidden_states: whether to return the hidden states of all layers; by default, the config decides.
        Returns:
            Unnormalised logits, [batch, num_labels], and the loss; a tuple of them with `return_dict=False`.
        Raises:
            ValueError: if there are neither or both of input_ids and inputs_embeds, if the model is an exported one,
                and inputs are longer than its maximum length, or if windows are combined with inputs or outputs for
                which they are not defined.
        """
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        if tokens is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("Expected either input_ids or inputs_embeds.")
        longest = self.config.max_input_length
        if self.config.special_tokens is not None and tokens.shape[1] > longest:
            # Its users need not truncate inputs, because the code in its folder does so. But Transformers prefers this
            # class in a process that has imported Midway.
            raise ValueError(
                f"Expected at most {longest} tokens, got {tokens.shape[1]}. The code in the folder of this exported "
                "model would truncate them, but in a process that has imported Midway, Transformers does not use that "
                "code. Predict with research.load_model(folder).predict(texts) there."
            )
        mask = as_attention_mask(attention_mask, tokens)
        encoded: BaseModelOutput | None = None
        needs_all = self.head.wants == "all_hidden_states"
        if pooled_states is not None:
            hidden_states, mask = pooled_states, mask.new_ones(mask.shape[0], 1)
        elif hidden_states is None and windows is not None:
            if input_ids is None or position_ids is not None or output_attentions or output_hidden_states:
                raise ValueError(
                    "Expected only input_ids, attention_mask, token_type_ids and labels together with windows; got "
                    "inputs_embeds, position_ids, or a request for hidden states or attention weights."
                )
            hidden_states = self.run_encoder(input_ids, mask, token_type_ids, windows, all_layers=needs_all)
        elif hidden_states is None:
            given = {
                "input_ids": input_ids,
                "token_type_ids": token_type_ids,
                "position_ids": position_ids,
                "inputs_embeds": inputs_embeds,
            }
            shows_states = bool(
                self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
            )
            encoded = self._call_encoder(
                given, mask, all_layers=needs_all or shows_states, output_attentions=output_attentions
            )
            hidden_states = hidden_states_of(encoded, mask, all_layers=needs_all)
        assert self.config.num_labels is not None
        if torch.compiler.is_compiling():  # dynamo does not support custom context managers
            outputs_of_head: Float[Tensor, "batch labels"] = self.head(hidden_states, mask)
        else:
            with errors_attributed_to_head(self.head, self.config.head):
                outputs_of_head = self.head(hidden_states, mask)
        check_logits(outputs_of_head, self.config.head, tokens.shape[0], self.config.num_labels, self.head)
        logits = outputs_of_head * self.logit_scale + self.logit_shift
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        if encoded is None:
            return SequenceClassifierOutput(loss=loss, logits=logits)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.get("hidden_states") if shows_states else None,
            attentions=encoded.get("attentions"),
        )

    def run_encoder(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
        windows: Int[Tensor, "batch windows 2"] | None = None,
        *,
        all_layers: bool,
    ) -> HiddenStates:
        """Return the hidden states of the encoder's last layer, or of all layers; 0 for padding.

        Args:
            input_ids: see `forward`.
            attention_mask: 1 = token, 0 = padding, [batch, seq].
            token_type_ids: see `forward`.
            windows: for rows that are longer than the encoder's inputs, their windows (see
                `research.model.windows.run_on_windows`). The hidden states of the windows are joined.
            all_layers: whether to return a tuple with the embeddings and the hidden states of all layers.
        Raises:
            ValueError: if there are windows, and the model was built without them.
        """
        if windows is not None:
            return self._run_on_windows(input_ids, attention_mask, token_type_ids, windows, all_layers=all_layers)
        inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids}
        encoded = self._call_encoder(inputs, attention_mask, all_layers=all_layers)
        return hidden_states_of(encoded, attention_mask, all_layers=all_layers)

    def _run_on_windows(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None,
        windows: Tensor,
        *,
        all_layers: bool,
    ) -> HiddenStates:
        """Return the joined hidden states of rows that consist of several windows; see `run_encoder`."""
        if self.config.windows is None:
            raise ValueError("Expected no windows: this model was trained on texts truncated to one input.")

        def encode(of_windows: Mapping[str, Tensor], mask: Tensor) -> tuple[Any, ...]:
            encoded = self._call_encoder(of_windows, mask, all_layers=all_layers)
            layers = encoded.hidden_states if all_layers else (encoded.last_hidden_state,)
            assert layers is not None
            return layers

        inputs = {"input_ids": input_ids}
        if token_type_ids is not None and "token_type_ids" in self.accepted_inputs:
            inputs["token_type_ids"] = token_type_ids
        padding_id = getattr(self.config.encoder, "pad_token_id", None)
        joined = run_on_windows(
            encode,
            inputs,
            attention_mask,
            windows,
            batch_size=Windows(**self.config.windows).batch_size,
            # What an encoder reads at padding has no effect. But some look for the token of padding.
            padding={
                "input_ids": padding_id if isinstance(padding_id, int) and padding_id >= 0 else 0,
                "token_type_ids": 0,
            },
        )
        return joined if all_layers else joined[0]

    def _call_encoder(
        self,
        inputs: Mapping[str, Tensor | None],
        mask: Int[Tensor, "batch seq"],
        *,
        all_layers: bool,
        output_attentions: bool | None = None,
    ) -> BaseModelOutput:
        """Return the encoder's output.

        Args:
            inputs: inputs of the encoder; those that it does not take, or that are None, are left out.
            mask: 1 = token, 0 = padding, [batch, seq].
            all_layers: whether the output must contain the hidden states of all layers.
            output_attentions: see `forward`.
        """
        wanted = {"return_dict": True, "output_hidden_states": all_layers}
        if output_attentions is not None:
            wanted["output_attentions"] = output_attentions
        if "use_cache" in self.accepted_inputs:  # of keys and values, for the generation of text
            wanted["use_cache"] = False
        prompt = Prompt.of(self.encoder, mask)
        if prompt is not None:
            inputs, mask = prompt.extend_inputs(self.encoder, inputs), prompt.extend(mask, 1)
        complete = complete_inputs(inputs, mask, self.accepted_inputs, self.first_position)
        encoded: BaseModelOutput = self.encoder(**complete, **wanted)
        if prompt is not None:
            prompt.remove_from(encoded)
        return encoded

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the logits, in which Transformers loads a saved model; --base_dtype may store fewer bits."""
        return self.logit_scale.dtype

    @property
    def first_position(self) -> int | None:
        """Position id of the first token of a row; None if the encoder is not given position ids."""
        config = self.config.encoder
        numbers_itself = positions_of(config) in (Positions.RELATIVE, Positions.FROM_LEFT_END)
        return None if numbers_itself else first_position(config)

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

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Save the model as Transformers does. The files do not depend on how --base_dtype stores int8 and int4."""
        return super().save_pretrained(save_directory, *args, **({"state_dict": saved_state_dict(self)} | kwargs))

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a saved model. The arguments are those of Transformers' method.

        Raises:
            ValueError: if weights are missing, unexpected, of the wrong shape, or only available as a pickle.
        """
        path = pretrained_model_name_or_path
        source: str | Path = "the state dict" if path is None else path
        if path is not None and Path(path).is_dir():
            check_weights(Path(path))
        returns_info = kwargs.pop("output_loading_info", False)
        # With ignore_mismatched_sizes, mismatches are in the loading info, and check_loading_info reports them.
        strict = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
        with quiet_loading(source):
            loaded: Any = super().from_pretrained(path, *model_args, **(kwargs | strict))
        model, info = loaded
        if model.config.adapters is not None:
            restore_unsaved_buffers(model.encoder, AdapterSettings.from_config(model.config.adapters))
        check_loading_info(info, source)
        return (model, info) if returns_info else model


AutoConfig.register(EncoderWithHeadConfig.model_type, EncoderWithHeadConfig)
AutoModelForSequenceClassification.register(EncoderWithHeadConfig, EncoderWithHead)


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
        ValueError: if the head has buffers that are not saved, has no `forward`, does not call `super().__init__()`,
            names an unknown `input_pooling`, or reads the first token of a causal encoder.
    """
    spec = EncoderSpec(
        hidden_size=hidden_size_of(encoder),
        num_hidden_states=encoder.num_hidden_layers + 1,
        first_token_sees_all=not is_causal(encoder),
    )
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
    if head.input_pooling is not None and head.input_pooling not in POOLINGS:
        raise ValueError(f"{describe_unknown('input_pooling', head.input_pooling, POOLINGS)} (head '{name}')")
    if head.needs_first_token_to_see_all and not spec.first_token_sees_all:
        raise ValueError(
            f"The head '{name}' reads the first token, which sees no other token in the causal encoder "
            f"'{encoder.model_type}': all rows that start with the same token would get the same logits. Choose --head "
            "last, or a head that reads all tokens."
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
