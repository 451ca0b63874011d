"""Runs with cached hidden states give the results of runs without a cache, even if the cache or encoder changes."""

from __future__ import annotations

import functools
import gc
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from heads import HEADS
from research import Hook, RunConfig, RunResult, run_experiment
from research.features import compute
from research.features.store import FeatureStore
from research.model.encoder_with_head import EncoderWithHead
from research.training.api import Run
from research.training.run import TrainingRun
from tests.builders.digests import DigestRecorder
from tests.builders.run_files import metrics_lines_of, without_speed
from tests.conftest import ROOT, WORDS, BackgroundCommand, Launch, Start
from tests.integration.conftest import Disk
from tests.launched.cached_by_processes import LossRecorder
from tests.launched.runs_in_process import prepare_run, read_by_rank, train_and_end
from tests.shipped import shipped_names

SPLITS = ["train", "validation", "test"]
BUILT_IN_HEADS = shipped_names(HEADS)
SETTINGS: dict[str, Any] = {
    "freeze": ["encoder"],
    "head": {"name": "linear", "dropout": 0.1},
    "dropout": 0.1,
    "max_length": 32,
    "batch_size": 8,
    "epochs": 2,
    "log_every": 1,
    "log_with": [],
    "mixed_precision": "no",
    "num_threads": 1,
    "report": False,
}
"""Settings of a run of 12 steps in two epochs. It caches hidden states if `cache_features` is None, the default."""
Train = Callable[..., RunResult]


@pytest.fixture(scope="module")
def four_layer_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with four layers, which is enough for all heads."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoders") / "deep"
    shutil.copytree(tiny_encoder, folder)
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(tiny_encoder, num_hidden_layers=4)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture
def fresh_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory that is empty before the test. All runs of the test use it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MIDWAY_CACHE", str(folder))
    return folder


@pytest.fixture
def train(tiny_encoder: Path, tiny_reviews: Path, fresh_cache_dir: Path) -> Train:
    """A function that trains in this process and returns the result: `train(directory, hook, epochs=3)`."""

    def run(directory: Path, *hooks: Hook, **changed: Any) -> RunResult:
        settings = {"encoder": str(tiny_encoder), "data": str(tiny_reviews), **SETTINGS, **changed}
        return run_experiment(RunConfig(**settings, output_dir=str(directory)), hooks=hooks)

    return run


def feature_entries_in(folder: Path) -> list[Path]:
    """Return the folders with hidden states in a cache."""
    return sorted(folder.glob("features-*"))


def partial_files_in(folder: Path) -> list[str]:
    """Return the names of the files that a run has not finished writing. They start with a dot."""
    return sorted(path.name for path in folder.glob(".*"))


# Same results with and without cached hidden states.


class TrainedRun(NamedTuple):
    """A finished run in this process."""

    losses: list[float]
    """Loss of every step."""
    logits: Any
    """Logits of the test split."""
    run: TrainingRun


def train_and_evaluate(folder: Path, hooks: Sequence[Hook] = (), **settings: Any) -> TrainedRun:
    """Train in this process, and evaluate the model on the test split."""
    losses = LossRecorder()
    run = prepare_run(str(folder), [*hooks, losses], **{**SETTINGS, **settings})
    train_and_end(run)
    return TrainedRun(losses.values, run.evaluate("test").logits, run)


class FailsIfEncoderRuns(Hook):
    """Fail if a run with cached hidden states runs the encoder."""

    def on_train_start(self, run: Run) -> None:
        def refuse(*arguments: Any, **keywords: Any) -> None:
            raise AssertionError("the encoder was run")

        assert isinstance(run, TrainingRun)
        if run.batches.features is not None:
            run.encoder_with_head.run_encoder = refuse  # type: ignore[assignment]


@pytest.mark.usefixtures("fresh_cache_dir")
@pytest.mark.parametrize("head", BUILT_IN_HEADS)
def test_every_head_has_the_same_losses_and_logits_with_cached_features(
    head: str, four_layer_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    settings = {"encoder": str(four_layer_encoder), "data": str(tiny_reviews), "head": head, "head_lr": 0.01}
    uncached, cached = (
        train_and_evaluate(tmp_path, [FailsIfEncoderRuns()], **settings, cache_features=cache_features)
        for cache_features in (False, None)
    )
    assert uncached.run.batches.features is None
    assert cached.run.batches.features is not None
    assert len(uncached.losses) == 12
    assert len(set(uncached.losses)) > 6, "expected the losses to change"
    assert np.abs(np.subtract(uncached.losses, cached.losses)).max() < 1e-5
    assert np.abs(uncached.logits - cached.logits).max() < 1e-5


class RecordWidths(Hook):
    """Record the width of the hidden states that the head reads, through a forward hook that exists until step 6."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def on_train_start(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.handle = run.encoder_with_head.head.register_forward_pre_hook(
            lambda head, inputs: self.widths.append(inputs[0].shape[1])
        )

    def after_step(self, run: Run) -> None:
        if run.clock.step == 6:
            self.handle.remove()


def test_forward_hooks_on_the_head_see_the_hidden_states_of_all_tokens(train: Train, tmp_path: Path) -> None:
    hook, without_hook, with_hook = RecordWidths(), LossRecorder(), LossRecorder()
    pooled = train(tmp_path / "pooled", without_hook)
    watched = train(tmp_path / "watched", hook, with_hook)
    assert len(hook.widths) == 6
    assert min(hook.widths) > 1
    assert np.abs(np.subtract(without_hook.values, with_hook.values)).max() < 1e-5
    assert pooled["weights_sha256"] == watched["weights_sha256"]  # the head takes the first token, which rounds nothing


@pytest.mark.usefixtures("fresh_cache_dir")
def test_heads_that_start_with_a_pooling_read_stored_pooled_hidden_states(
    four_layer_encoder: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"encoder": str(four_layer_encoder), "data": str(tiny_reviews), "head": "mean"}
    first = train_and_evaluate(tmp_path, **settings)
    read = FeatureStore.read_batch

    def read_pooled(store: FeatureStore, rows: Any, mask: Tensor, **options: Any) -> Any:
        assert mask.shape[1] == 1, "the hidden states of all tokens were read"
        return read(store, rows, mask, **options)

    monkeypatch.setattr(FeatureStore, "read_batch", read_pooled)
    second = train_and_evaluate(tmp_path, **settings)
    assert first.losses == second.losses
    assert (first.logits == second.logits).all()


@pytest.fixture(scope="module")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like tiny_reviews, but with pairs of texts."""
    folder = tmp_path_factory.mktemp("data") / "pairs"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for split, num_rows in (("train", 30), ("validation", 10), ("test", 11)):
        lines = ["text,other,label"]
        for row in range(num_rows):
            texts = [" ".join(generator.choice(WORDS, size=generator.integers(1, 20))) for _ in range(2)]
            lines.append(f"{split} {row} {texts[0]},{texts[1]},{'yes' if row % 2 else 'no'}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.usefixtures("fresh_cache_dir")
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
@pytest.mark.parametrize("kind", ["texts", "pairs"])
def test_long_texts_and_pairs_have_the_same_losses_and_logits_with_cached_features(
    kind: str, truncation: str, tiny_encoder: Path, tiny_reviews: Path, tiny_pairs: Path, tmp_path: Path
) -> None:
    data = {"data": str(tiny_pairs), "text_pair_column": "other"} if kind == "pairs" else {"data": str(tiny_reviews)}
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "head": "attention",
        "max_length": 12,
        "truncation": truncation,
        **data,
    }
    uncached, cached = (
        train_and_evaluate(tmp_path, **settings, cache_features=cache_features) for cache_features in (False, None)
    )
    assert cached.run.batches.features is not None
    assert uncached.run.lengths_of("train").max() > 12
    assert np.abs(np.subtract(uncached.losses, cached.losses)).max() < 1e-5
    assert np.abs(uncached.logits - cached.logits).max() < 1e-5


@pytest.mark.usefixtures("fresh_cache_dir")
def test_run_with_bf16_cache_has_almost_the_same_losses(tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"encoder": str(tiny_encoder), "data": str(tiny_reviews)}
    uncached, bf16 = (
        train_and_evaluate(tmp_path, **settings, **cache_settings)
        for cache_settings in ({"cache_features": False}, {"cache_dtype": "bf16"})
    )
    assert bf16.run.batches.features is not None
    difference = np.abs(np.subtract(uncached.losses, bf16.losses)).max()
    assert 1e-7 < difference < 1e-2


def test_compiled_model_has_the_same_losses_with_cached_features(
    tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, launch: Launch
) -> None:
    # In a new process, since the shape checks of the test process cannot be compiled.
    recipe = tmp_path / "recipe.yaml"
    changed = {"encoder": str(tiny_encoder), "data": str(tiny_reviews), "epochs": 1, "head": "scalar_mix"}
    recipe.write_text(yaml.safe_dump({**SETTINGS, **changed}))
    compiled = ["--cache_features", "true", "--compile", "--compile_backend", "eager"]
    losses = {}
    for name, options in {"uncached": ["--cache_features", "false"], "cached": compiled}.items():
        launch(["--recipe", recipe, "--output_dir", tmp_path / name, *options])
        losses[name] = [line["loss"] for line in metrics_lines_of(tmp_path / name)]
    assert json.loads((tmp_path / "cached" / "result.json").read_text())["cached_features"] is True
    assert len(losses["uncached"]) == 6
    assert np.abs(np.subtract(losses["uncached"], losses["cached"])).max() < 1e-5


def test_cached_run_has_the_same_results_and_reports_the_cache(
    train: Train, fresh_cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"head": "attention", "head_lr": 0.03, "best_metric": "loss", "evaluate_every": "3st", "hook": ["ema"]}
    uncached = train(tmp_path / "uncached", **settings, cache_features=False)
    assert str(fresh_cache_dir) not in capsys.readouterr().out
    cached = train(tmp_path / "cached", **settings)
    assert f" {fresh_cache_dir}.\n" in capsys.readouterr().out
    assert (uncached["cached_features"], cached["cached_features"]) == (False, True)
    assert uncached["tested"] == cached["tested"] == "best"
    for split, metrics in uncached["metrics"].items():
        assert cached["metrics"][split] == pytest.approx(metrics, abs=1e-5)
    for uncached_line, cached_line in zip(
        *(without_speed(metrics_lines_of(tmp_path / name)) for name in ("uncached", "cached")), strict=True
    ):
        assert cached_line == pytest.approx(uncached_line, abs=1e-5)
    for split in ("validation", "test"):
        tables = [
            pq.read_table(tmp_path / name / "predictions" / f"{split}.parquet").to_pydict()
            for name in ("uncached", "cached")
        ]
        for name in ("id", "label", "prediction"):
            assert tables[0][name] == tables[1][name]
        assert tables[1]["score_positive"] == pytest.approx(tables[0]["score_positive"], abs=1e-5)
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("uncached", "cached")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        if name.startswith("encoder."):
            assert torch.equal(value, weights[1][name])


def test_two_processes_store_features_once_and_have_the_same_losses_with_them(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    script = ROOT / "tests" / "launched" / "cached_by_processes.py"
    options = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", tmp_path / "results"]
    scenarios = ["uncached", "cached", "own caches", "full disk", "two processors"]
    launch([*options, "--scenarios", ";".join(scenarios)], num_processes=2, script=str(script))
    first, second = read_by_rank(tmp_path / "results", 2)
    assert [[process[name]["cached"] for name in scenarios] for process in (first, second)] == [
        [False, True, True, False, True]
    ] * 2
    # One process stores what both compute. Without a common cache, each stores everything.
    assert [first[name]["computed_splits"] for name in scenarios] == [[], SPLITS, SPLITS, SPLITS[:1], SPLITS]
    assert [second[name]["computed_splits"] for name in scenarios] == [[], [], SPLITS, [], []]
    assert first["cached"]["entries"] == first["own caches"]["entries"] == second["own caches"]["entries"]
    assert len(first["cached"]["entries"]) == len(SPLITS)
    assert first["full disk"]["entries"] == {}
    assert not first["cached"]["entries"].keys() & first["two processors"]["entries"].keys()
    for process in (first, second):
        for name in scenarios[1:]:
            assert np.abs(np.subtract(process["uncached"]["losses"], process[name]["losses"])).max() < 1e-5
            assert np.abs(np.subtract(process["uncached"]["logits"], process[name]["logits"])).max() < 1e-5
    assert all(first[name]["hash"] == second[name]["hash"] for name in scenarios), "the replicas differ"


# Runs without a cache, and runs that stop using it.


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"timeline": [{"at": "50%", "unfreeze": "encoder"}]},
            "the encoder trains after step 6 (unfreeze(modules='encoder')).",
        ),
        ({"hook": ["fgm"]}, "the hook FastGradientMethod changes the forward pass."),
        ({"freeze": [], "cache_features": True}, "the encoder trains."),
        ({"freeze": []}, None),
        ({"epochs": 1}, None),
        ({"cache_features": False}, None),
    ],
)
def test_uncached_run_reports_the_reason_only_if_a_user_may_expect_caching(
    train: Train,
    settings: dict[str, Any],
    reason: str | None,
    fresh_cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = train(tmp_path / "run", **settings)
    assert not result["cached_features"]
    assert feature_entries_in(fresh_cache_dir) == []
    lines = [line for line in capsys.readouterr().out.splitlines() if "hidden states" in line.lower()]
    assert [line.partition(": ")[2] for line in lines] == ([] if reason is None else [reason])


def test_single_epoch_is_cached_on_request(train: Train, tmp_path: Path) -> None:
    assert train(tmp_path / "run", epochs=1, cache_features=True)["cached_features"]


class EvaluateTestRows(Hook):
    """Evaluate the test rows when training ends."""

    def on_train_end(self, run: Run) -> None:
        self.logits = run.evaluate("test").logits


def test_hidden_states_of_test_rows_are_not_stored_if_they_are_not_scored(
    train: Train, fresh_cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored, unscored = EvaluateTestRows(), EvaluateTestRows()
    later = train(tmp_path / "unscored", unscored, score_test=False)
    assert "of test" not in capsys.readouterr().out
    assert len(feature_entries_in(fresh_cache_dir)) == 2
    assert list(later.metrics) == ["validation"]
    first = train(tmp_path / "scored", scored)
    assert len(feature_entries_in(fresh_cache_dir)) == 3
    assert first["weights_sha256"] == later["weights_sha256"]
    assert np.abs(scored.logits - unscored.logits).max() < 1e-5


class CallAfterStep3(Hook):
    """Call a function once, after the third step."""

    def __init__(self, action: Callable[[TrainingRun], object]) -> None:
        self.action = action

    def after_step(self, run: Run) -> None:
        if run.clock.step == 3:
            assert isinstance(run, TrainingRun)
            self.action(run)


def embeddings_of(run: TrainingRun) -> nn.Parameter:
    return run.encoder_with_head.encoder.get_input_embeddings().get_parameter("weight")


def scale_weights(run: TrainingRun) -> None:
    with torch.no_grad():
        embeddings_of(run).mul_(1.5)


def scale_outputs(module: Any, inputs: Any, output: Tensor) -> Tensor:
    return output * 1.5


CHANGES: dict[str, tuple[Callable[[TrainingRun], object], str]] = {
    "unfreeze": (lambda run: run.edit.unfreeze("encoder"), "the encoder trains"),
    "length": (lambda run: run.edit.set_max_length(10), "inputs are truncated to 10 tokens instead of 32"),
    "layers": (lambda run: run.edit.drop_layers("encoder.layer[-1]"), "the encoder's structure changes"),
    "reinitialize": (lambda run: run.edit.reinitialize("encoder.layer[-1]"), "the encoder's weights change"),
    "adapters": (lambda run: run.edit.add_lora(r=2), "the encoder's structure changes"),
    "head": (
        lambda run: run.edit.replace_head("scalar_mix"),
        "the head 'scalar_mix' reads all layers, but only the last is stored",
    ),
    "weights": (scale_weights, "the encoder's weights change"),
    "forward hook": (
        lambda run: run.encoder_with_head.encoder.get_input_embeddings().register_forward_hook(scale_outputs),
        "forward hooks are registered on the encoder",
    ),
}
"""Changes after step 3, and the reported reasons why the cache is no longer used."""


@pytest.mark.parametrize("change", CHANGES)
def test_run_stops_using_the_cache_after_an_unexpected_change(
    train: Train, change: str, fresh_cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action, reason = CHANGES[change]
    results, losses = [], []
    for cache_features in (False, None):
        recorder = LossRecorder()
        directory = tmp_path / f"cached-{cache_features}"
        results.append(train(directory, CallAfterStep3(action), recorder, cache_features=cache_features))
        losses.append(recorder.values)
    out = capsys.readouterr().out
    assert out.count(f" {fresh_cache_dir}.\n") == 1  # the second run started with cached hidden states
    assert out.count(f": {reason}.\n") == 1
    assert not results[1]["cached_features"]
    # Adam amplifies rounding errors once the encoder trains.
    assert np.abs(np.subtract(losses[0], losses[1])).max() < 1e-4
    assert results[1]["metrics"]["test"]["loss"] == pytest.approx(results[0]["metrics"]["test"]["loss"], abs=1e-4)
    assert abs(losses[0][3] - losses[0][2]) > 1e-6, "expected the losses to change"


def test_conditional_edit_of_the_encoder_prevents_caching(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timeline = [{"when": "below(validation/loss, 9)", "unfreeze": "encoder.layer[-1:]"}]
    assert not train(tmp_path / "run", timeline=timeline, evaluate_every="3st")["cached_features"]
    assert ": the encoder trains once below(validation/loss, 9) (unfreeze(" in capsys.readouterr().out


def test_change_of_weights_that_torch_does_not_track_is_an_error(train: Train, tmp_path: Path) -> None:
    def scale_untracked(run: TrainingRun) -> None:
        embeddings_of(run).data.mul_(1.5)

    with pytest.raises(ValueError, match=r"weights.*encoder.*cache_features=False"):
        train(tmp_path / "run", CallAfterStep3(scale_untracked), evaluate_every="6st")


def test_replaced_heads_read_the_layers_that_they_need(train: Train, tmp_path: Path) -> None:
    timeline = [{"at": "4st", "replace_head": "scalar_mix"}, {"at": "8st", "replace_head": "gru"}]
    losses = []
    for cache_features in (False, None):
        recorder = LossRecorder()
        result = train(tmp_path / str(cache_features), recorder, timeline=timeline, cache_features=cache_features)
        losses.append(recorder.values)
    assert result["cached_features"]
    assert np.abs(np.subtract(losses[0], losses[1])).max() < 1e-5


# Checkpoints.


@pytest.mark.parametrize("cache_state", ["kept", "deleted", "no longer used"])
def test_resumed_run_ends_with_the_same_bits_in_every_state_of_the_cache(
    train: Train, fresh_cache_dir: Path, tmp_path: Path, cache_state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def rewrite_same_weights(run: TrainingRun) -> None:
        # The values do not change, but torch counts two changes, so the run stops using the cache.
        with torch.no_grad():
            embeddings_of(run).mul_(2).mul_(0.5)

    def create_hook() -> Hook:
        return CallAfterStep3(rewrite_same_weights if cache_state == "no longer used" else lambda run: None)

    # Checkpoints are written after every step.
    head = "linear" if cache_state == "deleted" else "attention"  # linear reads pooled hidden states
    settings = {"save_every": "1st", "keep": 20, "head": {"name": head, "dropout": 0.1}}
    expected = DigestRecorder()
    result = train(tmp_path / "uninterrupted", create_hook(), expected, **settings)
    assert result["cached_features"] == (cache_state != "no longer used")
    for step in (4, 6):
        if cache_state == "deleted":
            for entry in feature_entries_in(fresh_cache_dir):
                shutil.rmtree(entry)
        digests = DigestRecorder()
        checkpoint = tmp_path / "uninterrupted" / "checkpoints" / f"step-{step:08d}"
        capsys.readouterr()
        resumed = train(tmp_path / f"from-{step}", create_hook(), digests, **settings, resume=str(checkpoint))
        out = capsys.readouterr().out
        assert "Changed since" not in out
        assert out.count("not cached") == (cache_state == "no longer used")
        assert list(digests.hashes_by_step) == [*range(step + 1, 13)]
        for later_step, hashes in digests.hashes_by_step.items():
            assert hashes == expected.hashes_by_step[later_step]
        assert resumed["weights_sha256"] == result["weights_sha256"]
        assert resumed["cached_features"] == result["cached_features"]
        assert json.dumps(resumed["metrics"]) == json.dumps(result["metrics"])


def test_resume_may_turn_caching_on_and_reports_it(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "uninterrupted", save_every="4st", cache_features=False)
    checkpoint = tmp_path / "uninterrupted" / "checkpoints" / "step-00000008"
    assert train(tmp_path / "resumed", save_every="4st", resume=str(checkpoint))["cached_features"]
    assert "cache_features was False, now None" in capsys.readouterr().out


def test_resume_reports_differently_rounded_hidden_states(
    train: Train,
    fresh_cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(tmp_path / "uninterrupted", save_every="4st")
    for entry in feature_entries_in(fresh_cache_dir):
        shutil.rmtree(entry)
    original = EncoderWithHead.run_encoder

    # In practice, rounding differs for example with a different number of threads.
    def run_encoder_with_rounding(self: EncoderWithHead, *arguments: Any, **keywords: Any) -> Any:
        states = original(self, *arguments, **keywords)
        assert isinstance(states, Tensor)
        return states * (1 + 1e-6)

    monkeypatch.setattr(EncoderWithHead, "run_encoder", run_encoder_with_rounding)
    for number in range(2):  # the first run computes hidden states, and the second reads them from the cache
        checkpoint = tmp_path / "uninterrupted" / "checkpoints" / "step-00000008"
        capsys.readouterr()
        assert train(tmp_path / f"resumed-{number}", resume=str(checkpoint), save_every="4st")["cached_features"]
        assert re.search("Changed since .*hidden states", capsys.readouterr().out)


def test_fork_uses_the_cache_and_ends_like_its_parent_unless_it_unfreezes_the_encoder(
    train: Train, tmp_path: Path
) -> None:
    parent = train(tmp_path / "parent", save_every="4st", keep=9)
    fork = train(tmp_path / "fork", fork=f"{tmp_path / 'parent'}@step-4", save_every="4st", keep=9)
    assert fork["cached_features"]
    assert fork["weights_sha256"] == parent["weights_sha256"]
    unfreezing = {"timeline": [{"at": "8st", "unfreeze": "encoder"}]}
    changed = train(tmp_path / "changed", fork=f"{tmp_path / 'parent'}@step-4", save_every="4st", keep=9, **unfreezing)
    assert not changed["cached_features"]


# Damaged caches, full disks and killed runs.


def test_damaged_cache_is_reported_and_recomputed(
    train: Train,
    fresh_cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undamaged = train(tmp_path / "undamaged")
    # A process compares hashes only when it opens a path for the first time, so the damaged files need a new path.
    moved = fresh_cache_dir.rename(tmp_path / "moved")
    monkeypatch.setenv("MIDWAY_CACHE", str(moved))
    for entry in feature_entries_in(moved):
        file = entry / "layer-2.bin"  # the last layer of the tiny encoder
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4  # flip a bit
        file.write_bytes(content)
    capsys.readouterr()
    recomputed = train(tmp_path / "recomputed")
    messages = sorted(line for line in capsys.readouterr().out.splitlines() if "layer-2.bin" in line)
    assert len(messages) == len(SPLITS)
    assert all(str(entry) in line for entry, line in zip(feature_entries_in(moved), messages, strict=True))
    assert recomputed["weights_sha256"] == undamaged["weights_sha256"]
    assert recomputed["metrics"] == undamaged["metrics"]
    assert len(feature_entries_in(moved)) == len(SPLITS)
    assert partial_files_in(moved) == []


@pytest.mark.parametrize("moment", ["before writing", "while writing"])
def test_full_disk_is_reported_and_the_run_continues(
    train: Train,
    disk: Disk,
    moment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uncached = train(tmp_path / "uncached", cache_features=False)
    shutil.copytree(tmp_path / "cache", disk.path / "cache")  # prepared rows and tokens, without hidden states
    monkeypatch.setenv("MIDWAY_CACHE", str(disk.path / "cache"))
    if moment == "before writing":
        disk.fill(leave=200_000)  # enough for each split, but not for all of them
    else:
        original = compute.compute_hidden_states

        def compute_and_fill_disk(run: TrainingRun, split: str, *arguments: Any) -> Iterator[tuple[Tensor, ...]]:
            for number, states in enumerate(original(run, split, *arguments)):
                if number == 1 and split == "test":
                    disk.fill(leave=0)
                yield states

        monkeypatch.setattr(compute, "compute_hidden_states", compute_and_fill_disk)
    result = train(tmp_path / "run", evaluation_batch_size=5)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "No space left on device" in line]
    assert str(disk.path / "cache") in line
    assert not result["cached_features"]
    assert result["weights_sha256"] == uncached["weights_sha256"]
    assert partial_files_in(disk.path / "cache") == []
    # If the disk fills while the last split, test, is written, the first two splits are complete.
    assert len(feature_entries_in(disk.path / "cache")) == (0 if moment == "before writing" else 2)
    disk.clear()
    if moment == "before writing":  # otherwise, compute_and_fill_disk would fill the disk again
        assert train(tmp_path / "later")["cached_features"]


def test_only_one_run_at_a_time_computes_features_even_if_runs_are_killed(
    start: Start, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    cache, hold = tmp_path / "features", tmp_path / "hold"
    hold.mkdir()
    plugin = ROOT / "tests" / "plugins" / "hold_feature_computation.py"
    flags = [f"--{name}={','.join(value) if isinstance(value, list) else value}" for name, value in SETTINGS.items()]
    # Leave out the dict and the empty list, since they need a different notation on the command line.
    flags = [flag for flag in flags if not flag.startswith(("--head=", "--log_with="))]
    flags += [f"--encoder={tiny_encoder}", f"--data={tiny_reviews}", f"--plugin={plugin}", "--evaluation_batch_size=5"]
    environment = {"MIDWAY_CACHE": str(cache), "HOLD": str(hold)}

    def start_run(name: str) -> BackgroundCommand:
        return start([*flags, f"--output_dir={tmp_path / name}"], environment=environment)

    def splits_computed_by(run: BackgroundCommand) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in hold.glob(f"{run.process.pid}-*"))

    def is_waiting(run: BackgroundCommand) -> bool:
        return "Waiting for another process" in run.read_output()

    def find_computing_run(runs: list[BackgroundCommand]) -> BackgroundCommand:
        """Wait until one of the runs computes hidden states, and return it."""
        runs[0].wait_for("the computation of hidden states", lambda: any(splits_computed_by(run) for run in runs))
        (computing_run,) = [run for run in runs if splits_computed_by(run)]
        assert splits_computed_by(computing_run) == ["train"]
        assert len(list(cache.glob(".features-*.writing"))) == 1, "expected only the files of this run"
        return computing_run

    killed = start_run("killed")
    assert find_computing_run([killed]) is killed
    waiting_runs = [start_run(name) for name in ("a", "b", "c")]
    for run in waiting_runs:
        run.wait_for("the message about waiting", functools.partial(is_waiting, run))
    killed.kill()
    interrupted = find_computing_run(waiting_runs)
    waiting_runs.remove(interrupted)
    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.wait() == 130
    assert "Traceback" not in interrupted.read_output()
    find_computing_run(waiting_runs)
    assert feature_entries_in(cache) == []
    (hold / "go").touch()
    assert [run.wait() for run in waiting_runs] == [0, 0]
    assert sorted(split for run in waiting_runs for split in splits_computed_by(run)) == sorted(SPLITS)
    assert len(feature_entries_in(cache)) == len(SPLITS)
    assert partial_files_in(cache) == []
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert [result["cached_features"] for result in results] == [True, True]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]


def test_another_run_with_a_small_limit_removes_only_hidden_states_that_no_run_reads(
    train: Train, start: Start, tiny_encoder: Path, tiny_reviews: Path, fresh_cache_dir: Path, tmp_path: Path
) -> None:
    expected = train(tmp_path / "expected")["weights_sha256"]
    train(tmp_path / "idle", max_length=8)
    gc.collect()  # the run's objects keep its entries from being removed
    before = set(feature_entries_in(fresh_cache_dir))
    left: list[Path] = []
    environment = {"MIDWAY_CACHE": str(fresh_cache_dir), "MIDWAY_CACHE_SIZE": "1kB"}
    flags = ["--freeze=encoder", f"--encoder={tiny_encoder}", f"--data={tiny_reviews}", "--max_steps=4", "--log_with="]
    flags += ["--cache_features=true", "--max_length=12", "--num_threads=1", "--mixed_precision=no"]

    class StartsAnotherRun(Hook):
        def on_train_start(self, run: Run) -> None:
            other = start([*flags, f"--output_dir={tmp_path / 'other'}"], environment=environment)
            assert other.wait() == 0, other.read_output()
            assert "MIDWAY_CACHE_SIZE" in other.read_output()
            left.extend(feature_entries_in(fresh_cache_dir))

    result = train(tmp_path / "run", StartsAnotherRun())
    assert result["cached_features"]
    assert result["weights_sha256"] == expected
    assert len(before) == 2 * len(SPLITS)
    assert len(before & set(left)) == len(SPLITS)  # those of the run in this process
    assert len(set(left) - before) == len(SPLITS)  # those of the other run
    assert json.loads((tmp_path / "other" / "result.json").read_text())["cached_features"]
