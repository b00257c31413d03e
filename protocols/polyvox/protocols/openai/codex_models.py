"""The list of models as Codex reads it: ``GET /v1/models?client_version=...``.

Codex 0.169 requests it if a provider's key comes from a command. It accepts the whole list or, if
one entry lacks a required member, none of it. The required members were found by leaving out one
after the other. ``base_instructions`` is one of them and replaces the instructions that Codex
sends for an unknown name.
"""

from collections.abc import Sequence

from polyvox.protocols.client_side import ModelEntry
from polyvox.workflows.conversation import Json

_INSTRUCTIONS = """\
You are a coding agent that works in Codex on the user's own computer. You share one workspace \
with the user and go on until the task is done or you need a decision that only the user can make.

- Look before you change: read the files and the instructions of the project that bear on the task.
- Make the smallest change that solves the whole problem, in the style of the code around it.
- Never undo or overwrite changes you did not make.
- Check what you did by running the project's own tests or commands, and say so if you could not.
- In the end say briefly what you changed, where, and what the user should know or decide.
"""

_OUTPUT_OF_TOOLS = {"mode": "tokens", "limit": 10_000}

_ABOUT_EFFORT = {
    "minimal": "Hardly any thinking",
    "low": "Fast, with little thinking",
    "medium": "Some thinking",
    "high": "Thorough thinking",
    "xhigh": "Very thorough thinking",
    "max": "As much thinking as there is",
}


def codex_models(models: Sequence[ModelEntry]) -> list[dict[str, Json]]:
    """Return one entry per model, in the order in which Codex offers them."""
    return [_entry(model, place) for place, model in enumerate(models, start=1)]


def _entry(model: ModelEntry, place: int) -> dict[str, Json]:
    sees = model.capabilities is None or model.can("images")
    return {
        "slug": model.name,
        "display_name": model.name,
        "description": model.description or None,
        "supported_reasoning_levels": [
            {"effort": effort, "description": _ABOUT_EFFORT[effort]} for effort in model.efforts
        ],
        "shell_type": "unified_exec",
        "visibility": "list",
        "supported_in_api": True,
        "priority": place,
        "upgrade": None,
        "base_instructions": _INSTRUCTIONS,
        "supports_reasoning_summaries": model.can("thinking"),
        "support_verbosity": False,
        "truncation_policy": _OUTPUT_OF_TOOLS,
        "supports_parallel_tool_calls": True,
        "context_window": model.context_window,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"] if sees else ["text"],
    }
