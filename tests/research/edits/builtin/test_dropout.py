"""Dropout is set in the selected modules."""

from __future__ import annotations

import pytest
import torch

from research.edits.base import EditError
from research.model import families
from tests.research.edits.conftest import StartRehearsal, edit


def test_set_dropout_changes_only_the_selected_parts(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert", "mlp")
    edit(run, set_dropout={"p": 0.4, "modules": "encoder.layer[1]"})
    edit(run, set_dropout={"p": 0.2, "modules": "head"})
    model = run.encoder_with_head
    probabilities = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    changed = {name: p for name, p in probabilities.items() if p != 0.1}  # 0.1 is the initial value
    assert {name for name, p in changed.items() if p == 0.4} == {
        "encoder.encoder.layer.1.attention.output.dropout",
        "encoder.encoder.layer.1.output.dropout",
    }
    assert {name for name, p in changed.items() if p == 0.2} == {
        name for name in probabilities if name.startswith("head.")
    }


def test_set_dropout_of_the_head_works_in_an_unknown_family(
    start_rehearsal: StartRehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_rehearsal("bert", "mlp")
    monkeypatch.setattr(families, "FAMILIES", {})
    edit(run, set_dropout={"p": 0.2, "modules": "head"})
    with pytest.raises(ValueError, match=r"dropout .*'bert'"):
        edit(run, set_dropout=0.3)


def test_only_set_dropout_of_the_whole_model_changes_its_config(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert", "mlp")
    edit(run, set_dropout={"p": 0.4, "modules": "encoder.layer[1]"})
    config = run.encoder_with_head.config
    assert config.encoder is not None
    assert (config.encoder.hidden_dropout_prob, config.head_options["dropout"]) == (0.1, 0.1)
    edit(run, set_dropout=0.3)
    assert (config.encoder.hidden_dropout_prob, config.head_options["dropout"]) == (0.3, 0.3)
    assert config.encoder.attention_probs_dropout_prob == 0.1


def test_set_dropout_changes_the_dropout_between_the_layers_of_a_recurrent_network(
    start_rehearsal: StartRehearsal,
) -> None:
    run = start_rehearsal("bert", "mlp")
    run.encoder_with_head.head.add_module("network", torch.nn.LSTM(4, 4, num_layers=2, dropout=0.1))
    edit(run, set_dropout={"p": 0.2, "modules": "head"})
    assert run.encoder_with_head.head.get_submodule("network").dropout == 0.2


def test_set_dropout_refuses_a_probability_of_1_and_parts_without_dropout(start_rehearsal: StartRehearsal) -> None:
    with pytest.raises(EditError, match=r"\bp .*0.*1.* 1\.0"):
        edit(start_rehearsal("bert"), set_dropout=1.0)
    with pytest.raises(EditError, match="'head'"):  # the head `probe` has no dropout
        edit(start_rehearsal("bert", "probe"), set_dropout={"p": 0.2, "modules": "head"})
