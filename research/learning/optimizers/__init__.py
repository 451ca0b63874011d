"""The optimizers that come with Midway, one per module; importing this package registers them."""

from research.learning.optimizers.adafactor import Adafactor
from research.learning.optimizers.adamw import AdamW
from research.learning.optimizers.adamw_8bit import AdamW8bit
from research.learning.optimizers.lion import Lion
from research.learning.optimizers.muon import Muon
from research.learning.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from research.learning.optimizers.sgd import SGD

__all__ = ["SGD", "Adafactor", "AdamW", "AdamW8bit", "Lion", "Muon", "ScheduleFreeAdamW"]
