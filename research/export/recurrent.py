"""Trace each LSTM and GRU as one operation that accepts rows of any length.

torch.export writes one copy of the network's cell per token of the example, so that the traced model accepts only rows
of the example's length (https://github.com/pytorch/executorch/issues/5176). While a model is traced,
`RecurrentOperations` therefore replaces the networks with operations of which only the shapes of the outputs are known.
Afterwards, each becomes an operation of PyTorch or ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode

_ARGUMENTS = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first"
)
torch.library.define("midway::lstm", f"(Tensor inputs, Tensor[] hx, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)")
torch.library.define("midway::gru", f"(Tensor inputs, Tensor hx, {_ARGUMENTS}) -> (Tensor, Tensor)")


@torch.library.register_fake("midway::lstm")  # type: ignore[untyped-decorator]
@torch.library.register_fake("midway::gru")  # type: ignore[untyped-decorator]
def _outputs(
    inputs: Tensor,
    hx: Tensor | list[Tensor],
    params: list[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Return tensors with the shapes of the outputs: all states of the last layer, and the last states of all layers.

    The parameters are those of torch.lstm and torch.gru.
    """
    states = [hx] if isinstance(hx, Tensor) else hx
    width = states[0].shape[-1] * (2 if bidirectional else 1)
    return inputs.new_empty(*inputs.shape[:-1], width), *(torch.empty_like(state) for state in states)


class RecurrentOperations(TorchFunctionMode):
    """Context in which LSTMs and GRUs call the operations of this module, which can be traced but not executed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operation that replaces `func`, or `func` itself."""
        replaced = {torch.lstm: torch.ops.midway.lstm, torch.gru: torch.ops.midway.gru}
        return replaced.get(func, func)(*args, **(kwargs or {}))


def use_torch_operations(program: ExportedProgram) -> None:
    """Replace the operations of this module in a traced model with PyTorch's, which can be executed and saved."""
    torch_operations = {
        torch.ops.midway.lstm.default: torch.ops.aten.lstm.input,
        torch.ops.midway.gru.default: torch.ops.aten.gru.input,
    }
    for node in program.graph.nodes:
        node.target = torch_operations.get(node.target, node.target)
    program.graph_module.recompile()


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the functions that translate the operations of this module to ONNX's LSTM and GRU."""
    from onnxscript.function_libs.torch_lib.ops.core import aten_gru, aten_lstm

    return {torch.ops.midway.lstm.default: aten_lstm, torch.ops.midway.gru.default: aten_gru}
