"""The code of heads is copied without Midway, with everything that it uses."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heads import HEADS
from research.export.source_files import SourceFiles
from research.settings.plugins import import_plugins

HEAD = '''
"""A head with code of its own."""

from __future__ import annotations

import numpy as np
from heads import EncoderSpec, Head, register_head
from heads.output_layer import OutputLayer as Output
from jaxtyping import Float, Int
from own_pooling import pool as own_pool
from research import Hook, register_hook
from torch import Tensor, nn

# Sizes by name.
SIZES = {"small": int(np.array([4])[0])}
"""Units of the hidden layer."""
UNUSED = 3


def hidden_layer(width: int) -> nn.Linear:
    return nn.Linear(width, SIZES["small"])


@register_head("copied")
class CopiedHead(Head):
    """Pools, and has a hidden layer."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.hidden = hidden_layer(encoder.hidden_size)
        self.out = Output(SIZES["small"], num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        return self.out(self.hidden(own_pool(hidden_states, attention_mask)))  # no activation


@register_hook("not_copied")
class NotCopied(Hook):
    """Part of Midway."""
'''
POOLING = """
from heads.masking import masked_mean


def pool(hidden_states, attention_mask):
    return masked_mean(hidden_states, attention_mask) * 2
"""


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules can be imported from, during a test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    with HEADS.isolated():
        yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def import_head(folder: Path, source: str, **modules: str) -> SourceFiles:
    """Import a plugin, and add its head to new files."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    (folder / "my-head.py").write_text(source)
    import_plugins([str(folder / "my-head.py")])
    files = SourceFiles()
    files.add(HEADS["copied"].__module__, HEADS["copied"].__name__)
    return files


def test_write_copies_what_a_head_uses_and_nothing_else(plugin_folder: Path, tmp_path: Path) -> None:
    files = import_head(plugin_folder, HEAD, own_pooling=POOLING)
    target = tmp_path / "exported"
    target.mkdir()
    files.write(target)

    copied = (target / "my_head.py").read_text()
    assert "from .output_layer import OutputLayer as Output\n" in copied
    assert "# Sizes by name.\nSIZES = " in copied
    assert '"""Units of the hidden layer."""' in copied
    assert "hidden_states: Tensor, attention_mask: Tensor\n" in copied
    assert "# no activation" in copied
    assert not [word for word in ("UNUSED", "NotCopied", "jaxtyping", "register", "research") if word in copied]
    names = {path.name for path in target.iterdir()}
    assert names == {"base.py", "masking.py", "my_head.py", "output_layer.py", "own_pooling.py", "precision.py"}
    assert files.libraries == {"numpy", "torch"}


def test_written_files_compute_the_same_without_midway(plugin_folder: Path, tmp_path: Path) -> None:
    import torch

    from heads import EncoderSpec

    files = import_head(plugin_folder, HEAD, own_pooling=POOLING)
    target = tmp_path / "exported"
    target.mkdir()
    (target / "__init__.py").write_text("")
    files.write(target)
    torch.manual_seed(0)
    head = HEADS["copied"](EncoderSpec(hidden_size=8, num_hidden_states=3), 2)
    hidden_states, mask = torch.randn(3, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    torch.save([head.state_dict(), hidden_states, mask, head(hidden_states, mask)], tmp_path / "tensors.pt")
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "sys.modules['heads'] = sys.modules['research'] = sys.modules['jaxtyping'] = None\n"
        "from exported.my_head import CopiedHead; from exported.base import EncoderSpec\n"
        "state, hidden_states, mask, expected = torch.load(sys.argv[1] + '/tensors.pt')\n"
        "head = CopiedHead(EncoderSpec(8, 3), 2); head.load_state_dict(state)\n"
        "assert torch.equal(head(hidden_states, mask), expected)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], check=True)


def test_files_with_equal_names_get_longer_names(plugin_folder: Path) -> None:
    source = HEAD.replace("from own_pooling", "from masking")
    files = import_head(plugin_folder, source, masking=POOLING)
    names = files.file_names()
    assert len(set(names.values())) == len(names)
    assert names["heads.masking"] == "heads_masking"


@pytest.mark.parametrize(
    ("changed", "replacement", "reason"),
    [
        ("from own_pooling import pool as own_pool", "import own_pooling as own_pool", "imports the module own_pool"),
        ("SIZES = {", "Kind = Float\nSIZES = {'kind': Kind,", "uses jaxtyping"),
        ("        super().__init__()", "        from own_pooling import pool\n        super().__init__()", "line 29"),
    ],
)
def test_add_refuses_code_that_cannot_be_copied(
    plugin_folder: Path, changed: str, replacement: str, reason: str
) -> None:
    assert changed in HEAD
    with pytest.raises(ValueError, match=f"my-head.py.*{reason}"):
        import_head(plugin_folder, HEAD.replace(changed, replacement), own_pooling=POOLING)
