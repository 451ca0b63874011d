"""Load pretrained weights of which each process reads only its part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import Concatenate, MergeModulelist, WeightConverter

from research.model.parameters import replace_parameters
from research.system.errors import one_line


@contextlib.contextmanager
def loading_parts(split: Callable[[nn.Parameter], nn.Parameter]) -> Iterator[None]:
    """Return a context in which `from_pretrained` of Transformers reads only the parts of weights that are needed.

    Transformers builds a model on the meta device before it reads weights. Where a parameter is a DTensor, it reads
    only the rows of this process.

    Each process reads the whole of a parameter that is computed from another shape in the file, such as the queries in
    a matrix of queries, keys and values: Transformers would compute it from this process's rows of that matrix.

    Args:
        split: returns the DTensor without values that replaces a parameter on the meta device.
    Raises:
        ValueError: if the code of the encoder computes with these DTensors as if they were whole.
    """
    load: Any = PreTrainedModel._load_pretrained_model

    def load_parts(model: nn.Module, state: Any, files: Any, load_config: Any, *args: Any, **kwargs: Any) -> Any:
        converted = [
            pattern
            for conversion in load_config.weight_mapping
            if isinstance(conversion, WeightConverter) and not _keeps_rows(conversion)
            for pattern in conversion.target_patterns
        ]
        whole = {
            parameter for name, parameter in model.named_parameters() if any(pattern in name for pattern in converted)
        }
        replace_parameters(model, lambda each: each if each in whole else split(each))
        return load(model, state, files, load_config, *args, **kwargs)

    PreTrainedModel._load_pretrained_model = staticmethod(load_parts)  # type: ignore[method-assign,assignment]
    try:
        yield
    except RuntimeError as error:
        if "DTensor" not in str(error):
            raise
        raise ValueError(
            f"This encoder cannot be loaded with --shard: {one_line(error).rstrip('.!')}. Train without --shard."
        ) from error
    finally:
        PreTrainedModel._load_pretrained_model = staticmethod(load)  # type: ignore[method-assign]


def _keeps_rows(conversion: WeightConverter) -> bool:
    """Return whether the rows of a parameter are experts, each of which has its own weights in the file."""
    first, *others = conversion.operations
    return (
        isinstance(first, MergeModulelist)
        and first.dim == 0
        and all(isinstance(each, Concatenate) and each.dim > 0 for each in others)
    )
