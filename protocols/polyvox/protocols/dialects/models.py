"""Facts that come with a family of models, whatever server runs them."""

from dataclasses import replace
from typing import Final

from polyvox.protocols.dialects.claude import continues_reply
from polyvox.protocols.dialects.dialect import Dialect, changed

_MISTRAL: Final = (
    *("mistral", "mixtral", "devstral", "magistral", "ministral", "codestral", "pixtral"),
    "voxtral",
)

_NO_EFFORT: Final = (
    *("grok-2", "grok-4-0", "grok-4-1", "grok-4.1", "grok-4-fast", "grok-4.20-0"),
    *("grok-code", "grok-build", "grok-composer"),
)

_UNSIGNED: Final = ("gemini-1", "gemini-2")


def for_model(dialect: Dialect, model: str) -> Dialect:
    """Return ``dialect`` as the server behaves for ``model`` (the provider's own name for it).

    DeepSeek's and Kimi's models refuse a history without thoughts, also behind servers of others
    (https://github.com/esengine/DeepSeek-Reasonix/pull/10084 and
    https://github.com/moltis-org/moltis/pull/304); Moonshot's older models do not think. The
    templates of Mistral's models refuse a user message after tool results and other call ids than
    their own (https://github.com/NousResearch/hermes-agent/issues/20154 and
    https://github.com/ml-explore/mlx-lm/issues/1375). Gemini refuses calls without a signature from
    version 3 on (https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures).
    xAI's models think, but some refuse an effort (https://github.com/NousResearch/hermes-agent/pull/23435
    and https://github.com/router-for-me/CLIProxyAPI/pull/3968). All read 2026-11-28.
    """
    name = model.lower()
    if dialect.server == "xai" and _refuses_effort(name):
        dialect = changed(dialect, {"refuses": ["reasoning_effort"], "efforts": []})
    if dialect.signatures and ("gemini" not in name or any(old in name for old in _UNSIGNED)):
        dialect = replace(dialect, signatures=False)
    if any(family in name for family in _MISTRAL):
        dialect = replace(dialect, call_ids="nine_characters", reply_after_results=True)
    if not continues_reply(name):
        dialect = replace(dialect, final_reply=False)
    if dialect.thoughts == "refused":
        return dialect
    if "moonshot-v1" in name:
        return replace(dialect, thoughts="optional")
    if "deepseek" in name:
        return replace(dialect, thoughts="always")
    if "kimi" in name and dialect.thoughts != "always":
        return replace(dialect, thoughts="with_calls")
    return dialect


def _refuses_effort(name: str) -> bool:
    older = "grok-3" in name and "mini" not in name
    return older or any(family in name for family in _NO_EFFORT)
