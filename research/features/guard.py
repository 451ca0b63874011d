"""Decide from a run's plan whether hidden states can be stored, and detect changes in training that invalidate them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor, nn

from research.edits.base import EDITS, Editable, EditError
from research.edits.records import EditRequest
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import Timeline, TimelineEntry, list_edits
from research.features.cache import Layers
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import is_causal
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.training.hook import Hook

ENCODER_TRAINS = "the encoder trains"
HARMLESS_PACKAGES = ("torch", "transformers")
"""Packages whose forward hooks are part of a module's own computation."""


@dataclass(frozen=True)
class CachingDecision:
    """Whether a run's hidden states can be stored."""

    reason: str | None
    """Why they cannot be stored; None if they can."""
    starts_frozen: bool
    """Whether the encoder is frozen in the first step."""
    layers: Layers
    """The layers that the run's heads read, planned heads included."""


def wants_caching(config: RunConfig, clock: Clock) -> bool:
    """Return whether a run's hidden states should be stored if possible. Those of streamed rows cannot be stored."""
    if config.streaming:
        return False
    if config.cache_features is None:
        return clock.total_steps > clock.steps_per_epoch  # in a single epoch, each row is read only once
    return config.cache_features


def decide_caching(rehearsal: Rehearsal, timeline: Timeline, hooks: Sequence[Hook]) -> CachingDecision:
    """Decide whether hidden states can be stored: the encoder's output for a row must be the same in every step.

    Args:
        rehearsal: the run's rehearsal before its first step (for a fork: at its start).
        timeline: the planned edits, including those of hooks.
        hooks: all hooks of the run.
    """
    run = copy.deepcopy(rehearsal)
    snapshot = EncoderSnapshot.of(run)
    start_step = run.clock.step
    reasons = [_why_settings_prevent_caching(rehearsal.config)]
    reasons += [_apply_edits(run, snapshot, timeline.due.get(start_step, ()))]
    starts_frozen = not _encoder_trains(run.encoder_with_head)
    after_first_edits = copy.deepcopy(run)
    reads_all_layers = [_reads_all_layers(run.encoder_with_head)]
    for step, requests in timeline.due.items():
        if step > start_step:
            run.clock.set_step(step)
            reasons.append(_apply_edits(run, snapshot, requests))
            reads_all_layers.append(_reads_all_layers(run.encoder_with_head))
    for entry in timeline.conditional:  # its condition may come true before or after the planned edits
        edited, reason = _apply_where_possible((after_first_edits, run), entry)
        reasons.append(reason)
        reads_all_layers.append(edited is not None and _reads_all_layers(edited.encoder_with_head))
    reasons += [_why_hook_prevents_caching(hook) for hook in hooks]
    reason = next(filter(None, reasons), None) if starts_frozen else ENCODER_TRAINS
    return CachingDecision(reason, starts_frozen, "all" if any(reads_all_layers) else "last")


@dataclass(frozen=True)
class EncoderSnapshot:
    """The encoder and the maximum length of its inputs when its hidden states were stored; detects later changes."""

    tensors: tuple[Tensor, ...]
    """The encoder's parameters and buffers."""
    versions: tuple[int, ...]
    """Version counter of each tensor, which torch increases with every in-place change."""
    modules: tuple[nn.Module, ...]
    """The encoder's modules."""
    lengths: tuple[int, int]
    """Maximum length of inputs in training and in evaluations, in tokens."""
    is_causal: bool
    """Whether a token attends only to itself and to the tokens before it."""

    @classmethod
    def of(cls, run: Editable) -> EncoderSnapshot:
        """Return the current state of a run or a rehearsal."""
        encoder = run.encoder_with_head.encoder
        tensors = (*encoder.parameters(), *encoder.buffers())
        return cls(tensors, _versions(tensors), tuple(encoder.modules()), _lengths(run), is_causal(encoder.config))

    def why_unusable_after_edits(self, run: Editable) -> str | None:
        """Return why the stored hidden states are no longer valid after edits; None if they are."""
        encoder = run.encoder_with_head.encoder
        tensors = (*encoder.parameters(), *encoder.buffers())
        if len(tensors) != len(self.tensors) or any(a is not b for a, b in zip(tensors, self.tensors, strict=True)):
            return "the encoder's structure changes"
        if _encoder_trains(run.encoder_with_head):
            return ENCODER_TRAINS
        if is_causal(encoder.config) != self.is_causal:
            return "the direction of attention changes"
        if _lengths(run) != self.lengths:
            return f"inputs are truncated to {run.collator.max_length} tokens instead of {self.lengths[0]}"
        return self.why_unusable(run.encoder_with_head)

    def why_unusable(self, model: EncoderWithHead) -> str | None:
        """Return why the stored hidden states are no longer valid, for example because of a hook; None if they are.

        The check is cheap enough to be made for every batch.
        """
        if model.training and any(tensor.requires_grad for tensor in self.tensors):
            return ENCODER_TRAINS
        if _versions(self.tensors) != self.versions:
            return "the encoder's weights change"
        if has_foreign_forward_hooks(self.modules):
            return "forward hooks are registered on the encoder"
        return None


def _apply_edits(run: Rehearsal, snapshot: EncoderSnapshot, requests: Sequence[EditRequest]) -> str | None:
    """Apply edits to a rehearsal, and return why they make stored hidden states invalid; None if they do not."""
    run.apply(requests)
    reason = _why_unusable_after(run, snapshot, requests)
    return reason and f"{reason} after step {run.clock.step} ({list_edits(requests)})"


def _apply_where_possible(rehearsals: Sequence[Rehearsal], entry: TimelineEntry) -> tuple[Rehearsal | None, str | None]:
    """Apply a conditional entry to the first rehearsal in which this is possible.

    Returns:
        The rehearsal after the edits, or None if no rehearsal accepts them; and why stored hidden states may be invalid
        after them, or None if they stay valid.
    """
    for rehearsal in rehearsals:
        run = copy.deepcopy(rehearsal)
        snapshot = EncoderSnapshot.of(run)
        with suppress(EditError):  # the edits may need a head that the timeline sets later
            run.apply(entry.requests)
            reason = _why_unusable_after(run, snapshot, entry.requests)
            return run, reason and f"{reason} once {entry.when} ({list_edits(entry.requests)})"
    # With on_conflict skip, the edits may be possible only between two planned edits, or never.
    return None, f"it is not known what changes once {entry.when} ({list_edits(entry.requests)})"


def _why_unusable_after(run: Rehearsal, snapshot: EncoderSnapshot, requests: Sequence[EditRequest]) -> str | None:
    user_defined = [request.name for request in requests if not EDITS[request.name].__module__.startswith("research.")]
    if user_defined:
        return f"the edit '{user_defined[0]}' may change anything"
    return snapshot.why_unusable_after_edits(run)


def _why_settings_prevent_caching(config: RunConfig) -> str | None:
    return None if config.train_windows is None else "--train_windows chooses other windows in every epoch"


def _why_hook_prevents_caching(hook: Hook) -> str | None:
    if type(hook).on_batch is not Hook.on_batch:
        return f"the hook {type(hook).__name__} changes batches"
    if not hook.works_compiled:  # hooks that change the forward pass do not work with compiled models
        return f"the hook {type(hook).__name__} changes the forward pass"
    return None


def _encoder_trains(model: EncoderWithHead) -> bool:
    return any(parameter.requires_grad for parameter in model.encoder.parameters())


def _reads_all_layers(model: EncoderWithHead) -> bool:
    return model.head.wants == "all_hidden_states"


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in tensors)


def _lengths(run: Editable) -> tuple[int, int]:
    return run.collator.max_length, run.encoder_with_head.config.max_input_length


def has_foreign_forward_hooks(modules: Iterable[nn.Module]) -> bool:
    """Return whether a user's forward hooks are registered on any of the modules."""
    return any(
        getattr(hook, "__module__", type(hook).__module__).partition(".")[0] not in HARMLESS_PACKAGES
        for module in modules
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    )
