"""Code that scans text of a client, a provider or a model takes linear time.

The table has the known worst case for each reader. A reader holds the interpreter while
it reads, so with a quadratic one, a single message could stop all streams of the server.
"""

import gc
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.worst_cases import CASES, FLOOR_S, GROWTH, LONG_S, Case

ATTEMPTS = 3


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> Iterator[None]:
    """Leave the objects of pytest, which are millions, out of the collections below."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def taken(case: Case, size: int) -> float:
    """Return the processor time of one reading."""
    text = case.make(size)
    # The garbage collector scans all objects repeatedly, and must not be measured.
    gc.collect()
    gc.disable()
    try:
        begun = time.process_time()
        case.read(text)
        return time.process_time() - begun
    finally:
        gc.enable()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_text_twice_as_long_takes_about_twice_the_time(case: Case) -> None:
    """The average of four doublings, because caches and other processes disturb a single one.

    A failure is measured again, because a quadratic reader fails each time.
    """
    for _ in range(ATTEMPTS - 1):
        if measured(case) is None:
            return
    assert measured(case) is None


def measured(case: Case) -> str | None:
    """Return the sizes and times of a reader that takes too long, None for one that does not."""
    sizes = [max(case.largest // 16, 1024)]
    times = [taken(case, sizes[0])]
    while sizes[-1] < case.largest and times[-1] < LONG_S:
        sizes.append(2 * sizes[-1])
        times.append(taken(case, sizes[-1]))
    doublings = len(times) - 1
    grown = (times[-1] / max(times[0], FLOOR_S / 2**doublings / 2)) ** (1 / doublings)
    if times[-1] < FLOOR_S or grown <= GROWTH:
        return None
    return ", ".join(f"{n}: {t:.3f} s" for n, t in zip(sizes, times, strict=True))


REVIEWED = {
    "activities/polyvox/activities/storage/collecting/references.py": "one class of characters",
    "protocols/polyvox/protocols/dialects/claude.py": "a model of Anthropic",
    "protocols/polyvox/protocols/decoding/arguments.py": "braces",
    "protocols/polyvox/protocols/decoding/exact_objects.py": "long numbers",
    "protocols/polyvox/protocols/decoding/half_characters.py": "half characters",
    "protocols/polyvox/protocols/openai/provider_errors.py": "an error's wait",
    "protocols/polyvox/protocols/tool_names.py": "one class of characters",
    "protocols/polyvox/protocols/chat/call_states.py": "one class of characters",
    "protocols/polyvox/protocols/schemas/fitting.py": "two characters",
    "activities/polyvox/activities/storage/call_states.py": "one class of characters",
    "protocols/polyvox/protocols/openai/model_capabilities.py": "a model of OpenAI",
    "activities/polyvox/activities/media/inlining.py": "looks once between two slashes",
    "activities/polyvox/activities/model_call/redaction.py": "redaction",
    "activities/polyvox/activities/registry/virtual_models.py": "one class of characters",
    "gateway/polyvox/gateway/responses/previous_turns.py": "matches at the start alone",
    "gateway/polyvox/gateway/api/docs_page.py": "texts of our own description",
    "gateway/polyvox/gateway/http/hosts.py": "two headers, which are limited",
    "gateway/polyvox/gateway/http/request_log.py": "one class of characters",
    "gateway/polyvox/gateway/responses/item_lists.py": "nine digits",
    "gateway/polyvox/gateway/simulator/acting/arguments.py": "the gist alone",
    "gateway/polyvox/gateway/simulator/acting/arithmetic.py": "sums",
    "gateway/polyvox/gateway/simulator/acting/json_keys.py": "the gist alone",
    "gateway/polyvox/gateway/simulator/acting/judgement.py": "judgement",
    "gateway/polyvox/gateway/simulator/acting/mistakes.py": "verdict",
    "gateway/polyvox/gateway/simulator/plan.py": "a simulated model",
    "gateway/polyvox/gateway/simulator/acting/question.py": "unwrapped",
    "gateway/polyvox/gateway/simulator/acting/rules.py": "the gist alone",
    "gateway/polyvox/gateway/simulator/acting/tags.py": "judgement",
    "gateway/polyvox/gateway/simulator/tokens.py": "tokens",
    "gateway/polyvox/gateway/simulator/acting/toolbox.py": "the gist alone",
    "gateway/polyvox/gateway/web_ui/proxy.py": "the pages of Temporal's Web UI",
    "workflows/polyvox/workflows/source/bundle.py": "paths of a flow's files",
    "workflows/polyvox/workflows/language.py": "language",
    "workflows/polyvox/workflows/linear_patterns.py": "reads expressions and matches one character",
    "workflows/polyvox/workflows/templates/patch.py": "patch",
    "workflows/polyvox/workflows/steps/transcript.py": "one class of characters",
    "protocols/polyvox/protocols/messages/blocks.py": "one class of characters",
    "protocols/polyvox/protocols/provider_failures/too_long.py": "an error's numbers",
}
"""Modules with regular expressions, and the case above, or the reason why none is needed."""


def test_every_module_with_a_regular_expression_was_reviewed() -> None:
    """A new one needs a worst case in the table, or a reason why it cannot have one."""
    root = Path(__file__).parent.parent.parent
    found = {
        str(path.relative_to(root))
        for part in ("workflows", "protocols", "activities", "gateway")
        for path in (root / part).rglob("*.py")
        if re.search(r"^(?:import re\b|from re\b)", path.read_text("utf-8"), re.M)
    }
    assert found == REVIEWED.keys()
