"""FGM moves the embeddings of each row along the row's own gradient, independently of micro-batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from research.hooks.fgm import FastGradientMethod
from research.training.api import Run
from research.training.hook import Hook
from research.training.loop import train
from tests.research.conftest import StartRun

Gradients = dict[str, torch.Tensor]


class RecordGradients(Hook):
    """Records the gradients of the first step."""

    def __init__(self) -> None:
        self.gradients: Gradients = {}

    def before_step(self, run: Run) -> None:
        if run.clock.step == 0:  # the gradients of the first step are complete, but its update has not been made
            self.gradients = {
                name: p.grad.clone() for name, p in run.encoder_with_head.named_parameters() if p.grad is not None
            }


def gradients_of_first_step(start_run: StartRun, *hooks: Hook, **settings: Any) -> Gradients:
    """Train for one step without gradient clipping, and return the gradients."""
    recorder = RecordGradients()
    train(start_run([*hooks, recorder], **{"max_steps": 1, "optimizer": "sgd", "max_grad_norm": 0.0, **settings}))
    return recorder.gradients


def test_fgm_adds_the_gradient_at_the_moved_embeddings(start_run: StartRun) -> None:
    """Compare with a hand-written version that moves one row at a time."""

    class HandWrittenFGM(Hook):
        """The fast gradient method with a separate autograd graph for each row."""

        def after_backward(self, run: Run, batch: Any) -> None:
            model, table = run.encoder_with_head, run.encoder_with_head.encoder.get_input_embeddings()
            for row in range(len(batch)):
                length = int(batch.inputs["attention_mask"][row].sum())
                inputs = {name: tensor[row : row + 1, :length] for name, tensor in batch.inputs.items()}
                label = batch.labels[row : row + 1]
                outputs: list[torch.Tensor] = []
                handle = table.register_forward_hook(lambda m, i, out, outputs=outputs: outputs.append(out))
                loss = torch.nn.functional.cross_entropy(model(**inputs).logits, label)
                handle.remove()
                (gradient,) = torch.autograd.grad(loss, outputs[0])
                move = 2.0 * outputs[0].detach().square().mean().sqrt() * gradient / gradient.norm()  # 2.0 is epsilon
                handle = table.register_forward_hook(lambda m, i, out, move=move: out + move)
                (torch.nn.functional.cross_entropy(model(**inputs).logits, label) / len(batch)).backward()
                handle.remove()

    expected = gradients_of_first_step(start_run, HandWrittenFGM())
    actual = gradients_of_first_step(start_run, FastGradientMethod(epsilon=2.0))
    without_fgm = gradients_of_first_step(start_run)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, atol=1e-5, rtol=1e-3)
    name = "encoder.encoder.layer.0.output.dense.weight"
    # Without moved embeddings, the second pass would only double the gradients.
    assert not torch.allclose(actual[name], 2 * without_fgm[name], rtol=1e-2)


def test_fgm_scales_the_move_to_the_embeddings(start_run: StartRun) -> None:
    """The default must not be too long or too short for encoders with other embeddings."""

    def moves(scale: float) -> torch.Tensor:
        """Return the move of each row of the first batch, where the embeddings are scaled: (batch,)."""
        lengths: list[torch.Tensor] = []

        class KeepFirstPass(Hook):
            """Keeps the embedded tokens of both passes."""

            def on_train_start(self, run: Run) -> None:
                table = run.encoder_with_head.encoder.get_input_embeddings()
                assert isinstance(table, torch.nn.Embedding)
                with torch.no_grad():
                    table.weight.mul_(scale)
                embedded: list[torch.Tensor] = []

                def keep(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
                    embedded.append(output.detach())
                    if len(embedded) == 2:
                        lengths.append((embedded[1] - embedded[0]).flatten(1).norm(dim=1))

                table.register_forward_hook(keep)

        train(start_run([FastGradientMethod(), KeepFirstPass()], max_steps=1, evaluate_every=None))
        return lengths[0]

    torch.testing.assert_close(moves(10.0), 10 * moves(1.0), atol=0.0, rtol=1e-3)


def test_fgm_does_not_depend_on_the_size_of_micro_batches(start_run: StartRun) -> None:
    one_batch = gradients_of_first_step(start_run, FastGradientMethod())
    micro_batches = gradients_of_first_step(start_run, FastGradientMethod(), micro_batch_size=3)
    for name, gradient in one_batch.items():
        torch.testing.assert_close(micro_batches[name], gradient, atol=1e-6, rtol=1e-3)


def test_fgm_works_on_frozen_embeddings(start_run: StartRun) -> None:
    without_fgm = gradients_of_first_step(start_run, freeze=["encoder.embeddings"])
    actual = gradients_of_first_step(start_run, FastGradientMethod(), freeze=["encoder.embeddings"])
    assert actual.keys() == without_fgm.keys()
    # Without moved embeddings, the second pass would only double the gradients.
    assert not torch.allclose(actual["head.out.weight"], 2 * without_fgm["head.out.weight"], rtol=1e-3)


def test_fgm_leaves_no_forward_hook_after_training_with_evaluations(start_run: StartRun) -> None:
    run = start_run([FastGradientMethod()], evaluate_every="1st", max_steps=2)  # every step
    train(run)
    assert not run.encoder_with_head.encoder.get_input_embeddings()._forward_hooks


def test_fgm_refuses_a_compiled_model(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"'fgm' .*--compile"):
        start_run(hook=["fgm"], compile=True, compile_backend="eager")


def test_fgm_refuses_an_epsilon_of_0() -> None:
    with pytest.raises(ValueError, match="epsilon"):
        FastGradientMethod(epsilon=0.0)
