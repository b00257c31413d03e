"""Cline, which uses all three protocols, each under a separate provider name."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.e2e.headless.agent import MORE_CLIENTS, AgentResult, json_lines, program, result
from tests.e2e.headless.process import environment, run

_PROVIDERS = {
    "chat": "openai-compatible",
    "responses": "openai-native",
    "messages": "anthropic",
}


@dataclass(frozen=True, slots=True)
class Cline:
    """``base_url`` has no ``/v1``; ``home`` need not exist. Its idle timeout cannot be changed."""

    base_url: str
    key: str
    home: Path
    protocol: str

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        provider = _PROVIDERS[self.protocol]
        settings = self.home / ".cline" / "data" / "settings"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "providers.json").write_bytes(self._config(provider, model))
        ended = await run(
            [
                program("@cline/cli-*/bin/cline", MORE_CLIENTS),
                *("--json", "-P", provider, "-m", model, "--auto-approve", "true", "-c", str(cwd)),
                f"{prompt} @{image}" if image else prompt,
            ],
            environment=environment(
                self.home,
                # The session runs in this process, not in a daemon that all sessions share.
                {"CLINE_NO_AUTO_UPDATE": "1", "CLINE_SESSION_BACKEND_MODE": "local"},
            ),
            cwd=cwd,
            timeout_s=timeout_s,
        )
        said = [
            line["text"]
            for line in json_lines(ended.stdout)
            if line["type"] == "run_result" and line["finishReason"] == "completed"
        ]
        return result(ended, "".join(said[-1:]))

    def _config(self, provider: str, model: str) -> bytes:
        settings = {
            "provider": provider,
            "apiKey": self.key,
            "model": model,
            "baseUrl": f"{self.base_url}/v1",
        }
        declared = {
            "settings": settings,
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "tokenSource": "manual",
        }
        return orjson.dumps(
            {"version": 1, "lastUsedProvider": provider, "providers": {provider: declared}}
        )
