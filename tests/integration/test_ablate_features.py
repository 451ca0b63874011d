"""Studies whose trials share a process and cached features survive kills, full disks and damaged files.

The commands of `workplace` run the study `s`, whose directory is runs/s.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from research.system.processes import is_alive
from research.training.accelerator import default_num_threads
from tests.builders.workplace import Workplace
from tests.conftest import ROOT
from tests.integration.conftest import Disk
from tests.limits import wait_until

FROZEN_ENCODER_FLAGS = ["--freeze", "encoder", "--epochs", "2", "--evaluation_batch_size", "5"]
SPLITS = ["test", "train", "validation"]
PLUGIN = """
import os
import signal
import sys
import time
from pathlib import Path
from heads import register_head
from heads.linear import LinearHead

@register_head("pausing")
class Pausing(LinearHead):
    '''Record every training batch, and pause in the third one while pause.txt exists.'''

    def forward(self, hidden_states, attention_mask):
        if self.training:
            with Path("steps.txt").open("a") as file:
                file.write("step\\n")
            while Path("pause.txt").exists() and len(Path("steps.txt").read_text().split()) == 3:
                Path("paused.txt").touch()
                time.sleep(0.02)
        return super().forward(hidden_states, attention_mask)

@register_head("kills")
class Kills(LinearHead):
    '''Kill the process, as the kernel does when memory runs out.'''

    def forward(self, hidden_states, attention_mask):
        os.kill(os.getpid(), signal.SIGKILL)

@register_head("exits")
class Exits(LinearHead):
    '''Exit from Python, which heads must not do.'''

    def forward(self, hidden_states, attention_mask):
        sys.exit("enough")
"""


@pytest.fixture
def cache(workplace: Workplace) -> Path:
    """An empty cache for one test."""
    folder = workplace.folder / "cache"
    workplace.environment["MIDWAY_CACHE"] = str(folder)
    return folder


def feature_entries_in(cache: Path) -> list[str]:
    """Return the names of the cache entries with hidden states, complete or not."""
    return sorted(path.name for path in cache.glob("*features-*"))


def test_two_workers_compute_the_same_features_once(workplace: Workplace, cache: Path) -> None:
    hold = workplace.folder / "hold"
    hold.mkdir()
    workplace.environment["HOLD"] = str(hold)
    plugin = ROOT / "tests" / "plugins" / "hold_feature_computation.py"
    command = workplace.start(
        "--heads", "linear,mean", "--seeds", "0,1", "--workers", "2", "--plugin", plugin, *FROZEN_ENCODER_FLAGS
    )
    logs = workplace.folder / "runs/s/logs"
    wait_until(lambda: any(hold.iterdir()), "the computation of hidden states")
    wait_until(
        lambda: any("Waiting for another process" in path.read_text() for path in logs.glob("*.txt")),
        "the second worker to wait",
    )
    (hold / "go").touch()
    assert command.wait() == 0
    # The plugin writes a file <process id>-<split> whenever hidden states are computed.
    assert sorted(path.name.partition("-")[2] for path in hold.glob("*-*")) == SPLITS
    # All cores compute hidden states, because the other worker waits for them. Then the workers share the cores.
    assert {int(path.read_text()) for path in hold.glob("*-*")} == {default_num_threads()}
    assert {result["num_threads"] for result in workplace.results().values()} == {default_num_threads(2)}
    assert len(feature_entries_in(cache)) == 3
    assert workplace.states() == ["COMPLETE"] * 4
    assert [result["cached_features"] for result in workplace.results().values()] == [True] * 4
    assert len({entry.attributes["pid"] for entry in workplace.entries()}) == 2


def test_damaged_features_are_reported_and_recomputed(workplace: Workplace, cache: Path) -> None:
    arguments = ["--heads", "linear", "--seeds", "0,1", "--workers", "2", *FROZEN_ENCODER_FLAGS]
    workplace.run(*arguments)
    expected = workplace.results()
    seconds_before = {entry.trial.id: entry.attributes["seconds"] for entry in workplace.entries()}
    for entry in feature_entries_in(cache):
        file = cache / entry / "layer-2.bin"  # the last layer of the tiny encoder
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4  # flip a bit
        file.write_bytes(content)
    repeated_trial = next(name for name in expected if name.startswith("linear-seed0"))
    shutil.rmtree(workplace.folder / "runs/s/trials" / repeated_trial)
    printed = workplace.run(*arguments)
    assert "2 trials: 1 finished, 1 to do, 1 run again" in printed
    assert workplace.read_log(repeated_trial).count("damaged (layer-2.bin ") == 3
    assert workplace.results()[repeated_trial]["weights_sha256"] == expected[repeated_trial]["weights_sha256"]
    seconds_after = {entry.trial.id: entry.attributes["seconds"] for entry in workplace.entries()}
    assert [name for name in seconds_after if seconds_after[name] != seconds_before[name]] == [repeated_trial]
    assert len(feature_entries_in(cache)) == 3


def test_full_disk_is_reported_and_all_trials_finish(workplace: Workplace, cache: Path, disk: Disk) -> None:
    arguments = ["--heads", "linear,mean", "--seeds", "0", "--workers", "2", *FROZEN_ENCODER_FLAGS]
    workplace.run(*arguments, "--cache_features", "false")
    # By the ids of trials without the hash at their end, which may depend on cache_features.
    uncached_hashes = {
        name.rpartition("-")[0]: result["weights_sha256"] for name, result in workplace.results().items()
    }
    shutil.rmtree(workplace.folder / "runs")
    shutil.copytree(cache, disk.path / "cache")  # prepared rows and tokens, without hidden states
    workplace.environment["MIDWAY_CACHE"] = str(disk.path / "cache")
    disk.fill(leave=100_000)
    printed = workplace.run(*arguments)
    assert workplace.states() == ["COMPLETE"] * 2
    ranking = printed[printed.index("accuracy on test rows") :]
    assert "baseline" in ranking
    assert re.search(r"No verdict.* 5 .*\b1\b", ranking)  # a verdict needs 5 seeds; there is 1
    assert re.search(r"2 of 2 trials .*runs/s/logs/", ranking)
    for name, result in workplace.results().items():
        assert not result["cached_features"]
        assert result["weights_sha256"] == uncached_hashes[name.rpartition("-")[0]]
        assert os.strerror(errno.ENOSPC) in workplace.read_log(name)
    assert feature_entries_in(disk.path / "cache") == []


@pytest.mark.parametrize("interruption", ["worker killed", "all killed", "interrupted"])
def test_trials_that_share_a_process_finish_even_if_the_process_ends(
    workplace: Workplace, cache: Path, interruption: str
) -> None:
    (workplace.folder / "head.py").write_text(PLUGIN)
    (workplace.folder / "pause.txt").touch()
    # A single worker runs in the process of the study.
    has_own_process = interruption == "worker killed"
    seeds, num_workers = ("0", 2) if has_own_process else ("0,1", 1)
    arguments = ["--plugin", "head.py", "--heads", "pausing", "--seeds", seeds, *FROZEN_ENCODER_FLAGS]
    arguments += ["--workers", str(num_workers)]
    command = workplace.start(*arguments)
    wait_until((workplace.folder / "paused.txt").exists, "the pause in the third batch")
    (entry,) = (entry for entry in workplace.entries() if entry.trial.seed == 0)
    worker = psutil.Process(entry.attributes["pid"])
    assert (worker.pid == command.process.pid) == (not has_own_process)
    if interruption == "interrupted":
        command.process.send_signal(signal.SIGINT)
        workplace.wait_until_signalled(signal.SIGINT)
    else:
        worker.kill()
        wait_until(lambda: not is_alive(worker.pid), "the end of the worker")
    (workplace.folder / "pause.txt").unlink()
    if has_own_process:
        assert command.wait() == 0, command.read_output()
    else:
        assert command.wait() == (130 if interruption == "interrupted" else -signal.SIGKILL)
        workplace.run(*arguments)
    num_trials = 1 if has_own_process else 2
    assert workplace.states() == ["COMPLETE"] * num_trials
    assert {result["steps"] for result in workplace.results().values()} == {12}
    # A killed trial starts over, since it has not saved anything. An interrupted trial continues after its third step.
    num_repeated = 0 if interruption == "interrupted" else 3
    assert len(workplace.read_lines("steps.txt")) == 12 * num_trials + num_repeated


def test_trial_that_always_kills_or_exits_its_process_does_not_stop_the_study(
    workplace: Workplace, cache: Path
) -> None:
    (workplace.folder / "head.py").write_text(PLUGIN)
    printed = workplace.run(
        *("--plugin", "head.py", "--heads", "kills,exits,linear", "--seeds", "0", *FROZEN_ENCODER_FLAGS),
        *("--workers", "2"),  # a single worker would run in the process of the study
        status=1,
    )
    assert re.search(r"kills, seed 0: .*killed 3 times", printed)
    assert re.search(r"exits, seed 0: head 'exits'.*: SystemExit: enough\n  File \"", printed)
    assert re.search(r"2 of 3 trials .*--retry_failed", printed)
    assert len(re.findall(r"\d+ rows of train: ", printed)) == 1, "expected the message about the cache once"
    assert (workplace.folder / "runs/s/report.html").exists()
    assert workplace.states() == ["COMPLETE", "FAIL", "FAIL"]
    # This grid has no head of the plugin, so the plugin is not loaded.
    assert "2 trials: 1 finished, 1 to do" in workplace.run(
        "--heads", "linear,mean", "--seeds", "0", *FROZEN_ENCODER_FLAGS
    )


def test_unknown_metric_is_refused_before_any_trial(workplace: Workplace) -> None:
    printed = workplace.run("--metric", "acuracy", "--seeds", "0", status=1)
    assert re.search("error: .*'acuracy'.*'accuracy'", printed)
    assert not (workplace.folder / "runs").exists()
