"""The user turn that ends a conversation whose last message is the assistant's.

Some models and servers refuse such a conversation. In Chat Completions and Responses it asks for
a new message of the assistant.
"""

from typing import Final

CONTINUE: Final = "Continue your last message from where it ends, without repeating it."
NO_PREFILL: Final = (
    "messages: the model does not continue an assistant message; a user turn asks for it"
)
