"""Parse the command line: flags and recipes become settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from research.settings.command_line import Command, convert_settings, convert_value, parse
from research.settings.config import RunConfig
from tests.conftest import ROOT


def parse_config(*arguments: str) -> RunConfig:
    command = parse(arguments)
    assert isinstance(command, Command)
    return command.config


def test_parse_keeps_no_state_between_calls() -> None:
    assert parse_config("--lr", "0.5", "--freeze", "encoder", "--hook", "ema", "--dry_run").lr == 0.5
    assert parse([]) == Command(RunConfig())


def test_parse_of_an_empty_command_line_gives_the_defaults() -> None:
    assert parse_config() == RunConfig()


def test_parse_converts_values_to_their_types() -> None:
    config = parse_config("--lr", "3e-5", "--max_steps=7", "--head_lr", "null", "--overwrite", "--smoke", "false")
    assert (config.lr, config.max_steps, config.head_lr, config.overwrite, config.smoke) == (3e-5, 7, None, True, False)


def test_parse_accepts_a_bare_flag_of_a_nullable_bool() -> None:
    assert parse_config("--cache_features").cache_features is True
    assert parse_config("--cache_features", "--cache_dtype", "bf16").cache_dtype == "bf16"
    for text, value in (("true", True), ("false", False), ("null", None)):
        assert parse_config("--cache_features", text).cache_features is value
        assert parse_config(f"--cache_features={text}").cache_features is value


def test_parse_accepts_hyphens_instead_of_underscores() -> None:
    assert parse_config("--batch-size", "4", "--head", "lstm", "--head.lstm-size", "8").head == {
        "name": "lstm",
        "lstm_size": "8",
    }


def test_parse_merges_options_into_the_choices_of_a_recipe(tmp_path: Path) -> None:
    # The hooks a and b are not registered: parsing does not look up names.
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "head: {name: lstm, lstm_size: 3, dropout: 0.5}\nlr: 1e-5\nwarmup: 0.1ep\nhook: [{name: a, x: 1}]\n"
    )
    config = parse_config(
        "--head.lstm_size", "9", "--recipe", str(recipe), "--lr", "2", "--hook", "b", "--hook.b.y", "2"
    )
    assert config.head == {"name": "lstm", "lstm_size": "9", "dropout": 0.5}
    assert (config.lr, config.warmup) == (2.0, "0.1ep")
    assert config.hook == [{"name": "a", "x": 1}, {"name": "b", "y": "2"}]
    assert parse_config("--recipe", str(recipe), "--head", "gru").head == "gru"


def test_parse_reads_no_and_0_in_a_recipe_as_on_the_command_line(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("mixed_precision: no\noverwrite: no\nwarmup: 0\n")
    config = parse_config("--recipe", str(recipe))
    assert (config.mixed_precision, config.overwrite, config.warmup) == ("no", False, "0")


def test_parse_lets_later_recipes_override_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: 1\nseed: 3\n")
    (tmp_path / "b.yaml").write_text("lr: 2\n")
    config = parse_config("--recipe", str(tmp_path / "a.yaml"), "--recipe", str(tmp_path / "b.yaml"))
    assert (config.lr, config.seed) == (2.0, 3)


def test_parse_reads_lists_of_selectors_and_edits() -> None:
    assert parse_config("--freeze", "encoder.layer[0]", "--freeze=encoder.layer[:4],head").freeze == [
        "encoder.layer[0]",
        "encoder.layer[:4]",
        "head",
    ]
    entries = [{"at": "10%", "freeze": "encoder.layer[-2:]"}, {"at": "3st", "set_lr": {"lr": 0.1, "modules": "head"}}]
    first_entry, second_entry = '{at: 10%, freeze: "encoder.layer[-2:]"}', "{at: 3st, set_lr: {lr: 0.1, modules: head}}"
    assert parse_config("--timeline", first_entry, "--timeline", second_entry).timeline == entries
    assert parse_config("--timeline", f"[{first_entry}, {second_entry}]").timeline == entries
    assert parse_config("--timeline", "[]", "--freeze", "[encoder, head]").freeze == ["encoder", "head"]


def test_parse_accepts_repeated_flags_and_commas_for_lists() -> None:
    assert parse_config("--cleaning", "a,b", "--cleaning", "c").cleaning == ["a", "b", "c"]
    assert parse_config("--log_with", "wandb").log_with == ["wandb"]
    assert parse_config("--plugin", "a.py", "--plugin", "b").plugin == ["a.py", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hed", "lstm"], r"'--hed'.*'--head'\?"),
        (["--lr.x", "1"], r"'--lr\.x'.*'--lr'\?"),
        (["--lr", "abc"], r"lr.*float.*abc"),
        (["--lr"], r"--lr .*value"),
        (["lstm"], r"begins with --.*'lstm'"),
        (["--truncation", "middle"], r"truncation.*head_tail.*middle"),
        (["--freeze", "[encoder.layer[0]]"], r"list of --freeze: .*flag"),
        (["--batch_size", "0"], r"batch_size to be above 0.* 0\.?$"),
        (["--hook.mine.x", "1"], r"--hook mine"),
        (["--objective.gamma", "1"], r"--objective\.gamma .*--objective\b"),
        (["--recipe", "missing.yaml"], r"recipe missing\.yaml"),
    ],
)
def test_parse_rejects_invalid_command_lines(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("haed: lstm\n", r"recipe\.yaml: .*'haed'.*'head'\?"),
        ("- head\n", r"recipe\.yaml.*list"),
        ("head: [\n", r"not valid YAML"),
        ("lr: fast\n", r"lr.*float.*fast"),
        ("x: !!python/object/apply:os.system ['true']\n", r"not valid YAML"),
    ],
)
def test_parse_rejects_invalid_recipes(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse(["--recipe", str(recipe)])


def test_help_is_grouped_and_complete() -> None:
    completed = subprocess.run(
        [sys.executable, "experiments/run.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for group in ("Model:", "Data:", "Training:", "Timeline and evaluation:", "Run:", "Inspection:"):
        assert group in completed.stdout
    for name in RunConfig().to_dict():
        assert f"--{name}" in completed.stdout
    assert "default: 0.0001" in completed.stdout  # of --lr


def test_parse_lets_recipes_and_flags_override_inherited_settings_of_a_fork(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "config.yaml").write_text("head: gru\nlr: 0.5\nseed: 3\ntimeline:\n- {at: 10st, freeze: encoder}\n")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("lr: 0.25\n")
    # There is no edit x: parsing does not look up names.
    flags = ["--fork", f"{parent}@step-400", "--recipe", str(recipe), "--seed", "4", "--timeline", "{at: 20st, x: 1}"]
    command = parse(flags)
    assert isinstance(command, Command)
    config = command.config
    assert (config.head, config.lr, config.seed, config.fork) == ("gru", 0.25, 4, f"{parent}@step-400")
    assert config.timeline == [{"at": "10st", "freeze": "encoder"}, {"at": "20st", "x": 1}]


def test_fork_with_a_complete_config_does_not_read_its_parent(tmp_path: Path) -> None:
    recipe = tmp_path / "config.yaml"
    recipe.write_text(yaml.safe_dump(RunConfig(fork=str(tmp_path / "missing-parent"), head="gru").to_dict()))
    command = parse(["--recipe", str(recipe)])
    assert isinstance(command, Command)
    assert command.config.head == "gru"
    # All other forks read their parent's settings.
    with pytest.raises(ValueError, match="missing-parent"):
        parse(["--fork", str(tmp_path / "missing-parent")])


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("{at: 3st, unfreeze: encoder.layer[7]}", " encoder.layer[7]"),
        # Only the first selector needs quotes; the second has them.
        ("{at: 3st, freeze: encoder.layer[:2], unfreeze: 'encoder.layer[7]'}", " encoder.layer[:2]."),
        ("{at: 3st, freeze: encoder", "{name: value, ...}"),
    ],
)
def test_parse_suggests_a_correction_for_an_invalid_mapping(value: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        parse(["--timeline", value])
    quoted = parse(["--timeline", "{at: 3st, unfreeze: 'encoder.layer[7]'}"])
    assert isinstance(quoted, Command)
    assert quoted.config.timeline == [{"at": "3st", "unfreeze": "encoder.layer[7]"}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 1),
        ("lr", "3e-5"),
        ("warmup", 0),
        ("mixed_precision", False),
        ("seed", "7"),
        ("head", "lstm"),
        ("head", {"name": "lstm", "lstm_size": 64}),
        ("freeze", ["encoder"]),
        ("hook", ["smart", {"name": "ema", "decay": 0.9}]),
        ("timeline", [{"at": "10%", "unfreeze": "encoder.layer[-2:]"}]),
        ("limit_train", None),
        ("data", 20),
        ("deterministic", True),
    ],
)
def test_convert_value_agrees_with_convert_settings(name: str, value: Any) -> None:
    converted, from_recipe = convert_value(name, value), convert_settings({name: value})[name]
    assert (converted, type(converted)) == (from_recipe, type(from_recipe))


@pytest.mark.parametrize(("name", "value"), [("lr", "fast"), ("seed", 0.5), ("head", 1.5), ("epochs", "two")])
def test_convert_value_raises_the_same_error_as_convert_settings(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as value_error:
        convert_value(name, value)
    with pytest.raises(ValueError, match=name) as recipe_error:
        convert_settings({name: value})
    assert str(value_error.value) == str(recipe_error.value)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--traceback"], True),
        (["--traceback=true"], True),
        (["--traceback", "true"], True),
        (["--traceback", "false"], False),
        (["--traceback=false"], False),
        (["--traceback", "--traceback=false"], False),
        ([], False),
    ],
)
def test_command_and_help_request_accept_all_forms_of_the_traceback_flag(flags: list[str], expected: bool) -> None:
    assert parse(flags).traceback is expected
    assert parse([*flags, "--help"]).traceback is expected
