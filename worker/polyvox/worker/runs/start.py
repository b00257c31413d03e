"""What every start of a run has in common, whoever starts it."""

import secrets
import time
from datetime import timedelta

TASK_QUEUE = "polyvox"

RUN_LIMIT = timedelta(hours=2)
"""Nothing waits for ever: a run that is older is ended by the engine."""


def new_run_id() -> str:
    """Return an id of which later ones sort behind it."""
    return f"run_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
