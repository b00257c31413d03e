"""What OpenAI's models accept, and how options from other protocols are adapted to a model.

What a client of the provider's own protocol sent is not changed. Sources: OpenAI's model pages and
its errors (sampling and stop sequences refused by models that think, "This model does not support
effort level ...", cache breakpoints from gpt-5.6). A model of another name is assumed to accept
everything that compatible servers usually accept.
"""

import re
from collections.abc import Collection
from typing import Final

from polyvox.protocols.coverage.losses import lose
from polyvox.workflows.conversation import Options

_GPT: Final = re.compile(r"(?:^|/)gpt-(\d{1,9})(?:\.(\d{1,9}))?(?!\d)(.*)")
_O: Final = re.compile(r"(?:^|/)o[134](?:-|$)")

Generation = tuple[int, int]

_FIRST_THINKING: Final = (5, 0)
_FIRST_OF_O: Final = (4, 9)
"""The generation of the o-series: it thinks, and is older than gpt-5."""

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, lowest first."""

_TAKES: Final[tuple[tuple[Generation, frozenset[str]], ...]] = (
    ((5, 6), frozenset(EFFORTS) - {"minimal"}),
    ((5, 2), frozenset({"none", "low", "medium", "high", "xhigh"})),
    ((5, 1), frozenset({"none", "low", "medium", "high"})),
    ((5, 0), frozenset({"minimal", "low", "medium", "high"})),
    ((0, 0), frozenset({"low", "medium", "high"})),
)
"""The efforts that each generation accepts, newest first."""

_FIRST_MARKED: Final = (5, 6)


def generation(model: str) -> Generation | None:
    """Return (major, minor) of an OpenAI model's name, or None for another model."""
    if _O.search(model):
        return _FIRST_OF_O
    found = _GPT.search(model)
    if found is None:
        return None
    if "chat" in found[3]:
        # The models behind ChatGPT are named after the generation but do not think.
        return (4, 0)
    return int(found[1]), int(found[2] or 0)


def thinks(model: str) -> bool:
    """Whether ``model`` is known to think before it answers."""
    known = generation(model)
    return known is not None and known >= _FIRST_OF_O


def takes_marks(model: str) -> bool:
    """Whether ``model`` is known to accept ``prompt_cache_breakpoint``."""
    known = generation(model)
    return known is not None and known >= _FIRST_MARKED


def fitted(options: Options, model: str, losses: list[str]) -> Options:
    """Return ``options`` as ``model`` accepts them; changes are named in ``losses``."""
    known = generation(model)
    if known is None:
        return options
    if not thinks(model):
        if options.effort is None:
            return options
        if options.effort != "none":
            lose(losses, f"effort: {model} does not think")
        return options.edited(effort=None)
    effort = _nearest(options.effort, known)
    if effort != options.effort:
        lose(losses, f"effort: {model} takes {effort!r} for {options.effort!r}")
    options = options.edited(effort=effort)
    if effort == "none":
        return options
    for name in ("temperature", "top_p"):
        if getattr(options, name) not in (None, 1):
            lose(losses, f"{name}: a model that thinks takes no sampling")
        options = options.edited(**{name: None})
    return options


def _nearest(effort: str | None, known: Generation) -> str | None:
    """Return the effort that the generation accepts: the next lower one, else its lowest."""
    if effort is None:
        return None
    return nearest(effort, next(efforts for first, efforts in _TAKES if known >= first))


def nearest(effort: str, takes: Collection[str]) -> str:
    """Return ``effort``, else the next lower one in ``takes``, else the lowest.

    An unknown effort is returned unchanged.
    """
    if effort not in EFFORTS or not takes:
        return effort
    wanted = EFFORTS.index(effort)
    lower = [e for e in EFFORTS[: wanted + 1] if e in takes]
    return lower[-1] if lower else next((e for e in EFFORTS if e in takes), effort)


def takes_effort(model: str) -> bool:
    """Whether ``model`` is known to accept ``reasoning_effort``, whichever server runs it."""
    return thinks(model) or "gpt-oss" in model
