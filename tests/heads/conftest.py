"""Shapes in the heads' annotations are checked at run time in all of these tests."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import install_import_hook

hook = install_import_hook("heads", "beartype.beartype")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute these tiny tensors on one thread: on a busy machine, several wait for each other most of the time."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
