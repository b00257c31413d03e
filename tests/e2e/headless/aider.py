"""aider, which uses Chat and Messages and edits files from the text of the answer."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.e2e.headless.agent import AgentResult, python, result
from tests.e2e.headless.process import environment, run

_PREFIXES = {"chat": "openai", "messages": "anthropic"}


@dataclass(frozen=True, slots=True)
class Aider:
    """``base_url`` has no ``/v1``; ``home`` need not exist.

    ``idle_limit_s`` is how long it waits for the next bytes; its default is 600 s. It exits
    with exit code 0 even if every request has failed.
    """

    base_url: str
    key: str
    home: Path
    protocol: str
    idle_limit_s: float | None = None

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        name = f"{_PREFIXES[self.protocol]}/{model}"
        self.home.mkdir(parents=True, exist_ok=True)
        models = self.home / "models.json"
        models.write_bytes(orjson.dumps({name: self._capabilities()}))
        ended = await run(
            [
                *(python("aider"), "-m", "aider", "--model", name, "--message", prompt),
                *("--model-metadata-file", str(models), "--no-show-model-warnings"),
                *("--yes-always", "--no-git", "--no-pretty", "--no-show-release-notes"),
                *("--no-check-update", "--analytics-disable", "--map-tokens", "0"),
                *(["--timeout", f"{self.idle_limit_s:g}"] if self.idle_limit_s else []),
                *([str(image)] if image else []),
            ],
            environment=environment(
                self.home,
                {
                    "OPENAI_API_BASE": f"{self.base_url}/v1",
                    "OPENAI_API_KEY": self.key,
                    "ANTHROPIC_BASE_URL": self.base_url,
                    "ANTHROPIC_API_KEY": self.key,
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                },
            ),
            cwd=cwd,
            timeout_s=timeout_s,
        )
        return result(ended, ended.stdout)

    def _capabilities(self) -> dict[str, object]:
        # It sends images only to models that it knows to accept them.
        return {
            "mode": "chat",
            "litellm_provider": _PREFIXES[self.protocol],
            "max_input_tokens": 100_000,
            "max_output_tokens": 8_000,
            "supports_vision": True,
        }
