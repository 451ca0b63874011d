"""The command line of studies is parsed, and invalid command lines are refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from research.runner.first_checks.check import check_first
from research.runner.listing import print_help
from research.settings.declarations import declarations
from research.settings.program import RUN, HelpRequest
from research.studies.command import STUDY, WORK, StudyCommand, StudySettings, WorkerSettings, parse_study
from research.studies.grid import check_arms, expand


def parse(*arguments: str) -> StudyCommand:
    command = parse_study(arguments)
    assert isinstance(command, StudyCommand)
    return command


def test_flags_define_a_grid() -> None:
    command = parse(
        *("--heads", "linear,{name: lstm, lstm_size: 64}"),
        *("--seeds", "0,1"),
        *("--grid", "lr=1e-5,3e-5", "freeze=[encoder],[]"),
        *("--epochs", "2"),
        *("--name", "a"),
        *("--exclude", "head=linear,lr=1e-5"),
    )
    assert command.spec.grid == {
        "head": ["linear", {"name": "lstm", "lstm_size": 64}],
        "seed": [0, 1],
        "lr": ["1e-5", "3e-5"],
        "freeze": [["encoder"], []],
    }
    assert command.spec.exclude == [{"head": "linear", "lr": "1e-5"}]
    assert command.spec.base["epochs"] == 2
    assert command.spec.base["cache_features"] is True  # the default in studies
    assert command.directory == Path("runs/a")


def test_hidden_states_are_not_stored_by_default_if_rows_are_streamed() -> None:
    assert parse("--streaming", "true").spec.base["cache_features"] is None


def test_value_in_the_base_is_noted_as_unused_if_the_grid_varies_the_setting(tmp_path: Path) -> None:
    command = parse("--head", "mlp", "--heads", "linear,lstm", "--seed", "3")
    (note,) = command.notes
    assert re.search(r"\bhead\b.*'mlp'", note)
    assert command.spec.base["seed"] == 3
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("head: lstm\nlr: 0.5\n")
    (note,) = parse("--recipe", str(recipe), "--heads", "linear,mean").notes
    assert re.search(r"\bhead\b.*'lstm'", note)


def test_setting_that_a_fork_inherits_is_not_noted_as_unused(tmp_path: Path) -> None:
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent" / "config.yaml").write_text("lr: 0.5\n")
    command = parse("--fork", f"{tmp_path / 'parent'}@step-2", "--grid", "lr=0.1,0.2")
    assert command.spec.base["lr"] == 0.5
    assert command.notes == []


def test_flags_override_a_study_file(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("base: {epochs: 3, lr: 1.0}\ngrid: {head: [linear], seed: [0, 1]}\nquick: {base: {lr: 2.0}}\n")
    command = parse("--study", str(path), "--epochs", "5", "--seeds", "7")
    assert (command.spec.name, command.spec.base["epochs"], command.spec.base["lr"]) == ("experiment", 5, 1.0)
    assert command.spec.grid == {"head": ["linear"], "seed": [7]}
    quick = parse("--study", str(path), "--quick")
    assert (quick.spec.name, quick.spec.base["lr"]) == ("experiment-quick", 2.0)
    assert quick.settings.quick


def test_settings_of_a_study_file_override_its_recipes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("epochs: 9\nlr: 0.5\n")
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {{recipe: {recipe}, epochs: 3}}\n")
    base = parse("--study", str(path)).spec.base
    assert (base["epochs"], base["lr"]) == (3, 0.5)


def test_flag_overridden_in_some_arms_is_noted(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("head: lstm\nepochs: 9\n")
    (note,) = parse("--epochs", "2", "--grid", f"recipe={recipe}").notes
    assert re.search(rf"{recipe} .*\bepochs to 9,.*--epochs", note)
    study = tmp_path / "study.yaml"
    study.write_text(  # the section `exclude` is empty, which is allowed
        "base: {lr: 3}\narms: {a: {lr: 1}, b: {epochs: 5}}\noverride: [{when: {arm: b}, set: {lr: 2}}]\nexclude:\n"
    )
    arm_note, override_note = parse("--study", str(study), "--lr", "4").notes
    assert re.search(r"'a'.*\blr to 1,.*--lr", arm_note)
    assert re.search(r"\{'arm': 'b'\}.*\blr to 2,.*--lr", override_note)
    assert parse("--study", str(study)).notes == []


def test_overrides_of_a_study_file_that_match_no_value_of_the_flags_are_dropped_and_noted() -> None:
    # heads.yaml sets head_lr to 1e-2, and overrides it with 1e-3 for cnn and gru.
    command = parse("--study", "experiments/studies/heads.yaml", "--heads", "linear,{name: gru, gru_size: 8},lstm")
    (note,) = command.notes
    assert re.search(r"override.*\{'head': 'cnn'\}", note)
    assert command.spec.override == [{"when": {"head": "gru"}, "set": {"head_lr": "1e-3"}}]
    rates = {trial.arm: trial.settings["head_lr"] for trial in expand(command.spec)}
    assert rates == {"linear": 0.01, "gru (gru_size 8)": 0.001, "lstm": 0.01}


def test_value_no_stays_a_string_and_commas_in_braces_do_not_separate_values() -> None:
    command = parse("--grid", "mixed_precision=no,bf16", "--exclude", "head={name: lstm, lstm_size: 64},lr=3")
    assert command.spec.grid == {"mixed_precision": ["no", "bf16"]}
    assert command.spec.exclude == [{"head": {"name": "lstm", "lstm_size": 64}, "lr": 3}]


def test_report_texts_is_on_by_default() -> None:
    assert parse("--heads", "linear").settings.report_texts
    assert not parse("--report_texts", "false", "--heads", "linear").settings.report_texts


def test_seeds_may_be_a_range_and_the_timeout_is_checked() -> None:
    command = parse("--seeds", "0-4", "--trial_timeout", "2h", "--drop_waiting")
    assert (command.settings.trial_timeout, command.settings.drop_waiting) == ("2h", True)
    assert [trial.seed for trial in expand(command.spec)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="2 days"):
        parse_study(["--trial_timeout", "2 days"])


def test_flags_of_study_and_trials_can_be_mixed() -> None:
    command = parse(
        *("--head.lstm_size", "9", "--drop-waiting", "--grid", "lr=1,2", "freeze=[encoder],[]", "--head", "lstm"),
        *("--grid=warmup=0,5%", "--seeds=1", "--workers", "3", "--workers=2", "--split", "validation"),
    )
    assert command.options == {"head": {"lstm_size": "9"}}
    assert list(command.spec.grid) == ["seed", "lr", "freeze", "warmup"]
    assert (command.settings.drop_waiting, command.settings.workers) == (True, 2)  # the last --workers takes effect
    assert command.spec.split == "validation"
    assert command.spec.base["head"] == "lstm"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--haeds", "linear"], "'--haeds'.*'--heads'"),
        (["--heads"], "--heads .*value"),
        (["--grid", "lr"], "--grid .*setting=value,value.*'lr'"),
        (["--heads", "a", "--grid", "head=b"], "'head'.*twice"),
        (["--heads", "[a"], "values of head"),
        (["--exclude", "lr"], "--exclude .*setting=value"),
        (["--exclude", "lr=["], r"--exclude 'lr=\['"),
        (["--workers", "many"], "--workers .*'many'"),
        (["--workers", "0"], "--workers .*'0'"),
        (["--quick=maybe"], r"\bquick .*bool.*'maybe'"),
        (["--retry_failed", "linear"], "flag.*'linear'"),
        (["--heads.x", "1"], "'--heads.x'.*'--heads'"),
        (["--resume", "auto"], "--resume .*study"),
        (["--overwrite"], "--overwrite .*study"),
        (["--quick"], "--quick .*--study"),
        (["--study", "nowhere.yaml"], r"nowhere\.yaml"),
        (["--split", "train"], r"\bsplit .*'?train"),
        (["--search", "lr=[1e-4,1e-3]", "--trials", "2"], "--search lr=1e-4,1e-3;"),
        (["--grid", "lr=[1e-4,1e-3]"], "--grid lr=1e-4,1e-3;"),
        (["--search", "lr=1e-4,1e-3", "--trials", "2", "--score_test", "true"], "--score_test true.*--confirm"),
    ],
)
def test_invalid_command_line_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_study(arguments)


def test_search_takes_lists_of_settings_and_options_that_are_lists() -> None:
    command = parse("--search", "freeze=[encoder],[]", "head.kernel_sizes=[2,3],[4]", "--trials", "2")
    assert command.spec.search["space"] == {"freeze": [["encoder"], []], "head.kernel_sizes": [[2, 3], [4]]}


def test_saved_settings_of_a_search_may_contain_score_test(tmp_path: Path) -> None:
    """The study.yaml of a search has the defaults of all settings; it can start the search again."""
    study = tmp_path / "s.yaml"
    study.write_text("base: {score_test: true}\nsearch: {space: {lr: [1.0e-4, 1.0e-3]}, trials: 2}\n")
    assert parse("--study", str(study)).spec.search["trials"] == 2
    assert parse("--study", str(study), "--score_test", "false").spec.base["score_test"] is False


@pytest.mark.parametrize("study", sorted(Path("experiments/studies").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_study_file_of_the_repository_expands_to_valid_trials(study: Path, quick: list[str]) -> None:
    from research.runner.resolve import resolve
    from research.studies.search.propose import Proposer

    command = parse("--study", str(study), *quick)
    trials = Proposer(command.spec).boundary_trials() if command.spec.search else expand(command.spec)
    check_arms(trials, check_first)
    check_arms(trials, resolve)
    assert len(trials) >= 4
    assert command.spec.search or command.spec.baseline is not None


def test_every_study_setting_is_declared_and_has_a_flag() -> None:
    for group, program in ((StudySettings, STUDY), (WorkerSettings, WORK)):
        names = {item.name for item in dataclasses.fields(group)}
        assert declarations(group).keys() == names
        assert names <= program.flag_types.keys()
    # A command line can contain both kinds of flags, so no name may be declared twice.
    assert not declarations(StudySettings).keys() & RUN.flag_types.keys()


def test_help_shows_study_settings_then_run_settings_then_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = parse_study(["--head", "lstm", "--heads", "linear", "--help"])
    assert isinstance(request, HelpRequest)
    assert print_help(request) == 0
    printed = capsys.readouterr().out
    positions = [
        printed.index(text)
        for text in ("--retry_failed", "--batch_size", "--traceback", "head lstm, ", "lstm_size (int")
    ]
    assert positions == sorted(positions)
