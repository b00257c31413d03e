"""The record of Messages."""

from typing import Final

from polyvox.protocols.messages import elements
from polyvox.protocols.messages.client import model_list, request, response, token_estimate
from polyvox.protocols.messages.neutral import NEUTRAL
from polyvox.protocols.messages.provider import request as provider_request
from polyvox.protocols.wire_protocol import TokenCount, WireProtocol

MESSAGES: Final = WireProtocol(
    name="messages",
    title="Messages",
    path="messages",
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
    token_count=TokenCount(
        "messages/count_tokens",
        frozenset(("messages", "system", "tools", "tool_choice", "thinking", "output_config")),
        token_estimate.estimate_tokens,
        # Parameters of "Create a Message" that "Count tokens in a Message" lacks: API reference,
        # types of the Anthropic SDK 2.12, November 2026.
        refused=frozenset(
            (
                *("stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata"),
                *("service_tier", "container", "inference_geo", "diagnostics", "fallbacks"),
                *("fallback_credit_token", "thread"),
            )
        ),
        defaults={"max_tokens": 1},
    ),
    recognized_by="anthropic-version",
    key_header="x-api-key",
    signs_reasoning=True,
)
