"""Health checks of a running engine: whether it answers, and when it is frozen.

A frozen engine, such as a stopped process or one that waits for a disk, accepts connections and
answers nothing. Runs continue after a restart; a call whose heartbeats the engine did not receive
for ten seconds is made again, so a frozen engine has to be back before that.
"""

import asyncio
from collections.abc import Awaitable, Callable

CHECK_LIMIT_S = 1.0
CHECK_PAUSE_S = 0.5
RETRY_PAUSE_S = 0.25

UNANSWERED = 2
"""One check may be late on a busy machine."""

FROZEN_S = 5.0
FROZEN_CHECKS = 4


async def watch_health(
    answers: Callable[[float], Awaitable[bool]],
    is_expected: Callable[[], bool],
    report: Callable[[bool], None],
    end_frozen: Callable[[], None],
) -> None:
    """Check until cancelled. ``answers`` gets the limit of one check, in seconds.

    ``report`` is called when the engine stops to answer, and when it answers again. ``end_frozen``
    is called when it has not answered for ``FROZEN_S``. Checks are made while ``is_expected``.
    """
    loop = asyncio.get_running_loop()
    failed, since = 0, 0.0
    while True:
        await asyncio.sleep(RETRY_PAUSE_S if failed else CHECK_PAUSE_S)
        if not is_expected():
            failed = 0
            continue
        began = loop.time()
        healthy = await answers(CHECK_LIMIT_S)
        if not is_expected():
            failed = 0
            continue
        if healthy:
            if failed >= UNANSWERED:
                report(True)
            failed = 0
            continue
        failed += 1
        since = began if failed == 1 else since
        if failed == UNANSWERED:
            report(False)
        if failed >= FROZEN_CHECKS and loop.time() - since >= FROZEN_S:
            end_frozen()
            failed = 0
