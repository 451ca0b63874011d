"""Frozen parameters have no gradient, and keep their optimizer state."""

from __future__ import annotations

import pytest
import torch

from heads.registry import UnknownNameError
from research.edits.base import EditError
from tests.research.edits.conftest import StartRehearsal, edit
from tests.research.model.tiny_encoders import tiny_batch


def test_freeze_drops_gradients_and_keeps_the_optimizer_state(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    model = run.encoder_with_head
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    run.optimizer.step()
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    edit(run, freeze=["encoder.embeddings", "encoder.layer[0]"])
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if ".embeddings." in name or ".layer.0." in name}
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name in frozen), name
        assert "exp_avg" in run.optimizer.state[parameter], name


def test_unfreeze_changes_only_the_selected_parameters(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, freeze=["encoder", "head"], unfreeze="encoder.layer[-1]")
    named = dict(run.encoder_with_head.named_parameters())
    trainable = {name for name, parameter in named.items() if parameter.requires_grad}
    assert trainable == {name for name in named if ".layer.1." in name}  # the second of two layers


def test_unknown_selectors_and_freezing_everything_are_refused(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    with pytest.raises(EditError, match=r"step 0 .*--max_steps"):
        edit(run, freeze="all")
    with pytest.raises(ValueError, match=r"'hed'.*'head'") as caught:
        edit(run, unfreeze="hed")
    assert isinstance(caught.value.__cause__, UnknownNameError)
