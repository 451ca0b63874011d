"""Prepared data is cached, and prepared again if any of its inputs changes. Only complete entries enter the cache."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from research.data.batches import tokens
from research.data.prepare import cache, prepare
from research.data.prepare import load as load_module
from research.data.prepare.cleaning import CLEANING
from research.data.prepare.load import load_splits
from research.settings.config import DataSettings
from research.tasks.base import TASKS
from tests.file_modes import enforce_file_modes
from tests.limits import HANG_LIMIT
from tests.messages import collect_messages, in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


@pytest.fixture
def built_kinds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that records the kind of each cache entry that is built, not of entries that are only read."""
    kinds: list[str] = []
    original = cache.fetch

    def fetch(
        cache_dir: Path, kind: str, key: str, build: Callable[[Path], dict[str, Any]], describe: cache.Describe
    ) -> cache.Fetched:
        def build_and_record(target: Path) -> dict[str, Any]:
            kinds.append(kind)
            return build(target)

        return original(cache_dir, kind, key, build_and_record, describe)

    monkeypatch.setattr(cache, "fetch", fetch)
    return kinds


def test_second_load_uses_the_cache_and_repeats_the_messages(
    load: Loader, write_csv: WriteCsv, built_kinds: list[str], minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    path = write_csv(*reviews(40))
    first = load(path)
    tokens.tokenize_splits(first, minilm_tokenizer)
    messages = list(load.messages)
    second = load(path)
    second_tokens = tokens.tokenize_splits(second, minilm_tokenizer)
    assert built_kinds == ["rows", "tokens"]
    assert load.messages == messages
    assert second.train[:] == first.train[:]
    assert second.task == first.task
    # `_fingerprint` is the `datasets` library's hash of a data set.
    assert second_tokens.train._fingerprint == tokens.tokenize_splits(first, minilm_tokenizer).train._fingerprint


def test_max_length_and_truncation_do_not_change_the_cache_entry(
    load: Loader, write_csv: WriteCsv, built_kinds: list[str]
) -> None:
    path = write_csv(*reviews(40))
    load(path)
    load(path, max_length=7, truncation="tail")
    assert built_kinds == ["rows"]


@pytest.mark.parametrize("change", [{"cleaning": ["lowercase"]}, {"split_seed": 1}, {"limit_train": 5}])
def test_data_is_prepared_again_if_a_setting_changes(
    load: Loader, write_csv: WriteCsv, built_kinds: list[str], change: dict[str, object]
) -> None:
    path = write_csv(*reviews(40))
    load(path)
    load(path, **change)
    assert len(built_kinds) == 2


def test_changed_file_with_the_same_size_and_modification_time_is_read_again(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(40))
    before = path.stat()
    load(path)
    path.write_text(path.read_text().replace("label 1", "label 9"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(path).task.label_names == ("label 0", "label 9")


@pytest.fixture
def isolated_cleaning() -> Iterator[None]:
    """After a test, remove the cleaning steps that it registered."""
    with CLEANING.isolated():
        yield


@pytest.mark.usefixtures("isolated_cleaning")
def test_data_is_prepared_again_if_a_users_cleaning_step_changes(
    load: Loader, write_csv: WriteCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(*reviews(40))
    plugin = tmp_path / "my_steps.py"
    for word in ("first", "second"):
        plugin.write_text(f"SUFFIX = ' {word}'\ndef mine(text):\n    return text + SUFFIX\n")
        spec = importlib.util.spec_from_file_location("my_steps", plugin)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "my_steps", module)
        # An import could use stale bytecode: Python compares only the size and modification time (in seconds).
        exec(compile(plugin.read_text(), str(plugin), "exec"), module.__dict__)
        CLEANING.register("mine")(module.mine)
        assert load(path, cleaning=["mine"]).train[0]["text"].endswith(word)


USER_TASK = """
from research.tasks.single_label import SingleLabel

class UserTask(SingleLabel):
    '''A task with one label per row, ordered by {order}.'''
"""
"""Code of a user's plugin. The word for `order` changes the code, but not what the task does."""


def test_data_is_prepared_again_if_a_users_task_changes(
    load: Loader, write_csv: WriteCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_kinds: list[str]
) -> None:
    path = write_csv(*reviews(40))
    plugin = tmp_path / "my_task.py"
    with TASKS.isolated():
        for order in ("names", "names", "counts"):  # only the third load has different code from the load before
            plugin.write_text(USER_TASK.format(order=order))
            module = types.ModuleType("my_task")
            module.__file__ = str(plugin)
            monkeypatch.setitem(sys.modules, "my_task", module)
            exec(compile(plugin.read_text(), str(plugin), "exec"), module.__dict__)
            module.UserTask.__module__ = "my_task"
            TASKS.register("user_task")(module.UserTask)
            load(path, task="user_task")
    assert built_kinds == ["rows", "rows"]


def test_data_is_tokenized_again_for_a_different_tokenizer(
    load: Loader, write_csv: WriteCsv, built_kinds: list[str], minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    from transformers import BertTokenizer

    splits = load(write_csv(*reviews(40)))
    vocab = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "review"])}
    with collect_messages(load.messages):
        small_vocabulary_tokens = tokens.tokenize_splits(splits, BertTokenizer(vocab=vocab))
    minilm_tokens = tokens.tokenize_splits(splits, minilm_tokenizer)
    assert minilm_tokens.train[0]["input_ids"] != small_vocabulary_tokens.train[0]["input_ids"]
    assert built_kinds == ["rows", "tokens", "tokens"]


def test_tokenizer_fingerprint_does_not_depend_on_earlier_calls(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    before = tokens.fingerprint_tokenizer(minilm_tokenizer)
    minilm_tokenizer("some text", truncation=True, max_length=4, padding="max_length")
    assert tokens.fingerprint_tokenizer(minilm_tokenizer) == before


def test_tokenizing_selected_rows_does_not_reuse_the_tokens_of_all_rows(
    load: Loader, write_csv: WriteCsv, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    import dataclasses

    splits = load(write_csv(*reviews(40)))
    selected = dataclasses.replace(splits, train=splits.train.select([3, 1]))
    assert tokens.tokenize_splits(splits, minilm_tokenizer).train.num_rows == 30
    assert list(tokens.tokenize_splits(selected, minilm_tokenizer).train["id"]) == [
        splits.train[row]["id"] for row in (3, 1)
    ]


def test_entry_with_a_truncated_file_is_rebuilt(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(40))
    expected = load(path).train[:]
    (entry,) = load.cache_dir.iterdir()
    (entry / "train.arrow").write_bytes(b"")
    assert load(path).train[:] == expected
    assert load.reported(entry, "damaged")
    assert [path.name for path in load.cache_dir.iterdir()] == [entry.name]


def _load_and_wait(path: Path, cache_dir: Path, barrier: Barrier, results: Queue[tuple[int, str]]) -> None:
    """Load data, but let no process add its cache entry to the cache before all processes have built theirs."""
    original = prepare.prepare

    def prepare_and_wait(*arguments: Any) -> dict[str, Any]:
        facts = original(*arguments)
        barrier.wait(HANG_LIMIT)
        return facts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "prepare", prepare_and_wait)
        splits = load_splits(DataSettings(data=str(path)), cache_dir)
    results.put((os.getpid(), splits.train[0]["text"]))


def test_two_processes_can_build_the_same_entry_concurrently(write_csv: WriteCsv, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (write_csv(*reviews(40)), tmp_path / "cache", barrier, results)
    workers = [context.Process(target=_load_and_wait, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    loaded = {results.get(timeout=HANG_LIMIT) for _ in workers}
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(loaded) == 2
    assert len({text for _, text in loaded}) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_cache_dir_is_read_from_the_environment(
    write_csv: WriteCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "elsewhere"))
    load_splits(DataSettings(data=str(write_csv(*reviews(40)))))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    monkeypatch.delenv("MIDWAY_CACHE")
    assert cache.find_cache_dir() == Path.home() / ".cache" / "midway"


def test_cache_dir_that_cannot_be_written_is_an_error(write_csv: WriteCsv, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=in_order("Cannot write", tmp_path / "file", "MIDWAY_CACHE")):
        load_splits(DataSettings(data=str(write_csv(*reviews(40)))), tmp_path / "file")


@pytest.mark.parametrize("forbidden", [".", "manifest.json", "train.arrow"])
def test_entry_without_read_permission_is_an_error(load: Loader, write_csv: WriteCsv, forbidden: str) -> None:
    path = write_csv(*reviews(40))
    load(path)
    (entry,) = load.cache_dir.iterdir()
    (entry / forbidden).chmod(0)
    with (
        enforce_file_modes(),
        pytest.raises(ValueError, match=in_order("Cannot read", entry, "Permission denied", "MIDWAY_CACHE")),
    ):
        load(path)
    (entry / forbidden).chmod(0o700)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sizes": [], "facts": {}}', '{"sizes": {"a": 1}}'])
def test_entry_with_an_invalid_manifest_is_rebuilt(load: Loader, write_csv: WriteCsv, content: str) -> None:
    path = write_csv(*reviews(40))
    expected = load(path).train[:]
    (entry,) = load.cache_dir.iterdir()
    (entry / "manifest.json").write_text(content)
    assert load(path).train[:] == expected
    assert load.reported(entry, "damaged")


def test_entry_with_a_damaged_file_of_unchanged_size_is_an_error(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(40))
    load(path)
    (entry,) = load.cache_dir.iterdir()
    (entry / "train.arrow").write_bytes(bytes((entry / "train.arrow").stat().st_size))
    with pytest.raises(ValueError, match=in_order(entry, "damaged", "Delete it")):
        load(path)


def test_damaged_entry_in_an_unwritable_cache_is_an_error(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv(*reviews(40))
    load(path)
    (entry,) = load.cache_dir.iterdir()
    (entry / "train.arrow").write_bytes(b"")
    load.cache_dir.chmod(0o500)
    with (
        enforce_file_modes(),
        pytest.raises(ValueError, match=in_order("Cannot write", load.cache_dir, "MIDWAY_CACHE")),
    ):
        load(path)
    load.cache_dir.chmod(0o700)


def test_midway_cache_must_be_set_if_there_is_no_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MIDWAY_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ValueError, match="MIDWAY_CACHE"):
        cache.find_cache_dir()


def test_full_disk_is_an_error_and_leaves_no_files(tmp_path: Path) -> None:
    def build(target: Path) -> dict[str, object]:
        with open("/dev/full", "wb", buffering=0) as file:  # a write to this device fails as on a full disk
            file.write(b"x")
        return {}

    with pytest.raises(ValueError, match=in_order(tmp_path / "cache", "full", "MIDWAY_CACHE")):
        cache.fetch(tmp_path / "cache", "rows", "key", build)
    assert list((tmp_path / "cache").iterdir()) == []


def test_failed_preparation_leaves_no_files_in_the_cache(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match="'label 0'"):
        load(write_csv(*reviews(10, num_labels=1)))  # fails because all rows have the same label
    assert list(load.cache_dir.iterdir()) == []
