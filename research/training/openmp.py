"""Stop the threads of OpenMP before this process is forked, as accelerate's notebook_launcher does.

A forked process has none of its parent's threads. GNU's OpenMP library does not notice: if the parent has computed with
several threads, the first computation of the forked process waits forever for threads that do not exist
(https://gcc.gnu.org/bugzilla/show_bug.cgi?id=60035).
"""

from __future__ import annotations

import ctypes
import functools
import os

import torch

_OMP_PAUSE_HARD = 2
"""Value of OpenMP's `omp_pause_hard`: free everything, including the threads."""


@functools.cache
def stop_threads_at_forks() -> None:
    """Stop the threads before every fork from now on; OpenMP starts them again when they are needed.

    This does nothing if torch was built without OpenMP.
    """
    library = ctypes.CDLL(torch._C.__file__)  # a look-up also searches the libraries that torch loaded
    if hasattr(library, "omp_pause_resource_all"):
        os.register_at_fork(before=lambda: library.omp_pause_resource_all(_OMP_PAUSE_HARD))
