"""The edits that come with Midway; importing them registers them."""

from research.edits.builtin.adapters import merge_adapters, merge_lora
from research.edits.builtin.attention import set_bidirectional
from research.edits.builtin.dropout import set_dropout
from research.edits.builtin.freezing import freeze, unfreeze
from research.edits.builtin.heads import replace_head
from research.edits.builtin.ia3 import add_ia3
from research.edits.builtin.layers import drop_layers, reinitialize
from research.edits.builtin.lora import add_dora, add_lora, add_rslora
from research.edits.builtin.oft import add_oft
from research.edits.builtin.prompt_tuning import add_prompt_tuning
from research.edits.builtin.rates import scale_lr, set_lr, set_weight_decay
from research.edits.builtin.training import set_max_length, set_objective, set_optimizer
from research.edits.builtin.vera import add_vera

__all__ = [
    "add_dora",
    "add_ia3",
    "add_lora",
    "add_oft",
    "add_prompt_tuning",
    "add_rslora",
    "add_vera",
    "drop_layers",
    "freeze",
    "merge_adapters",
    "merge_lora",
    "reinitialize",
    "replace_head",
    "scale_lr",
    "set_bidirectional",
    "set_dropout",
    "set_lr",
    "set_max_length",
    "set_objective",
    "set_optimizer",
    "set_weight_decay",
    "unfreeze",
]
