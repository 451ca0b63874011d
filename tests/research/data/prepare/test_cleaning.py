"""Clean texts with one or several steps."""

from __future__ import annotations

import pytest

from heads.registry import UnknownNameError
from research.data.prepare.cleaning import CLEANING, compose, fingerprint_steps, register_cleaning
from tests.research.data.conftest import Loader, WriteCsv, reviews


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        (
            "strip_html",
            "one<br /><BR>two <b class='x'>bold</b> &amp; <!-- no\n --> a < b and c > d",
            "one\n\ntwo bold &  a < b and c > d",
        ),
        ("unicode_nfc", "cafe\u0301", "caf\u00e9"),
        ("strip_control", "a\x00b\x07\tc\nd\x9f", "ab\tc\nd"),
        ("collapse_whitespace", "  a \n\t b\u00a0c ", "a b c"),
        ("lowercase", "\u00c4bC", "\u00e4bc"),
    ],
)
def test_cleaning_step_returns_the_expected_text(step: str, text: str, expected: str) -> None:
    assert CLEANING[step](text) == expected


@pytest.mark.parametrize("step", list(CLEANING))
def test_cleaning_step_does_not_change_clean_text(step: str) -> None:
    assert CLEANING[step]("clean text, 1 < 2") == "clean text, 1 < 2"


def test_compose_applies_steps_in_order() -> None:
    assert compose(["strip_html", "collapse_whitespace"])("a<br />b") == "a b"
    assert compose(["collapse_whitespace", "strip_html"])("a<br />b") == "a\nb"


def test_cleaning_applies_to_both_texts_of_a_pair(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"A {row},B {row},{row % 2}" for row in range(40)]
    splits = load(write_csv(*lines, header="premise,hypothesis,label"), cleaning=["lowercase"])
    assert splits.train[0]["text"][0] == "a"
    assert splits.train[0]["text_pair"][0] == "b"


def test_texts_that_are_equal_after_cleaning_stay_in_one_split(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{'TEXT' if row % 2 else 'text'} {row // 2},label {row // 2 % 2}" for row in range(200)]
    splits = load(write_csv(*lines), cleaning=["lowercase"])
    assert not set(splits.train["text"]) & set(splits.test["text"])
    assert load.reported("200 training rows", "100 rows that repeat")


def test_cleaning_step_must_return_a_string() -> None:
    with CLEANING.isolated():

        @register_cleaning("count")
        def count(text: str) -> str:
            return len(text)  # type: ignore[return-value]

        with pytest.raises(ValueError, match=r"'count' .* str; .*int"):
            compose(["count"])("text")


def test_fingerprint_steps_hashes_only_user_code() -> None:
    with CLEANING.isolated():
        register_cleaning("mine")(lambda text: text)
        built_in, custom = fingerprint_steps(["lowercase", "mine"])
    assert built_in == "lowercase"
    assert custom.startswith("mine:")  # a hash follows


def test_load_suggests_the_nearest_cleaning_step(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(UnknownNameError, match=r"'strip_htm'.*'strip_html'"):
        load(write_csv(*reviews(10)), cleaning=["strip_htm"])
