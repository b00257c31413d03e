"""Authentication: find the Polyvox key of a request."""

from collections.abc import Mapping

from starlette.requests import HTTPConnection

from polyvox.activities.ledger.ledger import Ledger
from polyvox.gateway.http.request_log import facts_of
from polyvox.protocols.wire_protocol import BEARER_HEADER, Protocols
from polyvox.workflows.errors import ModelError

# Does not mention the other header: on "x-api-key" Claude Code only asks its user to log in.
HOW = "Send a Polyvox key as `Authorization: Bearer KEY`."
WHERE = "Run `polyvox keys create` to create one."


async def key_of(connection: HTTPConnection) -> str:
    """Return the id of the key that opens a request or WebSocket. Raises what ``authenticate``
    raises."""
    state = connection.app.state
    ledger: Ledger = state.ledger
    key_id = await authenticate(connection.headers, ledger, state.protocols)
    facts_of(connection).key = ledger.key_name(key_id)
    return key_id


async def authenticate(headers: Mapping[str, str], ledger: Ledger, protocols: Protocols) -> str:
    """Return the id of the key in a request's headers (lower-case names).

    The key header of every protocol is read on every route. A client may send several, some with
    another service's key: one valid key is enough. Raises ModelError("authentication") if there is
    none; the message never repeats what was sent.
    """
    secrets = _secrets(headers, protocols)
    if not secrets:
        raise ModelError("authentication", f"The request has no key. {HOW} {WHERE}")
    for secret in secrets:
        key_id = await ledger.find_key(secret)
        if key_id is not None:
            return key_id
    raise ModelError("authentication", f"The key is unknown or was revoked. {HOW} {WHERE}")


def _secrets(headers: Mapping[str, str], protocols: Protocols) -> list[str]:
    """Return the distinct values that may be keys, in the order of ``protocols``."""
    secrets: list[str] = []
    for name in dict.fromkeys(protocol.key_header for protocol in protocols.values()):
        secret = headers.get(name, "").strip()
        if name == BEARER_HEADER:
            scheme, _, token = secret.partition(" ")
            secret = token.strip() if scheme.lower() == "bearer" else ""
        if secret and secret not in secrets:
            secrets.append(secret)
    return secrets
