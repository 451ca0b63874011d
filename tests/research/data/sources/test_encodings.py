"""Names of encodings."""

from __future__ import annotations

import pytest

from research.data.sources.encodings import check_encoding
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "cp1252", "utf-16-le", "gb18030", "shift_jis", "latin_1"])
def test_encoding_of_text_is_accepted(encoding: str) -> None:
    check_encoding(encoding)


@pytest.mark.parametrize(
    ("encoding", "nearest"),
    [
        ("utf-88", "'utf-8'"),
        ("latin1000", "'latin"),
        ("CP1253x", "'cp1253'"),
        ("rot13", ""),
        ("base64", ""),
        ("a\0b", ""),
    ],
)
def test_encoding_of_something_else_than_text_is_refused(encoding: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=in_order(f"'{encoding}'", nearest, "utf-8, utf-16, latin-1")):
        check_encoding(encoding)


def test_encoding_is_checked_before_data_are_read(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=in_order("'rot13'", "utf-8, utf-16")):
        load(write_csv(*reviews(20)), encoding="rot13")
