"""What Claude's models refuse behind every server, whatever its protocol."""

import re
from typing import Final

from polyvox.workflows.conversation import Json

_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,9})(?:[-.](\d{1,2})(?!\d))?")
_FIRST_ONE_SAMPLER: Final = (4, 1)
_LAST_ONE_SAMPLER: Final = (4, 6)
_FIRST_WITHOUT_PREFILL: Final = (4, 6)


def continues_reply(model: str) -> bool:
    """Whether ``model`` takes a conversation that ends with a reply, as far as is known.

    Claude 4.6 and later answer 400 to a conversation that ends with an assistant message ("This
    model does not support assistant message prefill. The conversation must end with a user
    message."; Anthropic's page on migration to 4.6).
    """
    claude = generation(model)
    return claude is None or claude < _FIRST_WITHOUT_PREFILL


def generation(model: str) -> tuple[int, int] | None:
    """Return (major, minor) of a Claude model's name, or None for another model."""
    found = _CLAUDE.search(model)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def keep_one_sampler(body: dict[str, Json], model: str, losses: list[str]) -> None:
    """Leave out one of ``temperature`` and ``top_p`` for a model that refuses both together.

    Claude 4.1 to 4.6 answer 400 ("`temperature` and `top_p` cannot both be specified for this
    model"; read 2026-11-28 at https://github.com/SalesforceAIResearch/MCP-Universe/issues/49).
    The temperature is kept, unless it is 1. The value 1 is the default of both: leaving it out is
    not a loss.
    """
    claude = generation(model)
    if claude is None or not _FIRST_ONE_SAMPLER <= claude <= _LAST_ONE_SAMPLER:
        return
    if body.get("temperature") is None or body.get("top_p") is None:
        return
    left_out = "temperature" if body["temperature"] == 1 and body["top_p"] != 1 else "top_p"
    kept = "top_p" if left_out == "temperature" else "temperature"
    if body.pop(left_out) != 1:
        losses.append(f"{left_out}: {model} takes no {left_out} together with {kept}")
