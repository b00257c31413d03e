"""The servers of the vendors of models. ``servers.py`` joins them with the others."""

from typing import Final

from polyvox.protocols.dialects.dialect import (
    OPENAI_FIELDS,
    PLAIN_FIELDS,
    Dialect,
    Server,
    Source,
)

_READ: Final = "2026-11-28"

_OPENAI: Final = Server(
    Dialect(
        server="openai",
        output_limit="max_completion_tokens",
        accepts=OPENAI_FIELDS,
        strict_tools=True,
        custom_tools=True,
        instructions="anywhere",
        developer=True,
        alternate=False,
        longest_call_id=40,
        text_parts=True,
    ),
    ("api.openai.com",),
    (
        Source(
            (
                *("output_limit", "accepts", "strict_tools", "custom_tools", "developer"),
                *("instructions", "alternate", "text_parts"),
            ),
            "https://docs.rs/crate/openai-client-base/0.13.0/source/docs/CreateChatCompletionRequest.md",
            _READ,
        ),
        Source(("longest_call_id",), "https://github.com/vercel/ai/issues/5171", _READ),
    ),
)

_AZURE: Final = Server(
    Dialect(
        server="azure",
        output_limit="max_completion_tokens",
        accepts=OPENAI_FIELDS,
        strict_tools=True,
        custom_tools=True,
        instructions="anywhere",
        developer=True,
        alternate=False,
        longest_call_id=40,
        text_parts=True,
    ),
    ("openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"),
    (
        Source(
            (
                *("output_limit", "accepts", "strict_tools", "custom_tools", "developer"),
                *("instructions", "alternate", "text_parts"),
            ),
            "https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/reasoning",
            _READ,
        ),
        Source(("longest_call_id",), "https://github.com/Portkey-AI/gateway/issues/1062", _READ),
    ),
)

_ANTHROPIC: Final = Server(
    Dialect(
        server="anthropic",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS | {"parallel_tool_calls"},
        text_parts=True,
        adaptive_thinking=True,
    ),
    ("api.anthropic.com",),
    (
        Source(
            ("adaptive_thinking",),
            "https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking",
            _READ,
        ),
        Source(
            ("output_limit", "accepts", "instructions", "text_parts"),
            "https://platform.claude.com/docs/en/api/openai-sdk",
            _READ,
        ),
    ),
)

_MISTRAL_FIELDS: Final = PLAIN_FIELDS | {
    *("frequency_penalty", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
}

_MISTRAL: Final = Server(
    Dialect(
        server="mistral",
        output_limit="max_tokens",
        accepts=_MISTRAL_FIELDS - {"stream_options"},
        refuses=OPENAI_FIELDS - _MISTRAL_FIELDS - {"metadata", "reasoning_effort"},
        reply_after_results=True,
        final_reply=False,
        call_ids="nine_characters",
        thoughts="refused",
        text_parts=True,
        message_names=False,
        strict_messages=True,
    ),
    ("api.mistral.ai", "codestral.mistral.ai"),
    (
        Source(
            ("accepts", "output_limit"),
            "https://docs.rs/crate/mistral-openapi-client/latest/source/docs/ChatCompletionRequest.md",
            _READ,
        ),
        Source(("text_parts",), "https://github.com/onyx-dot-app/onyx/issues/6458", _READ),
        Source(
            ("output_limit", "refuses"),
            "https://github.com/Gitlawb/openclaude/issues/739",
            _READ,
        ),
        Source(
            ("refuses", "instructions"),
            "https://www.librechat.ai/fr/docs/configuration/librechat_yaml/ai_endpoints/mistral",
            _READ,
        ),
        Source(("thoughts",), "https://github.com/charmbracelet/crush/issues/1590", _READ),
        Source(("reply_after_results",), "https://github.com/BerriAI/litellm/issues/17761", _READ),
        Source(("final_reply",), "https://github.com/huggingface/smolagents/issues/757", _READ),
        Source(
            ("final_reply",), "https://portkey.ai/error-library/response-role-error-10573", _READ
        ),
        Source(("call_ids",), "https://github.com/anomalyco/opencode/issues/1680", _READ),
        Source(
            ("message_names", "strict_messages"),
            "https://github.com/nomtek/mistralai_client_dart/issues/44",
            _READ,
        ),
        Source(("strict_messages",), "https://github.com/BerriAI/litellm/issues/30882", _READ),
    ),
)

_DEEPSEEK: Final = Server(
    Dialect(
        server="deepseek",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS | {"logprobs", "reasoning_effort", "top_logprobs"},
        effort_as="thinking",
        json_schema=False,
        forced_choice="without_thinking",
        thoughts="always",
        responses="functions",
    ),
    ("api.deepseek.com",),
    (
        Source(
            ("accepts", "output_limit"),
            "https://docs.rs/deepseek-sdk/latest/deepseek_sdk/chat/request/struct.ChatRequest.html",
            _READ,
        ),
        Source(
            ("json_schema",),
            "https://docs.camel-ai.org/reference/camel.configs.deepseek_config",
            _READ,
        ),
        Source(("effort_as",), "https://api-docs.deepseek.com/guides/thinking_mode", _READ),
        Source(("forced_choice",), "https://github.com/BerriAI/litellm/pull/37470", _READ),
        Source(("thoughts",), "https://github.com/NousResearch/hermes-agent/pull/18263", _READ),
        Source(("thoughts",), "https://github.com/esengine/DeepSeek-Reasonix/pull/10084", _READ),
        Source(("developer",), "https://github.com/earendil-works/pi/issues/1048", _READ),
        Source(("responses",), "https://github.com/EKKOLearnAI/hermes-studio/issues/1926", _READ),
        Source(("responses",), "https://github.com/vm0-ai/vm0/issues/28274", _READ),
        Source(("custom_tools",), "https://github.com/Oaklight/llm-rosetta/pull/486", _READ),
    ),
)

_GEMINI: Final = Server(
    Dialect(
        server="gemini",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS | {"parallel_tool_calls", "reasoning_effort"},
        refuses=frozenset(
            (
                *("frequency_penalty", "metadata", "prompt_cache_key", "reasoning", "seed"),
                *("store", "top_k"),
            )
        ),
        efforts=("low", "medium", "high"),
        signatures=True,
    ),
    ("generativelanguage.googleapis.com",),
    (
        Source(
            ("output_limit", "efforts", "accepts"),
            "https://ai.google.dev/gemini-api/docs/openai",
            _READ,
        ),
        Source(("refuses",), "https://github.com/leookun/cursor-byok/issues/112", _READ),
        Source(("refuses",), "https://github.com/ed-donner/agents/issues/45", _READ),
        Source(("refuses",), "https://github.com/n4ze3m/page-assist/issues/418", _READ),
        Source(("refuses",), "https://github.com/Vali-98/ChatterUI/issues/227", _READ),
        Source(("refuses",), "https://github.com/MinLL/SkyrimNet-GamePlugin/issues/77", _READ),
        Source(("efforts",), "https://github.com/versun/RSSBox/issues/132", _READ),
        Source(("accepts",), "https://github.com/jackmpcollins/magentic/pull/382", _READ),
        Source(
            ("signatures",),
            "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures",
            _READ,
        ),
        Source(("signatures",), "https://github.com/jeremychone/rust-genai/pull/115", _READ),
        Source(("signatures",), "https://github.com/crmne/ruby_llm/pull/588", _READ),
    ),
)

_XAI: Final = Server(
    Dialect(
        server="xai",
        output_limit="max_completion_tokens",
        accepts=(PLAIN_FIELDS - {"stop"}) | {"reasoning_effort"},
        refuses=frozenset(("frequency_penalty", "presence_penalty", "stop")),
        stops=0,
        efforts=("low", "medium", "high"),
    ),
    ("api.x.ai",),
    (
        Source(
            ("output_limit",),
            "https://preview.hex.pm/preview/req_llm/show/guides/providers/xai.md",
            _READ,
        ),
        Source(
            ("accepts", "efforts"),
            "https://docs.x.ai/developers/model-capabilities/text/best-practices",
            _READ,
        ),
        Source(("refuses", "stops"), "https://github.com/BerriAI/litellm/issues/12635", _READ),
        Source(("refuses",), "https://github.com/miaoxworld/NativeTavern/issues/83", _READ),
    ),
)

_MOONSHOT: Final = Server(
    Dialect(
        server="moonshot",
        output_limit="max_tokens",
        # Its newer models answer 400 to any other sampling than their own.
        accepts=PLAIN_FIELDS - {"temperature", "top_p"},
        effort_as="thinking",
        efforts=(),
        forced_choice="refused",
        thoughts="with_calls",
    ),
    ("api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"),
    (
        Source(
            ("accepts", "output_limit"),
            "https://platform.kimi.ai/docs/api/chat",
            _READ,
        ),
        Source(
            ("effort_as", "efforts", "thoughts"),
            "https://platform.moonshot.cn/docs/guide/use-kimi-k2-thinking-model",
            _READ,
        ),
        Source(("forced_choice",), "https://github.com/can1357/oh-my-pi/issues/1077", _READ),
        Source(
            ("accepts", "forced_choice"),
            "https://www.studynil.com/ai/llm/kimi/api/chat.html",
            _READ,
        ),
        Source(("thoughts",), "https://github.com/openclaw/openclaw/pull/59689", _READ),
    ),
)

_ZAI: Final = Server(
    Dialect(
        server="zai",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS - {"stream_options"},
        stops=1,
        hottest=1.0,
        effort_as="thinking",
        efforts=(),
        json_schema=False,
        forced_choice="refused",
    ),
    ("api.z.ai", "open.bigmodel.cn"),
    (
        Source(
            ("accepts", "stops", "effort_as", "efforts", "json_schema", "forced_choice"),
            "https://docs.z.ai/api-reference/llm/chat-completion",
            _READ,
        ),
        Source(("hottest",), "https://github.com/theopenco/llmgateway/pull/3268", _READ),
        Source(
            ("output_limit", "strict_tools", "forced_choice"),
            "https://java.agentscope.io/v2/en/integration/model/glm",
            _READ,
        ),
    ),
)

_ALIBABA: Final = Server(
    Dialect(
        server="alibaba",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {
            *("frequency_penalty", "logprobs", "parallel_tool_calls", "presence_penalty"),
            "top_logprobs",
        },
        effort_as="enable_thinking",
        efforts=(),
        forced_choice="without_thinking",
    ),
    ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
    (
        Source(
            ("accepts", "output_limit", "effort_as", "efforts"),
            "https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions",
            _READ,
        ),
        Source(("forced_choice",), "https://github.com/cloudwego/eino/issues/994", _READ),
        Source(("instructions",), "https://github.com/BerriAI/litellm/issues/26879", _READ),
    ),
)

_MINIMAX: Final = Server(
    Dialect(server="minimax", output_limit="max_completion_tokens"),
    ("api.minimax.io", "api.minimaxi.com"),
    (
        Source(
            ("output_limit",),
            "https://java.agentscope.io/v2/en/integration/model/minimax",
            _READ,
        ),
    ),
)

VENDORS: Final = (
    _OPENAI,
    _AZURE,
    _ANTHROPIC,
    _MISTRAL,
    _DEEPSEEK,
    _GEMINI,
    _XAI,
    _MOONSHOT,
    _ZAI,
    _ALIBABA,
    _MINIMAX,
)
"""The servers of the vendors."""
