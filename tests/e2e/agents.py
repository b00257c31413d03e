"""Drives coding agents headless: one prompt in, what the agent said and left behind out.

An agent runs as its user would run it, from the binary npm installed, but in a home folder of its
own and with an environment made from nothing, so that neither the machine's configuration nor
another test's session has a say. It talks to the given address only: telemetry, update checks and
feature flags are off.
"""

import asyncio
import base64
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

PACKAGES = Path(__file__).parent / "clients" / "node_modules"


class AgentStuck(AssertionError):
    """The agent did not end in time and was killed with everything it had started."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """``stdout`` is the agent's JSON lines; ``text`` its last words, empty when it said none."""

    exit_code: int
    stdout: str
    stderr: str
    text: str


class Agent(Protocol):
    """A coding agent that was told which endpoint to use."""

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        """Let the agent answer ``prompt`` in folder ``cwd``, free to change files there.

        ``image`` is a PNG shown with the prompt. Raises AgentStuck after ``timeout_s`` seconds.
        """


@dataclass(frozen=True, slots=True)
class ClaudeCode:
    """Claude Code, which speaks Messages. ``base_url`` has no ``/v1``; ``home`` need not exist."""

    base_url: str
    key: str
    home: Path

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        command = [
            *("--print", "--model", model, "--allowedTools", "Bash,Read,Write,Edit"),
            *("--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
        ]
        environment = {
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_AUTH_TOKEN": self.key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        ended = await _run(
            [_binary("@anthropic-ai/claude-code-*/claude"), *command],
            environment=_environment(self.home, environment),
            cwd=cwd,
            stdin=orjson.dumps(_claude_message(prompt, image)) + b"\n",
            timeout_s=timeout_s,
        )
        said = [line["result"] for line in _json_lines(ended.stdout) if line["type"] == "result"]
        return AgentResult(ended.exit_code, ended.stdout, ended.stderr, "".join(said[-1:]))


@dataclass(frozen=True, slots=True)
class Codex:
    """Codex, which speaks Responses. ``base_url`` has no ``/v1``; ``home`` need not exist."""

    base_url: str
    key: str
    home: Path

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        settings = self.home / ".codex"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "config.toml").write_text(_codex_config(self.base_url, model), "utf-8")
        ended = await _run(
            [
                _binary("@openai/codex-*/vendor/*/bin/codex"),
                *("exec", "--json", "--skip-git-repo-check"),
                "--dangerously-bypass-approvals-and-sandbox",
                *(["--image", str(image)] if image else []),
                *("--", prompt),
            ],
            environment=_environment(self.home, {"POLYVOX_KEY": self.key}),
            cwd=cwd,
            stdin=b"",
            timeout_s=timeout_s,
        )
        said = [
            line["item"]["text"]
            for line in _json_lines(ended.stdout)
            if line["type"] == "item.completed" and line["item"]["type"] == "agent_message"
        ]
        return AgentResult(ended.exit_code, ended.stdout, ended.stderr, "".join(said[-1:]))


def _codex_config(base_url: str, model: str) -> str:
    # A JSON string is a TOML string too.
    quoted = orjson.dumps(model).decode(), orjson.dumps(f"{base_url}/v1").decode()
    return f"""\
model = {quoted[0]}
model_provider = "polyvox"
check_for_update_on_startup = false

[model_providers.polyvox]
name = "Polyvox"
base_url = {quoted[1]}
env_key = "POLYVOX_KEY"
wire_api = "responses"

[analytics]
enabled = false
"""


def _claude_message(prompt: str, image: Path | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    if image is not None:
        data = base64.b64encode(image.read_bytes()).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        content.append({"type": "image", "source": source})
    return {"type": "user", "message": {"role": "user", "content": content}}


def _binary(pattern: str) -> str:
    """Return the one program matching ``pattern``: npm installs only what fits this machine."""
    match sorted(PACKAGES.glob(pattern)):
        case [only]:
            return str(only)
        case found:
            raise FileNotFoundError(
                f"Expected one {pattern!r} in {str(PACKAGES)!r}, found {len(found)}. "
                "Run `make clients-install`."
            )


def _environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SHELL": "/bin/sh",
        "NO_PROXY": "127.0.0.1,localhost",
        **settings,
    }


def _json_lines(stdout: str) -> Iterator[dict[str, Any]]:
    for line in stdout.split("\n"):
        if line.startswith("{"):
            yield orjson.loads(line)


@dataclass(frozen=True, slots=True)
class _Ended:
    exit_code: int
    stdout: str
    stderr: str


async def _run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    stdin: bytes,
    timeout_s: float,
) -> _Ended:
    """Run ``command`` to its end, or kill its process group after ``timeout_s`` seconds.

    Input and output go through files: a child the agent leaves behind may hold a pipe open, but
    it cannot keep a file from being read.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin)
        given.seek(0)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=cwd,
            stdin=given,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        stuck = False
        try:
            exit_code = await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            stuck, exit_code = True, -signal.SIGKILL
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        out.seek(0)
        err.seek(0)
        ended = _Ended(
            exit_code, out.read().decode(errors="replace"), err.read().decode(errors="replace")
        )
    if stuck:
        raise AgentStuck(f"{command[0]!r} did not end within {timeout_s:g} s: {ended}")
    return ended
