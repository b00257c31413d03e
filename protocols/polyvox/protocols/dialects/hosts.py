"""The servers of hosts that serve the models of several vendors."""

from typing import Final

from polyvox.protocols.dialects.dialect import PLAIN_FIELDS, Dialect, Server, Source

_READ: Final = "2026-11-28"
_PI: Final = (
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/api/openai-completions.ts"
)

_OPENROUTER: Final = Server(
    Dialect(
        server="openrouter",
        output_limit="max_tokens",
        accepts=PLAIN_FIELDS
        | {
            *("frequency_penalty", "logit_bias", "logprobs", "metadata", "modalities"),
            *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
            *("reasoning_effort", "seed", "service_tier", "top_logprobs", "user", "verbosity"),
            "web_search_options",
        },
    ),
    ("openrouter.ai",),
    (
        Source(("accepts",), "https://openrouter.ai/docs/api_reference/parameters", _READ),
        Source(
            ("accepts", "output_limit"),
            "https://www.openrouter.ai/docs/agent-sdk/typescript/api-reference/models/chatrequest",
            _READ,
        ),
        Source(
            ("accepts",),
            "https://github.com/OpenRouterTeam/python-sdk/blob/main/docs/components/chatrequest.mdx",
            _READ,
        ),
        Source(("developer",), _PI, _READ),
    ),
)

_GROQ: Final = Server(
    Dialect(
        server="groq",
        output_limit="max_completion_tokens",
        accepts=PLAIN_FIELDS | {"parallel_tool_calls", "seed", "user"},
        refuses=frozenset(
            (
                *("logit_bias", "logprobs", "prompt_cache_key", "reasoning", "store"),
                "top_logprobs",
            )
        ),
        thoughts="refused",
        message_names=False,
        strict_messages=True,
    ),
    ("api.groq.com",),
    (
        Source(("refuses", "message_names"), "https://console.groq.com/docs/openai", _READ),
        Source(("accepts", "output_limit"), "https://console.groq.com/docs/api-reference", _READ),
        Source(("refuses",), "https://github.com/eigent-ai/eigent/issues/1827", _READ),
        Source(("refuses",), "https://github.com/fanenr/chatbot/issues/21", _READ),
        Source(("refuses",), "https://github.com/musistudio/llms/pull/64", _READ),
        Source(("thoughts",), "https://github.com/janhq/jan/issues/8136", _READ),
        Source(
            ("strict_messages",), "https://github.com/run-llama/llama_index/issues/14701", _READ
        ),
        Source(("strict_messages",), "https://github.com/ServiceStack/llms/issues/17", _READ),
    ),
)

_CEREBRAS: Final = Server(
    Dialect(
        server="cerebras",
        output_limit="max_completion_tokens",
        accepts=PLAIN_FIELDS | {"seed"},
        refuses=frozenset(
            (
                *("frequency_penalty", "logit_bias", "parallel_tool_calls", "presence_penalty"),
                *("prompt_cache_key", "service_tier", "store", "verbosity"),
            )
        ),
    ),
    ("api.cerebras.ai",),
    (
        Source(
            ("accepts", "output_limit"),
            "https://pipedream.com/apps/cerebras/actions/create-chat-completion.md",
            _READ,
        ),
        Source(("refuses",), "https://hexdocs.pm/req_llm/cerebras.html", _READ),
        Source(
            ("refuses",),
            "https://docs.getbifrost.ai/providers/supported-providers/cerebras",
            _READ,
        ),
    ),
)


def _max_tokens(name: str, *hosts: str) -> Server:
    """Return a server of which only the field of the output limit was found."""
    dialect = Dialect(server=name, output_limit="max_tokens")
    return Server(dialect, hosts, (Source(("output_limit",), _PI, _READ),))


HOSTS: Final = (
    _OPENROUTER,
    _GROQ,
    _CEREBRAS,
    _max_tokens("together", "api.together.xyz", "api.together.ai"),
    _max_tokens("nvidia", "integrate.api.nvidia.com"),
    _max_tokens("chutes", "llm.chutes.ai"),
    _max_tokens("cloudflare", "gateway.ai.cloudflare.com"),
)
"""The hosts, of which the plain form is sent where nothing else is documented."""
