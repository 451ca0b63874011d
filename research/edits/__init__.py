"""Changes of the model, or of how it is trained, between two steps."""

from research.edits.adapters import add_lora, merge_lora
from research.edits.base import EDITS, Editable, EditError, EditRequest, register_edit
from research.edits.dropout import set_dropout
from research.edits.freezing import freeze, unfreeze
from research.edits.heads import replace_head
from research.edits.layers import drop_layers, reinitialize
from research.edits.rates import scale_lr, set_lr, set_weight_decay
from research.edits.training import set_max_length, set_objective

__all__ = [
    "EDITS",
    "EditError",
    "EditRequest",
    "Editable",
    "add_lora",
    "drop_layers",
    "freeze",
    "merge_lora",
    "register_edit",
    "reinitialize",
    "replace_head",
    "scale_lr",
    "set_dropout",
    "set_lr",
    "set_max_length",
    "set_objective",
    "set_weight_decay",
    "unfreeze",
]
