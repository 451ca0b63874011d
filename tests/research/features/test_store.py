"""Stored hidden states are read as they were written, and any damage is detected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from research.data.prepare.cache_entries import MANIFEST
from research.features.store import DamageError, FeatureStore, Layer, RowLayout, write_features

WIDTH = 5
"""Size of a hidden state."""
LENGTHS = np.array([3, 9, 1, 4, 9], dtype=np.int32)
"""Number of tokens in each of five rows, before truncation."""
MAX_LENGTH = 6
"""Number of tokens to which rows are truncated; 20 tokens remain in total."""


def make_layers(stored: str = "float32", given: str = "float32", numbers: tuple[int, ...] = (0, 1, 2)) -> list[Layer]:
    """Return the descriptions of layer files.

    Args:
        stored: type of the numbers in the files.
        given: type of the encoder's output.
        numbers: numbers of the layers.
    """
    return [Layer(f"layer-{number}.bin", WIDTH, stored, given) for number in numbers]


def random_states(row: int, layer: int, dtype: torch.dtype) -> Tensor:
    """Return the hidden states of a row in a layer: random, but the same in every call."""
    length = min(int(LENGTHS[row]), MAX_LENGTH)
    generator = torch.Generator().manual_seed(100 * int(row) + layer)
    return torch.randn(length, WIDTH, generator=generator).to(dtype)


@pytest.fixture
def layout() -> RowLayout:
    return RowLayout.of(LENGTHS, MAX_LENGTH)


WriteEntry = Callable[..., Path]


@pytest.fixture
def write_entry(tmp_path: Path, layout: RowLayout) -> WriteEntry:
    """Return a function that writes the hidden states of five rows in batches of two, and returns the folder."""

    def write_rows(layers: list[Layer], name: str = "entry") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        dtype = getattr(torch, layers[0].given)
        numbers = [int(layer.name.removeprefix("layer-").removesuffix(".bin")) for layer in layers]
        batches = (
            [
                torch.cat([random_states(row, number, dtype) for row in layout.order[start : start + 2]])
                for number in numbers
            ]
            for start in range(0, len(LENGTHS), 2)
        )
        write_features(folder, layers, batches)
        return folder

    return write_rows


def mask_of(rows: list[int], *, left: bool) -> Tensor:
    """Return the attention mask of rows that are padded on the left or on the right."""
    lengths = torch.tensor(np.minimum(LENGTHS[rows], MAX_LENGTH)).unsqueeze(1)
    is_token = torch.arange(MAX_LENGTH).expand(len(rows), -1) < lengths
    return (is_token.flip(1) if left else is_token).long()


def test_layout_orders_rows_longest_first(layout: RowLayout) -> None:
    assert layout.order.tolist() == [1, 4, 3, 0, 2]
    assert layout.lengths.tolist() == [3, 6, 1, 4, 6]
    assert layout.starts.tolist() == [16, 0, 19, 12, 6]  # the index of each row's first token among all tokens
    assert layout.num_tokens == 20


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("given", ["float32", "bfloat16", "float16"])
def test_read_batch_returns_the_written_values_and_zeros_for_padding(
    write_entry: WriteEntry, layout: RowLayout, given: str, left: bool
) -> None:
    store = FeatureStore(write_entry(make_layers(stored=given, given=given)), layout)
    rows, dtype = [4, 2, 0], getattr(torch, given)
    mask = mask_of(rows, left=left)
    batch = store.read_batch(np.array(rows), mask, all_layers=True)
    assert isinstance(batch, tuple)
    assert len(batch) == 3
    for layer, states in enumerate(batch):
        assert (states.shape, states.dtype) == ((3, MAX_LENGTH, WIDTH), dtype)
        for position, row in enumerate(rows):
            assert torch.equal(states[position][mask[position].bool()], random_states(row, layer, dtype))
        assert not states[mask == 0].any()
    last = store.read_batch(np.array(rows), mask, all_layers=False)
    assert isinstance(last, Tensor)
    assert torch.equal(last, batch[-1])


def test_read_batch_rounds_values_stored_in_half_precision(write_entry: WriteEntry, layout: RowLayout) -> None:
    float32_folder, bfloat16_folder = (
        write_entry(make_layers(), name="float32"),
        write_entry(make_layers(stored="bfloat16"), name="bfloat16"),
    )
    sizes = [sum(file.stat().st_size for file in folder.glob("*.bin")) for folder in (float32_folder, bfloat16_folder)]
    assert sizes == [3 * 20 * WIDTH * 4, 3 * 20 * WIDTH * 2]  # 3 layers, 20 tokens, 4 or 2 bytes per number
    mask = mask_of([1], left=False)
    exact, rounded = (
        FeatureStore(folder, layout).read_batch(np.array([1]), mask, all_layers=False)
        for folder in (float32_folder, bfloat16_folder)
    )
    assert isinstance(exact, Tensor)
    assert isinstance(rounded, Tensor)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact.bfloat16().float())
    assert not torch.equal(rounded, exact)


def test_read_batch_asserts_that_the_mask_has_the_stored_lengths(write_entry: WriteEntry, layout: RowLayout) -> None:
    store = FeatureStore(write_entry(make_layers()), layout)
    with pytest.raises(AssertionError, match="length"):
        store.read_batch(np.array([0]), torch.ones(1, MAX_LENGTH, dtype=torch.long), all_layers=False)


def flip_bit(file: Path, position: int) -> None:
    """Flip a bit of the byte at a position."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (lambda folder: flip_bit(folder / "layer-1.bin", 77), r"layer-1\.bin does not match its hash"),
    "truncated": (
        lambda folder: (folder / "layer-2.bin").write_bytes((folder / "layer-2.bin").read_bytes()[:-1]),
        r"layer-2\.bin .*\b399\b.*\b400\b",  # 20 tokens with 5 numbers of 4 bytes
    ),
    "zeros": (
        lambda folder: (folder / "layer-0.bin").write_bytes(bytes(400)),
        r"layer-0\.bin does not match its hash",
    ),
    "missing": (lambda folder: (folder / "layer-0.bin").unlink(), r"layer-0\.bin is missing"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), r"manifest .*No such file"),
    "empty manifest": (lambda folder: (folder / MANIFEST).write_text(""), "manifest"),
    "list for manifest": (lambda folder: (folder / MANIFEST).write_text("[1]"), "manifest"),
}
"""For each kind of damage: a function that causes it in a folder, and the expected message."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_store_detects_damage(write_entry: WriteEntry, layout: RowLayout, damage: str) -> None:
    folder = write_entry(make_layers())
    apply_damage, message = DAMAGES[damage]
    apply_damage(folder)
    with pytest.raises(DamageError, match=message):
        FeatureStore(folder, layout)


def test_store_detects_any_change_of_the_manifests_content(write_entry: WriteEntry, layout: RowLayout) -> None:
    folder = write_entry(make_layers())
    content = json.loads((folder / MANIFEST).read_text())["content"]
    original = (folder / MANIFEST).read_bytes()
    num_detected = 0
    for position in range(0, len(original), 4):
        flip_bit(folder / MANIFEST, position)
        try:
            FeatureStore(folder, layout)
        except DamageError:
            num_detected += 1
        else:  # the changed byte is whitespace
            assert json.loads((folder / MANIFEST).read_text())["content"] == content
        (folder / MANIFEST).write_bytes(original)
    assert num_detected > 0.7 * len(original) / 4  # most of the changed bytes are not whitespace


def test_store_refuses_a_layout_with_different_lengths(write_entry: WriteEntry) -> None:
    folder = write_entry(make_layers())
    with pytest.raises(DamageError, match=r"\b20\b.*\b19\b"):
        FeatureStore(folder, RowLayout.of(np.array([3, 9, 1, 3, 9], dtype=np.int32), MAX_LENGTH))


def test_store_compares_hashes_once_per_process_and_sizes_always(write_entry: WriteEntry, layout: RowLayout) -> None:
    checked, unchecked = write_entry(make_layers()), write_entry(make_layers(), name="other")
    FeatureStore(checked, layout)
    for entry in (checked, unchecked):
        flip_bit(entry / "layer-1.bin", 77)
    FeatureStore(checked, layout)  # raises no error: gigabytes are not read twice in one process
    with pytest.raises(DamageError, match=r"layer-1\.bin"):
        FeatureStore(unchecked, layout)
    (checked / "layer-1.bin").write_bytes(b"")
    with pytest.raises(DamageError, match=r"layer-1\.bin.*\b0\b"):  # sizes are compared every time
        FeatureStore(checked, layout)


def test_read_batch_returns_a_copy_of_the_stored_values(write_entry: WriteEntry, layout: RowLayout) -> None:
    store = FeatureStore(write_entry(make_layers()), layout)
    mask = mask_of([1], left=False)
    first = store.read_batch(np.array([1]), mask, all_layers=False)
    assert isinstance(first, Tensor)
    expected = first.clone()
    first.zero_()
    second = store.read_batch(np.array([1]), mask, all_layers=False)
    assert isinstance(second, Tensor)
    assert torch.equal(second, expected)
