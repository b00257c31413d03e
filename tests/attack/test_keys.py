"""The two keys of a server: their rights, and what happens to them in old or damaged folders."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.own_keys import ADMIN_KEY_FILE, KEY_FILE, UnusableKey, own_keys
from tests.attack.asking import call, new_key, polyvox
from tests.attack.conftest import Target
from tests.attack.escape import SOURCE
from tests.programs.processes import Child, running


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A new ledger in an empty data folder."""
    async with Ledger.open(file_url(database_file(tmp_path))) as opened:
        yield opened


async def roles(ledger: Ledger) -> dict[str, str]:
    return {key.name: key.role for key in await ledger.list_keys() if not key.revoked_at}


async def role_of(ledger: Ledger, secret: str) -> str | None:
    """Return the role of a key, or None if it is not valid."""
    key_id = await ledger.find_key(secret)
    return await ledger.role_of(key_id) if key_id else None


def test_the_key_for_clients_registers_no_flow(target: Target) -> None:
    """Agents have the user key; a flow is a program that runs in the server."""
    source = SOURCE.format(top="", body="    found = 1")
    refused = call(target, "POST", "/api/flows", target.key, {"source": source})
    assert refused.status_code == 403
    assert "is a user key" in refused.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"source": "import os"}', b'{"files": {}}'])
def test_the_admins_key_registers_over_http_only_where_it_is_turned_on(
    target: Target, body: bytes
) -> None:
    """It is refused before the body is read; the message names both ways to register."""
    refused = call(target, "POST", "/api/flows", target.admin_key, content=body)
    assert refused.status_code == 403
    said = refused.json()["error"]["message"]
    assert "polyvox register FILE" in said
    assert "server.register_over_http = true" in said


def test_the_command_line_registers_as_before(target: Target, tmp_path: Path) -> None:
    """Whoever may write to the data folder is the operator."""
    file = tmp_path / "flow.py"
    file.write_text(SOURCE.format(top="", body="    found = 1"), "utf-8")
    assert polyvox(target, "register", str(file))["flow"] == "escape"


def test_keys_are_listed_with_their_roles(target: Target) -> None:
    """A new key has the role user unless admin is requested."""
    new_key(target, "somebody")
    new_key(target, "operator", "admin")
    listed = {key["name"]: key["role"] for key in polyvox(target, "keys", "list")}
    assert (listed["somebody"], listed["operator"]) == ("user", "admin")
    assert listed["from the environment"] == "user"
    assert listed["admin from the environment"] == "admin"


def printed(child: Child) -> str:
    return child.output.read_text("utf-8")


def test_a_start_without_a_terminal_names_the_files_of_both_keys(tmp_path: Path) -> None:
    """Logs keep what is printed; the files can be read by their owner only."""
    data = tmp_path / "data"
    said = []
    for _ in range(2):
        with running("up", "--port", "0", "--data", str(data), folder=tmp_path) as child:
            child.ready()
            child.printed(r"(Codex)")
            said.append(printed(child))
            assert child.stop() == 0
    admin = (data / ADMIN_KEY_FILE).read_text("utf-8").strip()
    user = (data / KEY_FILE).read_text("utf-8").strip()
    for name in (KEY_FILE, ADMIN_KEY_FILE):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    first, second = said
    for text in said:
        assert f'export POLYVOX_KEY="$(cat {data / KEY_FILE})"' in text
        assert user not in text
        assert admin not in text
    assert f"Admin key  new, in {data / ADMIN_KEY_FILE}" in first
    assert f"Admin key  in {data / ADMIN_KEY_FILE}" in second


@pytest.mark.parametrize(
    "environ",
    [
        {"POLYVOX_KEY": "the-same", "POLYVOX_ADMIN_KEY": "the-same"},
        {"POLYVOX_KEY": "the-same ", "POLYVOX_ADMIN_KEY": " the-same"},
    ],
)
def test_one_key_cannot_be_both(tmp_path: Path, environ: dict[str, str]) -> None:
    """Otherwise every client would be an admin; the error is one line, and nothing starts."""
    with running(
        "up", "--port", "0", "--data", str(tmp_path / "data"), folder=tmp_path, environ=environ
    ) as child:
        assert child.process.wait(60) == 1
        assert "POLYVOX_KEY and POLYVOX_ADMIN_KEY contain the same key" in printed(child)
        assert "Traceback" not in printed(child)


async def test_a_new_folder_gets_a_key_of_each_role(ledger: Ledger, tmp_path: Path) -> None:
    """The next start uses both again, and reports nothing new."""
    first = await own_keys(ledger, tmp_path, {})
    admin = (tmp_path / ADMIN_KEY_FILE).read_text("utf-8").strip()
    assert first.user is not None
    assert await role_of(ledger, first.user) == "user"
    assert await role_of(ledger, admin) == "admin"
    again = await own_keys(ledger, tmp_path, {})
    assert (again.user, again.news) == (first.user, ())
    assert len(await ledger.list_keys()) == 2


async def test_keys_for_clients_that_were_admins_become_users(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Older versions made them admin keys; admin keys that an operator created do not change."""
    await ledger.add_key("first-secret", "first key", "admin")
    (tmp_path / KEY_FILE).write_text("first-secret\n", "utf-8")
    await ledger.add_key("given-secret", "from the environment", "admin")
    await ledger.add_key("given-before", "from the environment", "admin")
    await ledger.add_key("operators", "ops", "admin")
    keys = await own_keys(ledger, tmp_path, {"POLYVOX_KEY": "given-secret"})
    assert keys.user == "given-secret"
    for secret in ("first-secret", "given-secret"):
        assert await role_of(ledger, secret) == "user"
    assert await role_of(ledger, "given-before") is None
    assert await role_of(ledger, "operators") == "admin"
    revoked, *demoted = keys.news
    assert "an earlier value of POLYVOX_KEY" in revoked
    assert len(demoted) == 2
    assert all("was an admin key and is now a user key" in line for line in demoted)
    assert keys.admin == "made earlier (polyvox keys list)"
    assert (await own_keys(ledger, tmp_path, {"POLYVOX_KEY": "given-secret"})).news == ()


async def test_an_older_folder_gets_an_admins_key(ledger: Ledger, tmp_path: Path) -> None:
    """When its only key becomes a user key, an admin key must be created."""
    await ledger.add_key("first-secret", "first key", "admin")
    (tmp_path / KEY_FILE).write_text("first-secret\n", "utf-8")
    keys = await own_keys(ledger, tmp_path, {})
    assert keys.user == "first-secret"
    assert keys.admin.startswith("new, in ")
    assert sorted((await roles(ledger)).values()) == ["admin", "user"]


async def test_a_client_key_of_before_may_become_the_admins(ledger: Ledger, tmp_path: Path) -> None:
    """The operator moves it to the other variable and gives clients another."""
    await ledger.add_key("known-secret", "from the environment", "admin")
    environ = {"POLYVOX_KEY": "new-secret", "POLYVOX_ADMIN_KEY": "known-secret"}
    keys = await own_keys(ledger, tmp_path, environ)
    assert await role_of(ledger, "known-secret") == "admin"
    assert await role_of(ledger, "new-secret") == "user"
    assert keys.admin == "in POLYVOX_ADMIN_KEY"


async def test_a_users_key_cannot_be_made_the_admins(ledger: Ledger, tmp_path: Path) -> None:
    """Somebody who is not an admin has it."""
    await ledger.add_key("a-users", "laptop", "user")
    with pytest.raises(UnusableKey, match=r"which is a user key.*Choose another secret"):
        await own_keys(ledger, tmp_path, {"POLYVOX_ADMIN_KEY": "a-users"})
    (tmp_path / KEY_FILE).write_text("in-the-file\n", "utf-8")
    with pytest.raises(UnusableKey, match="contain the same key"):
        await own_keys(ledger, tmp_path, {"POLYVOX_ADMIN_KEY": "in-the-file"})


async def test_keys_outlive_the_ledger(tmp_path: Path) -> None:
    """If the database is lost or older than the files, both keys work again; this is reported."""
    async with Ledger.open(file_url(tmp_path / "one.db")) as ledger:
        first = await own_keys(ledger, tmp_path, {})
    admin = (tmp_path / ADMIN_KEY_FILE).read_text("utf-8").strip()
    async with Ledger.open(file_url(tmp_path / "two.db")) as ledger:
        await ledger.add_key("somebody-elses", "laptop")
        again = await own_keys(ledger, tmp_path, {})
        assert again.user == first.user is not None
        assert await role_of(ledger, first.user) == "user"
        assert await role_of(ledger, admin) == "admin"
    assert len(again.news) == 2
    assert all("is valid again" in line for line in again.news)


async def test_a_revoked_key_stays_revoked(ledger: Ledger, tmp_path: Path) -> None:
    """Its file changes nothing; the message says what to do."""
    first = await own_keys(ledger, tmp_path, {})
    for key in await ledger.list_keys():
        await ledger.revoke_key(key.key_id)
    again = await own_keys(ledger, tmp_path, {})
    assert first.user is not None
    assert again.user is None
    assert await role_of(ledger, first.user) is None
    said = "\n".join(again.news)
    assert str(tmp_path / KEY_FILE) in said
    assert str(tmp_path / ADMIN_KEY_FILE) in said
    assert "Delete the file and start again" in said
    assert again.admin == "revoked"
    given = await own_keys(ledger, tmp_path, {"POLYVOX_KEY": first.user})
    assert "Choose another secret" in "\n".join(given.news)
    (tmp_path / KEY_FILE).unlink()
    (tmp_path / ADMIN_KEY_FILE).unlink()
    assert (await own_keys(ledger, tmp_path, {})).admin.startswith("new, in ")


VARIABLES = ["POLYVOX_KEY", "POLYVOX_ADMIN_KEY"]


@pytest.mark.parametrize("variable", VARIABLES)
async def test_a_variables_key_replaces_its_predecessor(
    ledger: Ledger, tmp_path: Path, variable: str
) -> None:
    """The old one is revoked, once, and the start says so; keys made by hand stay."""
    await ledger.add_key("laptops-key", "laptop")
    await own_keys(ledger, tmp_path, {variable: "one-long-enough-secret"})
    changed = await own_keys(ledger, tmp_path, {variable: "two-long-enough-secret"})
    assert await role_of(ledger, "one-long-enough-secret") is None
    role = "user" if variable == "POLYVOX_KEY" else "admin"
    assert await role_of(ledger, "two-long-enough-secret") == role
    assert await role_of(ledger, "laptops-key") == "user"
    assert [f"an earlier value of {variable}" in line for line in changed.news] == [True]
    assert (await own_keys(ledger, tmp_path, {variable: "two-long-enough-secret"})).news == ()


async def test_a_replaced_key_that_comes_back_is_named_as_revoked(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A revoked key stays revoked; the start continues and says what to do."""
    for secret in ("one-long-enough-secret", "two-long-enough-secret"):
        await own_keys(ledger, tmp_path, {"POLYVOX_KEY": secret})
    again = await own_keys(ledger, tmp_path, {"POLYVOX_KEY": "one-long-enough-secret"})
    assert again.user is None
    assert await role_of(ledger, "one-long-enough-secret") is None
    assert any("was revoked. Choose another secret" in line for line in again.news)


async def test_two_variables_that_swap_their_keys_are_refused_in_plain_words(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The former user key cannot become the admin key, and neither is revoked by the attempt."""
    user, admin = "one-long-enough-secret", "two-long-enough-secret"
    await own_keys(ledger, tmp_path, {"POLYVOX_KEY": user, "POLYVOX_ADMIN_KEY": admin})
    with pytest.raises(UnusableKey, match="which is a user key"):
        await own_keys(ledger, tmp_path, {"POLYVOX_KEY": admin, "POLYVOX_ADMIN_KEY": user})
    assert await role_of(ledger, user) == "user"


@pytest.mark.parametrize("variable", VARIABLES)
async def test_a_short_key_is_for_loopback_only(
    ledger: Ledger, tmp_path: Path, variable: str
) -> None:
    """Also one that an earlier start on loopback accepted and that the variable no longer has."""
    await own_keys(ledger, tmp_path, {variable: "abc"})
    with pytest.raises(UnusableKey, match=f"{variable} has 3 characters") as refused:
        await own_keys(ledger, tmp_path, {variable: "abc"}, exposed=True)
    assert "abc" not in str(refused.value)
    assert await role_of(ledger, "abc") is not None
    opened = await own_keys(ledger, tmp_path, {}, exposed=True)
    assert await role_of(ledger, "abc") is None
    assert any("too short" in line for line in opened.news)


@pytest.mark.parametrize("name", [KEY_FILE, ADMIN_KEY_FILE])
async def test_a_short_key_in_a_file_is_for_loopback_only(
    ledger: Ledger, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("abc\n", "utf-8")
    with pytest.raises(UnusableKey, match="has 3 characters"):
        await own_keys(ledger, tmp_path, {}, exposed=True)


@pytest.mark.parametrize("name", [KEY_FILE, ADMIN_KEY_FILE])
async def test_an_empty_key_file_is_filled(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """An interrupted start left it; it contains no key."""
    (tmp_path / name).write_text("\n", "utf-8")
    await own_keys(ledger, tmp_path, {})
    assert await ledger.find_key((tmp_path / name).read_text("utf-8").strip()) is not None


@pytest.mark.parametrize("name", [KEY_FILE, ADMIN_KEY_FILE])
@pytest.mark.parametrize("content", [b"two words\n", b"\xff\xfe\x00", b"one\ntwo\n", "é".encode()])
async def test_a_key_file_without_a_key_is_refused(
    ledger: Ledger, tmp_path: Path, name: str, content: bytes
) -> None:
    """The message names the file and what to do; the file is not changed."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableKey, match="Delete it to have a new key created") as caught:
        await own_keys(ledger, tmp_path, {})
    assert str(tmp_path / name) in str(caught.value)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", [KEY_FILE, ADMIN_KEY_FILE])
async def test_a_key_file_that_cannot_be_read_is_refused(
    ledger: Ledger, tmp_path: Path, name: str
) -> None:
    """Such as a folder of that name."""
    (tmp_path / name).mkdir()
    with pytest.raises(UnusableKey, match="cannot be read: Is a directory"):
        await own_keys(ledger, tmp_path, {})


async def test_a_key_that_no_header_can_carry_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    """It would be accepted and never work."""
    with pytest.raises(UnusableKey, match="POLYVOX_KEY cannot be sent as a key"):
        await own_keys(ledger, tmp_path, {"POLYVOX_KEY": "two words"})


async def test_no_second_admins_key_is_made_beside_the_operators(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Its creator has it; a user key is created nevertheless."""
    await ledger.add_key("operators", "ops", "admin")
    keys = await own_keys(ledger, tmp_path, {})
    assert keys.user is not None
    assert not (tmp_path / ADMIN_KEY_FILE).exists()


def test_an_open_host_needs_a_key_that_somebody_chose(tmp_path: Path) -> None:
    """An admin key alone is not a key for clients."""
    words = ("up", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    for environ in ({}, {"POLYVOX_ADMIN_KEY": "chosen-admin-key"}):
        with running(*words, folder=tmp_path, environ=environ) as child:
            assert child.process.wait(60) == 1
            assert "POLYVOX_KEY" in printed(child)
            assert not (tmp_path / "data" / KEY_FILE).exists()


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_open_host_refuses_a_short_key_before_anything_starts(
    tmp_path: Path, variable: str
) -> None:
    """One sentence, without the key."""
    words = ("up", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    with running(*words, folder=tmp_path, environ={variable: "abc"}) as child:
        assert child.process.wait(60) == 1
        assert f"{variable} has 3 characters" in printed(child)
        assert len(printed(child).splitlines()) == 1
        assert not (tmp_path / "data" / "engine").exists()
