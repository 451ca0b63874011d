"""Progress bars: in the cell of a notebook, or on a terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from research.system.launcher import was_forked_by_notebook
from research.system.messages import is_main_process


def open_bar(**options: Any) -> tqdm[Any]:
    """Open a progress bar on the main process. On the other processes, and if nobody could see it, it is disabled.

    Args:
        **options: arguments of tqdm.
    """
    options |= {"dynamic_ncols": True}
    if not is_main_process():
        return tqdm(**options, disable=True)
    if was_forked_by_notebook():  # it can only print: a forked process has no connection to the notebook's widgets
        return tqdm(**options, disable=None)
    from tqdm.auto import tqdm as tqdm_auto  # imports asyncio, which takes 20 ms

    return tqdm_auto(**options, disable=None)  # None disables a bar whose output is not a terminal
