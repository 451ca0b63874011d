"""OpenMP's threads do not prevent a forked process from computing."""

import subprocess
import sys

from tests.limits import HANG_LIMIT

PROGRAM = """
import multiprocessing
import torch
from research.training.openmp import stop_threads_at_forks

def compute():
    torch.set_num_threads(2)
    matrix = torch.ones(600, 600)
    assert (matrix @ matrix).sum() == 600**3

stop_threads_at_forks()
compute()
child = multiprocessing.get_context("fork").Process(target=compute)
child.start()
child.join(30)
still_running = child.is_alive()
child.kill()
assert not still_running, "the forked process waits forever"
assert child.exitcode == 0
compute()
print("all computed")
"""


def test_forked_process_can_compute_with_several_threads() -> None:
    completed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=HANG_LIMIT
    )
    assert completed.stdout == "all computed\n", completed.stderr
