"""Check the names of text encodings."""

from __future__ import annotations

import pytest

from research.data.sources.encodings import check_encoding
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "cp1252", "utf-16-le", "gb18030", "shift_jis", "latin_1"])
def test_check_encoding_accepts_text_encodings(encoding: str) -> None:
    check_encoding(encoding)  # raises no error


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ("utf-88", "'utf-8'"),
        ("latin1000", "'latin"),
        ("CP1253x", "'cp1253'"),
        ("rot13", "is not an encoding of text. Common"),
        ("base64", "is not an encoding of text. Common"),
        ("a\0b", ""),
    ],
)
def test_check_encoding_refuses_unknown_encodings_and_those_that_are_not_of_text(encoding: str, reason: str) -> None:
    with pytest.raises(ValueError, match=in_order(f"'{encoding}'", reason, "utf-8, utf-16, latin-1")):
        check_encoding(encoding)


def test_load_checks_the_encoding_before_reading_data(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=in_order("'rot13'", "utf-8, utf-16")):
        load(write_csv(*reviews(20)), encoding="rot13")
