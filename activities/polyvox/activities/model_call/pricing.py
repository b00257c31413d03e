"""The cost of a call in US dollars: the tokens counted by the provider at the provider's prices.

The operator's prices (``[providers.NAME.prices]``) take precedence over those of genai-prices, a
package with a table of list prices, which is searched by the provider's address and not by its
name in polyvox.toml. The table is as old as the installed package; nothing is fetched. Without a
known price, or if the provider reported no tokens, the cost is unknown: None, which is not zero.
"""

from datetime import UTC, datetime

import genai_prices

from polyvox.activities.model_call.provider import EVERY_MODEL, Price, Provider
from polyvox.workflows.reply import Reply, Usage

_MILLION = 1_000_000


def knows_price(provider: Provider, model: str) -> bool:
    """Return whether the price of the model is known."""
    return cost_of(provider, model, Usage(0, 0, 0, 0, 0)) is not None


def cost_of_reply(provider: Provider, model: str, reply: Reply) -> float | None:
    """Return the cost of a reply; the model name in it is used if ``model`` has no known price."""
    return cost_of(provider, model, reply.usage, answered_as=reply.model, tier=_tier(reply))


def cost_of(
    provider: Provider, model: str, usage: Usage, *, answered_as: str = "", tier: str = ""
) -> float | None:
    """Return the cost of ``usage``, None if the price or the tokens are unknown."""
    if usage.input is None or usage.output is None:
        return None
    own = provider.prices.get(model) or provider.prices.get(EVERY_MODEL)
    if own is not None:
        return _at(own, usage)
    # genai-prices counts tokens read from and written to the cache as input too.
    counted = genai_prices.Usage(
        input_tokens=usage.whole_input,
        cache_read_tokens=usage.cache_read or 0,
        cache_write_tokens=usage.cache_write or 0,
        output_tokens=usage.output,
    )
    for name in dict.fromkeys(filter(None, (model, answered_as))):
        try:
            priced = genai_prices.calc_price(
                counted,
                name,
                provider_api_url=provider.base_url,
                genai_request_timestamp=datetime.now(UTC),
                price_context={"service_tier": tier} if tier else None,
            )
        except (LookupError, ValueError):
            continue
        return float(priced.total_price)
    return None


def _at(price: Price, usage: Usage) -> float:
    read = price.input if price.cache_read is None else price.cache_read
    written = price.input if price.cache_write is None else price.cache_write
    return (
        (usage.input or 0) * price.input
        + (usage.cache_read or 0) * read
        + (usage.cache_write or 0) * written
        + (usage.output or 0) * price.output
    ) / _MILLION


def _tier(reply: Reply) -> str:
    """Return the service tier of the reply, empty if the provider does not name one."""
    document = reply.wire.json if reply.wire else None
    tier = document.get("service_tier") if isinstance(document, dict) else None
    return tier if isinstance(tier, str) else ""
