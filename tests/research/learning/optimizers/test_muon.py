"""Muon updates hidden matrices, AdamW all other parameters."""

from __future__ import annotations

import pytest

from heads import HEADS
from research.learning.optimizer import choose_optimizer, parameter_groups
from research.model.families import model_blocks
from research.settings.config import RunConfig
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_model
from tests.shipped import shipped_names


def names_in_muon_part(family: str, head: str) -> tuple[set[str], set[str]]:
    """Return the names of the parameters that Muon updates, and the names of all matrices."""
    model = tiny_model(family, head)
    config = RunConfig(optimizer="muon")
    groups = parameter_groups(model_blocks(model.encoder, model.head), config, choose_optimizer(config))
    names = {parameter: name for name, parameter in model.named_parameters()}
    in_part = {names[parameter] for group in groups if group["part"] == "muon" for parameter in group["params"]}
    return in_part, {name for parameter, name in names.items() if parameter.ndim == 2}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_muon_updates_matrices_of_layers_and_no_embeddings(family: str) -> None:
    updated, matrices = names_in_muon_part(family, "linear")
    assert updated
    assert updated <= matrices
    assert not any("embedding" in name or name.startswith("head.") for name in updated)


@pytest.mark.parametrize("head", [name for name in shipped_names(HEADS) if name != "last4"])  # needs four hidden states
def test_muon_does_not_update_output_layers(head: str) -> None:
    updated, matrices = names_in_muon_part("bert", head)
    in_head = {name for name in updated if name.startswith("head.")}
    assert in_head == {name for name in matrices if name.startswith("head.") and name != "head.out.weight"}
