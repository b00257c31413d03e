"""Authentication: find the Polyvox key of a request."""

from collections.abc import Mapping

from polyvox.activities.ledger.ledger import Ledger
from polyvox.workflows.errors import ModelError

# Does not mention the other header: on "x-api-key" Claude Code only asks its user to log in.
HOW = "Send a Polyvox key as `Authorization: Bearer KEY`."
WHERE = "Run `polyvox keys create` to create one."


async def authenticate(headers: Mapping[str, str], ledger: Ledger) -> str:
    """Return the id of the key in a request's headers (lower-case names).

    A client may send both headers, one of them with another service's key: either may open. Raises
    ModelError("authentication") if neither does; the message never repeats what was sent.
    """
    secrets = _secrets(headers)
    if not secrets:
        raise ModelError("authentication", f"The request has no key. {HOW} {WHERE}")
    for secret in secrets:
        key_id = await ledger.find_key(secret)
        if key_id is not None:
            return key_id
    raise ModelError("authentication", f"The key is unknown or was revoked. {HOW} {WHERE}")


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """What may be keys, the bearer token first, each once."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    sent = [token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    return list(dict.fromkeys(secret.strip() for secret in sent if secret.strip()))
