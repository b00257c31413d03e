"""The protocols that Polyvox speaks."""

from typing import Final

from polyvox.protocols.chat.protocol import CHAT
from polyvox.protocols.messages.protocol import MESSAGES
from polyvox.protocols.responses.protocol import RESPONSES
from polyvox.protocols.wire_protocol import Protocols, protocol_table

PROTOCOLS: Final[Protocols] = protocol_table(CHAT, RESPONSES, MESSAGES)
