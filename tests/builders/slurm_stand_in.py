"""Stand-ins for Slurm's commands, for testing a batch script without a cluster.

`StandIn.create` writes the commands srun, scontrol and sbatch into a folder for PATH. They behave as those of Slurm
22.05 do:

- srun starts a task for each node, here on this machine. It passes SIGUSR1 on to the tasks, but kills them if it gets
  SIGTERM itself. Its exit status is the highest of the tasks, 128 plus the number of the signal for a killed task.
- `scontrol requeue` ends the job's tasks.
- sbatch keeps a copy of the batch script, and starts nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "SLURM_STAND_IN"
"""Environment variable with the folder in which the commands exchange files with the test."""
HOSTNAME = "127.0.0.1"
BATCH_SCRIPT = "batch.sh"
"""Name of the copy of the submitted batch script."""
ARRAY_ID = 77
"""Id of every submitted job."""


@dataclass(frozen=True)
class StandIn:
    """The folder with the commands, and with the files that record what they did.

    Args:
        folder: the folder.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> StandIn:
        """Write the commands into a new folder."""
        folder.mkdir()
        for name in ("srun", "scontrol", "sbatch"):
            command = folder / name
            command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
            command.chmod(0o755)
        stand_in = cls(folder)
        stand_in.set_state("RUNNING")
        return stand_in

    def set_state(self, state: str) -> None:
        """Set the state of the job, which `scontrol show job` prints."""
        (self.folder / "state").write_text(state)

    def environment(self, job_id: int, num_nodes: int, restart_count: int) -> dict[str, str]:
        """Return the variables that Slurm sets for a batch script with one task per node."""
        return {
            FOLDER_VARIABLE: str(self.folder),
            "PATH": os.pathsep.join([str(self.folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "SLURM_JOB_ID": str(job_id),
            "SLURM_JOB_NODELIST": f"node[1-{num_nodes}]",
            "SLURM_NNODES": str(num_nodes),
            "SLURM_NTASKS": str(num_nodes),
            "SLURM_NTASKS_PER_NODE": "1",
            # Slurm does not set the variable at the first start.
            **({"SLURM_RESTART_COUNT": str(restart_count)} if restart_count else {}),
        }

    def requeued_jobs(self) -> list[str]:
        """Return the ids of the requeued jobs, once for each `scontrol requeue`."""
        path = self.folder / "requeued"
        return path.read_text().split() if path.exists() else []

    def task_pids(self) -> list[int]:
        """Return the process ids of the tasks of the newest srun."""
        return [int(pid) for pid in (self.folder / "tasks").read_text().split()]


def srun(arguments: list[str], folder: Path) -> int:
    """Start the tasks, and return the highest exit status."""
    while arguments[0].startswith("--"):
        arguments = arguments[2 if arguments[0] in ("--output", "--error") else 1 :]
    num_nodes = int(os.environ["SLURM_NNODES"])
    tasks = []
    for node in range(num_nodes):
        variables = {"SLURM_PROCID": node, "SLURM_NODEID": node, "SLURM_LOCALID": 0, "SLURM_STEP_NUM_TASKS": num_nodes}
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        # In a session of its own, as on another machine.
        tasks.append(subprocess.Popen(arguments, env=environment, start_new_session=True))

    def send(number: int) -> None:
        for task in tasks:
            task.send_signal(number)

    signal.signal(signal.SIGUSR1, lambda *_: send(signal.SIGUSR1))
    signal.signal(signal.SIGTERM, lambda *_: send(signal.SIGKILL))
    (folder / "srun.pid").write_text(str(os.getpid()))
    (folder / "tasks").write_text(" ".join(str(task.pid) for task in tasks))
    statuses = [task.wait() for task in tasks]
    return max(status if status >= 0 else 128 - status for status in statuses)


def scontrol(arguments: list[str], folder: Path) -> int:
    """Print the hosts or the state of the job, or record that the job is requeued and end its tasks."""
    if arguments[:2] == ["show", "hostnames"]:
        print("\n".join([HOSTNAME] * int(os.environ["SLURM_NNODES"])))
    elif arguments == ["show", "job", os.environ["SLURM_JOB_ID"]]:
        print(f"JobId={arguments[2]} JobName=midway\n   JobState={(folder / 'state').read_text()} Reason=None")
    elif arguments[0] == "requeue":
        with (folder / "requeued").open("a") as file:
            file.write(f"{arguments[1]}\n")
        subprocess.run(["kill", (folder / "srun.pid").read_text()], stderr=subprocess.DEVNULL, check=False)
    else:
        print(f"scontrol: unexpected arguments {arguments}", file=sys.stderr)
        return 1
    return 0


def sbatch(arguments: list[str], folder: Path) -> int:
    """Keep a copy of the batch script, and print the id of the job."""
    shutil.copy(arguments[-1], folder / BATCH_SCRIPT)
    print(f"Submitted batch job {ARRAY_ID}")
    return 0


if __name__ == "__main__":
    command = {"srun": srun, "scontrol": scontrol, "sbatch": sbatch}[sys.argv[1]]
    sys.exit(command(sys.argv[2:], Path(os.environ[FOLDER_VARIABLE])))
