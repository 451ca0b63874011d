"""When hidden states may come from the store: decided from the plan of a run, and watched while it trains."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor, nn

from research.edits.base import EDITS, Editable, EditError
from research.edits.records import EditRequest
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import Timeline, TimelineEntry, listed
from research.features.cache import Layers
from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.training.hook import Hook

TRAINS = "the encoder trains"
HARMLESS_LISTENERS = ("torch", "transformers")
"""Packages whose forward hooks belong to a module's own way of computing."""


@dataclass(frozen=True)
class Decision:
    """Whether a run's hidden states can be stored."""

    reason: str | None
    """Why not."""
    is_frozen_at_first: bool
    """Whether the encoder is frozen when the first step is taken."""
    layers: Layers
    """Which ones the run's heads read, planned ones included."""


def is_asked_for(config: RunConfig, clock: Clock) -> bool:
    """Return whether a run wants its hidden states stored, where that can be done."""
    if config.cache_features is None:
        return clock.total_steps > clock.steps_per_epoch  # a single pass gains nothing
    return config.cache_features


def decide(rehearsal: Rehearsal, timeline: Timeline, hooks: Sequence[Hook]) -> Decision:
    """Return whether the encoder gives every row the same hidden states from the first step to the last.

    Args:
        rehearsal: of the run, before its first step (of a fork: where it begins).
        timeline: the planned edits, hooks' included.
        hooks: all that take part.
    """
    run = copy.deepcopy(rehearsal)
    watch = Watch.of(run)
    first = run.clock.step
    reasons = [_apply(run, watch, timeline.due.get(first, ()))]
    is_frozen = not _trains(run.encoder_with_head)
    begun = copy.deepcopy(run)
    read_all = [_reads_all(run.encoder_with_head)]
    for step, requests in timeline.due.items():
        if step > first:
            run.clock.set_step(step)
            reasons.append(_apply(run, watch, requests))
            read_all.append(_reads_all(run.encoder_with_head))
    for entry in timeline.conditional:
        foreseen, reason = _apply_at_any_time((begun, run), entry)
        reasons.append(reason)
        read_all.append(foreseen is not None and _reads_all(foreseen.encoder_with_head))
    reasons += [_reason_of_hook(hook) for hook in hooks]
    reason = next(filter(None, reasons), None) if is_frozen else TRAINS
    return Decision(reason, is_frozen, "all" if any(read_all) else "last")


@dataclass(frozen=True)
class Watch:
    """All that hidden states depend on and that could change in mid-run, as it was when they were stored."""

    tensors: tuple[Tensor, ...]
    """The encoder's parameters and buffers."""
    versions: tuple[int, ...]
    """How often each was written to."""
    modules: tuple[nn.Module, ...]
    """The encoder's modules."""
    lengths: tuple[int, int]
    """Tokens at which training texts and those of evaluations are cut."""

    @classmethod
    def of(cls, run: Editable) -> Watch:
        """Remember a run, or a rehearsal, as it is."""
        encoder = run.encoder_with_head.encoder
        tensors = (*encoder.parameters(), *encoder.buffers())
        return cls(tensors, _versions(tensors), tuple(encoder.modules()), _lengths(run))

    def reason_of_edits(self, run: Editable) -> str | None:
        """Return why the stored hidden states are no longer the model's after edits, or None."""
        encoder = run.encoder_with_head.encoder
        now = (*encoder.parameters(), *encoder.buffers())
        if len(now) != len(self.tensors) or any(a is not b for a, b in zip(now, self.tensors, strict=True)):
            return "the encoder is built otherwise"
        if _trains(run.encoder_with_head):
            return TRAINS
        if _lengths(run) != self.lengths:
            return f"texts are cut at {run.collator.max_length} tokens instead of {self.lengths[0]}"
        return self.reason_of_hooks(run.encoder_with_head)

    def reason_of_hooks(self, model: EncoderWithHead) -> str | None:
        """Return why the stored hidden states are no longer what the model would compute, or None; cheap."""
        if model.training and any(tensor.requires_grad for tensor in self.tensors):
            return TRAINS
        if _versions(self.tensors) != self.versions:
            return "the encoder's weights change"
        if any(_is_listened_to(module) for module in self.modules):
            return "something listens in the encoder's forward pass"
        return None


def _apply(run: Rehearsal, watch: Watch, requests: Sequence[EditRequest]) -> str | None:
    """Apply edits to a rehearsal; return why hidden states cannot be stored across them, or None."""
    run.apply(requests)
    reason = _reason_of(run, watch, requests)
    return reason and f"{reason} after step {run.clock.step} ({listed(requests)})"


def _apply_at_any_time(rehearsals: Sequence[Rehearsal], entry: TimelineEntry) -> tuple[Rehearsal | None, str | None]:
    """Apply edits that wait for a condition to the first rehearsal that can follow them; return it, and the reason."""
    for rehearsal in rehearsals:
        run = copy.deepcopy(rehearsal)
        watch = Watch.of(run)
        with suppress(EditError):  # a head that comes later may be meant
            run.apply(entry.requests)
            reason = _reason_of(run, watch, entry.requests)
            return run, reason and f"{reason} once {entry.when} ({listed(entry.requests)})"
    # With on_conflict skip they may be possible between two planned edits only, or never.
    return None, f"it is not known what changes once {entry.when} ({listed(entry.requests)})"


def _reason_of(run: Rehearsal, watch: Watch, requests: Sequence[EditRequest]) -> str | None:
    own = [request.name for request in requests if not EDITS[request.name].__module__.startswith("research.")]
    return f"the edit '{own[0]}' may change anything" if own else watch.reason_of_edits(run)


def _reason_of_hook(hook: Hook) -> str | None:
    if type(hook).on_batch is not Hook.on_batch:
        return f"the hook {type(hook).__name__} changes batches"
    if not hook.works_compiled:
        return f"the hook {type(hook).__name__} reaches into the forward pass"
    return None


def _trains(model: EncoderWithHead) -> bool:
    return any(parameter.requires_grad for parameter in model.encoder.parameters())


def _reads_all(model: EncoderWithHead) -> bool:
    return model.head.wants == "all_hidden_states"


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in tensors)


def _lengths(run: Editable) -> tuple[int, int]:
    return run.collator.max_length, run.encoder_with_head.config.max_input_length


def _is_listened_to(module: nn.Module) -> bool:
    return any(
        getattr(hook, "__module__", type(hook).__module__).partition(".")[0] not in HARMLESS_LISTENERS
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    )
