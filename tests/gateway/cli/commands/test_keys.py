"""`polyvox keys` on a real database."""

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.cli.main import app


def polyvox_keys(*arguments: str, data: Path) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(data)])
    assert done.exit_code == 0, done.output
    return done.output


def find(data: Path, secret: str) -> str | None:
    async def ask() -> str | None:
        async with Ledger.open(file_url(database_file(data))) as ledger:
            return await ledger.find_key(secret)

    return asyncio.run(ask())


def test_a_key_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    """Creating makes the ledger; the first line is the secret alone, ready to be copied."""
    data = tmp_path / "new"
    secret, told = polyvox_keys("create", "laptop", data=data).splitlines()
    key_id = find(data, secret)
    assert key_id is not None
    assert key_id in told


def test_a_secret_is_shown_once(tmp_path: Path) -> None:
    """No listing shows it again."""
    made = json.loads(polyvox_keys("create", "laptop", "--json", data=tmp_path))
    assert find(tmp_path, made["secret"]) == made["key_id"]
    for listing in (
        polyvox_keys("list", data=tmp_path),
        polyvox_keys("list", "--json", data=tmp_path),
    ):
        assert made["key_id"] in listing
        assert "laptop" in listing
        assert made["secret"] not in listing


def test_a_revoked_key_opens_nothing_and_stays_listed(tmp_path: Path) -> None:
    """Revoking ends a key without forgetting it."""
    made = json.loads(polyvox_keys("create", "--json", data=tmp_path))
    polyvox_keys("revoke", made["key_id"], data=tmp_path)
    assert find(tmp_path, made["secret"]) is None
    assert "revoked" in polyvox_keys("list", data=tmp_path)
    (listed,) = json.loads(polyvox_keys("list", "--json", data=tmp_path))
    assert listed["revoked_at"] is not None


def test_an_unknown_key_cannot_be_revoked(tmp_path: Path) -> None:
    """The message says how to find the right id."""
    polyvox_keys("create", data=tmp_path)
    done = CliRunner().invoke(app, ["keys", "revoke", "key_none", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "polyvox keys list" in done.stderr


def test_a_key_is_a_users_unless_an_admins_is_asked_for(tmp_path: Path) -> None:
    """The first one too."""
    for name, role in (("first", []), ("second", []), ("third", ["--role", "admin"])):
        polyvox_keys("create", name, *role, data=tmp_path)
    listed = json.loads(polyvox_keys("list", "--json", data=tmp_path))
    assert {key["name"]: key["role"] for key in listed} == {
        "first": "user",
        "second": "user",
        "third": "admin",
    }
