"""The server-side tool ``estimate_cost``: the cost of calls before they are made."""

from collections.abc import Callable, Mapping

from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.pricing import cost_of
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost, Usage


def estimating(directory: Directory) -> Callable[[Mapping[str, Json], Conversation], Json]:
    """Return the tool with the prices of the providers in ``directory``."""

    def estimate_cost(params: Mapping[str, Json], _conversation: Conversation) -> Json:
        """Add up the cost of ``calls``: ``[{"model", "input", "output"}]``, both in tokens.

        Returns ``{"usd", "unknown"}``: the known cost, and the models without a known price.
        """
        cost = Cost()
        unknown: dict[str, None] = {}
        for call in params.get("calls", ()):
            usd = _estimated(directory, call)
            cost = cost.plus(usd)
            if usd is None:
                unknown[str(call["model"])] = None
        return {"usd": cost.usd, "unknown": list(unknown)}

    return estimate_cost


def _estimated(directory: Directory, call: Mapping[str, Json]) -> float | None:
    try:
        asked = directory.find(str(call["model"]))
    except ModelError:
        return None
    usage = Usage(input=int(call.get("input", 0)), output=int(call.get("output", 0)))
    return cost_of(asked.provider, asked.model, usage)
