"""Lists of models in OpenAI's format, which Chat Completions and Responses share.

OpenAI's own documents have no field for the capabilities of a model. They are in the fields of
OpenRouter, vLLM and Groq, which agents read.
"""

from collections.abc import Sequence

from polyvox.protocols.client_side import ModelEntry
from polyvox.protocols.openai.codex_models import codex_models
from polyvox.workflows.conversation import Json

# OpenRouter's names of request parameters, by capability.
_PARAMETERS = {
    "tools": ("tools", "tool_choice"),
    "thinking": ("reasoning", "reasoning_effort"),
    "structured_outputs": ("response_format", "structured_outputs"),
}
_MODALITIES = {"images": "image", "pdf": "file", "audio": "audio"}

_WINDOW = ("context_length", "context_window", "max_model_len", "max_input_tokens")
_OUTPUT = ("max_completion_tokens", "max_output_tokens")


def render_list(models: Sequence[ModelEntry], query: Sequence[tuple[str, str]]) -> dict[str, Json]:
    """Render the whole list, in Codex's format too if the query has ``client_version``."""
    listed: dict[str, Json] = {"object": "list", "data": [render_model(m) for m in models]}
    if any(name == "client_version" for name, _ in query):
        listed["models"] = codex_models(models)
    return listed


def render_model(model: ModelEntry) -> dict[str, Json]:
    """Render one model's document."""
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "polyvox",
        "name": model.name,
        **({"description": model.description} if model.description else {}),
        **_sizes(model),
        **_openrouter_capabilities(model),
    }


def _sizes(model: ModelEntry) -> dict[str, Json]:
    sizes: dict[str, Json] = {}
    if model.context_window is not None:
        sizes.update(dict.fromkeys(_WINDOW, model.context_window))
    if model.max_output_tokens is not None:
        sizes.update(dict.fromkeys(_OUTPUT, model.max_output_tokens))
    if sizes:
        sizes["top_provider"] = {
            "context_length": model.context_window,
            "max_completion_tokens": model.max_output_tokens,
        }
    return sizes


def _openrouter_capabilities(model: ModelEntry) -> dict[str, Json]:
    if model.capabilities is None:
        return {}
    taken = [word for can, word in _MODALITIES.items() if can in model.capabilities]
    capabilities = [
        word for can, words in _PARAMETERS.items() if can in model.capabilities for word in words
    ]
    return {
        "architecture": {"input_modalities": ["text", *taken], "output_modalities": ["text"]},
        "supported_parameters": ["max_tokens", *capabilities],
        "capabilities": list(model.capabilities),
        **({"reasoning_efforts": list(model.efforts)} if model.efforts else {}),
    }
