"""A new head replaces the current one."""

from __future__ import annotations

import pytest

from heads.lstm import LSTMHead
from research.edits.base import EditError
from tests.research.edits.conftest import StartRehearsal, edit


def test_replace_head_keeps_labels_and_learning_rates(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, set_lr={"lr": 0.25, "modules": "head"}, replace_head={"name": "lstm", "lstm_size": 4})
    model = run.encoder_with_head
    assert isinstance(model.head, LSTMHead)
    assert model.head.out.weight.shape == (3, 8)  # 3 labels; 4 units in each of 2 directions
    assert (model.config.head, model.config.head_options["lstm_size"]) == ("lstm", 4)
    assert run.new_parameters == set(model.head.parameters())
    groups = [group for group in run.optimizer.param_groups if group["block"] == "head"]
    assert {group["base_lr"] for group in groups} == {0.25}
    assert {parameter for group in groups for parameter in group["params"]} == run.new_parameters


def test_replace_head_suggests_similar_heads_and_options(start_rehearsal: StartRehearsal) -> None:
    with pytest.raises(EditError, match=r"'lsmt'.*'lstm'"):
        edit(start_rehearsal("bert"), replace_head="lsmt")
    with pytest.raises(EditError, match=r"option 'size'.*'lstm_size'.*head 'lstm'"):
        edit(start_rehearsal("bert"), replace_head={"name": "lstm", "size": 4})
