"""Claude Code, which uses Messages."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.e2e.headless.agent import AgentResult, json_lines, program, result
from tests.e2e.headless.process import environment, run


@dataclass(frozen=True, slots=True)
class ClaudeCode:
    """``base_url`` has no ``/v1``; ``home`` need not exist.

    ``idle_limit_s`` is how long it waits for the next bytes; its default is 300 s.
    """

    base_url: str
    key: str
    home: Path
    protocol: str = "messages"
    idle_limit_s: float | None = None

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        command = [
            *("--print", "--model", model, "--allowedTools", "Bash,Read,Write,Edit"),
            *("--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
        ]
        settings = {
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_AUTH_TOKEN": self.key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            **self._limits(),
        }
        ended = await run(
            [program("@anthropic-ai/claude-code-*/claude"), *command],
            environment=environment(self.home, settings),
            cwd=cwd,
            stdin=orjson.dumps(_message(prompt, image)) + b"\n",
            timeout_s=timeout_s,
        )
        said = [line["result"] for line in json_lines(ended.stdout) if line["type"] == "result"]
        return result(ended, "".join(said[-1:]))

    def _limits(self) -> dict[str, str]:
        if self.idle_limit_s is None:
            return {}
        limit = str(int(self.idle_limit_s * 1000))
        return {
            "API_TIMEOUT_MS": limit,
            "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS": limit,
            "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
            "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": limit,
        }


def _message(prompt: str, image: Path | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    if image is not None:
        data = base64.b64encode(image.read_bytes()).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        content.append({"type": "image", "source": source})
    return {"type": "user", "message": {"role": "user", "content": content}}
