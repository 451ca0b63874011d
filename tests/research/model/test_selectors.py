"""Selectors match the same parts in every family. The expected parameter names are given by patterns in this file."""

from __future__ import annotations

import re

import pytest

from research.model.selector_forms import SelectorError
from research.model.selectors import (
    frozen_modules,
    select_blocks,
    select_layers,
    select_modules,
    select_parameters,
    shortest_selectors,
)
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_model

LAYER = dict.fromkeys(FAMILY_NAMES, r"encoder\.layer") | {
    "albert": r"encoder\.albert_layer_groups",
    "distilbert": r"transformer\.layer",
    "modernbert": "layers",
}
"""For each family, a pattern that matches the path of the module that holds the layers, within the encoder."""
EMBEDDINGS = dict.fromkeys(FAMILY_NAMES, r"embeddings\.") | {
    "albert": r"embeddings\.|encoder\.embedding_hidden_mapping_in\.",
    "electra": r"embeddings\.|embeddings_project\.",
}
"""For each family, a pattern that matches the start of the names of embedding parameters, within the encoder."""
REST = {
    "deberta-v2": r"encoder\.(rel_embeddings|LayerNorm|conv)\.",
    "modernbert": r"final_norm\.",
    "mpnet": r"encoder\.relative_attention_bias\.",
}
"""The same pattern for the parameters of `encoder.rest`, for the families that have any."""
SHARES_LAYERS = ("albert",)
"""Families whose layers are one layer, applied several times, so that `encoder.layer[...]` is refused."""


def expected_pattern(family: str, selector: str) -> str:
    """Return a pattern of the parameter names that a selector matches."""
    head, encoder = "head\\.", "encoder\\."
    return {
        "all": f"{head}|{encoder}",
        "encoder": encoder,
        "head": head,
        "encoder.embeddings": f"{encoder}({EMBEDDINGS[family]})",
        "encoder.layer": rf"{encoder}{LAYER[family]}\.",
        "encoder.layer[-1]": rf"{encoder}{LAYER[family]}\.1\.",
        "encoder.layer[:1]": rf"{encoder}{LAYER[family]}\.0\.",
        "encoder.layer[0:2]": rf"{encoder}{LAYER[family]}\.[01]\.",
        "encoder.rest": f"{encoder}({REST.get(family, 'nothing')})",
        "name:*bias": r".*bias$",
    }[selector]


SELECTORS = (
    "all",
    "encoder",
    "head",
    "encoder.embeddings",
    "encoder.layer",
    "encoder.layer[-1]",
    "encoder.layer[:1]",
    "encoder.layer[0:2]",
    "encoder.rest",
    "name:*bias",
)


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_select_parameters_returns_the_matching_parameters(family: str, selector: str) -> None:
    model = tiny_model(family)
    if (family in SHARES_LAYERS and "[" in selector) or (family not in REST and selector == "encoder.rest"):
        with pytest.raises(SelectorError, match=r"selects layers by number|matches no parameter"):
            select_parameters(model, selector)
        return
    names = {name for name, _ in model.named_parameters()}
    expected_names = {name for name in names if re.match(expected_pattern(family, selector), name)}
    assert expected_names
    assert select_parameters(model, selector).keys() == expected_names


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_select_parameters_of_all_parts_returns_the_whole_encoder(family: str) -> None:
    model = tiny_model(family)
    parts = ["encoder.embeddings", "encoder.layer", *(["encoder.rest"] if family in REST else [])]
    assert select_parameters(model, parts).keys() == select_parameters(model, "encoder").keys()
    assert select_parameters(model, [*parts, "head"]).keys() == dict(model.named_parameters()).keys()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_selected_modules_contain_exactly_the_selected_parameters(family: str) -> None:
    model = tiny_model(family)
    selectors = ["encoder.embeddings", "encoder.layer", "head", *(["encoder.rest"] if family in REST else [])]
    for selector in selectors:
        modules = [model.get_submodule(name) for name in select_modules(model, selector)]
        parameters = {parameter for module in modules for parameter in module.parameters(recurse=False)}
        assert parameters == set(select_parameters(model, selector).values()), selector


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_frozen_modules_returns_the_largest_fully_frozen_modules(family: str) -> None:
    model = tiny_model(family)
    assert frozen_modules(model) == []
    model.encoder.requires_grad_(False)
    assert frozen_modules(model) == [model.encoder]
    layers = "encoder." + LAYER[family].replace("\\", "")  # the path, without the escapes of the pattern
    *_, last_layer = model.get_submodule(layers).children()
    last_layer.requires_grad_(True)
    frozen = frozen_modules(model)
    assert last_layer not in frozen
    frozen_parameters = {parameter for module in frozen for parameter in module.parameters()}
    assert frozen_parameters == {parameter for parameter in model.parameters() if not parameter.requires_grad}


def test_select_blocks_returns_whole_blocks() -> None:
    model = tiny_model("bert")
    assert select_blocks(model, "encoder") == ["embeddings", "layer.0", "layer.1"]
    assert select_blocks(model, ["head", "encoder.layer[-1:]"]) == ["layer.1", "head"]
    with pytest.raises(SelectorError, match=r"'name:\*bias' .*'embeddings'"):
        select_blocks(model, "name:*bias")


def test_select_layers_returns_layer_numbers() -> None:
    model = tiny_model("bert")
    assert select_layers(model, "encoder.layer[-1]") == [1]
    assert select_layers(model, "encoder.layer") == [0, 1]
    with pytest.raises(SelectorError, match=r"layers.*'encoder'"):
        select_layers(model, "encoder")


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("encodr", r"'encodr'.*'encoder'\?"),
        ("encoder.layers[0]", r"encoder\.layer\[-2:\].*'encoder\.layers\[0\]'"),
        ("encoder.layer[2]", r"'encoder\.layer\[2\]' .*\b2 layers"),
        ("encoder.layer[5:]", r"'encoder\.layer\[5:\]' .*\b2 layers"),
        ("encoder.layer[x]", r"encoder\.layer\[-2:\].*'encoder\.layer\[x\]'"),
        ("adapters", "'adapters'"),
        ("name:*.Layernorm.*", r"'name:\*\.Layernorm\.\*'"),
        ("name:head.out.wieght", r"'name:head\.out\.wieght'.*'name:head\.out\.weight'\?"),
    ],
)
def test_select_parameters_explains_why_a_selector_is_refused(selector: str, message: str) -> None:
    with pytest.raises(SelectorError, match=message):
        select_parameters(tiny_model("bert"), selector)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_shortest_selectors_match_exactly_the_given_parameters(family: str) -> None:
    model = tiny_model(family)
    layers = "encoder.layer" if family in SHARES_LAYERS else "encoder.layer[-1]"
    layer_names, embedding_names = (
        list(select_parameters(model, selector)) for selector in (layers, "encoder.embeddings")
    )
    names = [*layer_names, embedding_names[0], *select_parameters(model, "head")]
    selectors = shortest_selectors(model, names)
    assert select_parameters(model, selectors).keys() == set(names)
    assert len(selectors) == 3  # the layer, one parameter of the embeddings, and the head
    model.get_parameter(layer_names[0]).requires_grad_(False)  # the layer's selector may also match frozen parameters
    assert shortest_selectors(model, names[1:]) == selectors
