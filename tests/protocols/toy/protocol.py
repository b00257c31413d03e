"""The record of the toy protocol."""

from polyvox.protocols.wire_protocol import WireProtocol
from tests.protocols.toy import elements
from tests.protocols.toy.client import model_list, request, response
from tests.protocols.toy.provider import request as provider_request

TOY = WireProtocol(
    name="toy",
    title="Toy",
    path="toy",
    parser=request,
    answers=response,
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
