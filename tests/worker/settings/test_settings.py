"""The configuration file, the environment and the command line become one value."""

from pathlib import Path

import pytest

from polyvox.activities.model_call.provider import Price, Provider, api_key
from polyvox.protocols.dialects.dialect import FACTS
from polyvox.worker.settings.file import DialectTable, EngineSettings, ServerSettings
from polyvox.worker.settings.settings import SettingsError, default_data, load_settings

WHOLE_FILE = """
[providers.local]
protocol = "chat"
base_url = "http://127.0.0.1:8000/v1/"
api_key_env = "LOCAL_KEY"
headers = { x-team = "red" }
timeout_s = 30
[providers.local.prices."*"]
input = 0.5
output = 2
cache_read = 0

[providers.plain-2]
protocol = "messages"
base_url = "https://models.example.com"

[models.council]
flow = "fusion"
description = "Three voices"
[models.council.params]
main = "local:big"
panel = ["local:a", "local:b"]

[models."team/coder-1.5"]
flow = "direct"

[server]
host = "0.0.0.0"
port = 9000
max_body_mib = 8
drain_s = 5
keep_alive_s = 2.5

[engine]
address = "temporal:7233"
namespace = "polyvox"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no configuration of this machine is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "test.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistake(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(folder, text), folder, environ={})
    return str(caught.value)


def test_a_whole_file_becomes_the_settings(folder: Path) -> None:
    """Every key of the file arrives; a trailing slash of a base URL goes."""
    settings = load_settings(write(folder, WHOLE_FILE), folder / "data", environ={})
    assert settings.providers == {
        "local": Provider(
            "local",
            "chat",
            "http://127.0.0.1:8000/v1",
            "LOCAL_KEY",
            {"x-team": "red"},
            30,
            prices={"*": Price(0.5, 2, cache_read=0)},
        ),
        "plain-2": Provider("plain-2", "messages", "https://models.example.com"),
    }
    assert settings.server == ServerSettings(
        host="0.0.0.0", port=9000, max_body_mib=8, drain_s=5, keep_alive_s=2.5
    )
    assert settings.engine == EngineSettings(address="temporal:7233", namespace="polyvox")
    council = settings.models["council"]
    assert (council.flow, council.description) == ("fusion", "Three voices")
    assert council.params == {"main": "local:big", "panel": ["local:a", "local:b"]}
    assert settings.models["team/coder-1.5"].params == {}


def test_without_a_file_the_defaults_hold(folder: Path) -> None:
    """Nothing declared: loopback, port 8484, our own engine, no providers, nothing created."""
    settings = load_settings(data=folder / "data", environ={})
    assert settings.config is None
    assert settings.server == ServerSettings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8484)
    assert settings.engine == EngineSettings(address=None, namespace="default")
    assert settings.providers == {}
    assert not (folder / "data").exists()


def test_the_data_folder_is_in_the_home_of_the_environment(folder: Path) -> None:
    """The environment is an argument; the process's own home does not leak in."""
    assert default_data({"HOME": "/home/ada"}) == Path("/home/ada/.polyvox")
    assert load_settings(environ={"HOME": str(folder)}).data == folder / ".polyvox"


def test_a_file_in_the_working_directory_goes_before_one_in_the_data_folder(folder: Path) -> None:
    """./polyvox.toml, else DATA/polyvox.toml, else none."""
    data = folder / "data"
    data.mkdir()
    (data / "polyvox.toml").write_text("[server]\nport = 1111\n")
    assert load_settings(data=data, environ={}).server.port == 1111
    (folder / "polyvox.toml").write_text("[server]\nport = 2222\n")
    settings = load_settings(data=data, environ={})
    assert settings.server.port == 2222
    assert settings.config == folder / "polyvox.toml"


def test_arguments_go_before_the_environment_and_the_environment_before_the_file(
    folder: Path,
) -> None:
    """Strongest first: command line, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, file."""
    path = write(folder, WHOLE_FILE)
    environ = {"TEMPORAL_ADDRESS": "env:1", "TEMPORAL_NAMESPACE": "from-env"}
    settings = load_settings(path, folder, environ=environ)
    assert settings.engine == EngineSettings(address="env:1", namespace="from-env")
    settings = load_settings(
        path, folder, environ=environ, engine_address="arg:2", namespace="n", host="::1", port=0
    )
    assert settings.engine == EngineSettings(address="arg:2", namespace="n")
    assert (settings.server.host, settings.server.port) == ("::1", 0)


def test_known_providers_declare_themselves_by_their_key(folder: Path) -> None:
    """OpenAI and Anthropic need no file, only their variable; a blank variable counts as unset."""
    environ = {"ANTHROPIC_API_KEY": "test-key", "OPENAI_API_KEY": " "}
    assert list(load_settings(data=folder, environ=environ).providers) == ["anthropic"]
    environ["OPENAI_API_KEY"] = "test-key"
    providers = load_settings(data=folder, environ=environ).providers
    assert providers["openai"].protocol == "responses"
    assert providers["anthropic"].base_url == "https://api.anthropic.com/v1"


def test_a_declared_provider_keeps_the_known_ones_out(folder: Path) -> None:
    """Who declares providers decides which there are."""
    settings = load_settings(
        write(folder, WHOLE_FILE), folder, environ={"OPENAI_API_KEY": "test-key"}
    )
    assert sorted(settings.providers) == ["local", "plain-2"]


def test_a_key_is_read_from_the_named_variable_without_its_newline() -> None:
    """A line break from a command substitution would not be allowed in a header."""
    provider = Provider("local", "chat", "http://localhost", "LOCAL_KEY")
    assert api_key(provider, {"LOCAL_KEY": "test-key\n"}) == "test-key"
    assert api_key(provider, {"LOCAL_KEY": ""}) is None
    assert api_key(provider, {}) is None
    assert api_key(Provider("local", "chat", "http://localhost"), {"LOCAL_KEY": "x"}) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[serber]\nport = 1", ["serber: is not a known key", "'server'", "engine, models"]),
        ("[server]\nprot = 1", ["server.prot:", "Did you mean 'port'?", "drain_s, host"]),
        ("[server]\nport = 70000", ["server.port: 70000", "65535"]),
        ("[server]\nport = true", ["server.port: True", "valid integer"]),
        ('[server]\nport = "80"', ["server.port:", "valid integer"]),
        ("[server]\nkeep_alive_s = 0", ["server.keep_alive_s: 0", "greater than 0"]),
        ("server = 3", ["server:", "write [server]"]),
        ("[providers.a]", ["providers.a.protocol: is missing", "providers.a.base_url"]),
        (
            '[providers.a]\nprotocol = "soap"\nbase_url = "http://x"',
            ["providers.a.protocol: 'soap'", "'chat', 'responses' or 'messages'"],
        ),
        (
            '[providers.a]\nprotocol = "chat"\nbase_url = "example.com/v1"',
            ["providers.a.base_url: 'example.com/v1'", "https://"],
        ),
        ('[providers.A_b]\nprotocol = "chat"', ["providers.A_b: 'A_b'", "a-z, 0-9"]),
        ('[providers."a:b"]\nprotocol = "chat"', ['providers."a:b": ', "a-z, 0-9"]),
        ('[providers.simulator-chat]\nprotocol = "chat"', ["built-in simulator"]),
        ("[providers.a.prices.x]\noutput = 1", ["providers.a.prices.x.input: is missing"]),
        ("[providers.a.prices.x]\ninput = -1", ["providers.a.prices.x.input: -1"]),
        ("[providers.a.prices.x]\ninptu = 1", ["prices.x.inptu:", "Did you mean 'input'?"]),
        ('[models."a:b"]\nflow = "direct"', ["provider:model"]),
        ("[models.a]", ["models.a.flow: is missing"]),
        ('[models.a]\nflow = "f"\nparam = 1', ["models.a.param:", "Did you mean 'params'?"]),
        ("[server", ["not valid TOML", "at end of document"]),
        ('[engine]\naddress = "http://x"', ["'http://x' is not HOST:PORT"]),
    ],
)
def test_a_mistake_is_named_with_its_path_and_its_remedy(
    folder: Path, text: str, parts: list[str]
) -> None:
    """The message says where in the file, what is wrong and what is allowed there."""
    message = mistake(folder, text)
    for part in parts:
        assert part in message


def test_all_mistakes_are_reported_at_once(folder: Path) -> None:
    """One line each, every line beginning with the file."""
    message = mistake(folder, "[server]\nport = -1\nhost = 3\n[engine]\nnamespaces = 'x'")
    assert len(message.splitlines()) == 3
    assert all(line.startswith(str(folder / "test.toml")) for line in message.splitlines())


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "test-key"',
        'api_key_env = "test-key"',
        'headers = { Authorization = "Bearer test-key" }',
        'headers = { X-Api-Key = "test-key" }',
        'headers = { x-a = "test-key\\n" }',
    ],
)
def test_a_key_in_the_file_is_refused_and_not_repeated(folder: Path, line: str) -> None:
    """Only names of variables stand in the file; a message never shows what may be a key."""
    message = mistake(
        folder, f'[providers.a]\nprotocol = "chat"\nbase_url = "http://localhost"\n{line}\n'
    )
    assert "providers.a." in message
    assert "test-key" not in message


def test_a_password_in_a_base_url_is_refused_and_not_repeated(folder: Path) -> None:
    """Credentials in a URL would end in logs and in histories."""
    message = mistake(
        folder, '[providers.a]\nprotocol = "chat"\nbase_url = "http://me:test-key@localhost"\n'
    )
    assert "api_key_env" in message
    assert "test-key" not in message


def test_a_named_file_that_is_missing_is_an_error(folder: Path) -> None:
    """A file that was asked for is never silently left out."""
    with pytest.raises(SettingsError, match=r"configuration file '.*absent\.toml'"):
        load_settings(folder / "absent.toml", folder, environ={})
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(folder, folder, environ={})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[providers.a]\n[providers.b]\n[models.c]", 5),
        ("providers = 3\nmodels = []\nserver = 1\n[engine]\nx = 1", 4),
        ("[server]\nallowed_hosts = ['a b', 'fine', 'c/d']", 2),
        ("[models.a]\nflow = 'f'\nparams = 3\nlimits = []", 2),
        ("[providers.a]\nprotocol = 'chat'\nbase_url = 'http://x'\nprices.m = 1", 1),
    ],
)
def test_each_mistake_is_reported_once_however_deep_it_is(
    folder: Path, text: str, count: int
) -> None:
    """What a mistake makes impossible is not a second one."""
    lines = mistake(folder, text).splitlines()
    assert len(lines) == count, lines
    assert all(f"{folder / 'test.toml'}, line " in line for line in lines)


def test_a_provider_states_what_its_server_accepts(folder: Path) -> None:
    """Only the keys that are given change what is known about the server."""
    text = (
        WHOLE_FILE
        + """
[providers.rack]
protocol = "chat"
base_url = "http://rack:8000/v1"
[providers.rack.dialect]
server = "vllm"
refuses = ["seed"]
efforts = ["low"]
custom_tools = false
"""
    )
    settings = load_settings(write(folder, text), folder, environ={})
    assert settings.providers["rack"].dialect == {
        "server": "vllm",
        "refuses": ["seed"],
        "efforts": ["low"],
        "custom_tools": False,
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('server = "vlm"', ["providers.a.dialect.server: 'vlm'", "vllm", "unknown"]),
        ("custom_tool = true", ["is not a known key here. Did you mean 'custom_tools'?"]),
        ('call_ids = "short"', ["providers.a.dialect.call_ids"]),
        ("stops = -1", ["providers.a.dialect.stops: -1"]),
    ],
)
def test_a_mistake_in_a_dialect_is_named(folder: Path, line: str, words: list[str]) -> None:
    head = '[providers.a]\nprotocol = "chat"\nbase_url = "http://a/v1"\n[providers.a.dialect]\n'
    text = mistake(folder, head + line)
    for word in words:
        assert word in text


def test_the_file_has_a_key_for_every_fact_of_a_dialect() -> None:
    assert {*DialectTable.model_fields} == {*FACTS}
