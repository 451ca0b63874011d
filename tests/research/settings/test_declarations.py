"""Declarations of settings. The tables repeat what the settings declare, so that no declaration changes by accident."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable
from typing import Any

import pytest

from research.settings.config import SETTING_GROUPS, RunConfig
from research.settings.declarations import PERIOD, TIME, Bounds, Declaration, Effect, Stage, declarations, setting
from research.settings.flags import InspectionSettings, declaration_of, names_where
from research.settings.value_types import alternatives

GROUPS = (*SETTING_GROUPS, InspectionSettings)
EFFECTS = {
    Effect.TRAINING: """encoder head objective hook freeze peft base_dtype bidirectional pad_token dropout
        attention_dropout streaming shuffle_buffer max_length truncation template long_texts window stride
        max_windows train_windows epochs max_steps batch_size sampling optimizer lr head_lr layer_decay weight_decay
        schedule schedule_interval warmup max_grad_norm mixed_precision timeline evaluate_every best_metric patience
        init_from fork seed smoke""",
    Effect.ROWS: """data task text_column text_pair_column label_column group_column label_separator
        allow_unknown_tokens encoding quoting columns cleaning bad_rows unseen_labels limit_train limit_validation
        limit_test validation_share test_share folds fold split_seed""",
    Effect.ROUNDING: """attn_implementation micro_batch_size window_batch_size gradient_checkpointing shard
        shard_precision shard_group_size shard_cpu_offload compile compile_backend cache_features cache_dtype
        evaluation_batch_size num_threads deterministic""",
    Effect.TEST: "score_test calibrate thresholds",
    Effect.NONE: """plugin allow_padding_sensitive shard_checkpoints on_nonfinite save_every keep pause_at
        on_save_error save_in_background log_with log_every report profile""",
    Effect.INVOCATION: "name output_dir overwrite resume dry_run print_config list traceback",
}
STAGES = {
    Stage.ROW_NUMBERS: "data task text_column text_pair_column label_column label_separator quoting columns folds",
    Stage.ROWS: """streaming group_column encoding cleaning bad_rows unseen_labels limit_train limit_validation
        limit_test validation_share test_share fold split_seed""",
    Stage.TOKENS: "encoder pad_token allow_unknown_tokens template smoke",
    Stage.INPUTS: "max_length truncation long_texts window stride max_windows",
    Stage.HIDDEN_STATES: "freeze base_dtype bidirectional attn_implementation mixed_precision cache_dtype init_from",
}
PROPERTIES: dict[str, tuple[Callable[[Declaration], bool], str]] = {
    "fixed in forks": (
        lambda declared: declared.why_fixed_in_forks is not None,
        """encoder head freeze peft base_dtype bidirectional pad_token streaming shuffle_buffer template batch_size
        optimizer init_from seed smoke""",
    ),
    "fixed in studies": (
        lambda declared: declared.why_fixed_in_studies is not None,
        "plugin folds name output_dir overwrite resume fork smoke dry_run print_config list traceback",
    ),
    "refused in studies": (
        lambda declared: declared.study_alternative is not None,
        "overwrite resume print_config list",
    ),
    "does not distinguish trials": (
        lambda declared: not declared.distinguishes_trials,
        """plugin allow_padding_sensitive micro_batch_size window_batch_size gradient_checkpointing shard
        shard_precision shard_group_size shard_cpu_offload shard_checkpoints compile compile_backend cache_features
        on_nonfinite evaluation_batch_size name output_dir overwrite resume save_every keep pause_at
        on_save_error save_in_background num_threads deterministic log_with log_every report profile dry_run
        print_config list traceback""",
    ),
    "value names the arm": (
        lambda declared: declared.value_names_arm,
        "encoder head objective data optimizer schedule",
    ),
    "flags replace a list": (lambda declared: declared.flags_replace_list, "cleaning log_with"),
    "null keeps the value of the checkpoint": (lambda declared: declared.null_keeps_checkpoint_value, "num_threads"),
    "has an input path": (
        lambda declared: declared.input_path is not None,
        "encoder plugin data init_from fork",
    ),
    "affects the feature cache": (lambda declared: declared.affects_feature_cache, "cache_features cache_dtype"),
    "time": (lambda declared: declared.unit == TIME, "warmup"),
    "period": (lambda declared: declared.unit == PERIOD, "evaluate_every save_every pause_at"),
    "above 0": (
        lambda declared: declared.bounds == Bounds(above=0),
        """shuffle_buffer max_length window stride max_windows train_windows limit_train limit_validation limit_test
        epochs max_steps batch_size micro_batch_size window_batch_size lr
        layer_decay shard_group_size patience evaluation_batch_size keep num_threads log_every""",
    ),
    "0 or more": (lambda declared: declared.bounds == Bounds(at_least=0), "fold head_lr weight_decay max_grad_norm"),
    "2 or more": (lambda declared: declared.bounds == Bounds(at_least=2), "folds"),
    "seed": (lambda declared: declared.bounds == Bounds(at_least=0, at_most=2**32 - 1), "split_seed seed"),
    "below 1": (
        lambda declared: declared.bounds == Bounds(at_least=0, below=1),
        "dropout attention_dropout validation_share test_share",
    ),
}


@pytest.mark.parametrize("effect", Effect)
def test_effects_match_the_table(effect: Effect) -> None:
    assert " ".join(names_where(lambda declared: declared.effect is effect)) == " ".join(EFFECTS[effect].split())


@pytest.mark.parametrize("stage", Stage)
def test_stages_match_the_table(stage: Stage) -> None:
    assert " ".join(names_where(lambda declared: declared.stage is stage)) == " ".join(STAGES[stage].split())


@pytest.mark.parametrize("title", PROPERTIES)
def test_properties_match_the_table(title: str) -> None:
    accepts, names = PROPERTIES[title]
    assert " ".join(names_where(accepts)) == " ".join(names.split())


@pytest.mark.parametrize("group", GROUPS)
def test_every_declaration_is_consistent(group: type) -> None:
    types_by_name = typing.get_type_hints(group)
    for name, declared in declarations(group).items():
        accepts_numbers = bool({int, float} & {*alternatives(types_by_name[name])})
        assert (declared.bounds is not None) == accepts_numbers, name
        assert declared.unit is not None or not accepts_numbers, name
        assert not declared.flags_replace_list or typing.get_origin(types_by_name[name]) is list, name
        assert not declared.null_keeps_checkpoint_value or type(None) in alternatives(types_by_name[name]), name
        # A reason is a sentence or a phrase, not only a word.
        for reason in (declared.why_fixed_in_forks, declared.why_fixed_in_studies, declared.study_alternative):
            assert reason is None or len(reason.split()) >= 3, name
        # A study cannot vary settings that concern a single invocation, or settings that it refuses.
        assert declared.effect is not Effect.INVOCATION or declared.why_fixed_in_studies is not None, name
        assert declared.study_alternative is None or declared.why_fixed_in_studies is not None, name
        # Only settings that affect the training are fixed in forks.
        assert declared.why_fixed_in_forks is None or declared.effect is Effect.TRAINING, name


@pytest.mark.parametrize("group", GROUPS)
def test_defaults_are_within_their_bounds(group: type) -> None:
    defaults = dataclasses.asdict(group())
    for name, declared in declarations(group).items():
        assert declared.bounds is None or defaults[name] is None or declared.bounds.contain(defaults[name]), name


def test_setting_without_a_declaration_is_rejected() -> None:
    @dataclasses.dataclass(frozen=True)
    class Group:
        declared: int = setting(1, effect=Effect.NONE)
        undeclared: int = 1

    with pytest.raises(TypeError, match=r"Group\.undeclared"):
        declarations(Group)


def test_default_lists_are_not_shared_between_instances() -> None:
    first, second = RunConfig(), RunConfig()
    assert first.log_with == ["tensorboard"]
    assert first.log_with is not second.log_with


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Bounds(above=0), [1e-9, 1, 1e300], [0, -1, math.inf, math.nan]),
        (Bounds(at_least=0), [0, 0.0, 5], [-1e-9, math.inf, math.nan]),
        (Bounds(at_least=0, at_most=3), [0, 3], [-1, 4, math.inf, math.nan]),
        (Bounds(at_least=0, below=1), [0, 0.999], [1, -0.1, math.nan]),
        (Bounds(above=0, below=1), [0.5], [0, 1]),
    ],
)
def test_bounds_contain_only_finite_numbers_in_their_range(
    bounds: Bounds, inside: list[float], outside: list[float]
) -> None:
    assert all(bounds.contain(value) for value in inside)
    assert not any(bounds.contain(value) for value in outside)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("lr", [0, -1.0, math.inf, math.nan]),
        ("head_lr", [-1.0, math.inf]),
        ("seed", [-1, 2**32]),
        ("dropout", [1.0, -0.5]),
        ("limit_test", [0]),
    ],
)
def test_config_rejects_numbers_out_of_bounds(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"{name} to be {declaration_of(name).bounds}; .*{value}"):
            RunConfig(**{name: value})


def test_recipe_has_all_settings_except_those_that_concern_a_single_invocation() -> None:
    config = RunConfig(name="a", output_dir="b", overwrite=True, resume="auto", lr=0.5)
    recipe = config.to_recipe()
    assert recipe["lr"] == 0.5
    assert config.to_dict().keys() - recipe.keys() == {"name", "output_dir", "overwrite", "resume"}
