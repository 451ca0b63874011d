"""Run the code in the README.md of an exported model, as its user would."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path


def run_readme(folder: Path, *texts: list[str]) -> list[object]:
    """Return the list of predictions that the code prints in a new process without Midway.

    Args:
        folder: the exported model.
        *texts: texts that replace those of the code: one list or, for pairs, two.
    """
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    before, arguments, after = code.partition("tokenizer([")[0], *code.partition("tokenizer([")[1:]
    old_texts, _, rest = after.partition(", padding")
    assert old_texts.count("[") == len(texts) - 1, arguments
    code = f"{before}tokenizer({', '.join(map(repr, texts))}, padding{rest}"
    checked = f"{code}\nimport sys\nassert not {{'heads', 'research'}} & set(sys.modules)\n"
    ended = subprocess.run(
        [sys.executable, "-c", checked], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert "encoder_with_head" not in ended.stderr  # Transformers would warn of this unknown type
    predictions: list[object] = ast.literal_eval(ended.stdout)
    return predictions
