"""The record of Chat Completions."""

from typing import Final

from polyvox.protocols.chat import elements
from polyvox.protocols.chat.call_states import call_states, lacking, with_call_states
from polyvox.protocols.chat.client import request, response
from polyvox.protocols.chat.neutral import NEUTRAL
from polyvox.protocols.chat.provider import request as provider_request
from polyvox.protocols.openai import model_list
from polyvox.protocols.wire_protocol import CallStates, WireProtocol

CHAT: Final = WireProtocol(
    name="chat",
    title="Chat Completions",
    path="chat/completions",
    parser=request,
    answers=response,
    model_list=model_list,
    provider=provider_request,
    neutral=NEUTRAL,
    elements={
        "message": elements.parse_message,
        "tool": elements.parse_tool,
        "options": elements.parse_options,
    },
    choices_wanted=request.choices_wanted,
    call_states=CallStates(call_states, lacking, with_call_states),
    takes_file_urls=False,
)
