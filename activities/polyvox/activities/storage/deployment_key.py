"""The deployment key: the secret that all processes of one deployment share.

It is the value of an environment variable. Keys for single purposes are derived from it with HKDF
(RFC 5869, SHA-256), so none of them reveals another one or the deployment key.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Self

DEPLOYMENT_KEY = "POLYVOX_DEPLOYMENT_KEY"
"""The environment variable."""

LEAST: Final = 32
"""The least number of characters."""

_SALT: Final = b"polyvox deployment key"

_REMEDY: Final = (
    "Make one once, and set it for every process: "
    'python3 -c "import secrets; print(secrets.token_hex(32))"'
)


class DeploymentKeyError(RuntimeError):
    """The deployment key is missing or too short; the message contains the remedy."""


class DeploymentKey:
    """The key of a deployment. Its text is not shown."""

    def __init__(self, secret: str) -> None:
        self._root = hmac.digest(_SALT, secret.encode(), hashlib.sha256)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the key in the environment, None without one.

        Raises DeploymentKeyError if it is too short.
        """
        secret = environ.get(DEPLOYMENT_KEY, "").strip()
        if not secret:
            return None
        if len(secret) < LEAST:
            raise DeploymentKeyError(
                f"{DEPLOYMENT_KEY} has {len(secret)} characters, which others could guess; it "
                f"needs {LEAST} or more. {_REMEDY}"
            )
        return cls(secret)

    @classmethod
    def required(cls, environ: Mapping[str, str], why: str) -> Self:
        """Return the key in the environment; ``why`` says what needs it.

        Raises DeploymentKeyError if it is missing or too short.
        """
        found = cls.of(environ)
        if found is None:
            raise DeploymentKeyError(f"{why} needs {DEPLOYMENT_KEY}, which is not set. {_REMEDY}")
        return found

    def derived(self, purpose: str) -> bytes:
        """Return the key of 32 bytes for a purpose, such as ``live lane``."""
        return hmac.digest(self._root, purpose.encode() + b"\x01", hashlib.sha256)
