"""Hidden states are cached only if they stay the same, for every row, until the end of the run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import nn

from research.data.batches.batch import Batch
from research.data.batches.collate import Collator
from research.edits.base import EDITS, Editable, register_edit
from research.edits.records import EditRequest
from research.edits.rehearsal import Rehearsal
from research.edits.timeline import parse_timeline, resolve_timeline
from research.features.cache import Layers
from research.features.guard import CachingDecision, EncoderSnapshot, decide_caching, wants_caching
from research.hooks.fgm import FastGradientMethod
from research.learning.objectives import OBJECTIVES
from research.model.encoders import load_tokenizer
from research.runner.plan import entries_planned_by_hooks
from research.settings.config import Choice, RunConfig
from research.settings.options import create
from research.settings.times import Clock
from research.tasks.single_label import SingleLabel
from research.training.api import Run
from research.training.hook import HOOKS, Hook
from tests.shipped import shipped_names

Entries = list[dict[str, Any]]


class BuildRehearsal(Protocol):
    """A function that returns the rehearsal of a run with the given settings."""

    def __call__(self, **settings: Any) -> Rehearsal: ...


class Decide(Protocol):
    """A function that decides whether a run with a timeline, hooks and settings can use cached hidden states."""

    def __call__(self, timeline: Entries, hooks: Sequence[Hook] = ..., **settings: Any) -> CachingDecision: ...


@pytest.fixture
def build_rehearsal(tiny_encoder: Path) -> BuildRehearsal:
    """Return a function that returns the rehearsal of a run of 20 steps, two epochs."""
    tokenizer = load_tokenizer(str(tiny_encoder))
    task = SingleLabel(("bad", "good"))

    def build(**settings: Any) -> Rehearsal:
        config = RunConfig(**{"encoder": str(tiny_encoder), "head": "linear", "max_length": 32, **settings})
        collator = Collator(tokenizer, task, max_length=32, truncation="head", pair=False)
        clock = Clock(steps_per_epoch=10, total_steps=20, batch_size=8)
        objective = create(OBJECTIVES, Choice("cross_entropy"), task)
        return Rehearsal.of(config, task, objective, collator, clock, tokenizer)

    return build


@pytest.fixture
def decide_for(build_rehearsal: BuildRehearsal) -> Decide:
    """Return a function that calls `decide_caching` for a run, whose encoder is frozen unless `freeze` is passed."""

    def decide_run(timeline: Entries, hooks: Sequence[Hook] = (), **settings: Any) -> CachingDecision:
        rehearsal = build_rehearsal(timeline=timeline, **{"freeze": ["encoder"], **settings})
        blocks = ["embeddings", "layer.0", "layer.1", "head"]  # of a tiny encoder with a head
        hook_entries = entries_planned_by_hooks(hooks, rehearsal.config, blocks)
        entries = [*parse_timeline(rehearsal.config), *hook_entries]
        return decide_caching(rehearsal, resolve_timeline(entries, rehearsal.clock), hooks)

    return decide_run


ALLOWED_TIMELINES: dict[str, Entries] = {
    "nothing": [],
    "rates": [{"at": "50%", "set_lr": 0.1, "set_weight_decay": 0.1}, {"every": "3st", "scale_lr": 0.9}],
    "head swap": [{"at": "50%", "replace_head": "lstm"}],
    "objective": [{"at": "50%", "set_objective": "focal"}],
    "frozen again": [{"at": "50%", "freeze": "encoder.layer"}],
    # "1st": after step 1
    "parts of the head": [{"at": "1st", "freeze": "name:head.out.bias"}, {"at": "50%", "unfreeze": "head"}],
    "head reinitialized": [{"at": "50%", "reinitialize": "head"}],
    "head's dropout": [{"at": "50%", "set_dropout": {"p": 0.3, "modules": "head"}}],
    "dropout of a frozen encoder": [{"at": "50%", "set_dropout": 0.3}],
    "same length": [{"at": "50%", "set_max_length": 32}],
    "conditional edit": [{"when": "plateau(validation/loss, 1)", "replace_head": "gru"}],
}


@pytest.mark.parametrize("case", ALLOWED_TIMELINES)
def test_decide_caching_accepts_edits_that_do_not_change_the_encoder(decide_for: Decide, case: str) -> None:
    assert decide_for(ALLOWED_TIMELINES[case]) == CachingDecision(reason=None, starts_frozen=True, layers="last")


REFUSED_TIMELINES: dict[str, tuple[Entries, str]] = {
    "unfreeze": (
        [{"at": "50%", "unfreeze": "encoder"}],
        "the encoder trains after step 10 (unfreeze(modules='encoder'))",
    ),
    "unfreeze a part": (
        [{"at": "3st", "unfreeze": "name:encoder.*.bias"}],
        "the encoder trains after step 3 (unfreeze(modules='name:encoder.*.bias'))",
    ),
    "unfreeze all": ([{"at": "3st", "unfreeze": "all"}], "the encoder trains after step 3 (unfreeze(modules='all'))"),
    "for a while": (
        [{"at": "3st", "unfreeze": "encoder"}, {"at": "4st", "freeze": "encoder"}],
        "the encoder trains after step 3 (unfreeze(modules='encoder'))",
    ),
    "reinitialize": (
        [{"at": "3st", "reinitialize": "encoder.layer[-1]"}],
        "the encoder's weights change after step 3 (reinitialize(modules='encoder.layer[-1]'))",
    ),
    "reinitialize at the start": (
        [{"at": "0%", "reinitialize": "encoder.layer[-1]"}],
        "the encoder's weights change after step 0 (freeze(modules=['encoder']), "
        "reinitialize(modules='encoder.layer[-1]'))",
    ),
    "fewer layers": (
        [{"at": "3st", "drop_layers": "encoder.layer[-1]"}],
        "the encoder's structure changes after step 3 (drop_layers(modules='encoder.layer[-1]'))",
    ),
    "adapters": ([{"at": "3st", "add_lora": {"r": 2}}], "the encoder's structure changes after step 3 (add_lora("),
    "length": (
        [{"at": "3st", "set_max_length": 16}],
        "inputs are truncated to 16 tokens instead of 32 after step 3 (set_max_length(length=16))",
    ),
    "length for a while": (
        [{"at": "0%", "set_max_length": 16}, {"at": "3st", "set_max_length": 32}],
        "inputs are truncated to 16 tokens instead of 32 after step 0 (",
    ),
    "conditional edit": (
        [{"when": "above(validation/accuracy, 0.8)", "unfreeze": "encoder.layer[-1]"}],
        "the encoder trains once above(validation/accuracy, 0.8) (unfreeze(modules='encoder.layer[-1]'))",
    ),
    "conditional edit of a later head": (
        [
            {"at": "3st", "replace_head": "lstm"},
            {"when": "above(validation/accuracy, 0.8)", "unfreeze": "name:head.forwards.*", "set_max_length": 8},
        ],
        "inputs are truncated to 8 tokens instead of 32 once above(",
    ),
    "conditional edit of a head that may be replaced before": (
        [
            {"at": "3st", "replace_head": "lstm"},
            {"at": "6st", "replace_head": "linear"},
            {"when": "above(validation/accuracy, 0.8)", "freeze": "name:head.forwards.*", "on_conflict": "skip"},
        ],
        "it is not known what changes once above(validation/accuracy, 0.8) (freeze(",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TIMELINES)
def test_decide_caching_names_an_edit_that_changes_the_encoder_as_the_reason(decide_for: Decide, case: str) -> None:
    timeline, reason = REFUSED_TIMELINES[case]
    decision = decide_for(timeline)
    assert decision.reason is not None
    assert decision.reason.startswith(reason), decision.reason
    assert decision.starts_frozen


@pytest.fixture
def user_edit() -> Iterator[None]:
    """Register an edit of a user, whose effects Midway cannot know in advance."""
    with EDITS.isolated():

        @register_edit("my_edit", touches="nothing")
        def my_edit(run: Editable) -> None:
            """Do nothing."""

        yield


@pytest.mark.usefixtures("user_edit")
@pytest.mark.parametrize("when", [{"at": "0%"}, {"at": "3st"}, {"when": "below(validation/loss, 1)"}])
def test_decide_caching_refuses_edits_that_users_define(decide_for: Decide, when: dict[str, str]) -> None:
    assert "'my_edit'" in (decide_for([{**when, "my_edit": True}]).reason or "")


@pytest.mark.parametrize("settings", [{"freeze": []}, {"freeze": ["encoder.layer"]}, {"peft": "lora"}])
def test_decide_caching_refuses_an_encoder_that_trains(decide_for: Decide, settings: dict[str, Any]) -> None:
    assert decide_for([], **settings) == CachingDecision(
        reason="the encoder trains", starts_frozen=False, layers="last"
    )


def test_decide_caching_considers_planned_edits_of_hooks(decide_for: Decide) -> None:
    unfreezing_hook = create(HOOKS, Choice("gradual_unfreezing"))
    length_hook = create(HOOKS, Choice("length_warmup", {"start": 8}))
    for hook, expected in (
        (unfreezing_hook, "the encoder trains after step"),
        (length_hook, "inputs are truncated to 8 tokens instead of 32 after step 0"),
    ):
        reason = decide_for([], [hook]).reason
        assert reason is not None
        assert reason.startswith(expected)


class ChangesBatches(Hook):
    def on_batch(self, run: Run, batch: Batch) -> None:
        """Change the batch in place."""


@pytest.mark.parametrize(("hook", "change"), [(ChangesBatches(), "batches"), (FastGradientMethod(), "forward pass")])
def test_decide_caching_names_a_hook_that_changes_the_forward_pass_as_the_reason(
    decide_for: Decide, hook: Hook, change: str
) -> None:
    assert re.search(rf"hook {type(hook).__name__} .*{change}", decide_for([], [hook]).reason or "")


@pytest.mark.parametrize("name", shipped_names(HOOKS))
def test_decide_caching_refuses_the_built_in_hooks_that_change_what_the_encoder_computes(
    decide_for: Decide, name: str
) -> None:
    reason = decide_for([], [create(HOOKS, Choice(name, {"start": 8} if name == "length_warmup" else {}))]).reason
    assert (reason is None) == (name in ("early_stopping", "ema", "loss_spike_guard", "swa")), reason


@pytest.mark.parametrize(
    ("head", "timeline", "layers"),
    [
        ("scalar_mix", [], "all"),
        ("linear", [{"at": "3st", "replace_head": "scalar_mix"}], "all"),
        ("linear", [{"when": "below(validation/loss, 1)", "replace_head": "scalar_mix"}], "all"),
        ("scalar_mix", [{"at": "3st", "replace_head": "linear"}], "all"),
        ("scalar_mix", [{"at": "0%", "replace_head": "linear"}], "last"),
    ],
)
def test_decide_caching_returns_the_layers_that_planned_heads_read(
    decide_for: Decide, head: str, timeline: Entries, layers: Layers
) -> None:
    assert decide_for(timeline, head=head) == CachingDecision(reason=None, starts_frozen=True, layers=layers)


def test_decide_caching_does_not_change_the_rehearsal(build_rehearsal: BuildRehearsal) -> None:
    rehearsal = build_rehearsal(freeze=["encoder"], timeline=[{"at": "3st", "drop_layers": "encoder.layer[0]"}])
    timeline = resolve_timeline(parse_timeline(rehearsal.config), rehearsal.clock)
    decide_caching(rehearsal, timeline, ())
    assert rehearsal.clock.step == 0
    assert not rehearsal.journal
    assert all(parameter.requires_grad for parameter in rehearsal.encoder_with_head.parameters())


def test_wants_caching_by_default_in_runs_longer_than_one_epoch() -> None:
    for total_steps, expected in ((10, False), (11, True), (3, False)):
        clock = Clock(steps_per_epoch=10, total_steps=total_steps, batch_size=8)
        assert wants_caching(RunConfig(), clock) == expected
        assert wants_caching(RunConfig(cache_features=True), clock)
        assert not wants_caching(RunConfig(cache_features=False), clock)
        assert not wants_caching(RunConfig(streaming=True), clock)


@pytest.fixture
def frozen_rehearsal(build_rehearsal: BuildRehearsal) -> Rehearsal:
    """Return a rehearsal with a frozen encoder, and the model in training mode."""
    rehearsal: Rehearsal = build_rehearsal()
    rehearsal.apply([EditRequest("freeze", {"modules": "encoder"})])
    rehearsal.encoder_with_head.train()
    return rehearsal


def test_snapshot_detects_changes_of_the_encoder_by_hooks(frozen_rehearsal: Rehearsal) -> None:
    model = frozen_rehearsal.encoder_with_head
    assert EncoderSnapshot.of(frozen_rehearsal).why_unusable(model) is None
    snapshot = EncoderSnapshot.of(frozen_rehearsal)
    with torch.no_grad():
        next(model.head.parameters()).mul_(2)
        assert snapshot.why_unusable(model) is None
        next(model.encoder.parameters()).mul_(2)
    assert snapshot.why_unusable(model) == "the encoder's weights change"
    snapshot = EncoderSnapshot.of(frozen_rehearsal)
    for register in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        handle = register(model.encoder.get_input_embeddings(), lambda *arguments: None)
        assert "forward hooks" in (snapshot.why_unusable(model) or "")
        handle.remove()
        assert snapshot.why_unusable(model) is None
    next(model.encoder.parameters()).requires_grad_(True)
    assert snapshot.why_unusable(model) == "the encoder trains"
    model.eval()  # a frozen encoder is required only in training mode
    assert snapshot.why_unusable(model) is None


def test_snapshot_accepts_the_forward_hooks_of_transformers(frozen_rehearsal: Rehearsal) -> None:
    model = frozen_rehearsal.encoder_with_head
    snapshot = EncoderSnapshot.of(frozen_rehearsal)
    ids = torch.zeros(1, 2, dtype=torch.long, device="meta")
    with contextlib.suppress(RuntimeError):  # fails since parameters have no values
        model.run_encoder(ids, torch.ones_like(ids), all_layers=True)
    assert any(module._forward_hooks for module in model.encoder.modules())
    assert snapshot.why_unusable(model) is None
