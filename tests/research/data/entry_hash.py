"""Hash the content of a cache entry."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from research.data.prepare.arrow import read_batches


def hash_entry(cache_dir: Path, kind: str) -> str:
    """Return a hash of the only cache entry of this kind: its columns, its rows, and the facts in its manifest.

    The facts are what is needed in addition to the rows, for example the label names. The hash does not depend on the
    wording of messages: logged messages are only counted, and the reasons for skipped rows are left out.

    Args:
        cache_dir: directory of the cache.
        kind: "rows" or "tokens".
    """
    (entry,) = cache_dir.glob(f"{kind}-*")
    content: dict[str, Any] = {}
    for path in sorted(entry.glob("*.arrow")):
        batches = list(read_batches(path))
        columns = [[(field.name, str(field.type)) for field in batch.schema] for batch in batches[:1]]
        content[path.name] = columns, [row for batch in batches for row in batch.to_pylist()]
    facts = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))["facts"]
    facts["log"] = len(facts.get("log", []))
    facts["skipped_rows"] = [(split, rows) for split, _, rows in facts.get("skipped_rows", [])]
    return hashlib.sha256(json.dumps([content, facts], sort_keys=True).encode()).hexdigest()[:16]
