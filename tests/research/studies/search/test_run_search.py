"""Command lines of searches that cannot work are refused before any trial runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from research.studies.command import StudyCommand, parse_study
from research.studies.first_checks import check_study
from research.studies.grid import expand
from research.studies.run_study import create_study, run_study
from research.studies.search.propose import Proposer
from research.studies.search.run_search import run_search

LR = ["--search", "lr=1e-5..1e-3:log", "--trials", "1"]


def parse(*arguments: object) -> StudyCommand:
    command = parse_study([str(argument) for argument in arguments])
    assert isinstance(command, StudyCommand)
    check_study(command)
    return command


def test_flags_define_a_search() -> None:
    flags = ["--search", "lr=1e-5..1e-3:log", "head=linear,lstm", "--search", "head.dropout=0..0.5", "--hours", "2"]
    flags += ["--sampler", "{name: tpe, multivariate: true}", "--pruner", "median", "--search_seed", "3"]
    command = parse(*flags, "--point", "lr=3e-5,head=lstm", "--warm_start", "runs/a", "--warm_start", "runs/b")
    assert command.spec.search == {
        "space": {"lr": "1e-5..1e-3:log", "head": ["linear", "lstm"], "head.dropout": "0..0.5"},
        "points": [{"lr": "3e-5", "head": "lstm"}],
        "warm_start": ["runs/a", "runs/b"],
        "hours": 2.0,
        "sampler": {"name": "tpe", "multivariate": True},
        "pruner": "median",
        "seed": 3,
    }
    assert command.spec.split == "validation"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*LR, "--search", "lr=1e-4,1e-5"], "given twice"),
        ([*LR, "--sampler", "{name: tpe"], "Cannot read --sampler"),
        ([*LR, "--grid", "epochs=1,2"], "grid: epochs"),
        ([*LR, "--heads", "linear,lstm"], "grid: head"),
        ([*LR, "--seeds", "0-4"], "--confirm"),
        ([*LR, "--baseline", "lstm"], "baseline"),
        ([*LR, "--split", "test"], "--split"),
        ([*LR, "--drop_waiting"], "--drop_waiting"),
        ([*LR, "--confirm", "3"], "CONFIGURATIONSxSEEDS"),
        (["--trials", "3"], "settings to search"),
        (["--search", "lr=1e-5..1e-3"], "budget"),
        (["--heads", "linear", "--confirm", "3x5"], "needs a search"),
        (["--heads", "linear", "--promote", "a"], "needs a search"),
        ([*LR, "--search", "head=linear,lstm", "--head.dropout", "0.3"], r"--head\.dropout is ambiguous"),
    ],
)
def test_flags_that_contradict_a_search_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(*flags)


def test_section_of_a_study_file_is_merged_with_flags(tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text("search: {space: {lr: 1e-5..1e-3}, trials: 40}\nquick: {search: {trials: 2}}\n")
    assert parse("--study", file, "--quick", "--hours", "1").spec.search == {
        "space": {"lr": "1e-5..1e-3"},
        "trials": 2,
        "hours": 1.0,
    }
    file.write_text("search: [lr]\n")
    with pytest.raises(ValueError, match=re.escape("['lr']")):
        parse("--study", file)


def finish_one_trial(command: StudyCommand) -> None:
    """Create a search with one finished trial."""
    with create_study(command) as study:
        claim = study.ask(Proposer(command.spec), "a worker")
        assert claim is not None
        study.finish(claim, 0.5, {"validation": {"accuracy": 0.5, "f1_macro": 0.4, "loss": 0.7}}, seconds=1)


@pytest.fixture
def flags(use_session_cache: None, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> list[object]:
    """Flags with data and an encoder."""
    return ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output_dir", tmp_path / "s", "--name", "s"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--pruner", "median", "--evaluate_every", "null"], "--evaluate_every"),
        (["--sampler", "tep"], "'tpe'"),
        (["--pruner", "{name: median, warmup: 3}"], "'n_warmup_steps'|option of the pruner"),
        (["--search", "batch_size=0..4"], "batch_size"),
        (["--search", "head=linear,ltsm"], "'lstm'"),
        (["--metric", "acuracy"], "'accuracy'"),
        (["--confirm", "2x5"], "needs 2 finished trials, but the search has a budget of 1 trial"),
        (["--point", "lr=1"], "lr"),
        (["--text_column", "txt"], "txt"),
    ],
)
def test_searches_that_would_fail_are_refused_before_the_first_trial(
    flags: list[object], changed: list[str], message: str, tmp_path: Path
) -> None:
    for dry_run in ([], ["--dry_run"]):
        with pytest.raises(ValueError, match=message):
            run_search(parse(*flags, *LR, *changed, *dry_run))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--warm_start", "nowhere"], "nowhere"),
        (["--promote", "lstm-seed0"], "lstm-seed0"),
        (["--epochs", "2"], r"settings of all trials \(epochs\)"),
    ],
)
def test_dry_run_refuses_what_the_search_would_refuse(flags: list[object], changed: list[str], message: str) -> None:
    space = ["--search", "head=linear,lstm", "--trials", "2"]
    command = parse(*flags, *space)
    finish_one_trial(command)
    assert run_search(parse(*flags, *space, "--dry_run")) == 0
    with pytest.raises(ValueError, match=message):
        run_search(parse(*flags, *space, *changed, "--dry_run"))


def test_dry_run_of_a_search_counts_its_trials(flags: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    command = parse(*flags, *LR)
    with create_study(command) as study:
        claim = study.ask(Proposer(command.spec), "a worker")
        assert claim is not None
        study.fail(claim, "no reason")
    run_search(parse(*flags, *LR, "--dry_run"))
    assert "So far: 1 trial, 1 failed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--epochs", "2"], r"settings of all trials \(epochs\)"),
        (["--minimize", "seconds"], r"minimize None, not seconds\. Start a new search with another --name\.$"),
        (["--metric", "f1_macro"], r"started with accuracy, not f1_macro\. .* --warm_start"),
        (["--metric", "loss"], "started with accuracy, not loss"),
        (["--point", "lr=1e-4"], "points"),
        (["--search", "head=linear,mlp"], "values of head"),
    ],
)
def test_search_does_not_continue_with_results_that_are_not_comparable(
    flags: list[object], changed: list[str], message: str
) -> None:
    space = ["--search", "head=linear,lstm", "--trials", "2"]
    command = parse(*flags, *space)
    finish_one_trial(command)
    if changed[0] == "--search":
        space = [*changed, "--trials", "2"]
        changed = []
    if changed[:1] == ["--point"]:
        changed = ["--point", "head=lstm"]
    with pytest.raises(ValueError, match=message):
        run_search(parse(*flags, *space, *changed))
    with create_study(command) as study:
        assert study.spec().search == command.spec.search  # the study is unchanged


def test_search_continues_with_the_name_of_its_default_metric(flags: list[object]) -> None:
    space = ["--search", "head=linear,lstm", "--trials", "2"]
    finish_one_trial(parse(*flags, *space))
    assert run_search(parse(*flags, *space, "--metric", "accuracy", "--dry_run")) == 0


def test_confirmation_with_too_few_seeds_for_a_verdict_is_announced(
    flags: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    run_search(parse(*flags, *LR, "--confirm", "1x3", "--dry_run"))
    assert "no verdict: it needs 5 seeds, but has 3" in caplog.text
    caplog.clear()
    run_search(parse(*flags, *LR, "--confirm", "1x5", "--dry_run"))
    assert "no verdict" not in caplog.text


def test_grid_on_test_rows_needs_their_scores(flags: list[object]) -> None:
    command = parse(*flags, "--heads", "linear,mlp", "--score_test", "false")
    with pytest.raises(ValueError, match="--score_test"):
        run_study(command, expand(command.spec))


def test_dry_run_shows_choices_like_names_of_arms(
    tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, use_session_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--search", "head={name: lstm, lstm_size: 64}", "--trials", "1", "--dry_run", "--output_dir", tmp_path]
    assert run_search(parse(*flags, "--encoder", tiny_encoder, "--data", tiny_reviews)) == 0
    printed = capsys.readouterr().out
    assert "lstm (lstm_size 64)" in printed
    assert "1 value " in printed
