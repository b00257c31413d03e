"""The rows of the matrix: which client speaks which protocol, and what it cannot do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.e2e.headless.agent import MORE_CLIENTS, Agent, program, python
from tests.e2e.headless.aider import Aider
from tests.e2e.headless.claude_code import ClaudeCode
from tests.e2e.headless.cline import Cline
from tests.e2e.headless.codex import Codex
from tests.e2e.headless.continue_cli import ContinueCli
from tests.e2e.headless.opencode import OpenCode
from tests.e2e.matrix.scenario import SCENARIOS, Scenario

PROVIDERS = ("chat", "responses", "messages")


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A coding agent. ``make`` gets base URL, key and home, and an idle limit if it accepts one.

    The model names it sends begin with ``alias``, if the client depends on the name.
    """

    client: str
    protocol: str
    make: Callable[..., Agent]
    lowers_idle_limit: bool = True
    alias: str = ""


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A library. ``command`` starts its process, without the base URL and the key.

    Arguments after these two are in ``more``.
    """

    client: str
    protocol: str
    command: Callable[[], list[str]]
    more: tuple[str, ...] = ()
    alias: str = ""


Row = AgentRow | LibraryRow


def _python(venv: str, module: str) -> Callable[[], list[str]]:
    return lambda: [python(venv), "-m", f"tests.e2e.libraries.{module}"]


def _node(script: str) -> Callable[[], list[str]]:
    # On SIGUSR2 it reports its stack, handles and sockets.
    report = ("--report-on-signal", "--report-filename=stderr", "--report-exclude-env")
    return lambda: [program("node-*/bin/node", MORE_CLIENTS), *report, str(MORE_CLIENTS / script)]


ROWS: tuple[Row, ...] = (
    AgentRow("Claude Code", "messages", ClaudeCode),
    AgentRow("Codex", "responses", Codex),
    AgentRow("Codex, WebSocket", "responses", partial(Codex, websocket=True)),
    *(AgentRow("OpenCode", protocol, OpenCode) for protocol in PROVIDERS),
    *(AgentRow("Cline", protocol, Cline, lowers_idle_limit=False) for protocol in PROVIDERS),
    AgentRow("Continue CLI", "chat", ContinueCli, lowers_idle_limit=False),
    AgentRow("Continue CLI", "responses", ContinueCli, lowers_idle_limit=False, alias="gpt-5-"),
    AgentRow("Continue CLI", "messages", ContinueCli, lowers_idle_limit=False),
    AgentRow("aider", "chat", Aider),
    AgentRow("aider", "messages", Aider),
    LibraryRow("openai, Python", "chat", _python("sdks", "openai_sdk")),
    LibraryRow("openai, Python", "responses", _python("sdks", "openai_sdk")),
    LibraryRow("anthropic, Python", "messages", _python("sdks", "anthropic_sdk")),
    LibraryRow("langchain-openai", "chat", _python("sdks", "langchain_sdk")),
    LibraryRow("langchain-openai", "responses", _python("sdks", "langchain_sdk")),
    LibraryRow("langchain-anthropic", "messages", _python("sdks", "langchain_sdk")),
    *(
        LibraryRow("pydantic-ai", protocol, _python("sdks", "pydantic_ai_sdk"))
        for protocol in PROVIDERS
    ),
    *(LibraryRow("litellm", protocol, _python("litellm", "litellm_sdk")) for protocol in PROVIDERS),
    LibraryRow("openai, Node", "chat", _node("openai.mjs")),
    LibraryRow("openai, Node", "responses", _node("openai.mjs")),
    LibraryRow("anthropic, Node", "messages", _node("anthropic.mjs")),
    LibraryRow("ai-sdk openai", "chat", _node("ai_sdk.mjs"), ("openai",)),
    LibraryRow("ai-sdk openai", "responses", _node("ai_sdk.mjs"), ("openai",)),
    LibraryRow("ai-sdk openai-compatible", "chat", _node("ai_sdk.mjs"), ("openai-compatible",)),
    LibraryRow("ai-sdk anthropic", "messages", _node("ai_sdk.mjs"), ("anthropic",)),
)

ABSENT: dict[tuple[str, str], str] = {
    ("aider", "tool"): "It does not call tools; it edits files from the text of the answer.",
    (
        "Continue CLI",
        "image",
    ): "In headless mode it does not accept images, and its Read tool sends a PNG as text.",
}
"""What a client does not support, by client and scenario."""

_STREAMED = "It does not retry once an answer has begun."

SHOWS: dict[tuple[str, str, str], str] = {
    **{("Cline", protocol, "cut"): _STREAMED for protocol in PROVIDERS},
    ("Continue CLI", "messages", "429"): "Over Messages it retries only after a 529.",
    ("Continue CLI", "messages", "500"): "Over Messages it retries only after a 529.",
    **{
        ("litellm", protocol, status): f"Over {protocol.title()} it does not retry by itself."
        for protocol in ("responses", "messages")
        for status in ("429", "500")
    },
    **{(row.client, row.protocol, "cut"): _STREAMED for row in ROWS if isinstance(row, LibraryRow)},
}
"""Why a client ends with an error that its user sees, by client, protocol and scenario.

In all other cells the client recovers and its user gets the answer."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One client over one protocol, asking a provider of one protocol."""

    row: Row
    provider: str
    scenario: Scenario

    @property
    def id(self) -> str:
        names = (self.row.client, self.row.protocol, self.provider, self.scenario.name)
        return "_".join("".join(c for c in name if c.isalnum()) for name in names).lower()

    @property
    def upstream(self) -> str:
        """The simulated model. Each cell has its own, because faults are counted by model name."""
        return f"simulator-{self.provider}:main{self.scenario.words}-id{self.id}"

    @property
    def model(self) -> str:
        """The model name that the client sends."""
        alias = self.row.alias
        return f"{alias}{self.id.replace('_', '-')}" if alias else self.upstream

    @property
    def absent(self) -> str | None:
        return ABSENT.get((self.row.client, self.scenario.name))

    @property
    def shows(self) -> str | None:
        return SHOWS.get((self.row.client, self.row.protocol, self.scenario.name))


def cells(only: str = "", scenarios: str = "") -> list[Cell]:
    """Return the cells whose client or ``client/protocol`` contains a word of ``only``.

    Both arguments list words with commas between them; empty means all. Case does not matter.
    """
    wanted = [word.strip().lower() for word in only.split(",") if word.strip()]
    columns = [word.strip() for word in scenarios.split(",") if word.strip()]
    return [
        Cell(row, provider, scenario)
        for row in ROWS
        if not wanted or any(word in f"{row.client}/{row.protocol}".lower() for word in wanted)
        for provider in PROVIDERS
        for scenario in SCENARIOS
        if not columns or scenario.name in columns
    ]
