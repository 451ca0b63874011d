"""Faults of a head that would not stop a run, looked for on a few rows before the head trains.

1. Its logits depend on padding, or are not finite for a row without tokens.
2. Its logits of a row depend on the other rows of the batch, so that metrics would depend on --evaluation_batch_size.
3. With several processes: its buffers become different on each (batch normalization), or DDP would wait for the
   gradient of a parameter that gets none.

The rows are laid out by hand from hidden states of the encoder, so that a check costs a few passes of the head alone,
and is the same whether hidden states are computed or read from a cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from heads import Head
from research.data.batches.collate import Collator
from research.model.encoder_with_head import EncoderWithHead, build_head, check_logits, code_of_head
from research.settings.config import RunConfig
from research.system.checksums import checksum
from research.system.errors import one_line
from research.system.messages import logger

NUM_TOKENS = (8, 5, 3, 1)
"""Tokens of each row; few, so that one more place of padding would matter."""
WIDTH = 32
"""Places of a row; twice as many when it is padded further."""
TOLERANCE = 1e-2
TOLERANCE_IN_HALF_PRECISION = 5e-2
"""How much padding may change logits, as a share of what other tokens change: rounding differs with the width."""


class HeadError(ValueError):
    """A head that would not train as it seems to."""


@dataclass(frozen=True)
class PlannedHead:
    """A head that a run has at some time."""

    name: str
    """Registered name."""
    options: Mapping[str, Any]
    """Its options."""
    trainable: frozenset[str]
    """Names of its parameters that train then."""

    @classmethod
    def of(cls, model: EncoderWithHead) -> PlannedHead:
        """Return the head that a model has."""
        trainable = (name for name, parameter in model.head.named_parameters() if parameter.requires_grad)
        return cls(model.config.head, dict(model.config.head_options), frozenset(trainable))


@dataclass(frozen=True)
class Findings:
    """What one process found."""

    padding: str | None = None
    """How the logits depend on padding."""
    rows: str | None = None
    """How the logits of a row depend on other rows."""
    is_random: bool = False
    """Whether logits differ each time, in evaluation mode too."""
    unused: tuple[str, ...] = ()
    """Parameters that get no gradient."""
    buffers: Mapping[str, int] | None = None
    """Checksums of the buffers after a step's forward pass."""
    error: str | None = None
    """What went wrong."""


class HeadCheck:
    """Checks heads on rows made of one encoder's hidden states.

    Args:
        model: the model, on the device where it trains; its encoder is run once, on random tokens.
        accelerator: number of processes, device and precision.
        collator: knows on which side rows are padded.
        config: the settings.
    """

    def __init__(self, model: EncoderWithHead, accelerator: Accelerator, collator: Collator, config: RunConfig) -> None:
        self._accelerator = accelerator
        self._pads_left = collator.pads_left
        self._allowed = config.allow_padding_sensitive
        self._longest = config.max_length
        self._encoder_config = model.config.encoder
        assert model.config.num_labels is not None
        self._num_labels: int = model.config.num_labels
        self._passed: list[PlannedHead] = []
        self._tokens = self._run_encoder(model)  # [rows, tokens, hidden]
        self._scale = float(self._tokens.float().std())

    def check(self, heads: Sequence[PlannedHead]) -> None:
        """Check heads that were not checked before; called on every process, for the same heads.

        Args:
            heads: what is checked.
        Raises:
            HeadError: on every process, naming the head and its fault.
        """
        for planned in heads:
            if planned not in self._passed:
                self._check(planned)
                self._passed.append(planned)

    def _check(self, planned: PlannedHead) -> None:
        error: Exception | None = None
        try:
            own = self._look_at(planned)
        except Exception as caught:  # it is raised below, once the other processes know of it
            error, own = caught, Findings(error=f"{type(caught).__name__}: {one_line(caught)}")
        findings = gather_object([own]) if self._accelerator.num_processes > 1 else [own]
        if error is not None:
            raise error
        for rank, found in enumerate(findings):
            if found.error is not None:
                raise HeadError(f"Process {rank} could not run the head '{planned.name}': {found.error}")
        self._judge(planned, findings)

    def _judge(self, planned: PlannedHead, findings: Sequence[Findings]) -> None:
        """Refuse a head with a fault.

        Raises:
            HeadError: naming it.
        """
        self._judge_fault(
            planned,
            next((found.padding for found in findings if found.padding is not None), None),
            "Let it read tokens only, by its attention_mask (heads.masking has the usual ways of pooling)",
        )
        self._judge_fault(
            planned,
            next((found.rows for found in findings if found.rows is not None), None),
            "Compute the logits of each row from that row alone (normalize with torch.nn.LayerNorm, or with "
            "torch.nn.BatchNorm1d and running statistics)",
        )
        if any(found.is_random for found in findings):
            logger.warning(
                f"the head '{planned.name}' gives other logits for the same rows each time, in evaluation "
                "mode too; whether they depend on padding was not checked."
            )
        differing = [
            name for name in findings[0].buffers or {} if len({(found.buffers or {})[name] for found in findings}) > 1
        ]
        if differing and planned.trainable:  # a frozen head is in evaluation mode
            raise HeadError(
                f"The head '{planned.name}' writes to buffers in its forward pass ({', '.join(differing)}), which "
                "become different on each process: predictions would be those of one of them. Use "
                "torch.nn.SyncBatchNorm (on GPUs), or a normalization without running statistics (torch.nn.LayerNorm, "
                "torch.nn.GroupNorm), or train on one process."
            )
        unused = [name for name in findings[0].unused if name in planned.trainable]
        if unused:
            raise HeadError(
                f"The head '{planned.name}' has parameters that get no gradient ({', '.join(unused)}), for which the "
                "processes would wait. Use them in forward, remove them, or freeze them: --freeze "
                f"{','.join(f'name:head.{name}' for name in unused)}."
            )

    def _judge_fault(self, planned: PlannedHead, fault: str | None, advice: str) -> None:
        """Refuse a head with a fault, or warn of it if that is allowed.

        Raises:
            HeadError: naming it.
        """
        if fault is not None and not self._allowed:
            raise HeadError(
                f"The head '{planned.name}' {fault}. {advice}, or insist with --allow_padding_sensitive true."
            )
        if fault is not None:
            logger.warning(f"the head '{planned.name}' {fault} (--allow_padding_sensitive).")

    def _look_at(self, planned: PlannedHead) -> Findings:
        with self._own_random_numbers():
            head = build_head(planned.name, planned.options, self._encoder_config, self._num_labels)
            for parameter in head.parameters():
                if not parameter.any():  # an output layer that begins with 0 would hide what it is given
                    nn.init.normal_(parameter, std=0.02)
            head.to(self._accelerator.device)
            found = self._find_sensitivity(head.eval(), planned.name)
            if self._accelerator.num_processes == 1:
                return found
            unused = self._without_gradient(head.train(), planned.name)
            buffers = {name: int(checksum(buffer)) for name, buffer in head.named_buffers()}
            return replace(found, unused=unused, buffers=buffers)

    @torch.no_grad()
    def _find_sensitivity(self, head: Head, name: str) -> Findings:
        """Return what the logits of a row depend on beside its tokens, in evaluation mode."""
        width, _ = self._widths()
        plain = self._run(head, name, *self._rows(head, width, seed=0))
        if not plain.isfinite().all():
            return Findings()  # with tokens they are not finite either, at which the first step stops
        other = self._run(head, name, *self._rows(head, width, seed=2, has_tokens=False))
        is_exact = self._accelerator.mixed_precision == "no" and self._tokens.dtype == torch.float32
        share = TOLERANCE if is_exact else TOLERANCE_IN_HALF_PRECISION
        most = share * (_difference(other, plain) + float(plain.abs().max()) / 100)
        if _difference(self._run(head, name, *self._rows(head, width, seed=0)), plain) > most:
            return Findings(is_random=True)
        most_by_tokens = _difference(other, plain)
        padding = self._describe_padding(head, name, plain, most, most_by_tokens)
        return Findings(padding, self._describe_rows(head, name, plain, most, most_by_tokens))

    def _describe_padding(self, head: Head, name: str, plain: Tensor, most: float, most_by_tokens: float) -> str | None:
        """Return how the logits of a head depend on padding, or None.

        Args:
            head: in evaluation mode.
            name: its registered name.
            plain: its logits of the rows as they are.
            most: how much they may change.
            most_by_tokens: how much other tokens change them.
        """
        width, further = self._widths()
        states, mask = self._rows(head, width, seed=0)
        mask[1:] = 0
        without_tokens = self._run(head, name, states, mask)[1:]
        if not without_tokens.isfinite().all():
            return f"returns {without_tokens[~without_tokens.isfinite()][0].item()} for a row without tokens"
        for places in (further, self._num_tokens(0)):  # of the narrower ones the first row has no padding at all
            try:
                padded = self._run(head, name, *self._rows(head, places, seed=1))
            except Exception as error:
                others = f"the same rows with {places}: {type(error).__name__}: {one_line(error)}"
                return f"depends on padding: it takes rows of {width} places, but not {others}"
            change = _difference(padded, plain)
            if change > most or not padded.isfinite().all():
                how = f"it changes logits by up to {change:.2g}, other tokens by {most_by_tokens:.2g}"
                return f"depends on padding: {how}"
        return None

    def _describe_rows(self, head: Head, name: str, plain: Tensor, most: float, most_by_tokens: float) -> str | None:
        """Return how the logits of a row depend on other rows, or None; arguments as for `_describe_padding`."""
        states, mask = self._rows(head, self._widths()[0], seed=0)
        for row in (0, len(mask) - 1):
            own = slice(row, row + 1)
            try:
                alone = self._run(head, name, [layer[own] for layer in states], mask[own])
            except Exception as error:
                how = f"it takes {len(mask)} rows, but not one alone: {type(error).__name__}: {one_line(error)}"
                return f"depends on the other rows of a batch: {how}"
            change = _difference(alone, plain[own])
            if change > most or not alone.isfinite().all():
                how = f"they change logits by up to {change:.2g}, other tokens by {most_by_tokens:.2g}"
                return f"depends on the other rows of a batch: {how}"
        return None

    def _without_gradient(self, head: Head, name: str) -> tuple[str, ...]:
        """Return the names of parameters that get no gradient from a pass in training mode, on rows of this process."""
        seed = 3 + self._accelerator.process_index
        logits = self._run(head, name, *self._rows(head, self._widths()[0], seed, has_tokens=False))
        named = {each: parameter for each, parameter in head.named_parameters() if parameter.requires_grad}
        if not named or not logits.requires_grad:
            return tuple(named)
        gradients = torch.autograd.grad(logits.sum(), list(named.values()), allow_unused=True)
        return tuple(each for each, gradient in zip(named, gradients, strict=True) if gradient is None)

    def _run(self, head: Head, name: str, states: list[Tensor], mask: Tensor) -> Tensor:
        """Return the logits of some rows in float32, computed as they will be when it trains."""
        with self._accelerator.autocast(), code_of_head(head, name):
            logits = head(tuple(states) if head.wants == "all_hidden_states" else states[-1], mask)
        check_logits(logits, name, len(mask), self._num_labels, head)
        return logits.float()

    def _rows(self, head: Head, width: int, seed: int, *, has_tokens: bool = True) -> tuple[list[Tensor], Tensor]:
        """Return hidden states and mask of the rows, with noise wherever there are no tokens.

        Args:
            head: decides how many hidden states there are; those of lower layers are the last one's tokens, moved.
            width: places of a row.
            seed: of the noise.
            has_tokens: whether there are the encoder's hidden states; else there is noise in their place.
        """
        generator = torch.Generator().manual_seed(seed)
        num_layers = self._encoder_config.num_hidden_layers + 1 if head.wants == "all_hidden_states" else 1
        num_rows, _, hidden = self._tokens.shape
        mask = torch.zeros(num_rows, width, dtype=torch.long, device=self._tokens.device)
        layers = []
        for layer in range(num_layers):
            states = self._scale * torch.randn(num_rows, width, hidden, generator=generator)
            states = states.to(self._tokens.device, self._tokens.dtype)
            for row in range(len(NUM_TOKENS)):
                num = self._num_tokens(row)
                place = slice(width - num, width) if self._pads_left else slice(num)
                mask[row, place] = 1
                if has_tokens:
                    states[row, place] = self._tokens[row, :num].roll(layer, dims=-1)
            layers.append(states)
        return layers, mask

    def _num_tokens(self, row: int) -> int:
        """Return how many tokens a row has: those of short inputs have fewer."""
        return min(NUM_TOKENS[row], max(1, self._widths()[0] // 2))

    def _widths(self) -> tuple[int, int]:
        """Return how wide rows are, and how wide when they are padded further; no wider than the run's own."""
        further = min(2 * WIDTH, self._longest)
        return max(1, further // 2), further

    @torch.no_grad()
    def _run_encoder(self, model: EncoderWithHead) -> Tensor:
        """Return the encoder's last hidden states of random tokens, [rows, tokens, hidden], in its own precision."""
        encoder = model.encoder
        modes = {module: module.training for module in encoder.modules()}
        size = min(max(NUM_TOKENS), self._longest)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(encoder.config.vocab_size, (len(NUM_TOKENS), size), generator=generator)
        ids = ids.to(self._accelerator.device)
        encoder.eval()
        with self._own_random_numbers(), self._accelerator.autocast():
            states = model.run_encoder(ids, torch.ones_like(ids), all_layers=False)
        for module, mode in modes.items():
            module.training = mode
        assert isinstance(states, Tensor)
        return states

    @contextlib.contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Draw from the same generator for every check, and leave the training's random state as it was."""
        device = self._accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the largest difference between logits."""
    return float((first - second).abs().max())
