"""The two keys that each start provides: a user key for clients and an admin key.

Agents have the first; flows and models are changed with the second. Each is taken from the
environment, else from its file in the data folder, else made at the first start. A key from the
environment replaces the one that its variable had before, which is revoked. The ledger stores
hashes only, so the files are the only copies of the secrets: after a loss of the ledger the keys in
the files become valid again.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyvox.activities.ledger.api_keys import new_secret
from polyvox.activities.ledger.entries import KeyRecord, Role
from polyvox.activities.ledger.ledger import Ledger

KEY_VARIABLE = "POLYVOX_KEY"
ADMIN_KEY_VARIABLE = "POLYVOX_ADMIN_KEY"

KEY_FILE = "key"
ADMIN_KEY_FILE = "admin_key"


LEAST_EXPOSED = 16
"""The characters that a key needs where other machines can reach the server."""


class UnusableKey(ValueError):
    """A key in the environment or the data folder cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """``user`` is the secret of the user key, None if it is not known.

    ``user_file`` is the file that holds it, None if it is in the environment or not known.
    ``admin`` describes where the admin key is; its secret is never shown. ``news`` are sentences
    for the operator about what this start changed or found.
    """

    user: str | None
    admin: str
    news: tuple[str, ...] = ()
    user_file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the two keys and its names."""

    role: Role
    variable: str
    file: str
    from_environment: str
    made: str


_USER = _Kind("user", KEY_VARIABLE, KEY_FILE, "from the environment", "first key")
_ADMIN = _Kind("admin", ADMIN_KEY_VARIABLE, ADMIN_KEY_FILE, "admin from the environment", "admin")

_SHORT = ": short"
"""Ends the name of a key from the environment that is too short for an exposed server. The ledger
has only its hash, so a later start could not tell."""

RESERVED_NAMES = frozenset(
    kind.from_environment + ending for kind in (_USER, _ADMIN) for ending in ("", _SHORT)
)
"""The names by which a start recognizes the keys that came from the environment before."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A secret, and where it was found; the file is None for the environment."""

    secret: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """The secrets in the environment and the data folder; None where a kind has none."""

    user: _Found | None
    admin: _Found | None

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(found.secret for found in (self.user, self.admin) if found)

    @property
    def user_place(self) -> str | None:
        """The file or variable that holds the user key."""
        return _place(_USER, self.user) if self.user else None


def find_keys(data: Path, environ: Mapping[str, str], *, exposed: bool = False) -> FoundKeys:
    """Return the secrets given for the two keys. Reads two files.

    ``exposed`` means that other machines can reach the server. Raises UnusableKey for a key that
    cannot be used, that is given as both, or that is too short for an exposed server.
    """
    user = _find(_USER, data, environ.get(KEY_VARIABLE, ""))
    admin = _find(_ADMIN, data, environ.get(ADMIN_KEY_VARIABLE, ""))
    if user and admin and user.secret == admin.secret:
        raise UnusableKey(
            f"{_place(_USER, user)} and {_place(_ADMIN, admin)} contain the same key, so every "
            "client would be an admin. Choose another secret for one of them."
        )
    if exposed:
        for kind, found in ((_USER, user), (_ADMIN, admin)):
            if found and len(found.secret) < LEAST_EXPOSED:
                raise UnusableKey(
                    f"The key in {_place(kind, found)} has {len(found.secret)} characters and "
                    f"could be guessed: a server that other machines can reach needs at least "
                    f"{LEAST_EXPOSED}. `openssl rand -hex 24` prints a good one."
                )
    return FoundKeys(user, admin)


async def own_keys(
    ledger: Ledger, data: Path, environ: Mapping[str, str], *, exposed: bool = False
) -> OwnKeys:
    """Find, correct or make both keys.

    Raises what ``find_keys`` raises, and ModelError if the ledger fails.
    """
    found = find_keys(data, environ, exposed=exposed)
    news: list[str] = []
    await _revoke_predecessors(ledger, found, news, exposed=exposed)
    await _demote_clients(ledger, found.admin, news)
    shown = await _user_key(ledger, data, found.user, news)
    place = await _admin_key(ledger, data, found.admin, news)
    user_file = data / KEY_FILE if shown and (found.user is None or found.user.file) else None
    return OwnKeys(shown, place, tuple(news), user_file)


async def _revoke_predecessors(
    ledger: Ledger, found: FoundKeys, news: list[str], *, exposed: bool
) -> None:
    """Revoke keys that a variable had at earlier starts: all if it has another one now, and the
    short ones if the server is ``exposed``."""
    own = {known.key_id for secret in found.secrets if (known := await ledger.key_of(secret))}
    given = {_USER: found.user, _ADMIN: found.admin}
    replaced = {kind for kind, new in given.items() if new and new.file is None}
    for key in await ledger.list_keys():
        kind = next((k for k in given if key.name.removesuffix(_SHORT) == k.from_environment), None)
        if kind is None or key.revoked_at or key.key_id in own:
            continue
        if kind in replaced:
            why = "clients need the new one"
        elif exposed and key.name.endswith(_SHORT):
            why = "it is too short for a server that other machines can reach"
        else:
            continue
        await ledger.revoke_key(key.key_id)
        news.append(f"Revoked key {key.key_id}, an earlier value of {kind.variable}: {why}.")


async def _user_key(
    ledger: Ledger, data: Path, found: _Found | None, news: list[str]
) -> str | None:
    if found is None:
        if any(key.role == "user" for key in await ledger.list_keys()):
            return None
        return await _make(ledger, _USER, data)
    known = await ledger.key_of(found.secret)
    if known is None:
        await _add(ledger, _USER, found, news)
    elif known.revoked_at is not None:
        _revoked(_USER, found, known, news)
        return None
    elif known.role == "admin":
        await _demote(ledger, known, news)
    return found.secret


async def _demote_clients(ledger: Ledger, admin: _Found | None, news: list[str]) -> None:
    """Make the keys that an older version made for clients user keys: it made them admin keys.

    They are recognized by their names. A key that is given as the admin key stays one.
    """
    names = {_USER.made, _USER.from_environment, _USER.from_environment + _SHORT}
    own = await ledger.key_of(admin.secret) if admin else None
    for key in await ledger.list_keys():
        is_clients = key.role == "admin" and key.name in names and not key.revoked_at
        if is_clients and (own is None or own.key_id != key.key_id):
            await _demote(ledger, key, news)


async def _demote(ledger: Ledger, key: KeyRecord, news: list[str]) -> None:
    await ledger.set_role(key.key_id, "user")
    news.append(
        f"Key {key.key_id} ({key.name}) was an admin key and is now a user key, because clients "
        "have it. Changing flows and models needs the admin key."
    )


async def _admin_key(ledger: Ledger, data: Path, found: _Found | None, news: list[str]) -> str:
    if found is None:
        if any(key.role == "admin" and not key.revoked_at for key in await ledger.list_keys()):
            return "made earlier (polyvox keys list)"
        await _make(ledger, _ADMIN, data)
        place = data / ADMIN_KEY_FILE
        return f"new, in {place} (changes flows and models; do not give it to clients)"
    known = await ledger.key_of(found.secret)
    if known is None:
        await _add(ledger, _ADMIN, found, news)
    elif known.revoked_at is not None:
        _revoked(_ADMIN, found, known, news)
        return "revoked"
    elif known.role != "admin":
        raise UnusableKey(
            f"{_place(_ADMIN, found)} holds the key {known.key_id} ({known.name}), which is a "
            "user key: everyone who has it would become an admin. Choose another secret."
        )
    return f"in {_place(_ADMIN, found)}"


async def _add(ledger: Ledger, kind: _Kind, found: _Found, news: list[str]) -> None:
    """Accept a secret that the ledger does not know."""
    short = _SHORT if len(found.secret) < LEAST_EXPOSED else ""
    name = kind.made if found.file else kind.from_environment + short
    await ledger.add_key(found.secret, name, kind.role)
    if found.file:
        news.append(
            f"The key in {found.file} was not in the ledger and is valid again: the ledger is new "
            "or older than the key."
        )


def _revoked(kind: _Kind, found: _Found, known: KeyRecord, news: list[str]) -> None:
    create = "polyvox keys create" + (" NAME --role admin" if kind.role == "admin" else "")
    instead = (
        f"Delete the file and start again, or create a key with `{create}`."
        if found.file
        else f"Choose another secret, or create a key with `{create}`."
    )
    news.append(f"The key {known.key_id} in {_place(kind, found)} was revoked. {instead}")


def _place(kind: _Kind, found: _Found) -> str:
    return str(found.file or kind.variable)


def _find(kind: _Kind, data: Path, given: str) -> _Found | None:
    """Return the ``given`` secret, else that of the file. Raises UnusableKey."""
    given = given.strip()
    if given:
        if not _is_plain(given):
            raise UnusableKey(
                f"{kind.variable} cannot be sent as a key: it may contain printable ASCII "
                "characters without spaces only. Choose another secret."
            )
        return _Found(given, None)
    file = data / kind.file
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableKey(
            f"The key file {file} cannot be read: {error.strerror}. Make it readable for this "
            f"user, or set {kind.variable}."
        ) from None
    secret = text.decode("ascii", "replace").strip()
    if not secret:
        return None
    if not _is_plain(secret):
        raise UnusableKey(
            f"The key file {file} does not contain a key: one line of printable characters is "
            "expected. Delete it to have a new key created."
        )
    return _Found(secret, file)


def _is_plain(secret: str) -> bool:
    return all("!" <= character <= "~" for character in secret)


async def _make(ledger: Ledger, kind: _Kind, data: Path) -> str:
    """Make a key. The file is written before the ledger, so the secret cannot be lost."""
    secret = new_secret()
    file = data / kind.file
    try:
        # An interrupted start may have left an empty file; one with a key is never replaced.
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w") as writing:
            writing.write(secret + "\n")
    except OSError as error:
        raise UnusableKey(
            f"The key file {file} cannot be written: {error.strerror}. Make the data folder "
            f"writable, or set {kind.variable}."
        ) from None
    await ledger.add_key(secret, kind.made, kind.role)
    return secret
