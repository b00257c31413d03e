"""Encrypts the credentials of requests wherever requests are stored.

A run may be continued after a crash, or repeated later, and must then reach the provider with the
credentials that the client sent. So a stored conversation has them, encrypted with a key that is
in a file of its own or derived from the deployment key, and only a model call decrypts them, right
before it renders the request. Databases, the engine's history and exported runs contain nothing
that is of use without that key.

The cipher is AES-SIV (RFC 5297) of the library ``cryptography``. It is authenticated and needs no
nonce: the same text gives the same result, so that equal requests are stored once. Each credential
is bound to its owner (the Polyvox key that sent it), and an address also to its host. See decision
0031.
"""

import base64
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from polyvox.activities.storage.data_folder import DataFolderUnusable
from polyvox.activities.storage.deployment_key import DEPLOYMENT_KEY, DeploymentKey
from polyvox.activities.storage.private_files import make_private, write_private
from polyvox.protocols.requests.credentials import Change, in_conversation, origin_of
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_FILE: Final = "credentials_key"
"""The file in the data folder. Without it, stored credentials cannot be read any more."""

_KEY_BYTES: Final = 32
_SEALED: Final = "polyvox-sealed-"


class CredentialSeal:
    """Encrypts and decrypts credentials with one key of 32 bytes. Used in any thread."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def in_folder(cls, data: Path) -> Self:
        """Return the seal of a data folder; its key is created if there is none.

        Raises DataFolderUnusable if the key cannot be read, created or used.
        """
        file = data / KEY_FILE
        try:
            if not file.exists():
                # An interrupted start leaves no half of a key.
                unfinished = data / f".{KEY_FILE}.{os.getpid()}"
                write_private(unfinished, secrets.token_bytes(_KEY_BYTES))
                unfinished.replace(file)
            make_private(file)
            key = file.read_bytes()
        except OSError as error:
            raise DataFolderUnusable(
                f"The key of stored credentials, {str(file)!r}, cannot be used "
                f"({error.strerror or error}): make it readable for this user."
            ) from None
        if len(key) != _KEY_BYTES:
            raise DataFolderUnusable(
                f"The key of stored credentials, {str(file)!r}, has {len(key)} bytes instead of "
                f"{_KEY_BYTES}: restore it from a backup. Without one, delete it to have a new key "
                "created; credentials in stored requests cannot be used then."
            )
        return cls(key)

    @classmethod
    def of_deployment(cls, key: DeploymentKey) -> Self:
        """Return the seal that all processes of a deployment share."""
        return cls(key.derived("credential seal"))

    @classmethod
    def of_process(cls) -> Self:
        """Return a seal that only this process can open."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    def sealed(self, conversation: Conversation, owner: str) -> Conversation:
        """Return the conversation with its credentials encrypted; the same object without any.

        ``owner`` is the id of the Polyvox key that sent it. Credentials that are encrypted already
        stay as they are. Raises ModelError("invalid_request") if one of these is not the owner's.
        """
        sealing = _Sealing(self, owner)
        return in_conversation(conversation, Change(sealing.sealed, sealing.sealed_address))

    def opened(self, conversation: Conversation, owner: str) -> Conversation:
        """Return the conversation as the client sent it.

        Raises ModelError("invalid_request") if a credential was encrypted for another owner or
        with another key.
        """
        sealing = _Sealing(self, owner)
        return in_conversation(conversation, Change(sealing.opened, sealing.opened_address))

    def encrypt(self, text: str, *bound_to: str) -> str:
        """Return ``text`` encrypted and bound to the values ``bound_to``."""
        plain = text.encode("utf-8", "surrogatepass")
        data = self._cipher.encrypt(plain, [value.encode() for value in bound_to])
        return _SEALED + base64.urlsafe_b64encode(data).decode().rstrip("=")

    def decrypt(self, text: str, *bound_to: str) -> str | None:
        """Return the text that ``encrypt`` got; None if it was another key or bound otherwise."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- see ``_cipher``

        coded = text.removeprefix(_SEALED)
        try:
            data = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(data, [value.encode() for value in bound_to])
            return plain.decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return None

    @cached_property
    def _cipher(self) -> "AESSIV":
        # The import takes 45 ms and 10 MB, so a server without credentials never does it.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415

        return AESSIV(self._key)


class _Sealing:
    """What happens to the credentials of one owner."""

    def __init__(self, seal: CredentialSeal, owner: str) -> None:
        self._seal = seal
        self._owner = owner

    def sealed(self, text: str) -> str:
        if text.startswith(_SEALED):
            self.opened(text)
            return text
        return self._seal.encrypt(text, self._owner, "")

    def sealed_address(self, url: str) -> str:
        origin = origin_of(url)
        if origin is None:
            return url
        if url.startswith(f"{origin}/{_SEALED}"):
            self.opened_address(url)
            return url
        # The host stays readable: it is shown to clients.
        return f"{origin}/{self._seal.encrypt(url, self._owner, origin)}"

    def opened(self, text: str) -> str:
        return self._decrypted(text, "") if text.startswith(_SEALED) else text

    def opened_address(self, url: str) -> str:
        origin = origin_of(url)
        if origin is None or not url.startswith(f"{origin}/{_SEALED}"):
            return url
        return self._decrypted(url.removeprefix(f"{origin}/"), origin)

    def _decrypted(self, text: str, origin: str) -> str:
        plain = self._seal.decrypt(text, self._owner, origin)
        if plain is None:
            raise ModelError(
                "invalid_request",
                "A credential of this conversation is encrypted, and cannot be decrypted for this "
                "API key: it was sent with another API key, or the server's file "
                f"{KEY_FILE!r} has been replaced since. Send the whole conversation again with "
                "the credential itself. To read stored ones, the server's operator must restore "
                f"{KEY_FILE!r} in the data folder from a backup (or the value of {DEPLOYMENT_KEY}, "
                "if it has one) and start the server again.",
            )
        return plain
