"""The record of Responses."""

from typing import Final

from polyvox.protocols.openai import model_list
from polyvox.protocols.responses import elements
from polyvox.protocols.responses.client import request, response, token_estimate
from polyvox.protocols.responses.neutral import NEUTRAL
from polyvox.protocols.responses.provider import request as provider_request
from polyvox.protocols.wire_protocol import TokenCount, WireProtocol

TOKEN_COUNT: Final = TokenCount(
    "responses/input_tokens",
    frozenset(
        (
            *("input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
            *("text", "reasoning", "truncation"),
        )
    ),
    token_estimate.estimate_tokens,
    # Parameters of "Create a model response" that "Get input token counts" lacks: types of the
    # OpenAI SDK 3.54, November 2026.
    refused=frozenset(
        (
            *("stream", "stream_options", "background", "background_options", "store", "include"),
            *("max_output_tokens", "max_tool_calls", "metadata", "moderation", "prompt", "user"),
            *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
            *("safety_identifier", "service_tier", "temperature", "top_logprobs", "top_p"),
            *("access_programs", "context_management", "image"),
        )
    ),
)

RESPONSES: Final = WireProtocol(
    name="responses",
    title="Responses",
    path="responses",
    parser=request,
    answers=response,
    model_list=model_list,
    provider=provider_request,
    neutral=NEUTRAL,
    elements={
        "message": elements.parse_message,
        "system": elements.parse_system,
        "tool": elements.parse_tool,
        "options": elements.parse_options,
    },
    token_count=TOKEN_COUNT,
    stateful=True,
    signs_reasoning=True,
)
