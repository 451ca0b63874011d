"""Check an encoder on a few rows of random tokens, before it trains, for faults that would not stop a run.

1. The hidden states of a row depend on padding.
2. The first token does not attend to the other tokens, although the encoder's family is not known to be causal.
3. Parameters get no gradient, because the hidden states do not depend on them. DDP would wait for their gradients.
4. A layer is never called, because the encoder reads its weight. Its adapters would have no effect.
5. The tokenizer's padding token or a special token has no embedding.
6. With several processes: the forward pass changes buffers, which would then differ between processes (I-BERT).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.tokens import check_token_ids
from research.model.adapter_targets import linear_layers
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import is_causal
from research.model.parameters import saved_buffers
from research.model.random_tokens import random_token_ids
from research.model.row_checks import (
    TOLERANCE,
    TOLERANCE_IN_HALF_PRECISION,
    WIDTH,
    difference,
    fixed_random_numbers,
)
from research.model.wrapped import UNWRAPPED, Wrapped
from research.settings.config import RunConfig
from research.settings.declarations import Stage
from research.settings.flags import names_where
from research.system.checksums import checksums
from research.system.errors import one_line
from research.system.messages import logger
from research.system.sharded_tensors import is_sharded
from research.system.waiting import WaitingMessage

NUM_TOKENS = (8, 5, 3)
"""Number of tokens in each row."""
_Found = tuple[list[str], list[str]]
"""Names of the parameters that get no gradient, and of the linear layers that are never called."""
_passed: ContextVar[dict[str, _Found] | None] = ContextVar("passed", default=None)
"""What was found in the encoders that have passed, by all that the check depends on; None if each model is checked."""


@contextlib.contextmanager
def checking_each_encoder_once() -> Iterator[None]:
    """Return a context in which an encoder that has passed is not checked again, for runs that repeat its settings."""
    token = _passed.set({})
    try:
        yield
    finally:
        _passed.reset(token)


class EncoderError(ValueError):
    """An encoder has a fault that would make training or predictions wrong."""


class EncoderCheck:
    """Checks an encoder.

    Args:
        model: the model, on its training device, before parts of it are frozen.
        accelerator: gives device and precision.
        tokenizer: tokenizer of the encoder.
        collator: the collator, which determines on which side rows are padded.
        config: the settings.
        wrapped: the model's wrappers.
    """

    def __init__(
        self,
        model: EncoderWithHead,
        accelerator: Accelerator,
        tokenizer: PreTrainedTokenizerBase,
        collator: Collator,
        config: RunConfig,
        wrapped: Wrapped = UNWRAPPED,
    ) -> None:
        self._model = model
        self._wrapped = wrapped
        self._accelerator = accelerator
        self._tokenizer = tokenizer
        self._collator = collator
        self._config = config
        generator = torch.Generator().manual_seed(0)
        longest = min(max(NUM_TOKENS), config.input_length)
        self._ids = random_token_ids(model.encoder, len(NUM_TOKENS), longest, generator).to(accelerator.device)

    def check(self) -> None:
        """Check the encoder; called on every process, before the first step and before a checkpoint is loaded.

        Parameters without a gradient are frozen, and join `EncoderWithHead.unused_parameters`. Linear layers that are
        never called join `EncoderWithHead.uncalled_layers`.

        Raises:
            EncoderError: if the encoder has a fault that is not allowed; the message names the encoder and the fault.
            ValueError: if a token that is added to all rows has no embedding.
        """
        check_token_ids(self._collator.added_ids, self._tokenizer, self._model.encoder.config.vocab_size)
        passed = _passed.get()
        key = None if passed is None else self._describe()
        if passed is not None and key in passed:
            self._freeze_unused_parameters(*passed[key])
            return
        with (
            WaitingMessage("Checking the encoder on a few rows"),
            self._evaluation_mode(),
            self._wrapped.trying_encoder(),
        ):
            with torch.no_grad():
                self._check_padding()
                self._check_first_token()
                self._check_buffers()
            unused, uncalled = self._find_unused_parameters()
        self._freeze_unused_parameters(unused, uncalled)
        if passed is not None and key is not None:
            passed[key] = unused, uncalled

    def _describe(self) -> str | None:
        """Return everything that the check depends on; None if the model is split."""
        encoder = self._model.encoder
        if any(map(is_sharded, encoder.parameters())):
            return None
        names = names_where(lambda declared: declared.affects(Stage.HIDDEN_STATES))
        settings = [getattr(self._config, name) for name in (*names, "allow_padding_sensitive")]
        processes = self._accelerator.num_processes, self._accelerator.mixed_precision, str(self._accelerator.device)
        collator = self._collator
        inputs = collator.padding_id, collator.pads_left, collator.has_types, is_causal(encoder.config)
        return repr([settings, processes, inputs, str(encoder), encoder.config.to_json_string(), checksums(encoder)])

    def _check_padding(self) -> None:
        """Compare rows in a padded batch with the same rows alone.

        Raises:
            EncoderError: if they differ, unless --allow_padding_sensitive is set.
        """
        if (fault := self._find_padding_fault()) is None:
            return
        if not self._config.allow_padding_sensitive:
            raise EncoderError(
                f"The encoder {self._config.encoder} ({self._model.encoder.config.model_type}) {fault}. Predictions "
                "would depend on the other rows of a batch. Choose a different encoder, or pass "
                "--allow_padding_sensitive true to train anyway."
            )
        logger.warning(f"the encoder {self._config.encoder} {fault} (--allow_padding_sensitive).")

    def _find_padding_fault(self) -> str | None:
        """Return a phrase such as "depends on padding: ..."; None if there is no fault."""
        width = min(WIDTH, self._config.input_length)
        lengths = [min(length, self._ids.shape[1]) for length in NUM_TOKENS]
        mask = torch.zeros(len(lengths), width, dtype=torch.long, device=self._ids.device)
        ids = torch.full_like(mask, self._collator.padding_id)
        for row, length in enumerate(lengths):
            positions = slice(width - length, width) if self._collator.pads_left else slice(length)
            ids[row, positions] = self._ids[row, :length]
            mask[row, positions] = 1
        padded = self._run(ids, mask, exact=True)
        change, scale = 0.0, 0.0
        for row, length in enumerate(lengths):
            try:
                alone, different = (
                    self._run(tokens, exact=True) for tokens in self._row_and_different_row(row, length)
                )
            except Exception as error:
                how = f"{type(error).__name__}: {one_line(error)}"
                return f"depends on padding: it cannot read a row of {length} tokens without padding: {how}"
            change = max(change, difference(padded[row][mask[row].bool()], alone[0]))
            scale = max(scale, difference(alone, different))
        if change <= (TOLERANCE if self._supports_float32 else TOLERANCE_IN_HALF_PRECISION) * scale:
            return None
        return f"depends on padding: it changes hidden states by up to {change:.2g}, different tokens by {scale:.2g}"

    def _row_and_different_row(self, row: int, length: int) -> Sequence[Tensor]:
        """Return the tokens of a row, and the same number of tokens of the first row in reverse order, [1, length]."""
        return self._ids[row : row + 1, :length], self._ids[:1].flip(1)[:, :length]

    def _check_first_token(self) -> None:
        """Check whether the first token attends to the last one, as far as it is expected to.

        Raises:
            EncoderError: if it should, but does not.
        """
        row, width = self._ids[:1], self._ids.shape[1]
        if width < 2:
            return
        changed = torch.cat([row[:, :-1], self._ids[1:2, -1:]], dim=1)
        if torch.equal(row, changed):  # a tiny vocabulary
            return
        states, changed_states = self._run(row)[0], self._run(changed)[0]
        change_of_first, change_of_last = (difference(states[at], changed_states[at]) for at in (0, -1))
        sees_last = change_of_first > 1e-6 * change_of_last
        expected = not is_causal(self._model.encoder.config)
        if expected and not sees_last:
            raise EncoderError(
                f"The first token does not attend to the other tokens in the encoder {self._config.encoder} "
                f"({self._model.encoder.config.model_type}). If its family is causal, add it to "
                "research.model.family_table.FAMILIES in a plugin; otherwise, its attention does not work on this "
                "machine."
            )

    def _check_buffers(self) -> None:
        """Check that the forward pass changes no buffers, if there are several processes.

        Raises:
            EncoderError: if it does.
        """
        if self._accelerator.num_processes == 1:
            return
        encoder = self._model.encoder
        before = {name: buffer.clone() for name, buffer in saved_buffers(encoder)}
        encoder.train()
        self._run(self._ids)
        encoder.eval()
        changed = [name for name, buffer in saved_buffers(encoder) if not torch.equal(buffer, before[name])]
        if changed:
            raise EncoderError(
                f"The encoder {self._config.encoder} ({encoder.config.model_type}) changes {len(changed)} buffers in "
                f"its forward pass ({changed[0]}, for example), so that they would differ between processes. Choose a "
                "different encoder, or train on one process."
            )

    def _find_unused_parameters(self) -> _Found:
        """Return the names of the parameters that get no gradient, and of the linear layers that are never called."""
        model = self._model
        uncalled = {model.encoder.get_submodule(name) for name in linear_layers(model.encoder)}
        hooks = [layer.register_forward_pre_hook(lambda layer, _: uncalled.discard(layer)) for layer in uncalled]
        with torch.enable_grad():
            states = self._run(self._ids)
        for hook in hooks:
            hook.remove()
        used = {self._wrapped.original(leaf) for leaf in _leaves_behind(states)}
        unused = [
            name
            for name, parameter in model.encoder.named_parameters()
            if parameter.requires_grad and parameter not in used
        ]
        return unused, [name for name, layer in model.encoder.named_modules() if layer in uncalled]

    def _freeze_unused_parameters(self, unused: Sequence[str], uncalled: Sequence[str]) -> None:
        """Freeze the parameters that get no gradient, and report them.

        Args:
            unused: names of these parameters.
            uncalled: names of linear layers that are never called.
        """
        model = self._model
        model.uncalled_layers |= {model.encoder.get_submodule(name) for name in uncalled}
        parameters = {model.encoder.get_parameter(name) for name in unused}
        for parameter in parameters:
            parameter.requires_grad_(False)
        model.unused_parameters |= parameters
        frozen = [name for name, parameter in model.encoder.named_parameters() if parameter in model.unused_parameters]
        if frozen:
            names = f"{', '.join(frozen[:3])}{', ...' if len(frozen) > 3 else ''}"
            logger.info(f"{len(frozen)} parameters of the encoder do not affect its output, and stay frozen: {names}.")

    @property
    def _supports_float32(self) -> bool:
        """Whether the encoder can compute in float32, which FlashAttention cannot."""
        is_flash = "flash" in (self._model.encoder.config._attn_implementation or "")
        return not is_flash and self._wrapped.compute_dtype in (None, torch.float32)

    def _run(self, ids: Tensor, mask: Tensor | None = None, *, exact: bool = False) -> Tensor:
        """Return the last hidden states, [batch, seq, hidden].

        Args:
            ids: token ids, [batch, seq].
            mask: 1 = token, 0 = padding, [batch, seq]; without padding by default.
            exact: whether to compute in float32 if the encoder supports it, whatever the precision of training.
        """
        mask = torch.ones_like(ids) if mask is None else mask
        types = {"token_type_ids": torch.zeros_like(ids)} if self._collator.has_types else {}
        is_exact = exact and self._supports_float32
        with contextlib.nullcontext() if is_exact else self._accelerator.autocast():
            states = self._model.run_encoder(ids, mask, **types, all_layers=False)
        assert isinstance(states, Tensor)
        return states

    @contextlib.contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        """Return a context with the encoder in evaluation mode and fixed random numbers; both are restored on exit."""
        modes = {module: module.training for module in self._model.encoder.modules()}
        self._model.encoder.eval()
        with fixed_random_numbers(self._accelerator.device):
            yield
        for module, mode in modes.items():
            module.training = mode


def _leaves_behind(output: Tensor) -> set[Tensor]:
    """Return the parameters that a tensor's gradient would reach, without computing gradients."""
    found, visited, pending = set(), set(), [output.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        pending += [following for following, _ in node.next_functions]
    return found
