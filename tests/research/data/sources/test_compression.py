"""Read compressed text files, which have the same rows as uncompressed files. Damaged files are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, reviews
from tests.research.data.loaded_rows import texts_in


def make_zip(content: bytes, *names: str) -> bytes:
    """Return a zip archive whose members have the given names (by default `inside.csv`) and the same content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("inside.csv",):
            archive.writestr(name, content)
    return stream.getvalue()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    ".zip": make_zip,
}
"""Functions that compress content, by the extension of the compressed file."""
ROWS = [{"text": f"café {row}", "label": f"label {row % 2}"} for row in range(40)]
CSV = "\n".join(["text,label", *(f"{row['text']},{row['label']}" for row in ROWS)])
CSV_WITH_DIFFERENT_TEXTS = CSV.replace("café", "thé")
CONTENTS = {
    ".csv": CSV,
    ".tsv": CSV.replace(",", "\t"),
    ".jsonl": "\n".join(map(json.dumps, ROWS)),
    ".ndjson": "\n".join(map(json.dumps, ROWS)),
    ".json": json.dumps(ROWS, indent=1),
}
"""Contents of files with the same rows, by extension."""


def write_content(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_all_text_formats_are_read_with_all_compressions(load: Loader, tmp_path: Path, compression: str) -> None:
    for number, (suffix, content) in enumerate(CONTENTS.items()):
        encoding = "utf-16" if number % 2 else "utf-8-sig"  # the byte order mark is inside the compressed file
        encoded = content.encode(encoding)
        is_zip = compression == ".zip"
        data = make_zip(encoded, f"in{suffix}") if is_zip else COMPRESSORS[compression](encoded)
        splits = load(write_content(tmp_path / f"reviews{suffix}{compression}", data))
        assert texts_in(splits) == {row["text"] for row in ROWS}
        assert splits.task.label_names == ("label 0", "label 1")


def test_extensions_can_be_upper_case_and_files_can_be_links(load: Loader, tmp_path: Path) -> None:
    write_content(tmp_path / "TRAIN.TSV.GZ", gzip.compress(CONTENTS[".tsv"].encode()))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Test.Csv.Bz2").symlink_to(
        write_content(tmp_path / "elsewhere", bz2.compress(CSV_WITH_DIFFERENT_TEXTS.encode()))
    )
    (tmp_path / "data" / "TRAIN.TSV.GZ").symlink_to(tmp_path / "TRAIN.TSV.GZ")
    assert len(load(tmp_path / "data").test) == 40
    assert len(texts_in(load(tmp_path / "TRAIN.TSV.GZ"))) == 40


def test_zip_has_the_type_of_its_only_data_file(load: Loader, tmp_path: Path) -> None:
    ignored_members = ("README.txt", "LICENSE", "notes.md", "folder/", "__MACOSX/._in.jsonl", ".DS_Store")
    content = make_zip(CONTENTS[".jsonl"].encode(), *ignored_members, "folder/in.JSONL")
    assert len(texts_in(load(write_content(tmp_path / "reviews.zip", content)))) == 40
    write_content(tmp_path / "data" / "train.zip", content)
    write_content(tmp_path / "data" / "test.csv.zip", make_zip(CSV_WITH_DIFFERENT_TEXTS.encode(), "b.csv"))
    assert len(load(tmp_path / "data").test) == 40


def test_concatenated_compressed_files_are_read_as_one(load: Loader, tmp_path: Path) -> None:
    first, second = CSV[:200].encode(), CSV[200:].encode()
    for compression in (".gz", ".bz2", ".xz", ".zst"):
        compress = COMPRESSORS[compression]
        path = write_content(tmp_path / f"reviews.csv{compression}", compress(first) + compress(second))
        assert len(texts_in(load(path))) == 40


def test_bad_row_of_a_compressed_file_is_reported_with_its_line(load: Loader, tmp_path: Path) -> None:
    content = "\n".join(["text,label", *reviews(10), "bad", *reviews(10)]).encode()
    for compression in (".gz", ".zip"):
        path = write_content(tmp_path / f"reviews.csv{compression}", COMPRESSORS[compression](content))
        # The row has 1 field instead of 2.
        with pytest.raises(BadRowsError, match=in_order(f"reviews.csv{compression}, row 11 (line 12): 1 ", "2")):
            load(path)


@pytest.mark.parametrize("is_quoted", [True, False])
def test_quoting_of_a_compressed_tsv_is_detected_from_the_whole_file(
    load: Loader, tmp_path: Path, is_quoted: bool
) -> None:
    last_line = '"a ""b"" c"\tlabel 1' if is_quoted else 'say "b"\tlabel 1'
    content = "\n".join(["text\tlabel", *(line.replace(",", "\t") for line in reviews(40)), last_line])
    splits = load(write_content(tmp_path / "reviews.tsv.zst", COMPRESSORS[".zst"](content.encode())))
    assert ('a "b" c' if is_quoted else 'say "b"') in texts_in(splits)


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_damaged_compressed_file_is_refused_with_a_one_line_message(
    load: Loader, tmp_path: Path, compression: str
) -> None:
    generator = random.Random(0)
    rows = [f"review {row} {generator.randbytes(20).hex()},label {row % 2}" for row in range(5_000)]
    content = COMPRESSORS[compression]("\n".join(["text,label", *rows]).encode())
    middle = len(content) // 2
    flipped = content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 99]) + content[middle + 99 :]
    for name, damaged in (("half", content[:middle]), ("end", content[:-1]), ("flipped", flipped), ("text", b"a,b\n")):
        if (name, compression) == ("flipped", ".zst"):
            continue  # cannot be detected, because pyarrow writes no checksums
        path = write_content(tmp_path / f"{name}.csv{compression}", damaged)
        with pytest.raises(ValueError, match=rf"{path.name}'") as caught:
            load(path, bad_rows="skip")
        assert "\n" not in str(caught.value)
        assert not isinstance(caught.value, BadRowsError)


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_empty_compressed_file_is_refused(load: Loader, tmp_path: Path, compression: str) -> None:
    with pytest.raises(ValueError, match=rf"reviews\.csv{compression} is empty .*decompression"):
        load(write_content(tmp_path / f"reviews.csv{compression}", COMPRESSORS[compression](b"")))
    with pytest.raises(ValueError, match=rf"reviews\.csv{compression} is empty;"):
        load(write_content(tmp_path / f"reviews.csv{compression}", b""))


def make_zip_marked_as_encrypted() -> bytes:
    """Return a zip archive that is marked as encrypted."""
    content = bytearray(make_zip(CSV.encode()))
    # Bit 0 of the flags means encrypted. The offsets are those of the flags in the local and in the central header.
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", make_zip(b"x", "train.csv", "test.csv"), "one data file in .*a.zip'.*'train.csv', 'test.csv'"),
        ("a.zip", make_zip(b"x", *map("{}.txt".format, range(99))), "and 94 more"),
        ("a.zip", make_zip(b"x", "README.md", "empty/"), "one data file in .*a.zip'.*none"),
        ("a.zip", make_zip(CSV.encode(), "é.csv").replace(b"\xc3\xa9", b"\xc3("), "a.zip' .* zip archive: ."),
        ("a.zip", make_zip(CSV.encode(), "picture.png"), "unsupported extension '.png'"),
        ("a.zip", make_zip_marked_as_encrypted(), "a.zip' .*password"),
        ("a.zip", make_zip(gzip.compress(CSV.encode()), "a.csv.gz"), "unsupported extension '.gz'"),
        ("a.zip", make_zip(gzip.compress(CSV.encode()), "a.csv"), "a.zip' .* twice: .* zip .* gzip"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV.encode())), "a.csv.gz' .* twice: .* gzip .* gzip"),
        ("a.csv.gz.gz", gzip.compress(gzip.compress(CSV.encode())), "unsupported extension '.gz'"),
        ("a.gz", gzip.compress(CSV.encode()), "a.gz': its name"),
        ("a.csv.gz", make_zip(CSV.encode()), "'.gz', .*with zip"),
        ("a.csv.gz", CSV.encode(), "'.gz', .*not gzip"),
        ("a.csv", gzip.compress(CSV.encode()), "a.csv' .*with gzip.*a.csv.gz"),
        ("a.parquet.gz", gzip.compress(b"PAR1"), "a.parquet.gz' is compressed, .*parquet"),
    ],
    ids=lambda value: None if isinstance(value, str) else "content",
)
def test_unsupported_compressed_files_are_refused(
    load: Loader, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write_content(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_changed_compressed_file_is_prepared_again(load: Loader, tmp_path: Path) -> None:
    path = write_content(tmp_path / "reviews.csv.gz", gzip.compress(CSV.encode()))
    load(path)
    write_content(path, gzip.compress(CSV.replace("café", "cafe").encode()))
    assert texts_in(load(path)) == {row["text"].replace("é", "e") for row in ROWS}
