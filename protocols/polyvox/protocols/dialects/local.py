"""Servers that run on the operator's own machines.

Ollama, LM Studio and SGLang are recognized by their usual port. vLLM and llama.cpp use ports that
many other programs use too (8000 and 8080): an operator names them in ``[providers.NAME.dialect]``.
"""

from typing import Final

from polyvox.protocols.dialects.dialect import PLAIN_FIELDS, Dialect, Server, Source

_READ: Final = "2026-11-28"
_TEMPLATES: Final = Source(
    ("instructions",), "https://github.com/BerriAI/litellm/issues/26879", _READ
)
"""The chat templates of the models decide about messages, whichever server applies them."""

_OLLAMA: Final = Server(
    Dialect(
        server="ollama",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {"frequency_penalty", "presence_penalty", "reasoning_effort", "seed"},
        text_parts=True,
        responses="functions",
    ),
    (":11434", "ollama.com"),
    (
        Source(
            ("accepts", "output_limit", "text_parts", "custom_tools"),
            "https://docs.ollama.com/api/openai-compatibility",
            _READ,
        ),
        Source(
            ("custom_tools", "responses"),
            "https://github.com/ollama/ollama/issues/17618",
            _READ,
        ),
        _TEMPLATES,
    ),
)

_LMSTUDIO: Final = Server(
    Dialect(
        server="lmstudio",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS | {"frequency_penalty", "logit_bias", "presence_penalty", "seed"},
        json_object=False,
        forced_choice="required",
    ),
    (":1234",),
    (
        Source(
            ("accepts", "output_limit"),
            "https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
            _READ,
        ),
        Source(
            ("json_object",),
            "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/189",
            _READ,
        ),
        Source(
            ("forced_choice",),
            "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/670",
            _READ,
        ),
        _TEMPLATES,
    ),
)

_VLLM: Final = Server(
    Dialect(
        server="vllm",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {
            *("frequency_penalty", "logit_bias", "logprobs", "parallel_tool_calls"),
            *("presence_penalty", "seed", "top_logprobs", "user"),
        },
        text_parts=True,
    ),
    (),
    (
        Source(
            ("accepts", "output_limit", "text_parts"),
            "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
            _READ,
        ),
        Source(("instructions",), "https://github.com/vllm-project/vllm/pull/46976", _READ),
    ),
)

_SGLANG: Final = Server(
    Dialect(
        server="sglang",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {*("frequency_penalty", "presence_penalty", "reasoning_effort", "seed", "user")},
        text_parts=True,
    ),
    (":30000",),
    (
        Source(
            ("accepts", "output_limit", "text_parts"),
            "https://docs.sglang.io/docs/basic_usage/openai_api_completions.md",
            _READ,
        ),
        _TEMPLATES,
    ),
)

_LLAMACPP: Final = Server(
    Dialect(
        server="llamacpp",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {*("frequency_penalty", "logit_bias", "parallel_tool_calls", "presence_penalty", "seed")},
        text_parts=True,
        responses="functions",
    ),
    (),
    (
        Source(
            ("accepts", "output_limit", "text_parts"),
            "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
            _READ,
        ),
        Source(
            ("custom_tools", "responses"),
            "https://github.com/openai/codex/issues/10635",
            _READ,
        ),
        Source(("instructions",), "https://github.com/ggml-org/llama.cpp/issues/20733", _READ),
    ),
)

LOCAL: Final = (_OLLAMA, _LMSTUDIO, _VLLM, _SGLANG, _LLAMACPP)
"""The local servers."""
