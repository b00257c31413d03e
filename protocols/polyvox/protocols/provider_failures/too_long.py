"""Recognizes that a provider refused a request because its prompt is too long.

Each server says it in its own words, with status 400, 413, 422 or 500 or in a stream. Agents
shorten the conversation only if they recognize the error, so all wordings become one kind of error.

The tables name the server, the texts that all occur in its message (in lower case), the source and
its date: of the issue, or on which a page was read. Vendors document few error messages.
"""

import re
from dataclasses import dataclass
from typing import Final

_ISSUES = "https://github.com/"


@dataclass(frozen=True, slots=True)
class Wording:
    """Texts by which ``server`` reports one thing, and where and when they were published."""

    server: str
    words: tuple[str, ...]
    source: str
    date: str

    def is_in(self, message: str) -> bool:
        """Return whether all texts occur in ``message``, which is in lower case."""
        return all(word in message for word in self.words)


def _rows(*rows: tuple[str, tuple[str, ...], str, str]) -> tuple[Wording, ...]:
    """Return the wordings of a table; a source without ``https:`` is an issue on GitHub."""
    return tuple(
        Wording(server, words, source if source.startswith("https:") else _ISSUES + source, date)
        for server, words, source, date in rows
    )


_OVERFLOW_TS = "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts"
_KIMI = "https://www.kimi.com/code/docs/en/kimi-code/error-reference.html"
_LENGTH = "maximum context length"

TOO_LONG: Final = _rows(
    ("Anthropic", ("prompt is too long",), "anthropics/claude-code/issues/11281", "2025-11-09"),
    ("Anthropic", ("exceed context limit",), "continuedev/continue/issues/6080", "2025-06-11"),
    ("OpenAI Chat", (_LENGTH,), "AsyncFuncAI/deepwiki-open/issues/144", "2025-05-27"),
    ("OpenAI", ("exceeds the context window",), "openai/codex/issues/20866", "2026-05-03"),
    (
        "Azure OpenAI",
        ("input tokens exceed the configured limit",),
        "BerriAI/litellm/issues/15968",
        "2025-10-27",
    ),
    ("DeepSeek", (_LENGTH,), "esengine/DeepSeek-Reasonix/issues/8004", "2026-08-08"),
    ("OpenRouter", (_LENGTH,), "QwenLM/qwen-code/issues/5950", "2026-06-28"),
    ("NVIDIA NIM", (_LENGTH,), "Alishahryar1/free-claude-code/issues/391", "2026-05-08"),
    ("vLLM", (_LENGTH,), "0xku/kon/issues/91", "2026-06-16"),
    ("vLLM", ("too long to fit into the model",), "vllm-project/vllm/issues/12165", "2025-01-17"),
    (
        "vLLM",
        ("prompt", "longer than the maximum model length"),
        "unslothai/unsloth/issues/2666",
        "2025-06-01",
    ),
    ("SGLang", (_LENGTH,), "anomalyco/opencode/pull/25230", "2026-05-01"),
    (
        "SGLang, Together",
        ("longer than the model's context length",),
        "getkimchi/kimchi/issues/794",
        "2026-07-05",
    ),
    ("Poolside", (_LENGTH,), "earendil-works/pi/issues/5677", "2026-06-12"),
    (
        "Poolside",
        ("exceeds the maximum allowed input length",),
        "earendil-works/pi/issues/4943",
        "2026-05-24",
    ),
    (
        "GitHub Copilot",
        ("prompt token count", "exceeds the limit"),
        "microsoft/copilot-intellij-feedback/issues/94",
        "2025-04-14",
    ),
    (
        "GitHub Models",
        ("request body too large", "max size", "tokens"),
        "cline/cline/issues/995",
        "2024-12-22",
    ),
    (
        "Gemini",
        ("input token count", "exceeds the maximum number of tokens"),
        "google-gemini/gemini-cli/issues/14766",
        "2025-12-09",
    ),
    (
        "Vertex AI",
        ("input token count", "only supports up to"),
        "google-gemini/gemini-cli/issues/19727",
        "2026-02-20",
    ),
    (
        "Amazon Bedrock",
        ("input is too long for requested model",),
        "anthropics/claude-code/issues/760",
        "2025-04-10",
    ),
    ("xAI", ("maximum prompt length",), "cline/cline/issues/3120", "2025-04-25"),
    (
        "Groq",
        ("reduce the length of the messages",),
        "thepersonalaicompany/amurex-backend/issues/51",
        "2025-03-04",
    ),
    ("Cerebras", ("reduce the length of the messages",), "cline/cline/issues/5140", "2025-07-24"),
    ("Mistral", ("too large for model with", _LENGTH), _OVERFLOW_TS, "2026-11-28"),
    ("Kimi", ("exceeded model token limit",), "MoonshotAI/kimi-code/pull/207", "2026-05-29"),
    (
        "Kimi",
        ("input token length too long",),
        "https://platform.kimi.ai/docs/api/errors.md",
        "2026-11-28",
    ),
    ("Kimi", ("total message size", "exceeds limit"), _KIMI, "2026-11-28"),
    ("DashScope", ("range of input length",), "QwenLM/qwen-code/issues/98", "2025-07-24"),
    (
        "MiniMax",
        ("context window exceeds limit",),
        "MiniMax-AI/MiniMax-M2/issues/119",
        "2026-05-04",
    ),
    (
        "Z.ai",
        ("prompt exceeds max length",),
        "mangowhoiscloud/geode/pull/668",
        "2026-04-05",
    ),
    (
        "Z.ai",
        ("tokens in request more than max tokens allowed",),
        "NousResearch/hermes-agent/pull/61728",
        "2026-07-10",
    ),
    ("Z.ai", ("prompt too long",), "earendil-works/pi/issues/9805", "2026-09-20"),
    ("Zhipu", ("prompt 超长",), "open-octo/octo-agent/pull/2124", "2026-08-14"),
    ("Ollama", ("prompt too long",), _OVERFLOW_TS, "2026-11-28"),
    (
        "Ollama",
        ("input length exceeds", "context length"),
        "nano-step/nano-brain/issues/208",
        "2026-05-30",
    ),
    (
        "LM Studio",
        ("loaded with context length of only",),
        "lmstudio-ai/lmstudio-bug-tracker/issues/546",
        "2025-03-24",
    ),
    (
        "LM Studio",
        ("initial prompt is greater than the context length",),
        "anomalyco/opencode/issues/2259",
        "2025-08-26",
    ),
    (
        "LM Studio",
        ("context size has been exceeded",),
        "lmstudio-ai/lmstudio-bug-tracker/issues/2339",
        "2026-08-30",
    ),
    (
        "llama.cpp",
        ("exceeds the available context size",),
        "ggml-org/llama.cpp/pull/15780",
        "2025-09-03",
    ),
    (
        "llama-cpp-python",
        ("requested tokens", "exceed context window"),
        "rllm-team/rllm/issues/55",
        "2024-08-11",
    ),
    (
        "GPT4All",
        ("prompt size exceeds the context window",),
        "nomic-ai/gpt4all/issues/664",
        "2023-11-09",
    ),
    ("oMLX", ("prompt too long",), "ValueCell-ai/ClawX/issues/658", "2026-03-24"),
    ("mlx-serve", (_LENGTH,), "ddalcu/mlx-serve/issues/66", "2026-07-09"),
    (
        "TensorRT-LLM",
        ("prompt length", "exceeds maximum"),
        "triton-inference-server/tensorrtllm_backend/issues/141",
        "2023-11-17",
    ),
    (
        "Text Generation Inference",
        ("`inputs` tokens + `max_new_tokens` must be",),
        "huggingface/chat-ui/issues/340",
        "2023-07-11",
    ),
    (
        "Text Generation Inference",
        ("`inputs` must have less than", "tokens"),
        "meta-llama/llama/issues/1103",
        "2024-04-18",
    ),
    (
        "Cohere",
        ("too many tokens: total number of tokens",),
        "cohere-ai/sandbox-topically/issues/4",
        "2022-11-21",
    ),
    ("Fireworks", ("model maximum context length",), "fw-ai/cookbook/issues/134", "2025-08-06"),
    (
        "behind Open WebUI",
        ("model max length exceeded",),
        "open-webui/open-webui/issues/1141",
        "2024-03-12",
    ),
    ("LiteLLM", ("contextwindowexceedederror",), "BerriAI/litellm/issues/7259", "2024-12-16"),
    ("LiteLLM", ("context window exceeded",), "anomalyco/opencode/pull/44889", "2026-08-25"),
    ("gateways", ("context_length_exceeded",), "zed-industries/zed/issues/61373", "2026-07-21"),
    # Common parts of the wordings above, for servers that are not listed.
    ("others", ("exceed", "context window"), _OVERFLOW_TS, "2026-11-28"),
    ("others", ("exceed", "context length"), _OVERFLOW_TS, "2026-11-28"),
    ("others", ("exceed", "context size"), _OVERFLOW_TS, "2026-11-28"),
    ("others", ("exceed", "context limit"), _OVERFLOW_TS, "2026-11-28"),
    ("others", ("input is too long",), _OVERFLOW_TS, "2026-11-28"),
)

CODES: Final = frozenset(
    {
        "context_length_exceeded",  # OpenAI: openai/codex/issues/20866, 2026-05-03
        "model_max_prompt_tokens_exceeded",  # Copilot: ericc-ch/copilot-api/issues/65, 2025-07-20
        "exceed_context_size_error",  # llama.cpp (a type): ggml-org/llama.cpp/pull/15780, 2025-09
        "tokens_limit_reached",  # GitHub Models: eslint/tsc-meetings/pull/593, 2025-07-03
        "1261",  # Z.ai: earendil-works/pi/issues/9805, 2026-09-20
    }
)
"""Codes and types that mean it, whatever the message says."""

RATES: Final = _rows(
    ("Groq", ("per minute",), "openclaw/openclaw/issues/147644", "2026-09-14"),
    ("OpenAI", ("tokens per min",), "vanna-ai/vanna-flask/issues/11", "2024-06-13"),
    ("Anthropic", ("rate limit",), "OpenHands/OpenHands/issues/9259", "2025-06-20"),
    ("any", ("too many requests",), _OVERFLOW_TS, "2026-11-28"),
    (
        "Amazon Bedrock",
        ("please wait before trying again",),
        "anomalyco/opencode/pull/39621",
        "2026-07-30",
    ),
)
"""Wordings about a limit of requests or tokens per time."""

NOT_THE_PROMPT: Final = _rows(
    ("Gemini", ("quota",), "google-gemini/gemini-cli/issues/4442", "2025-07-18"),
    (
        "Anthropic",
        ("maximum allowed number of output tokens",),
        "earendil-works/pi/issues/4390",
        "2026-05-11",
    ),
    (
        "OpenAI",
        ("supports at most", "completion tokens"),
        "tailcallhq/forgecode/issues/1185",
        "2025-07-22",
    ),
    (
        "Groq",
        ("max_tokens", "must be less than or equal to"),
        "RooCodeInc/Roo-Code/issues/5729",
        "2025-07-15",
    ),
    ("DeepSeek", ("range of max_tokens",), "MoonshotAI/kimi-code/issues/1055", "2026-06-24"),
    ("DashScope", ("range of max_tokens",), "anomalyco/opencode/issues/40770", "2026-08-05"),
    ("Volcengine", ("parameter max_tokens",), "yiliqi78/TOKENICODE/issues/3", "2026-03-02"),
    ("Vertex AI", ("maxoutputtokens",), "stackblitz-labs/bolt.diy/issues/955", "2024-12-31"),
    (
        "Text Generation Inference",
        ("error: `max_new_tokens` must be",),
        "huggingface/transformers/issues/28523",
        "2024-01-16",
    ),
    ("OpenAI", ("string too long",), "home-assistant/core/issues/121325", "2024-07-05"),
)
"""Wordings about a quota, the length of the answer, or the length of one value.

Like those of ``RATES`` they share words with ``TOO_LONG``, but a shorter conversation does not
help.
"""

_LIMITS_OF_ANSWERS = ("max_tokens", "max_completion_tokens", "max_output_tokens")

_WINDOW = re.compile(r"maximum context length is (\d{1,9})")
_ANSWER = re.compile(
    r"(\d{1,9}) (?:in the (?:completion|output)|output tokens|tokens for the completion)"
    r"|is too large: (\d{1,9})"
)


def is_too_long(message: str, *codes: str) -> bool:
    """Return whether ``message`` or one of ``codes`` reports that the prompt is too long.

    Some messages also name the requested length of the answer. If the answer alone fills the
    context, the error is not about the prompt: a shorter conversation would be refused as well.
    """
    if not CODES.isdisjoint(codes):
        return True
    lower = message.lower()
    if any(wording.is_in(lower) for wording in (*RATES, *NOT_THE_PROMPT)):
        return False
    return any(wording.is_in(lower) for wording in TOO_LONG) and not _is_about_the_answer(lower)


def is_about_a_rate(message: str) -> bool:
    """Return whether ``message`` reports a limit of requests or tokens per time."""
    lower = message.lower()
    return any(wording.is_in(lower) for wording in RATES)


def _is_about_the_answer(message: str) -> bool:
    window, answer = _WINDOW.search(message), _ANSWER.search(message)
    if window is None or answer is None:
        return message.lstrip("'\"` ").startswith(_LIMITS_OF_ANSWERS)
    return int(answer[1] or answer[2]) >= int(window[1])
