"""Invalid input is refused with one line: what was expected, what was found and what to do. No run remains."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from research.runner.experiment import execute_run
from research.settings.command_line import Command, parse
from research.settings.config import RunConfig
from research.system.errors import is_user_facing
from tests.conftest import ROOT, Launch
from tests.limits import HANG_LIMIT

ExpectRefusal = Callable[..., str]
QUICK_RUN_FLAGS = (
    "--max_length=64",
    "--batch_size=8",
    "--max_steps=2",
    "--mixed_precision=no",
    "--num_threads=1",
    "--report=false",
)
CSV_ROWS = "".join(f"text {row} good bad,label {row % 2}\n" for row in range(40))
"""40 lines of a csv file, with two labels."""


@pytest.fixture
def valid_flags(tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> list[str]:
    """Flags of a valid run, to which tests add a fault."""
    return [f"--encoder={tiny_encoder}", f"--data={tiny_reviews}", *QUICK_RUN_FLAGS, f"--output_dir={tmp_path / 'run'}"]


@pytest.fixture
def expect_refusal(
    valid_flags: list[str], tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> ExpectRefusal:
    """A function that adds flags to a valid run, checks that it is refused in one line, and returns the message."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run_and_return_message(*arguments: object) -> str:
        with pytest.raises(ValueError) as error_info:  # noqa: PT011 (the callers check the message)
            execute_run(parse_config([*valid_flags, *map(str, arguments)]))
        assert is_user_facing(error_info.value), "a traceback would be shown"
        message = str(error_info.value)
        assert "\n" not in message
        assert not (tmp_path / "run").exists(), "a run directory was left, so the next attempt would fail"
        return message

    return run_and_return_message


def parse_config(arguments: Sequence[str]) -> RunConfig:
    command = parse(arguments)
    assert isinstance(command, Command)
    return command.config


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file and create its folder; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"'.*reviews\.csv'"),  # the file does not exist
        ("", "reviews.csv is empty"),
        ("text,label\n", "reviews.csv .*rows for train"),
        ("words,kind\na,b\n", "label.*words, kind"),
        ("text,label\n" + CSV_ROWS.replace("label 1", "label 0"), "2 labels .*'label 0'"),
        (f"text,label\n{CSV_ROWS},label 0\n  \t,label 1\n", r"2 bad rows of 42: .*, row 41 \(line 42\): empty text"),
        (f"text,label\n{CSV_ROWS}a,nan\nb,NaN\nc,\n", r"3 bad rows of 43: .*, row 41 \(line 42\): missing label"),
        (
            f"text,label\n{CSV_ROWS}".encode() + b"caf\xe9,label 0\n",
            r"1 bad row of 41: reviews.csv, row 41 \(line 42\): invalid",
        ),
        ("text,text,label\na,b,c\n", "reviews.csv .*'text'"),
    ],
)
def test_unusable_data_are_refused(
    expect_refusal: ExpectRefusal, tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    path = tmp_path / "reviews.csv"
    if content is not None:
        write_file(path, content)
    assert re.search(message, expect_refusal("--data", path))


def test_missing_column_is_refused_with_the_nearest_name(expect_refusal: ExpectRefusal, tmp_path: Path) -> None:
    path = write_file(tmp_path / "reviews.csv", f"text,label\n{CSV_ROWS}")
    assert re.search("column 'labl'.*'label'", expect_refusal("--data", path, "--label_column", "labl"))


def test_unseen_label_in_test_rows_is_refused(expect_refusal: ExpectRefusal, tmp_path: Path) -> None:
    write_file(tmp_path / "data" / "train.csv", f"text,label\n{CSV_ROWS}")
    write_file(tmp_path / "data" / "test.csv", "text,label\nsomething,label 9\n")
    assert re.search(r"test\.csv, row 1 \(line 2\): .*'label 9'", expect_refusal("--data", tmp_path / "data"))


def test_archive_with_a_path_outside_its_folder_is_refused(expect_refusal: ExpectRefusal, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("aclImdb/train/pos/../../../../evil.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    assert re.search(
        r"evil\.tar\.gz.*absolute path or '\.\.' in its path", expect_refusal("--data", tmp_path / "evil.tar.gz")
    )
    assert not list(tmp_path.rglob("evil.txt"))


def test_text_of_5_mb_is_accepted(
    valid_flags: list[str], tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    path = write_file(tmp_path / "reviews.csv", f"text,label\n{CSV_ROWS}{'good film ' * 500_000},label 0\n")
    result = execute_run(parse_config([*valid_flags, f"--data={path}", "--epochs=1", "--max_steps=null"]))
    assert result["epochs"] == 1
    assert sum(result["rows"].values()) == 41


def test_texts_without_known_tokens_are_counted_and_refused_unless_allowed(
    valid_flags: list[str],
    tmp_path: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    path = write_file(
        tmp_path / "reviews.csv", "text,label\n" + "".join(f"{'☃' * (i + 1)},{i % 2}\n" for i in range(40))
    )
    # The encoder's vocabulary has no ☃. 30 of the 40 rows become training rows.
    with pytest.raises(ValueError, match=r"30 of 30 train rows .*--allow_unknown_tokens true"):
        execute_run(parse_config([*valid_flags, f"--data={path}"]))
    assert not (tmp_path / "run").exists()
    allowed = parse_config([*valid_flags, f"--data={path}", "--allow_unknown_tokens=true"])
    assert execute_run(allowed)["status"] == "finished"
    assert "30 of 30 train rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hed=lstm"], "flag '--hed'.*'--head'"),
        (["--head=ltsm"], "head 'ltsm'.*'lstm'.*Registered: .*attention"),
        (["--head=lstm", "--head.lstm_sise=8"], "'lstm_sise'.*'lstm_size'.*head 'lstm'"),
        (["--head=lstm", "--head.lstm_size=big"], "head 'lstm': .*lstm_size.*'big'"),
        (["--head=last4"], "head 'last4'.* 4 .* 3"),  # needs 4 hidden states; the tiny encoder has 3
        (["--best_metric=acuracy"], "metric 'acuracy'.*'accuracy'"),
        (["--best_metric=pearson"], "metric 'pearson'"),
        (["--schedule=one_cylce"], "schedule 'one_cylce'.*'one_cycle'"),
        (["--schedule.div_facter=3"], "'div_facter'.*'div_factor'.*schedule 'one_cycle'"),
        (["--objective=cross_entrpy"], "objective 'cross_entrpy'.*'cross_entropy'"),
        (["--objective=bce"], "multi_label.*single_label.*: cross_entropy"),
        (["--hook=early_stoping"], "hook 'early_stoping'.*'early_stopping'"),
        (["--cleaning=strip_htm"], "cleaning step 'strip_htm'.*'strip_html'"),
        (["--log_with=tensorbord"], "tracker 'tensorbord'.*'tensorboard'"),
        (["--log_with=swanlab"], "'swanlab'.*--log_with.*pip install swanlab"),
        (["--optimizer=adam"], "optimizer 'adam'.*'adamw'.*muon, schedule_free_adamw, sgd"),
        (["--optimizer=lion", "--optimizer.beta3=0.9"], "'beta3'.*'beta[12]'.*optimizer 'lion'"),
        (["--optimizer=sgd", "--optimizer.momentum=2"], "momentum .*1; got 2"),
        (["--optimizer=schedule_free_adamw"], "schedule_free_adamw.*one_cycle.*--schedule constant"),
        (["--optimizer=adafactor", "--schedule.cycle_momentum=true"], "one_cycle.*momentum.*adafactor.*--optimizer"),
        (["--lr=fast"], r"\blr .*float.*'fast'"),
        (["--data=imbd"], "'imbd'.*'imdb'"),
        (["--encoder=minlm"], "encoder 'minlm'.*'minilm'"),
        (["--mixed_precision=fp16"], "fp16 .*GPU.*--mixed_precision bf16 or no"),
        (["--max_length=65"], "max_length .*most 64"),
        (["--max_length=2"], "max_length .*least 3"),
        (["--warmup=3st"], "3 steps .*2 steps.*--warmup"),
        (["--warmup=soon"], "--warmup: .*'soon': .*120st"),
        (["--evaluate_every=0"], "--evaluate_every .*'0'.*null"),
        (["--evaluate_every=null", "--patience=2"], "--patience .*--evaluate_every null"),
        (["--save_every=0st"], "--save_every .*'0st'"),
        (["--seed=4294967296"], "seed to be at least 0 and at most 4294967295"),
        (["--resume=runs/nothing"], "runs/nothing .*checkpoint"),
        (["--init_from=runs/nothing"], "runs/nothing .*--init_from"),
        (["--plugin=nothing.py"], r"nothing\.py"),
        (["--plugin=no_such_module"], r"'no_such_module' .*--plugin.*\.py"),
    ],
)
def test_unusable_settings_are_refused(expect_refusal: ExpectRefusal, arguments: list[str], message: str) -> None:
    assert re.search(message, expect_refusal(*arguments))


def test_misspelt_recipe_key_is_refused_with_the_file_name(expect_refusal: ExpectRefusal, tmp_path: Path) -> None:
    recipe = write_file(tmp_path / "mine.yaml", "haed: lstm\n")
    assert re.search(r"mine\.yaml: .*'haed'.*'head'", expect_refusal("--recipe", recipe))


def test_encoder_without_weights_is_refused(expect_refusal: ExpectRefusal, tiny_encoder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    assert re.search(rf"{re.escape(str(folder))} .*model\.safetensors", expect_refusal("--encoder", folder))


@pytest.mark.parametrize("occupied_path", ["the directory", "its parent"])
def test_run_directory_that_cannot_be_created_is_refused(
    expect_refusal: ExpectRefusal, tmp_path: Path, occupied_path: str
) -> None:
    file = write_file(tmp_path / "notes.txt", "mine")
    directory = file if occupied_path == "the directory" else file / "run"
    assert str(directory) in expect_refusal("--output_dir", directory)
    assert file.read_text() == "mine"


def test_refused_settings_do_not_overwrite_an_old_run(valid_flags: list[str], tmp_path: Path) -> None:
    write_file(tmp_path / "run" / "config.yaml", "seed: 7\n")
    with pytest.raises(ValueError, match=r"runs/nothing .*--init_from"):
        execute_run(parse_config([*valid_flags, "--overwrite", "--init_from=runs/nothing"]))
    assert (tmp_path / "run" / "config.yaml").read_text() == "seed: 7\n"


def test_misspelt_point_of_a_hook_is_refused(expect_refusal: ExpectRefusal, tmp_path: Path) -> None:
    plugin = write_file(
        tmp_path / "misspelt_point.py",
        "from research import Hook\n\n\nclass Mine(Hook):\n    def after_stepp(self, run):\n        pass\n",
    )
    assert re.search("point 'after_stepp'.*'after_step'", expect_refusal("--plugin", plugin))


def test_error_in_user_code_in_the_first_step_keeps_its_traceback_and_deletes_the_run(
    valid_flags: list[str],
    tmp_path: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    # The hook raises a ValueError, the class of Midway's own refusals, which are shown without a traceback.
    plugin = write_file(
        tmp_path / "broken_hook.py",
        "from research import Hook, register_hook\n\n\n"
        "@register_hook('broken_for_bad_input')\nclass Broken(Hook):\n"
        "    def before_step(self, run):\n        first, second = run.clock.step, *[]\n",
    )
    with pytest.raises(ValueError, match=r"unpack \(expected 2, got 1\)") as error_info:
        execute_run(parse_config([*valid_flags, f"--plugin={plugin}", "--hook=broken_for_bad_input"]))
    assert not is_user_facing(error_info.value)
    assert not (tmp_path / "run").exists()
    assert f"{tmp_path / 'run'} was deleted" in capsys.readouterr().out


def test_overwrite_follows_a_symbolic_link(
    valid_flags: list[str], tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    write_file(tmp_path / "scratch_disk" / "config.yaml", "seed: 7\n")
    write_file(tmp_path / "scratch_disk" / "predictions" / "old.parquet", "old")
    (tmp_path / "run").symlink_to(tmp_path / "scratch_disk", target_is_directory=True)
    execute_run(parse_config([*valid_flags, "--overwrite"]))
    assert not (tmp_path / "scratch_disk" / "predictions" / "old.parquet").exists()
    assert (tmp_path / "scratch_disk" / "result.json").exists()


def test_resume_without_a_checkpoint_discards_old_metrics(
    valid_flags: list[str], tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    write_file(tmp_path / "run" / "metrics.jsonl", '{"step": 1, "loss": 9.0}\n')
    execute_run(parse_config([*valid_flags, "--resume=auto"]))
    assert "9.0}" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_rows_skipped_or_counted_as_wrong_are_reported(
    valid_flags: list[str], tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    write_file(tmp_path / "data" / "train.csv", f"text,label\n{CSV_ROWS},label 0\n")
    test_rows = "text,label\ngood,label 0\nbad,label 1\ngood bad,label 2\n"  # no training row has label 2
    write_file(tmp_path / "data" / "test.csv", test_rows)
    flags = [*valid_flags, f"--data={tmp_path / 'data'}", "--bad_rows=skip", "--unseen_labels=count_as_wrong"]
    result = execute_run(parse_config([*flags, "--overwrite"]))
    assert result["skipped_rows"] == [{"split": "train", "reason": "empty text", "rows": 1}]
    assert result["rows_counted_as_wrong"] == {"test": 1}
    assert result["rows"]["test"] == 3
    predictions = pq.read_table(tmp_path / "run" / "predictions" / "test.parquet")
    columns = (predictions.column(name).to_pylist() for name in ("label", "prediction"))
    num_correct = sum(label == prediction for label, prediction in zip(*columns, strict=True))
    assert result["metrics"]["test"]["accuracy"] == pytest.approx(num_correct / 3)
    assert predictions.column("label").to_pylist() == [0, 1, 2]
    skipped = execute_run(parse_config([*flags, "--unseen_labels=skip", "--overwrite", "--report=true"]))
    # Rows with unseen labels have no loss, so the setting changes only the accuracy.
    assert skipped["metrics"]["test"]["loss"] == result["metrics"]["test"]["loss"]
    assert skipped["metrics"]["test"]["accuracy"] == pytest.approx(num_correct / 2)
    assert {item["split"]: item["rows"] for item in skipped["skipped_rows"]} == {"train": 1, "test": 1}
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    table = report[report.index('id="rows-left-out">') :].partition("</table>")[0]
    assert re.findall(r"<td[^>]*>(train|test)</td>", table) == ["train", "test"]


def test_command_line_prints_one_line_about_a_bad_row_and_works_once_it_is_removed(
    launch: Launch, valid_flags: list[str], tmp_path: Path
) -> None:
    reviews = write_file(tmp_path / "reviews.csv", f"text,label\n{CSV_ROWS},label 0\n")
    flags = [*valid_flags, "--data", reviews]
    done = launch(flags, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: 1 bad row of 41: reviews\.csv, row 41 .*: empty text.*bad_rows skip\.\n", done.stderr)
    write_file(reviews, f"text,label\n{CSV_ROWS}")
    launch(flags)


def test_command_line_prints_one_line_for_a_misspelt_flag(launch: Launch) -> None:
    done = launch(["--haed", "lstm"], check=False)
    assert done.returncode == 2
    assert re.fullmatch("error: .*'--haed'.*'--head'.*--batch_size.*\n", done.stderr)


def test_two_processes_print_an_error_only_once(launch: Launch, valid_flags: list[str], tmp_path: Path) -> None:
    reviews = write_file(tmp_path / "reviews.csv", f"text,label\n{CSV_ROWS},label 0\n")
    done = launch([*valid_flags, "--data", reviews], num_processes=2, check=False)
    assert done.returncode != 0
    assert len(re.findall("error: 1 bad row of 41: ", done.stderr)) == 1
    assert "[rank" not in done.stderr, "a process reported the failure of the other process"
    assert not (tmp_path / "run").exists()


def test_unreachable_hub_is_reported_at_once(valid_flags: list[str], tmp_path: Path) -> None:
    # No process listens on this port, so connections fail at once, as with a host name that cannot be resolved.
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "*", "HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "run.py", *valid_flags, "--encoder=nobody/no-such-encoder"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_LIMIT,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Hugging Face Hub" in done.stderr
    assert "Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1, "expected one line and no messages about retries"
    assert not (tmp_path / "run").exists()


def test_error_in_a_plugin_shows_the_line_of_the_plugin(launch: Launch, valid_flags: list[str], tmp_path: Path) -> None:
    plugin = write_file(tmp_path / "broken_plugin.py", "size = int('wide')\n")
    done = launch([*valid_flags, "--plugin", plugin], check=False)
    assert done.returncode == 1
    assert f'File "{plugin}", line 1, in <module>' in done.stderr
    assert re.search("ValueError: .*'wide'\n", done.stderr)
    assert "Traceback" not in done.stderr
