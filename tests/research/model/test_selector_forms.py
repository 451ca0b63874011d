"""Selectors with invalid syntax are refused with suggestions."""

from __future__ import annotations

import pytest

from research.model.selector_forms import FORMS, SelectorError, as_list, check_syntax, read_layers, suggest


def test_check_syntax_accepts_every_documented_form() -> None:
    check_syntax(list(FORMS))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("encoder.layer", slice(None)),
        ("encoder.layer[0]", 0),
        ("encoder.layer[-1]", -1),
        ("encoder.layer[-2:]", slice(-2, None)),
        ("encoder.layer[ 1 : 3 ]", slice(1, 3)),
        ("encoder.layer[:4]", slice(None, 4)),
        ("encoder.layer[:]", slice(None)),
    ],
)
def test_read_layers_returns_a_number_or_a_slice(selector: str, expected: int | slice) -> None:
    assert read_layers(selector) == expected
    check_syntax(selector)


@pytest.mark.parametrize(
    "selector", ["encoder.layers", "encoder.layer[]", "encoder.layer[1.5]", "encoder.layer[1:2:3]", "encoder.layer[1"]
)
def test_check_syntax_gives_an_example_for_invalid_layers(selector: str) -> None:
    with pytest.raises(SelectorError) as caught:
        check_syntax(["head", selector])
    assert f"'{selector}'" in str(caught.value)
    assert "encoder.layer[-2:]" in str(caught.value)


@pytest.mark.parametrize("selector", [[], ["head", "encodr"], ""])
def test_check_syntax_lists_all_forms_for_unknown_selectors(selector: list[str] | str) -> None:
    with pytest.raises(SelectorError) as caught:
        check_syntax(selector)
    assert ", ".join(FORMS) in str(caught.value)
    assert ("'encoder'?" in str(caught.value)) == ("encodr" in selector)


def test_suggest_returns_the_most_similar_selector_or_an_empty_string() -> None:
    assert "'head'" in suggest("haed")
    assert "'layer.0'" in suggest("layer.o", ["layer.0", "embeddings"])
    assert suggest("zzz") == suggest("haed", ["zzz"]) == ""


def test_as_list_wraps_a_single_selector() -> None:
    assert as_list("head") == ["head"]
    assert as_list(["head", "all"]) == ["head", "all"]
