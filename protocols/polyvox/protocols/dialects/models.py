"""Facts that come with a family of models, whatever server runs them."""

from dataclasses import replace
from typing import Final

from polyvox.protocols.dialects.dialect import Dialect

_MISTRAL: Final = (
    *("mistral", "mixtral", "devstral", "magistral", "ministral", "codestral", "pixtral"),
    "voxtral",
)


def for_model(dialect: Dialect, model: str) -> Dialect:
    """Return ``dialect`` as the server behaves for ``model`` (the provider's own name for it).

    DeepSeek's and Kimi's models refuse a history without thoughts, also behind servers of others
    (https://github.com/esengine/DeepSeek-Reasonix/pull/10084 and
    https://github.com/moltis-org/moltis/pull/304); Moonshot's older models do not think. The
    templates of Mistral's models refuse a user message after tool results and other call ids than
    their own (https://github.com/NousResearch/hermes-agent/issues/20154 and
    https://github.com/ml-explore/mlx-lm/issues/1375). All read 2026-11-28.
    """
    name = model.lower()
    if any(family in name for family in _MISTRAL):
        dialect = replace(dialect, call_ids="nine_characters", reply_after_results=True)
    if dialect.thoughts == "refused":
        return dialect
    if "moonshot-v1" in name:
        return replace(dialect, thoughts="optional")
    if "deepseek" in name:
        return replace(dialect, thoughts="always")
    if "kimi" in name and dialect.thoughts != "always":
        return replace(dialect, thoughts="with_calls")
    return dialect
