"""Grids expand into trials with ids and arm names; invalid grids are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from research.settings.config import RunConfig
from research.studies.grid import StudySpec, expand, read_study_file


def arm_names(**spec: Any) -> list[str]:
    return list(dict.fromkeys(trial.arm for trial in expand(StudySpec(**spec))))


def test_grid_expands_to_all_combinations_with_seeds_in_the_given_order() -> None:
    trials = expand(StudySpec(grid={"seed": [3, 1], "head": ["linear", "lstm"], "lr": [1e-5, "3e-5"]}))
    assert [(trial.settings["head"], trial.settings["lr"], trial.seed) for trial in trials] == [
        (head, lr, seed) for head in ("linear", "lstm") for lr in (1e-5, 3e-5) for seed in (3, 1)
    ]
    assert [trial.arm for trial in trials[::2]] == [  # the trials with the first seed
        "linear, lr=1e-05",
        "linear, lr=3e-05",
        "lstm, lr=1e-05",
        "lstm, lr=3e-05",
    ]


def test_id_depends_only_on_settings_that_affect_the_result() -> None:
    def id_of(**base: Any) -> str:
        return expand(StudySpec(base=base))[0].id

    assert id_of() == id_of(num_threads=1, log_every=3, report=False, keep=5, micro_batch_size=4, cache_features=True)
    assert id_of() == id_of(seed=0)
    different_ids = [
        id_of(seed=1),
        id_of(lr=3e-5),
        id_of(epochs=2),
        id_of(data="rotten_tomatoes"),
        id_of(cache_dtype="bf16"),
    ]
    assert len({id_of(), *different_ids}) == 6
    # Cached and computed hidden states are rounded differently: by about 1e-7 in float32, but more in half precision.
    assert id_of(cache_features=False) == id_of()
    assert id_of(mixed_precision="no", cache_features=False) == id_of(mixed_precision="no", cache_features=True)
    assert id_of(mixed_precision="bf16", cache_features=False) != id_of(mixed_precision="bf16", cache_features=True)


def test_trials_keep_their_ids_if_the_grid_grows() -> None:
    small = expand(StudySpec(grid={"head": ["linear", "lstm"]}))
    large = expand(StudySpec(grid={"head": ["linear", "lstm"], "lr": [1e-4, 1e-5]}))
    default_lr = 1e-4
    assert {trial.id for trial in small} == {trial.id for trial in large if trial.settings["lr"] == default_lr}


def test_override_takes_precedence_over_arm_then_recipe_then_base(tmp_path: Path) -> None:
    recipe = tmp_path / "slow.yaml"
    recipe.write_text("lr: 1.0e-6\nepochs: 7\nbatch_size: 8\n")
    spec = StudySpec(
        base={"lr": 1e-5, "epochs": 1, "batch_size": 4},
        arms={"slow": {"recipe": str(recipe), "epochs": 6}},
        grid={"head": ["linear", "lstm"]},
        override=[{"when": {"head": "lstm"}, "set": {"batch_size": 16}}],
    )
    linear, lstm = (trial.config() for trial in expand(spec))
    assert (linear.lr, linear.epochs, linear.batch_size) == (1e-6, 6, 8)
    assert (lstm.lr, lstm.epochs, lstm.batch_size) == (1e-6, 6, 16)


def test_excluded_combinations_have_no_trials() -> None:
    names = arm_names(
        grid={"head": ["linear", {"name": "lstm", "lstm_size": 8}], "lr": [1e-5, 1e-4]},
        exclude=[{"head": "lstm", "lr": "1e-4"}],
    )
    assert names == ["linear, lr=1e-05", "linear, lr=0.0001", "lstm (lstm_size 8), lr=1e-05"]


def test_single_arm_is_named_after_its_head_and_several_arms_after_their_settings() -> None:
    assert arm_names(grid={"head": ["lstm"], "seed": [0, 1]}) == ["lstm"]
    assert arm_names(grid={"freeze": ["encoder", []]}) == ["freeze=encoder", "freeze=none"]


def test_named_arms_keep_their_names() -> None:
    assert arm_names(arms={"lr 1e-4/3e-4": {}, "slow.yaml": {"lr": 1e-5}}) == ["lr 1e-4/3e-4", "slow.yaml"]


def test_options_of_the_command_line_apply_to_all_trials() -> None:
    trials = expand(StudySpec(grid={"head": ["linear", "lstm"]}), options={"head": {"dropout": "0.3"}})
    assert [trial.settings["head"] for trial in trials] == [
        {"name": "linear", "dropout": "0.3"},
        {"name": "lstm", "dropout": "0.3"},
    ]


def test_config_of_a_trial_equals_that_of_a_run_with_the_same_settings() -> None:
    trial = expand(StudySpec())[0]
    assert trial.config(output_dir="x").to_dict() == RunConfig(output_dir="x").to_dict()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"grid": {"haed": ["linear"]}}, "'haed'.*'head'"),
        ({"grid": {"output_dir": ["a", "b"]}}, "'output_dir'"),
        ({"grid": {"lr": []}}, r"grid's lr\b.*list"),
        ({"grid": {"lr": ["quick"]}}, r"\blr\b.*float.*'quick'"),
        ({"grid": {"lr": [1e-5, "1e-5"]}}, "identical settings: lr=1e-05"),
        ({"exclude": [{"lr": 1}]}, "axis 'lr'"),
        ({"grid": {"lr": [1.0]}, "exclude": [{"lr": 2}]}, "exclude entry.*2"),
        ({"grid": {"lr": [1.0]}, "exclude": [{"lr": 1}]}, "all combinations"),
        ({"override": [{"head": "lstm"}]}, r"\{when:.*'head': 'lstm'"),
        ({"arms": {"a": {"lrr": 1}}}, "'lrr'.*'lr'"),
        ({"arms": {"a": {}, "b": {}}}, "identical settings: a, b"),
        ({"grid": {"head": ["linear", "lstm"]}, "baseline": "lstn"}, "'lstn'.*'lstm'"),
        ({"name": "../a"}, r"name.*\.\./a"),
        ({"split": "train"}, "split.*test or validation"),
        ({"grid": 3}, "grid.*mapping.*3"),
        ({"baseline": 3}, "baseline.*string.*3"),
        ({"arms": {1: {}}}, "arms.*quotes.*1"),
        ({"arms": {"a": {"seed": 5}}}, "'a'.*'seed'"),
        ({"arms": {"a": {"output_dir": "x"}}}, "'a'.*'output_dir'"),
        ({"override": [{"when": {"seed": 1}, "set": {"lr": 1}}]}, "`when`.*'seed'"),
        ({"override": [{"when": {"lr": 1}, "set": {"lr": 1}, "also": 3}]}, r"\{when:.*'also': 3"),
        ({"base": {"lr": 1}, "arms": {"a": {"recipe": 5}}}, "recipe.*5"),
    ],
)
def test_invalid_grid_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(StudySpec(**spec))


def test_varied_axis_is_always_part_of_the_id() -> None:
    one_value, *_ = expand(StudySpec(grid={"micro_batch_size": [8]}))
    default, *_ = expand(StudySpec())
    assert one_value.id == default.id
    assert len({trial.id for trial in expand(StudySpec(grid={"micro_batch_size": [8, 16]}))}) == 2


def test_quick_section_overrides_the_other_sections(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("base: {lr: 1.0, epochs: 3}\ngrid: {seed: [0, 1]}\nquick: {base: {epochs: 1}}\n")
    assert read_study_file(path, quick=False) == {"base": {"lr": 1.0, "epochs": 3}, "grid": {"seed": [0, 1]}}
    assert read_study_file(path, quick=True) == {"base": {"lr": 1.0, "epochs": 1}, "grid": {"seed": [0, 1]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gird: {}", r"study\.yaml.*'gird'.*'grid'"),
        ("[1]", "mapping"),
        ("a: [", r"study\.yaml.*YAML"),
        ("grid: {}", r"--quick .*`quick`.*study\.yaml"),  # no section `quick`
        ("quick: []", r"study\.yaml.*`quick`.*mapping.*\[\]"),
    ],
)
def test_invalid_study_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_study_file(path, quick=True)


def test_each_value_of_a_grid_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    num_calls = 0
    parse = ArgumentParser.parse_object

    def count_and_parse(*arguments: Any, **named: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        return parse(*arguments, **named)

    monkeypatch.setattr(ArgumentParser, "parse_object", count_and_parse)
    assert (
        len(expand(StudySpec(grid={"head": ["linear", "lstm"], "lr": [1e-5, "3e-5"], "seed": list(range(50))}))) == 200
    )
    assert num_calls <= 2 + 2 + 50 + 1  # one call for each head, learning rate and seed, and one for the defaults


def test_seed_ranges_are_expanded() -> None:
    trials = expand(StudySpec(grid={"seed": ["0-2", 7, "9"]}))
    assert [trial.seed for trial in trials] == [0, 1, 2, 7, 9]
    with pytest.raises(ValueError, match="4-0"):
        expand(StudySpec(grid={"seed": ["4-0"]}))


def test_trials_do_not_share_option_dictionaries() -> None:
    spec = StudySpec(grid={"head": [{"name": "lstm", "lstm_size": 8}], "seed": [0, 1]})
    first, second = expand(spec, options={"head": {"dropout": "0.5"}})
    assert first.settings["head"] == second.settings["head"]
    first.settings["head"]["lstm_size"] = 16
    assert second.settings["head"]["lstm_size"] == 8


def test_folds_are_an_axis_within_arms_and_every_seed_makes_its_own_folds() -> None:
    base = {"folds": 3, "split_seed": 10}
    trials = expand(StudySpec(base=base, grid={"head": ["linear", "lstm"], "seed": [0, 7]}))
    assert [trial.arm for trial in trials] == ["linear"] * 6 + ["lstm"] * 6
    units = [(seed, fold) for seed in (0, 7) for fold in range(3)]
    assert [trial.unit for trial in trials] == units * 2
    assert [trial.settings["split_seed"] for trial in trials] == [10 + seed for seed, _ in units] * 2
    assert len({repr(trial.arm_settings) for trial in trials}) == 2
    assert str(trials[5].unit) == "7 (fold 2)"
    assert trials[5].id.startswith("linear-seed7-fold2-")
    assert [trial.unit for trial in expand(StudySpec(base=base, grid={"fold": [2, 0]}))] == [(0, 2), (0, 0)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"base": {"folds": 3, "fold": 1}}, "--grid fold=1"),
        ({"base": {"folds": 3}, "grid": {"split_seed": [0, 1]}}, "split_seed.*--seeds"),
        ({"grid": {"folds": [3, 5]}}, "'folds'"),
        ({"base": {"folds": 3}, "fork_at": "50%"}, "fork_at .*folds"),
        ({"arms": {"a": {"fold": 1}, "b": {}}}, "'a' cannot contain 'fold'"),
        ({"base": {"folds": 3}, "grid": {"fold": [3]}}, "less than --folds 3; got 3"),
        ({"grid": {"fold": [0, 1]}}, "no --folds; got 1"),
    ],
)
def test_misleading_folds_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(StudySpec(**spec))
