"""Check a head on a few rows, before it trains, for faults that would not stop a run.

1. The logits depend on padding, or are not finite for a row without tokens.
2. The logits of a row depend on the other rows of the batch, so that metrics would depend on --evaluation_batch_size.
3. The logits depend on the first token only, which sees no other token in a causal encoder.
4. The logits depend on one token only, which is in only one of a text's windows (--long_texts windows).
5. The head does not start with its `input_pooling`.
6. With several processes: buffers differ between processes (batch normalization), or DDP would wait for the gradient of
   a parameter that gets none.

The rows are built from hidden states of the encoder. Therefore a check costs only a few forward passes of the head, and
does not depend on whether hidden states are computed or read from the cache.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from heads import Head
from heads.masking import POOLINGS
from research.data.batches.collate import Collator
from research.model.bidirectional import set_bidirectional
from research.model.encoder_with_head import EncoderWithHead, build_head, check_logits, errors_attributed_to_head
from research.model.families import is_causal
from research.model.random_tokens import random_token_ids
from research.model.row_checks import (
    TOLERANCE,
    TOLERANCE_IN_HALF_PRECISION,
    WIDTH,
    difference,
    fixed_random_numbers,
)
from research.settings.config import RunConfig
from research.system.checksums import checksum
from research.system.errors import one_line
from research.system.messages import logger

NUM_TOKENS = (8, 5, 3, 1)
"""Number of tokens in each row. They are few, so that one more position of padding would matter."""

End = Literal["first", "last"]
"""One end of a row, without its padding."""


class HeadError(ValueError):
    """A head has a fault that would make its training or its predictions wrong."""


@dataclass(frozen=True)
class PlannedHead:
    """A head that a run has or will have."""

    name: str
    """Registered name of the head."""
    options: Mapping[str, Any]
    """Options of the head."""
    trainable: frozenset[str]
    """Names of the head's trainable parameters."""
    is_causal: bool
    """Whether each token of the encoder attends only to itself and to the tokens before it while the run has the head.
    The edit set_bidirectional changes this."""

    @classmethod
    def of(cls, model: EncoderWithHead) -> PlannedHead:
        """Return the head of a model."""
        trainable = (name for name, parameter in model.head.named_parameters() if parameter.requires_grad)
        options = dict(model.config.head_options)
        return cls(model.config.head, options, frozenset(trainable), is_causal(model.config.encoder))


@dataclass(frozen=True)
class Findings:
    """The findings of one process."""

    padding_fault: str | None = None
    """Phrase such as "depends on padding: ..." or "returns nan for a row without tokens"; None without a fault."""
    row_fault: str | None = None
    """Phrase such as "depends on the other rows of a batch: ..."; None if the logits do not depend on them."""
    reads_only_first_token: bool = False
    """Whether the logits depend on the first token only, although the encoder is causal."""
    window_fault: str | None = None
    """Phrase such as "reads only the last token, ..."; None without windows, or if the head reads all windows."""
    pooling_fault: str | None = None
    """Phrase such as "does not start with its input_pooling: ..."; None without an `input_pooling` or a fault."""
    is_random: bool = False
    """Whether the logits of the same rows differ from pass to pass, even in evaluation mode."""
    unused_parameters: tuple[str, ...] = ()
    """Names of the parameters that get no gradient."""
    buffer_checksums: Mapping[str, int] | None = None
    """Checksums of the buffers after a forward pass in training mode; None with one process."""
    error: str | None = None
    """The error that the head raised; None if it raised none."""


class HeadCheck:
    """Checks heads on rows built from one encoder's hidden states.

    Args:
        model: the model, on its training device; its encoder is run once, on random tokens.
        accelerator: gives the number of processes, device and precision.
        collator: the collator, which determines on which side rows are padded.
        config: the settings.
    """

    def __init__(self, model: EncoderWithHead, accelerator: Accelerator, collator: Collator, config: RunConfig) -> None:
        self._accelerator = accelerator
        self._pads_left = collator.pads_left
        shared: dict[End, tuple[int, ...]] = {
            "first": collator.special_tokens.prefix,
            "last": collator.special_tokens.suffix,
        }
        has_windows = collator.windows is not None
        self._ends_in_one_window = [end for end, special in shared.items() if has_windows and not special]
        """Which of the first and the last token of a row are in only one of its windows."""
        self._allow_faults = config.allow_padding_sensitive
        self._max_length = config.input_length
        self._encoder_config = model.config.encoder
        assert model.config.num_labels is not None
        self._num_labels: int = model.config.num_labels
        self._passed: list[PlannedHead] = []
        self._token_states = self._run_encoder(model)  # [rows, tokens, hidden]
        self._scale = float(self._token_states.float().std())  # of the noise

    def check(self, heads: Sequence[PlannedHead]) -> None:
        """Check heads that have not been checked yet; called on every process.

        Args:
            heads: the heads, the same on every process.
        Raises:
            HeadError: if a head has a fault, on every process; if a head's code raises an error on one process, on the
                remaining processes. The message names the head.
        """
        for planned in heads:
            if planned not in self._passed:
                self._check(planned)
                self._passed.append(planned)

    def _check(self, planned: PlannedHead) -> None:
        """Check one head; see `check`. An error that the head raises is raised again on its process."""
        error: Exception | None = None
        try:
            local = self._examine(planned)
        except Exception as caught:  # raised below, once the other processes know of it
            error, local = caught, Findings(error=f"{type(caught).__name__}: {one_line(caught)}")
        findings = gather_object([local]) if self._accelerator.num_processes > 1 else [local]
        if error is not None:
            raise error
        for rank, each in enumerate(findings):
            if each.error is not None:
                raise HeadError(f"Process {rank} could not run the head '{planned.name}': {each.error}")
        self._report_faults(planned, findings)

    def _report_faults(self, planned: PlannedHead, findings: Sequence[Findings]) -> None:
        """Raise an error, or log a warning, if the findings of the processes contain a fault.

        Raises:
            HeadError: for a fault that is not allowed; the message names the head and the fault.
        """
        self._report_sensitivity(
            planned,
            next((each.padding_fault for each in findings if each.padding_fault is not None), None),
            "Use the attention_mask so that padding is ignored (heads.masking contains the usual ways of pooling)",
        )
        self._report_sensitivity(
            planned,
            next((each.row_fault for each in findings if each.row_fault is not None), None),
            "Compute the logits of each row from that row alone (normalize with torch.nn.LayerNorm, or with "
            "torch.nn.BatchNorm1d and running statistics)",
        )
        if any(each.reads_only_first_token for each in findings):
            raise HeadError(
                f"The head '{planned.name}' reads only the first token of each row, which sees no other token in the "
                f"causal encoder '{self._encoder_config.model_type}'. Choose --head last, or a head that reads all "
                "tokens."
            )
        if (window_fault := next(filter(None, (each.window_fault for each in findings)), None)) is not None:
            raise HeadError(
                f"The head '{planned.name}' {window_fault}. Choose a head that reads all tokens, such as mean, or set "
                "--long_texts truncate."
            )
        if (pooling_fault := next(filter(None, (each.pooling_fault for each in findings)), None)) is not None:
            raise HeadError(
                f"The head '{planned.name}' {pooling_fault}. Pool the hidden states before anything else, dropout "
                "included, or set `input_pooling = None`."
            )
        if any(each.is_random for each in findings):
            logger.warning(
                f"the head '{planned.name}' returns different logits for the same rows from pass to pass, even in "
                "evaluation mode; whether they depend on padding was not checked."
            )
        differing = [
            name
            for name in findings[0].buffer_checksums or {}
            if len({(each.buffer_checksums or {})[name] for each in findings}) > 1
        ]
        if differing and planned.trainable:  # a frozen head is in evaluation mode
            raise HeadError(
                f"The head '{planned.name}' writes to buffers in its forward pass ({', '.join(differing)}), so that "
                "they differ between processes, and predictions would depend on the process. Use "
                "torch.nn.SyncBatchNorm (on GPUs) or a normalization without running statistics (torch.nn.LayerNorm, "
                "torch.nn.GroupNorm), or train with one process."
            )
        unused = [name for name in findings[0].unused_parameters if name in planned.trainable]
        if unused:
            raise HeadError(
                f"The head '{planned.name}' has parameters that get no gradient ({', '.join(unused)}); with several "
                "processes, DDP would wait for their gradients. Use them in forward, remove them, or freeze them: "
                f"--freeze {','.join(f'name:head.{name}' for name in unused)}."
            )

    def _report_sensitivity(self, planned: PlannedHead, fault: str | None, advice: str) -> None:
        """Raise an error if there is a fault, or log a warning if --allow_padding_sensitive is set.

        Raises:
            HeadError: if there is a fault that is not allowed; the message names the head and the fault.
        """
        if fault is not None and not self._allow_faults:
            raise HeadError(
                f"The head '{planned.name}' {fault}. {advice}, or pass --allow_padding_sensitive true to train anyway."
            )
        if fault is not None:
            logger.warning(f"the head '{planned.name}' {fault} (--allow_padding_sensitive).")

    def _examine(self, planned: PlannedHead) -> Findings:
        """Build a head like the planned one, and return the findings of this process."""
        with fixed_random_numbers(self._accelerator.device):
            encoder_config = self._encoder_config
            if is_causal(encoder_config) != planned.is_causal:
                encoder_config = copy.deepcopy(encoder_config)
                set_bidirectional(encoder_config, bidirectional=not planned.is_causal)
            head = build_head(planned.name, planned.options, encoder_config, self._num_labels)
            for parameter in head.parameters():
                if not parameter.any():  # an output layer initialised with 0 would hide any dependence on its input
                    nn.init.normal_(parameter, std=0.02)
            head.to(self._accelerator.device)
            findings = self._find_sensitivity(head.eval(), planned)
            if self._accelerator.num_processes == 1:
                return findings
            unused = self._find_unused_parameters(head.train(), planned.name)
            checksums = {name: int(checksum(buffer)) for name, buffer in head.named_buffers()}
            return replace(findings, unused_parameters=unused, buffer_checksums=checksums)

    @torch.no_grad()
    def _find_sensitivity(self, head: Head, planned: PlannedHead) -> Findings:
        """Find out whether the logits of a row depend on anything but its tokens, in evaluation mode."""
        name = planned.name
        width, _ = self._widths()
        reference = self._run(head, name, *self._make_rows(head, width, seed=0))
        if not reference.isfinite().all():
            return Findings()  # logits that are not finite end the run in the first step
        with_different_tokens = self._run(head, name, *self._make_rows(head, width, seed=2, uses_encoder=False))
        change_by_tokens = difference(with_different_tokens, reference)
        is_exact = self._accelerator.mixed_precision == "no" and self._token_states.dtype == torch.float32
        tolerance = TOLERANCE if is_exact else TOLERANCE_IN_HALF_PRECISION
        # The second term is a small change relative to the logits, for heads that hardly depend on the tokens.
        max_change = tolerance * (change_by_tokens + float(reference.abs().max()) / 100)
        if difference(self._run(head, name, *self._make_rows(head, width, seed=0)), reference) > max_change:
            return Findings(is_random=True)
        return Findings(
            padding_fault=self._find_padding_fault(head, name, reference, max_change, change_by_tokens),
            row_fault=self._find_row_fault(head, name, reference, max_change, change_by_tokens),
            reads_only_first_token=planned.is_causal and self._reads_only("first", head, name, reference, max_change),
            window_fault=self._find_window_fault(head, name, reference, max_change),
            pooling_fault=self._find_pooling_fault(head, name, max_change),
        )

    def _find_padding_fault(
        self, head: Head, name: str, reference: Tensor, max_change: float, change_by_tokens: float
    ) -> str | None:
        """Return the `padding_fault` of a head, see `Findings`.

        Args:
            head: the head, in evaluation mode.
            name: registered name of the head.
            reference: logits of the rows of the smaller width, with noise of seed 0 in the padding.
            max_change: largest accepted change.
            change_by_tokens: largest change by different tokens.
        """
        width, wide = self._widths()
        states, mask = self._make_rows(head, width, seed=0)
        mask[1:] = 0
        without_tokens = self._run(head, name, states, mask)[1:]
        if not without_tokens.isfinite().all():
            return f"returns {without_tokens[~without_tokens.isfinite()][0].item()} for a row without tokens"
        for other_width in (wide, self._num_tokens(0)):  # in the second case, the first row has no padding at all
            try:
                padded = self._run(head, name, *self._make_rows(head, other_width, seed=1))
            except Exception as error:
                how = f"it accepts rows of width {width}, but not {other_width}"
                return f"depends on padding: {how}: {type(error).__name__}: {one_line(error)}"
            change = difference(padded, reference)
            if change > max_change or not padded.isfinite().all():
                how = f"padding changes logits by up to {change:.2g}, different tokens by up to {change_by_tokens:.2g}"
                return f"depends on padding: {how}"
        return None

    def _find_row_fault(
        self, head: Head, name: str, reference: Tensor, max_change: float, change_by_tokens: float
    ) -> str | None:
        """Return the `row_fault` of a head, see `Findings`. The arguments are those of `_find_padding_fault`."""
        states, mask = self._make_rows(head, self._widths()[0], seed=0)
        for row in (0, len(mask) - 1):
            single = slice(row, row + 1)
            try:
                alone = self._run(head, name, [layer[single] for layer in states], mask[single])
            except Exception as error:
                how = f"it accepts {len(mask)} rows, but not a single row: {type(error).__name__}: {one_line(error)}"
                return f"depends on the other rows of a batch: {how}"
            change = difference(alone, reference[single])
            if change > max_change or not alone.isfinite().all():
                how = f"they change logits by up to {change:.2g}, different tokens by up to {change_by_tokens:.2g}"
                return f"depends on the other rows of a batch: {how}"
        return None

    def _find_window_fault(self, head: Head, name: str, reference: Tensor, max_change: float) -> str | None:
        """Return the `window_fault` of a head, see `Findings`. The arguments are those of `_reads_only`."""
        for end in self._ends_in_one_window:
            if self._reads_only(end, head, name, reference, max_change):
                return (
                    f"reads only the {end} token, which is in only one window of a text, since the tokenizer adds no "
                    f"special token {'before' if end == 'first' else 'after'} the text"
                )
        return None

    def _find_pooling_fault(self, head: Head, name: str, max_change: float) -> str | None:
        """Return the `pooling_fault` of a head, see `Findings`. The arguments are those of `_reads_only`."""
        pooling = head.input_pooling
        if pooling is None:
            return None
        head = copy.deepcopy(head).train()  # in training mode, to find dropout before the pooling as well
        states, mask = self._make_rows(head, self._widths()[0], seed=0)
        pooled = [POOLINGS[pooling](layer, mask).unsqueeze(1) for layer in states]  # [rows, 1, hidden]
        torch.manual_seed(0)
        expected = self._run(head, name, states, mask)
        torch.manual_seed(0)
        change = difference(self._run(head, name, pooled, mask.new_ones(len(mask), 1)), expected)
        if change <= max_change:
            return None
        return (
            f"does not start with its input_pooling '{pooling}': logits change by up to {change:.2g} if "
            "each row is pooled before"
        )

    def _reads_only(self, end: End, head: Head, name: str, reference: Tensor, max_change: float) -> bool:
        """Return whether different tokens, except for the first or the last one, do not change the logits.

        Args:
            end: the token that is kept.
            head: the head, in evaluation mode.
            name: registered name of the head.
            reference: logits of the rows of the smaller width, with noise of seed 0 in the padding.
            max_change: largest change that counts as none.
        """
        if self._num_tokens(0) < 2:
            return False
        states, mask = self._make_rows(head, self._widths()[0], seed=0)
        noise, _ = self._make_rows(head, self._widths()[0], seed=4, uses_encoder=False)
        number = 1 if end == "first" else mask.sum(1, keepdim=True)
        is_kept = (mask.cumsum(1).eq(number) & mask.eq(1)).unsqueeze(-1)  # [rows, width, 1]
        changed = [torch.where(is_kept, layer, other) for layer, other in zip(states, noise, strict=True)]
        return difference(self._run(head, name, changed, mask), reference) <= max_change

    def _find_unused_parameters(self, head: Head, name: str) -> tuple[str, ...]:
        """Return the names of parameters that get no gradient in training mode, on rows specific to this process."""
        seed = 3 + self._accelerator.process_index
        logits = self._run(head, name, *self._make_rows(head, self._widths()[0], seed, uses_encoder=False))
        named = {each: parameter for each, parameter in head.named_parameters() if parameter.requires_grad}
        if not named or not logits.requires_grad:
            return tuple(named)
        gradients = torch.autograd.grad(logits.sum(), list(named.values()), allow_unused=True)
        return tuple(each for each, gradient in zip(named, gradients, strict=True) if gradient is None)

    def _run(self, head: Head, name: str, states: list[Tensor], mask: Tensor) -> Tensor:
        """Return the logits of some rows in float32, computed in the precision of training."""
        with self._accelerator.autocast(), errors_attributed_to_head(head, name):
            logits = head(tuple(states) if head.wants == "all_hidden_states" else states[-1], mask)
        check_logits(logits, name, len(mask), self._num_labels, head)
        return logits.float()

    def _make_rows(
        self, head: Head, width: int, seed: int, *, uses_encoder: bool = True
    ) -> tuple[list[Tensor], Tensor]:
        """Return hidden states and attention mask of the rows. The hidden states of padding are noise.

        Args:
            head: the head; if it reads all layers, each layer has the last layer's hidden states, with the features
                rolled by the layer's number.
            width: width of the rows in positions.
            seed: seed of the noise.
            uses_encoder: whether tokens have the encoder's hidden states; if not, they are noise, like padding.
        """
        generator = torch.Generator().manual_seed(seed)
        num_layers = self._encoder_config.num_hidden_layers + 1 if head.wants == "all_hidden_states" else 1
        num_rows, _, hidden = self._token_states.shape
        mask = torch.zeros(num_rows, width, dtype=torch.long, device=self._token_states.device)
        layers = []
        for layer in range(num_layers):
            states = self._scale * torch.randn(num_rows, width, hidden, generator=generator)
            states = states.to(self._token_states.device, self._token_states.dtype)
            for row in range(len(NUM_TOKENS)):
                num_tokens = self._num_tokens(row)
                positions = slice(width - num_tokens, width) if self._pads_left else slice(num_tokens)
                mask[row, positions] = 1
                if uses_encoder:
                    states[row, positions] = self._token_states[row, :num_tokens].roll(layer, dims=-1)
            layers.append(states)
        return layers, mask

    def _num_tokens(self, row: int) -> int:
        """Return the number of tokens in a row, which is smaller if --max_length is short."""
        return min(NUM_TOKENS[row], max(1, self._widths()[0] // 2))

    def _widths(self) -> tuple[int, int]:
        """Return the width of the rows and their width with more padding; neither exceeds --max_length."""
        wide = min(2 * WIDTH, self._max_length)
        return max(1, wide // 2), wide

    @torch.no_grad()
    def _run_encoder(self, model: EncoderWithHead) -> Tensor:
        """Return the encoder's last hidden states for random tokens, [rows, tokens, hidden], under autocast."""
        encoder = model.encoder
        modes = {module: module.training for module in encoder.modules()}
        num_tokens = min(max(NUM_TOKENS), self._max_length)
        generator = torch.Generator().manual_seed(0)
        ids = random_token_ids(encoder, len(NUM_TOKENS), num_tokens, generator).to(self._accelerator.device)
        encoder.eval()
        with fixed_random_numbers(self._accelerator.device), self._accelerator.autocast():
            states = model.run_encoder(ids, torch.ones_like(ids), all_layers=False)
        for module, mode in modes.items():
            module.training = mode
        assert isinstance(states, Tensor)
        return states
