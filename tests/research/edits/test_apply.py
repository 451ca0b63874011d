"""`apply_edit` applies and records one edit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from research.edits.apply import apply_edit, check_has_trainable_parameters
from research.edits.base import EDITS, Editable, EditError, register_edit
from research.edits.records import EditRequest
from tests.research.edits.conftest import StartRehearsal


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Unregister the edits of a test after the test."""
    with EDITS.isolated():
        yield


def test_apply_edit_records_trainable_parameters_before_and_after(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    run.clock.advance(8)  # one step of 8 rows, a tenth of an epoch
    total = sum(parameter.numel() for parameter in run.encoder_with_head.parameters())
    head = sum(parameter.numel() for parameter in run.encoder_with_head.head.parameters())
    request = EditRequest("freeze", {"modules": "encoder"}, requested_by="the test", entry="at 10%: freeze")
    record = apply_edit(run, request)
    assert (record.number, record.step, record.epoch, record.name) == (1, 1, 0.1, "freeze")
    assert (record.trainable_parameters, record.parameters) == ([total, head], [total, total])
    assert (record.arguments, record.requested_by, record.entry) == (
        {"modules": "encoder"},
        "the test",
        "at 10%: freeze",
    )
    assert record.clock == run.clock.state_dict()
    assert run.applying is None


def test_apply_edit_sets_run_applying_and_seeds_with_the_number_of_the_edit(
    start_rehearsal: StartRehearsal,
) -> None:
    draws_by_request = []

    @register_edit("draws")
    def draws(run: Editable) -> None:
        draws_by_request.append((run.applying, float(torch.rand(()))))

    run = start_rehearsal("bert")
    request = EditRequest("draws", {}, "the test")
    for _ in range(2):
        apply_edit(run, request)
    run.journal.append(apply_edit(run, request))
    apply_edit(run, request)
    assert [applying for applying, _ in draws_by_request] == [request] * 4
    numbers = [number for _, number in draws_by_request]
    # The seed depends on the number of edits in the journal, to which only the third record was added.
    assert numbers[0] == numbers[1] == numbers[2] != numbers[3]


def test_apply_edit_error_contains_the_step_the_request_and_who_requested_it(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    run.clock.advance(8)
    with pytest.raises(EditError, match=r"step 1, set_dropout\(p=2\.0\) .*the test.* 2\.0\.$") as caught:
        apply_edit(run, EditRequest("set_dropout", {"p": 2.0}, "the test"))
    assert isinstance(caught.value.__cause__, EditError)
    assert run.applying is None


def test_apply_edit_does_not_wrap_library_errors(start_rehearsal: StartRehearsal) -> None:
    @register_edit("fails_in_torch")
    def fails_in_torch(run: Editable) -> None:
        torch.device("no such device")

    with pytest.raises(RuntimeError, match="no such device"):
        apply_edit(start_rehearsal("bert"), EditRequest("fails_in_torch", {}, "the test"))


def test_edits_that_share_parameters_are_refused(start_rehearsal: StartRehearsal) -> None:
    @register_edit("ties_layers")
    def ties_layers(run: Editable) -> None:
        first, second = run.encoder_with_head.encoder.get_submodule("encoder.layer").children()
        second.get_submodule("output.dense").weight = first.get_submodule("output.dense").weight

    run = start_rehearsal("bert")
    with pytest.raises(EditError, match=r"ties_layers.*share parameters \(encoder.*1\.output\.dense\.weight\)"):
        apply_edit(run, EditRequest("ties_layers", {}, "the test"))


def test_layers_of_encoders_that_share_parameters_can_be_edited(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("deberta-v2")
    apply_edit(run, EditRequest("drop_layers", {"modules": "encoder.layer[0]"}, "the test"))
    apply_edit(run, EditRequest("replace_head", {"head": "mean"}, "the test"))


def test_check_has_trainable_parameters_refuses_a_model_with_everything_frozen(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    check_has_trainable_parameters(run)
    run.clock.advance(8)
    run.encoder_with_head.requires_grad_(False)
    with pytest.raises(EditError, match=r"step 1 .*--max_steps"):
        check_has_trainable_parameters(run)
