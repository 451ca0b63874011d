"""Report an error only once if all processes of a run encounter it."""

from __future__ import annotations

import hashlib
import os
import sys
from datetime import timedelta

CONNECT_TIMEOUT = timedelta(seconds=5)


def claim_report(message: str) -> bool:
    """Claim an error for this process to report; return False if the error has been claimed already.

    Args:
        message: the complete message; two errors are the same if their messages are equal.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return True
    # Before torch is loaded, a run has checked only its settings and files, so every process raises the same error.
    if "torch" not in sys.modules:
        return os.environ.get("LOCAL_RANK", "0") == "0"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True  # without the launcher's store, the processes cannot agree on which of them reports
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    digest = hashlib.sha256(message.encode(errors="replace")).hexdigest()
    # The store outlives a restart, after which the error is reported again.
    key = f"midway/reported/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{digest}"
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, is_master=False, timeout=CONNECT_TIMEOUT).add(key, 1) == 1
    except (KeyError, RuntimeError):  # the launcher has exited; torch raises RuntimeError for connection errors
        return True
