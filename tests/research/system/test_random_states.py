"""The states of the generators that training draws from."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from research.system import random_states

CPU = torch.device("cpu")


def draw() -> tuple[float, ...]:
    """Return a number of each generator, of each kind that keeps something between two draws."""
    normal = float(np.random.standard_normal())
    return random.random(), random.gauss(0, 1), float(np.random.random()), normal, float(torch.randn(()))


def test_restored_generators_draw_the_same_again() -> None:
    with random_states.preserving():
        draw()  # half of a pair of normal numbers is left over in Python's and in NumPy's generator
        states = random_states.capture(CPU)
        first, second = draw(), draw()
        assert first != second
        random_states.restore(states, CPU)
        assert (draw(), draw()) == (first, second)


def test_kept_leaves_the_generators_as_they_were() -> None:
    with random_states.preserving():
        with random_states.preserving():
            expected = draw()
        assert draw() == expected


def test_states_of_a_gpu_are_refused_on_the_cpu() -> None:
    states = random_states.capture(CPU)
    with pytest.raises(ValueError, match="cpu"):
        random_states.restore({**states, "cuda": states["torch"]}, CPU)
