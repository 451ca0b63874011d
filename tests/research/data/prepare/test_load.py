"""Load the splits that the data settings describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from research.data.prepare.load import load_splits
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


def test_messages_escape_line_breaks_and_control_characters(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(10), header='"a\nlong\x1b[2J text",category')
    with pytest.raises(ValueError, match=r"Columns: a\\nlong\\x1b\[2J text, category\.") as caught:
        load(path, label_column="label")
    assert str(caught.value).isprintable()
    lines = [line.replace("label 1", '"line\u2028and\nline"') for line in reviews(10)]
    load(write_csv(*lines))
    assert load.reported(r"label 0, line\u2028and\nline")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bad_rows": "ignore"}, "bad_rows .*'error' .*'skip'.*'ignore'"),
        ({"limit_train": 0}, "limit_train to be above 0; got 0"),
        ({"test_share": 1.0}, r"test_share .* less than 1; got 1\.0"),
        ({"validation_share": 0.6, "test_share": 0.4}, r"validation_share .*test_share .*0\.6, 0\.4"),
        ({"task": "regresion"}, "'regresion'.*'regression'"),
    ],
)
def test_load_refuses_invalid_settings(
    load: Loader, write_csv: WriteCsv, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_csv(*reviews(10)), **settings)


def test_load_splits_prints_messages_by_default(
    tmp_path: Path, write_csv: WriteCsv, capsys: pytest.CaptureFixture[str]
) -> None:
    from research.settings.config import RunConfig

    lines = [f"text {row},{row % 2}" for row in range(40)]
    load_splits(RunConfig(data=str(write_csv(*lines))), tmp_path / "cache")
    assert re.search(in_order("label_column: 'label'", "text_column: 'text'"), capsys.readouterr().out)
