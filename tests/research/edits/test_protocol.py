"""Runs and rehearsals both have every member that edits may use."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from research import Hook, register_edit
from research.edits.base import Editable, Processes
from research.edits.rehearsal import Rehearsal, RehearsedProcesses
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun
from tests.research.edits.conftest import StartRehearsal, edit

ATTRIBUTES = Editable.__annotations__
METHODS_AND_PROPERTIES = [name for name in vars(Editable) if not name.startswith("_") and name not in ATTRIBUTES]
METHODS = [name for name in METHODS_AND_PROPERTIES if inspect.isfunction(vars(Editable)[name])]
PROPERTIES = [name for name in METHODS_AND_PROPERTIES if isinstance(vars(Editable)[name], property)]


@register_edit("uses_everything")
def uses_everything(run: Editable, size: int = 5) -> None:
    """Add noise to the weights, and use every member that is available to edits. `size` is only printed."""
    with torch.no_grad(), run.shared_random_numbers():
        for parameter in run.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
        head = run.encoder_with_head.head
        noise = torch.randn(2, device=run.accelerator.device)
        next(reversed(list(head.parameters()))).add_(noise)  # the bias, with one value for each of two labels
        run.log({"noise": noise.norm()})
    run.print(f"pad is {run.tokenizer.pad_token_id}, process {run.accelerator.process_index}, {run.is_main}")
    run.print(f"processes: {run.accelerator.num_processes}, precision: {run.accelerator.mixed_precision}")
    run.print(f"applying {run.applying}")


@register_edit("adds_token")
def adds_token(run: Editable) -> None:
    """Add a token that must not exist yet."""
    assert run.tokenizer.add_tokens(["[NEW]"]) == 1


@register_edit("uses_splits")
def uses_splits(run: Editable) -> None:
    """Use a member that is not available to edits."""
    run.splits  # type: ignore[attr-defined]  # noqa: B018


@register_edit("random_head")
def random_head(run: Editable) -> None:
    """Replace the head with an `mlp` head of a random size."""
    with run.shared_random_numbers():
        size = int(torch.randint(2, 1000, ()))
    run.encoder_with_head.replace_head("mlp", {"mlp_size": size})
    run.new_parameters |= set(run.encoder_with_head.head.parameters())


def test_protocol_has_members_of_each_kind() -> None:
    assert {"config", "optimizer", "applying"} <= ATTRIBUTES.keys()
    assert {"log", "print", "shared_random_numbers"} <= set(METHODS)
    assert {"accelerator", "tokenizer", "model", "encoder_with_head", "is_main"} <= set(PROPERTIES)


@pytest.mark.parametrize("name", [*ATTRIBUTES, *METHODS_AND_PROPERTIES])
def test_run_and_rehearsal_have_each_member(start_rehearsal: StartRehearsal, name: str) -> None:
    assert hasattr(start_rehearsal("bert"), name)
    assert name in {*TrainingRun.__dataclass_fields__, *vars(TrainingRun)}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_run_and_rehearsal_have_the_parameters_in_the_protocol(name: str) -> None:
    expected = inspect.signature(vars(Editable)[name]).parameters
    for implementation in (TrainingRun, Rehearsal):
        assert inspect.signature(getattr(implementation, name)).parameters == expected, implementation


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_of_run_and_rehearsal_have_the_types_in_the_protocol(name: str) -> None:
    for implementation in (TrainingRun, Rehearsal):
        types = {field.name: field.type for field in dataclasses.fields(implementation)}
        assert types[name] == ATTRIBUTES[name], implementation


def test_rehearsed_processes_have_each_member(start_run: StartRun) -> None:
    accelerator = start_run().accelerator
    rehearsed = RehearsedProcesses(torch.device("meta"), num_processes=2, process_index=1, mixed_precision="bf16")
    for name in vars(Processes):
        if not name.startswith("_"):
            assert type(getattr(accelerator, name)) is type(getattr(rehearsed, name)), name
    with pytest.raises(AttributeError, match=r"accelerator\.gather.*num_processes"):
        rehearsed.gather  # noqa: B018


def test_edit_can_use_every_member_in_run_and_rehearsal(
    start_run: StartRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(timeline=[{"at": "2st", "uses_everything": 7}, {"at": "3st", "adds_token": True}])
    # The rehearsal has added the token only to its own copy of the tokenizer.
    assert run.tokenizer.convert_tokens_to_ids("[NEW]") == run.tokenizer.unk_token_id
    train(run)
    assert [record.name for record in run.journal] == ["uses_everything", "adds_token"]
    printed = capsys.readouterr().out
    assert "processes: 1, precision: no\n" in printed
    assert "applying uses_everything(size=7)\n" in printed


def test_rehearsal_lists_available_members_if_an_edit_uses_an_unavailable_one(start_rehearsal: StartRehearsal) -> None:
    with pytest.raises(AttributeError, match=r"run\.splits: .*encoder_with_head"):
        edit(start_rehearsal("bert"), uses_splits=True)


def test_shared_random_numbers_are_the_same_when_an_edit_is_replayed(start_run: StartRun) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 3:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    timeline = [{"at": "2st", "random_head": True}]
    uninterrupted = start_run([Save()], timeline=timeline)
    train(uninterrupted)
    resumed = start_run([Save()], timeline=timeline, resume=uninterrupted.directory / "checkpoints" / "step-00000003")
    train(resumed)
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(uninterrupted.encoder_with_head)
