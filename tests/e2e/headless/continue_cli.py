"""The Continue CLI (cn), which uses Chat and Messages, and Responses for some model names."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.e2e.headless.agent import MORE_CLIENTS, AgentResult, program, result
from tests.e2e.headless.process import environment, run

_PROVIDERS = {"chat": "openai", "responses": "openai", "messages": "anthropic"}


@dataclass(frozen=True, slots=True)
class ContinueCli:
    """``base_url`` has no ``/v1``; ``home`` need not exist. Its idle timeout cannot be changed.

    It uses Responses only for models whose names begin with ``gpt-5`` or ``o`` and a digit, Chat
    for all others.
    """

    base_url: str
    key: str
    home: Path
    protocol: str

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        if image is not None:
            raise NotImplementedError("The Continue CLI takes no image with a prompt.")
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "config.yaml"
        config.write_bytes(self._config(model))
        ended = await run(
            [
                program("node-*/bin/node", MORE_CLIENTS),
                program("@continuedev/cli/dist/cn.js", MORE_CLIENTS),
                *("-p", "--config", str(config), "--auto", prompt),
            ],
            environment=environment(self.home, {"CONTINUE_TELEMETRY_ENABLED": "0"}),
            cwd=cwd,
            timeout_s=timeout_s,
        )
        return result(ended, ended.stdout.strip())

    def _config(self, model: str) -> bytes:
        # JSON is also valid YAML. The base URL must end in a slash.
        declared = {
            "name": "polyvox",
            "provider": _PROVIDERS[self.protocol],
            "model": model,
            "apiBase": f"{self.base_url}/v1/",
            "apiKey": self.key,
            "roles": ["chat"],
            "capabilities": ["tool_use"],
        }
        return orjson.dumps(
            {"name": "matrix", "version": "0.0.1", "schema": "v1", "models": [declared]}
        )
