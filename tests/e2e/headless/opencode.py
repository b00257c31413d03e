"""OpenCode, which uses all three protocols, with a separate library for each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.e2e.headless.agent import MORE_CLIENTS, AgentResult, json_lines, program, result
from tests.e2e.headless.process import environment, run

_LIBRARIES = {
    "chat": "@ai-sdk/openai-compatible",
    "responses": "@ai-sdk/openai",
    "messages": "@ai-sdk/anthropic",
}


@dataclass(frozen=True, slots=True)
class OpenCode:
    """``base_url`` has no ``/v1``; ``home`` need not exist.

    ``idle_limit_s`` is how long it waits for the next bytes; its default is 300 s.
    """

    base_url: str
    key: str
    home: Path
    protocol: str
    idle_limit_s: float | None = None

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        settings = self.home / ".config" / "opencode"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "opencode.json").write_bytes(orjson.dumps(self._config(model)))
        ended = await run(
            [
                program("opencode-*/bin/opencode", MORE_CLIENTS),
                # With a title, it does not send a second request for one.
                *("run", "--format", "json", "--title", "matrix", "--model", f"polyvox/{model}"),
                *(["--file", str(image)] if image else []),
                *("--", prompt),
            ],
            environment=environment(
                self.home,
                {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
            ),
            cwd=cwd,
            timeout_s=timeout_s,
        )
        said = [line["part"]["text"] for line in json_lines(ended.stdout) if line["type"] == "text"]
        return result(ended, "".join(said[-1:]))

    def _config(self, model: str) -> dict[str, Any]:
        options: dict[str, Any] = {"baseURL": f"{self.base_url}/v1", "apiKey": self.key}
        if self.idle_limit_s is not None:
            limit = int(self.idle_limit_s * 1000)
            options |= {"headerTimeout": limit, "chunkTimeout": limit}
        declared = {
            "name": model,
            "attachment": True,
            "tool_call": True,
            "modalities": {"input": ["text", "image"], "output": ["text"]},
        }
        return {
            "autoupdate": False,
            "share": "disabled",
            "permission": "allow",
            "provider": {
                "polyvox": {
                    "npm": _LIBRARIES[self.protocol],
                    "name": "Polyvox",
                    "options": options,
                    "models": {model: declared},
                }
            },
        }
