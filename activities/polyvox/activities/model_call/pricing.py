"""The cost of a call in US dollars: the tokens counted by the provider at the provider's prices.

The operator's prices (``[providers.NAME.prices]``) take precedence over those of genai-prices, a
package with a table of list prices, which is searched by the provider's address and not by its
name in polyvox.toml. The table is as old as the installed package; nothing is fetched. Without a
known price, or if the provider reported no tokens, the cost is unknown: None, which is not zero.

Tokens written to a cache for an hour have their own price. Where neither the operator nor the table
has a price for Claude's cache writes, they cost a multiple of uncached input.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

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
        return _at(own, usage, model)
    for name in dict.fromkeys(filter(None, (model, answered_as))):
        try:
            return float(_listed(provider, name, usage, tier))
        except (LookupError, ValueError):
            continue
    return None


def _listed(provider: Provider, model: str, usage: Usage, tier: str) -> Decimal:
    """Return the list price of ``usage``. Raises LookupError or ValueError if there is none."""

    def price(of: Usage) -> genai_prices.types.PriceCalculation:
        return genai_prices.calc_price(
            # Tokens read from and written to the cache count as input too, all written ones as
            # written.
            genai_prices.Usage(
                input_tokens=of.whole_input,
                cache_read_tokens=of.cache_read or 0,
                cache_write_tokens=of.whole_cache_write or 0,
                cache_write_1h_tokens=of.cache_write_1h or 0,
                output_tokens=of.output,
            ),
            model,
            provider_api_url=provider.base_url,
            genai_request_timestamp=datetime.now(UTC),
            price_context={"service_tier": tier} if tier else None,
        )

    listed, further = price(usage), Decimal(0)
    for meter, factor in _claude_factors(model, usage).items():
        tokens = getattr(usage, meter)
        if tokens and getattr(listed.model_price, f"{meter}_mtok", None) is None:
            lasts_an_hour = meter == "cache_write_1h"
            usage = replace(
                usage,
                cache_write=usage.cache_write if lasts_an_hour else None,
                cache_write_1h=None if lasts_an_hour else usage.cache_write_1h,
            )
            as_input = replace(usage, input=(usage.input or 0) + tokens)
            further += (price(as_input).total_price - price(usage).total_price) * Decimal(factor)
    return price(usage).total_price + further if further else listed.total_price


def _at(price: Price, usage: Usage, model: str) -> float:
    factors = _claude_factors(model, usage)

    def cost(meter: str) -> float:
        own: float | None = getattr(price, meter)
        usd = price.input * factors.get(meter, 1.0) if own is None else own
        return (getattr(usage, meter) or 0) * usd

    meters = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
    return sum(map(cost, meters)) / _MILLION


_CLAUDE_FACTORS: Final = {"cache_write": 1.25, "cache_write_1h": 2.0}
"""What Anthropic bills for tokens written to a cache, in prices of uncached input: for five
minutes and for an hour. Source: platform.claude.com/docs/en/about-claude/pricing, November 2026."""


def _claude_factors(model: str, usage: Usage) -> Mapping[str, float]:
    """Return the factors for cache writes without a known price, empty for other vendors' models.

    Only Claude has caches that last an hour, whatever name a provider gives the model.
    """
    is_claude = "claude" in model.lower() or usage.cache_write_1h is not None
    return _CLAUDE_FACTORS if is_claude else {}


def _tier(reply: Reply) -> str:
    """Return the service tier of the reply, empty if the provider does not name one."""
    document = reply.wire.json if reply.wire else None
    tier = document.get("service_tier") if isinstance(document, dict) else None
    return tier if isinstance(tier, str) else ""
