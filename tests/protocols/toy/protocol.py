"""The record of the toy protocol."""

from polyvox.protocols.wire_protocol import WireProtocol
from tests.protocols.toy import (
    client_request,
    client_response,
    elements,
    model_list,
    provider_request,
)

TOY = WireProtocol(
    name="toy",
    title="Toy",
    path="toy",
    parser=client_request,
    answers=client_response,
    model_list=model_list,
    provider=provider_request,
    elements={
        "message": elements.parse_message,
        "tool": elements.parse_tool,
        "options": elements.parse_options,
    },
    recognized_by="x-toy",
    key_header="x-toy-key",
)
