"""Codex, which uses Responses."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.e2e.headless.agent import AgentResult, json_lines, program, result
from tests.e2e.headless.process import environment, run


@dataclass(frozen=True, slots=True)
class Codex:
    """``base_url`` has no ``/v1``; ``home`` need not exist.

    ``idle_limit_s`` is how long it waits for the next event; its default is 300 s. With
    ``websocket`` it uses one connection for all requests, if the server offers that.
    """

    base_url: str
    key: str
    home: Path
    protocol: str = "responses"
    idle_limit_s: float | None = None
    websocket: bool = False

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        settings = self.home / ".codex"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "config.toml").write_text(self._config(model), "utf-8")
        ended = await run(
            [
                program("@openai/codex-*/vendor/*/bin/codex"),
                *("exec", "--json", "--skip-git-repo-check"),
                "--dangerously-bypass-approvals-and-sandbox",
                *(["--image", str(image)] if image else []),
                *("--", prompt),
            ],
            environment=environment(self.home, {"POLYVOX_KEY": self.key}),
            cwd=cwd,
            timeout_s=timeout_s,
        )
        said = [
            line["item"]["text"]
            for line in json_lines(ended.stdout)
            if line["type"] == "item.completed" and line["item"]["type"] == "agent_message"
        ]
        return result(ended, "".join(said[-1:]))

    def _config(self, model: str) -> str:
        # A JSON string is also a valid TOML string.
        quoted = orjson.dumps(model).decode(), orjson.dumps(f"{self.base_url}/v1").decode()
        more = "supports_websockets = true\n" if self.websocket else ""
        if self.idle_limit_s is not None:
            more += f"stream_idle_timeout_ms = {int(self.idle_limit_s * 1000)}\n"
        return f"""\
model = {quoted[0]}
model_provider = "polyvox"
check_for_update_on_startup = false

[model_providers.polyvox]
name = "Polyvox"
base_url = {quoted[1]}
env_key = "POLYVOX_KEY"
wire_api = "responses"
{more}
[analytics]
enabled = false
"""
