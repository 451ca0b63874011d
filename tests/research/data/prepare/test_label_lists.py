"""Read labels given as lists: either the names that apply, or a 0 or 1 for each label."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from research.data.prepare.label_lists import IndicatorReader, NameReader
from research.data.prepare.labels import LabelCodes
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv


def make_list_array(*rows: list[str]) -> pa.ListArray:
    return pa.array(rows, pa.list_(pa.string()))


def test_name_reader_returns_label_codes() -> None:
    reader = NameReader(LabelCodes(["a", "b", "c"], to_name=str))
    parsed = reader.read(make_list_array(["c", "a"], [], ["b"], ["a", "d"], ["b", "b"], ["d", "d"]))
    # Label d is unknown: its code is -1, and a list may contain it twice.
    assert parsed.codes.tolist() == [2, 0, 1, 0, -1, 1, 1, -1, -1]
    assert parsed.lengths.tolist() == [2, 0, 1, 2, 2, 2]
    assert parsed.invalid.tolist() == [False, False, False, False, True, False]
    assert reader.explain_unreadable(["b", "d", "b"]) is not None  # the reason why the list cannot be read
    assert reader.explain_unreadable(["a", "d", "d"]) is None


def test_indicator_reader_returns_the_codes_of_labels_marked_with_1() -> None:
    reader = IndicatorReader(["joy", "anger", "fear"])
    parsed = reader.read(
        make_list_array(["0", "1", "1"], ["False", " TRUE ", "0.0"], ["0", "0", "0"], ["1", "0"], ["1", "2", "0"])
    )
    assert parsed.codes.tolist() == [1, 2, 1]
    assert parsed.lengths.tolist() == [2, 1, 0, 0, 0]
    assert parsed.invalid.tolist() == [False, False, False, True, True]
    assert reader.explain_unreadable(["0", "1", "1"]) is None
    for label, expected in ((["1", "0"], ("3", "2")), (["1", "2", "x"], ("'2', 'x'",))):
        assert re.search(in_order(*expected), str(reader.explain_unreadable(label)))


@pytest.mark.parametrize("unseen_labels", [None, "skip", "count_as_wrong"])
def test_rows_with_a_label_id_without_a_name_are_bad_rows(
    load: Loader, tmp_path: Path, unseen_labels: str | None
) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    rows = {"text": [f"text {row}" for row in range(39)], "label": [row % 3 + 1 for row in range(39)]}
    path = tmp_path / "ids_from_1.parquet"
    pq.write_table(pa.table(rows, schema=features.arrow_schema), path)
    with pytest.raises(ValueError, match=in_order("13 bad rows of 39: ", "label id 3", "3 names", "0 to 2")):
        load(path, unseen_labels=unseen_labels, task="single_label")


def test_plain_label_ids_are_refused_if_the_training_split_has_label_names(
    load: Loader, write_csv: WriteCsv, tmp_path: Path
) -> None:
    declared = Dataset.from_dict(
        {"text": [f"named {row}" for row in range(20)], "label": [row % 2 for row in range(20)]},
        features=Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])}),
    )
    declared.to_parquet(tmp_path / "train.parquet")
    write_csv("test 0,0", "test 1,1", name="test.csv")
    with pytest.raises(ValueError, match=in_order("test.csv, row 1 ", "(x, y)", "id 0")):
        load(tmp_path)
