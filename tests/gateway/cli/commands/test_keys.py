"""`polyvox keys` on a real database."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.cli.main import app


def polyvox_keys(*arguments: str, data: Path) -> str:
    """Return what a command that must succeed prints on standard output."""
    done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(data)])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: str, data: Path, status: int = 1) -> str:
    """Return the error of a command that must fail."""
    done = CliRunner().invoke(app, ["keys", *arguments, "--data", str(data)])
    assert done.exit_code == status, done.output
    assert done.stdout == ""
    return done.stderr


def key_named(data: Path, name: str) -> dict[str, Any]:
    listed = json.loads(polyvox_keys("list", "--json", data=data))
    (found,) = [key for key in listed if key["name"] == name]
    return dict(found)


def find(data: Path, secret: str) -> str | None:
    async def ask() -> str | None:
        async with Ledger.open(file_url(database_file(data))) as ledger:
            return await ledger.find_key(secret)

    return asyncio.run(ask())


def test_a_key_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    """Creating makes the ledger; standard output is the secret alone, for KEY=$(...)."""
    data = tmp_path / "new"
    done = CliRunner().invoke(app, ["keys", "create", "laptop", "--data", str(data)])
    (secret,) = done.stdout.splitlines()
    key_id = find(data, secret)
    assert key_id is not None
    assert key_id in done.stderr
    assert secret not in done.stderr


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


def test_no_two_valid_keys_share_a_name(tmp_path: Path) -> None:
    """After a revocation the name is free again."""
    polyvox_keys("create", "laptop", data=tmp_path)
    first = key_named(tmp_path, "laptop")["key_id"]
    said = refused("create", "laptop", data=tmp_path)
    assert f"The key {first} is named 'laptop'" in said
    assert f"polyvox keys revoke {first}" in said
    polyvox_keys("revoke", "laptop", data=tmp_path)
    polyvox_keys("create", "laptop", data=tmp_path)


def test_keys_without_a_name_are_numbered(tmp_path: Path) -> None:
    for _ in range(3):
        polyvox_keys("create", data=tmp_path)
    listed = json.loads(polyvox_keys("list", "--json", data=tmp_path))
    assert [key["name"] for key in listed] == ["key", "key-2", "key-3"]


def test_the_names_of_keys_from_the_environment_are_reserved(tmp_path: Path) -> None:
    """A start revokes the earlier keys of these names."""
    assert "reserved" in refused("create", "from the environment", data=tmp_path)


def test_a_key_is_revoked_by_name_by_id_or_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    """With and without ``key_``; of two keys of one name the valid one is meant."""
    for name in ("one", "two", "three"):
        polyvox_keys("create", name, data=tmp_path)
    polyvox_keys("revoke", "one", data=tmp_path)
    polyvox_keys("create", "one", data=tmp_path)
    polyvox_keys("revoke", "one", data=tmp_path)
    polyvox_keys("revoke", key_named(tmp_path, "two")["key_id"][:9], data=tmp_path)
    polyvox_keys("revoke", key_named(tmp_path, "three")["key_id"][4:9], data=tmp_path)
    listed = json.loads(polyvox_keys("list", "--json", data=tmp_path))
    assert all(key["revoked_at"] for key in listed)


def test_a_beginning_of_several_ids_revokes_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        polyvox_keys("create", name, data=tmp_path)
    said = refused("revoke", "key_", data=tmp_path)
    assert "Several keys match 'key_'" in said
    assert key_named(tmp_path, "one")["revoked_at"] is None


@pytest.mark.parametrize("place", ["/proc/foo", "/sys/foo", "{file}", "{file}/below"])
def test_a_data_folder_that_cannot_be_is_one_sentence(tmp_path: Path, place: str) -> None:
    """Exit status 2, as for any mistake in the command line."""
    file = tmp_path / "file"
    file.touch()
    data = Path(place.format(file=file))
    said = refused("create", data=data, status=2)
    assert said.startswith(f"Error: The data folder {str(data)!r} cannot be used (")
    assert len(said.splitlines()) == 1
