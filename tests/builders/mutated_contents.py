"""Mutations of the bytes of a file, and of its permissions, kind and name."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]
FileMutation = Callable[[Path, np.random.Generator], Path]

FRAGMENTS = (
    b'"',
    b'""',
    b"'",
    b",",
    b";",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n\n",
    b"\0",
    b"\0" * 4096,
    b"\x1a",
    b"\x1b[31m",
    b"\xff",
    b"\xe9",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xed\xa0\x80",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
    b"\\",
    b'\\ud800"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"NaN",
    b"-Infinity",
    b"null",
    b"word " * 60_000,
)
"""Byte strings to insert anywhere: characters with a meaning in some format, control characters, and long content."""
LINES = (
    b"",
    b" ",
    b"\t\t\t",
    b",,,",
    b"[" * 100_000,
    b'{"text":' * 50_000,
    b"[]",
    b"{}",
    b"null",
    b"1",
    b'"a string"',
    b'{"text": "good film", "label": 1e999}',
    b'{"text": "good film", "label": ' + b"9" * 5000 + b"}",
    b'{"text": "good \\ud800", "label": "\\udfff"}',
    b'{"text": "good film", "label": "\\ud800"}',
    b'{"text": "good film", "label": ["\\ud800"]}',
    b'{"\\ud800": 1, "text": "good film", "label": 1}',
    b'{"text": {"a": 1}, "label": {"b": [2]}}',
    b'{"text": ["good film"], "label": [["a"]]}',
    b'{"text": "a", "text": "b", "label": 1}',
    b'{"text": "good film", "label": -0.0}',
    b'"tis the season,positive',
    b'"tis the season\tpositive',
    b'7,"good ""film",2024-01-01,positive',
    b'7, "good film", 2024-01-01, "positive"',
    b"id,text,day,label",
    b"\xef\xbb\xbfid,text,day,label",
    b"id\ttext\tday\tlabel",
    b"# a comment",
    b"sep=;",
    b"x" * 300_000,
    b"," * 100_000,
)
"""Lines to insert: malformed or unusual lines of csv, tsv and JSON files."""
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp500", "utf-7", "gb18030")


def _change_bytes(content: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.integers(1, 6)):
        if changed:
            changed[generator.integers(len(changed))] ^= int(generator.integers(1, 256))
    return bytes(changed)


def _flip_bit(content: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[generator.integers(len(changed))] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def _remove_range(content: bytes, generator: np.random.Generator) -> bytes:
    start, stop = _choose_range(content, generator)
    return content[:start] + content[stop:]


def _repeat_range(content: bytes, generator: np.random.Generator) -> bytes:
    start, stop = _choose_range(content, generator)
    return content[:stop] + content[start:]


def _truncate(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: generator.integers(len(content) + 1)]


def _overwrite_range(content: bytes, generator: np.random.Generator) -> bytes:
    """Overwrite a range with zeros, as a machine crash may do, or with random bytes."""
    start, stop = _choose_range(content, generator)
    replacement = bytes(stop - start) if generator.random() < 0.5 else generator.bytes(stop - start)
    return content[:start] + replacement + content[stop:]


def _insert_fragments(content: bytes, generator: np.random.Generator) -> bytes:
    for _ in range(generator.integers(1, 4)):
        position = (0, len(content), int(generator.integers(len(content) + 1)))[generator.integers(3)]
        content = content[:position] + FRAGMENTS[generator.integers(len(FRAGMENTS))] + content[position:]
    return content


def _replace_all(content: bytes, generator: np.random.Generator) -> bytes:
    """Replace the whole content with nothing, whitespace, zeros or random bytes.

    Further replacements are a byte order mark, and the first bytes of a Parquet or Arrow file.
    """
    choices = (b"", b"\n", b"\n" * 50, b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\0" * 1000, b"\0", b"PAR1", b"ARROW1")
    return (*choices, generator.bytes(2000))[generator.integers(len(choices) + 1)]


def _repeat_line(content: bytes, generator: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    lines.insert(int(generator.integers(len(lines))), lines[generator.integers(len(lines))])
    return b"\n".join(lines)


def _swap_lines(content: bytes, generator: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    first, second = generator.integers(len(lines), size=2)
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _remove_line(content: bytes, generator: np.random.Generator) -> bytes:
    """Remove a random line. The first line, which is often a header, is more likely than other lines."""
    lines = content.split(b"\n")
    del lines[0 if generator.random() < 0.2 else generator.integers(len(lines))]
    return b"\n".join(lines)


def _insert_line(content: bytes, generator: np.random.Generator) -> bytes:
    """Insert a line at a random position. The start of the file is more likely than other positions."""
    lines = content.split(b"\n")
    index = 0 if generator.random() < 0.2 else int(generator.integers(len(lines)))
    lines.insert(index, LINES[generator.integers(len(LINES))])
    return b"\n".join(lines)


def _change_line_endings(content: bytes, generator: np.random.Generator) -> bytes:
    endings = (b"\r\n", b"\r", b"\n\n", b"\n\r", "\u2028".encode(), b"", b" ")
    return content.replace(b"\n", endings[generator.integers(len(endings))])


def _change_encoding(content: bytes, generator: np.random.Generator) -> bytes:
    # Add a letter for which the encodings have different bytes.
    text = content.decode("utf-8", "replace").replace("film", "film\u00e9")
    return text.encode(ENCODINGS[generator.integers(len(ENCODINGS))], "replace")


def _change_separators(content: bytes, generator: np.random.Generator) -> bytes:
    old, new = ((b",", b";"), (b",", b"|"), (b",", b"\t"), (b"\t", b","), (b'"', b"'"), (b":", b"="))[
        generator.integers(6)
    ]
    return content.replace(old, new)


def _choose_range(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    """Return the start and the end of a random range of at most 4096 bytes.

    The logarithm of the length has a uniform distribution, so short ranges are more likely than long ones.
    """
    start = int(generator.integers(len(content) + 1))
    return start, min(start + int(2 ** generator.uniform(0, 12)), len(content))


BYTE_MUTATIONS: tuple[Mutation, ...] = (
    _change_bytes,
    _change_bytes,
    _flip_bit,
    _remove_range,
    _repeat_range,
    _truncate,
    _truncate,
    _overwrite_range,
    _insert_fragments,
    _replace_all,
)
"""Mutations of any file. A mutation that is listed several times is chosen more often."""
LINE_MUTATIONS: tuple[Mutation, ...] = (
    _repeat_line,
    _swap_lines,
    _remove_line,
    _insert_line,
    _insert_line,
    _insert_line,
    _insert_fragments,
    _insert_fragments,
    _change_line_endings,
    _change_encoding,
    _change_separators,
)
"""Mutations of files that consist of lines."""


def _remove_permissions(path: Path, generator: np.random.Generator) -> Path:
    path.chmod((0o000, 0o200, 0o100)[generator.integers(3)])
    return path


def _remove_permissions_of_folder(path: Path, generator: np.random.Generator) -> Path:
    path.parent.chmod((0o000, 0o400, 0o100)[generator.integers(3)])
    return path


def _replace_with_special_file(path: Path, generator: np.random.Generator) -> Path:
    """Replace the file with a folder, a link, a pipe, a socket or an unreadable file."""
    path.unlink()
    kinds: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: (path / f"part{path.suffix}").mkdir(parents=True),
        lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/proc/self/mem"),  # can be opened but not read, as on a broken disk
        lambda: path.symlink_to(os.devnull),
        lambda: os.mkfifo(path),
        lambda: _make_socket(path),
    )
    kinds[generator.integers(len(kinds))]()
    return path


def _make_socket(path: Path) -> None:
    # Bind to the file's name in its folder, because the full path may be too long for the address of a socket.
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)


def _rename(path: Path, generator: np.random.Generator) -> Path:
    """Give the file a valid but unusual name."""
    names = ("\udcff", "two\nlines", "\x1b[2J", "x" * 200, "train-00000-of-00009", "-", "..a", "$x$", "*")
    return path.rename(path.with_name(names[generator.integers(len(names))] + "".join(path.suffixes)))


FILE_MUTATIONS: tuple[FileMutation, ...] = (
    _remove_permissions,
    _remove_permissions_of_folder,
    _replace_with_special_file,
    _replace_with_special_file,
    _rename,
)
"""Mutations of the file's permissions, kind or name."""
