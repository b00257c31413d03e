"""The table of known servers, and the dialect of a provider's address.

Each server has the pages its facts come from. Where nothing was found, the plain form stays, which
every server accepts.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from polyvox.protocols.dialects.dialect import FULL, PLAIN, Dialect, Server, changed
from polyvox.protocols.dialects.hosts import HOSTS
from polyvox.protocols.dialects.local import LOCAL
from polyvox.protocols.dialects.vendors import VENDORS
from polyvox.workflows.conversation import Json

_POLYVOX: Final = Server(FULL, (":8484", ":8585"), ())
"""Another Polyvox server, or its simulator, on their usual ports: the whole protocol."""

SERVERS: Final[Mapping[str, Server]] = {
    server.name: server for server in (*VENDORS, *HOSTS, *LOCAL, _POLYVOX)
}
"""The known servers, by name."""

_LOCAL_NAMES: Final = (".localhost", ".internal", ".local", ".lan")


def server_at(base_url: str) -> Server | None:
    """Return the known server at ``base_url``, None for an unknown one.

    A port counts only on the operator's own machines: a loopback or private address, or a name
    that no public server has.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for server in SERVERS.values():
        for known in server.hosts:
            if known.startswith(":"):
                if _is_local(host) and str(parts.port) == known[1:]:
                    return server
            elif host == known or host.endswith(f".{known}"):
                return server
    return None


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:  # a name
        return "." not in host or host.endswith(_LOCAL_NAMES)


def dialect_of(base_url: str, changes: Mapping[str, Json]) -> Dialect:
    """Return the dialect of the server at ``base_url`` with an operator's ``changes``.

    ``changes["server"]`` names another server of the table, or ``unknown`` for the plain form.
    Raises KeyError for a name that is not in the table.
    """
    named = changes.get("server")
    rest = {fact: value for fact, value in changes.items() if fact != "server"}
    if named is None:
        server = server_at(base_url)
    else:
        server = None if named == PLAIN.server else SERVERS[named]
    return changed(PLAIN if server is None else server.dialect, rest)
