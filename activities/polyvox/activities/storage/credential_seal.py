"""Encrypts the credentials of requests wherever requests are stored.

A run may be continued after a crash, or repeated later, and must then reach the provider with the
credentials that the client sent. So a stored conversation has them, encrypted with a key that is
in a file of its own, and only a model call decrypts them, right before it renders the request.
Databases, the engine's history and exported runs contain nothing that is of use without that file.

The cipher is built from HMAC-SHA256 alone, because no cryptographic library is installed: the
synthetic nonce is a MAC of the text, the key stream is the MAC of the nonce and a counter, and the
nonce is checked after decryption. The same text gives the same result, so that equal requests are
stored once.
"""

import base64
import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Self

from polyvox.activities.storage.private_files import make_private
from polyvox.protocols.requests.credentials import Change, in_conversation, origin_of
from polyvox.workflows.conversation import Conversation

KEY_FILE: Final = "credentials_key"
"""The file in the data folder. Without it, stored credentials cannot be read any more."""

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 16
_SEALED: Final = "polyvox-sealed-"


class CredentialSeal:
    """Encrypts and decrypts credentials with one key."""

    def __init__(self, key: bytes) -> None:
        self._mac_key = hmac.digest(key, b"nonce", "sha256")
        self._stream_key = hmac.digest(key, b"stream", "sha256")
        self._sealing = Change(self._sealed, self._sealed_address)
        self._opening = Change(self._opened, self._opened)

    @classmethod
    def in_folder(cls, data: Path) -> Self:
        """Return the seal of a data folder; its key is created if there is none."""
        file = data / KEY_FILE
        make_private(file)
        if not file.stat().st_size:
            unfinished = data / f".{KEY_FILE}.{os.getpid()}"
            make_private(unfinished)
            unfinished.write_bytes(secrets.token_bytes(_KEY_BYTES))
            unfinished.replace(file)
        return cls(file.read_bytes())

    @classmethod
    def of_process(cls) -> Self:
        """Return a seal that only this process can open."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    def sealed(self, conversation: Conversation) -> Conversation:
        """Return the conversation with its credentials encrypted; the same object without any."""
        return in_conversation(conversation, self._sealing)

    def opened(self, conversation: Conversation) -> Conversation:
        """Return the conversation as the client sent it."""
        return in_conversation(conversation, self._opening)

    def _sealed(self, text: str) -> str:
        if _SEALED in text:
            return text
        plain = text.encode("utf-8", "surrogatepass")
        nonce = hmac.digest(self._mac_key, plain, "sha256")[:_NONCE_BYTES]
        data = nonce + self._crypted(nonce, plain)
        return _SEALED + base64.urlsafe_b64encode(data).decode().rstrip("=")

    def _sealed_address(self, url: str) -> str:
        # The host stays readable: it is shown to clients.
        origin = None if _SEALED in url else origin_of(url)
        return url if origin is None else f"{origin}/{self._sealed(url)}"

    def _opened(self, text: str) -> str:
        """Return the text that was sealed; a text that this key did not seal stays unchanged."""
        _, mark, coded = text.partition(_SEALED)
        if not mark:
            return text
        try:
            data = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            nonce = data[:_NONCE_BYTES]
            plain = self._crypted(nonce, data[_NONCE_BYTES:])
            expected = hmac.digest(self._mac_key, plain, "sha256")[:_NONCE_BYTES]
            if hmac.compare_digest(nonce, expected):
                return plain.decode("utf-8", "surrogatepass")
        except ValueError:
            pass
        return text

    def _crypted(self, nonce: bytes, text: bytes) -> bytes:
        """Encrypt or decrypt ``text``."""
        blocks = range(-(-len(text) // 32))
        stream = b"".join(
            hmac.digest(self._stream_key, nonce + block.to_bytes(8, "big"), "sha256")
            for block in blocks
        )
        return bytes(a ^ b for a, b in zip(text, stream, strict=False))
