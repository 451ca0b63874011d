"""States of the random number generators used in training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from research.system import random_states

CPU = torch.device("cpu")


def draw() -> tuple[float, ...]:
    """Draw numbers from each generator; normal numbers are included because some generators buffer one for later."""
    normal = float(np.random.standard_normal())
    return random.random(), random.gauss(0, 1), float(np.random.random()), normal, float(torch.randn(()))


def test_restored_generators_draw_the_same_numbers() -> None:
    with random_states.preserving(CPU):
        draw()  # Python's and NumPy's generators draw normal numbers in pairs and buffer the second one
        states = random_states.capture(CPU)
        first, second = draw(), draw()
        assert first != second
        random_states.restore(states, CPU)
        assert (draw(), draw()) == (first, second)


def test_preserving_restores_the_generators() -> None:
    with random_states.preserving(CPU):
        with random_states.preserving(CPU):
            expected = draw()
        assert draw() == expected


def test_restore_rejects_states_of_a_gpu_on_the_cpu() -> None:
    states = random_states.capture(CPU)
    with pytest.raises(ValueError, match="cpu"):
        random_states.restore({**states, "cuda": states["torch"]}, CPU)
