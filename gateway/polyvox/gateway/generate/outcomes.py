"""What an exchange reads from the outcome of a run, and the errors that it ends with itself."""

from dataclasses import replace

from polyvox.activities.live.channel import RunOutcome
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Usage


def usage_of(outcome: RunOutcome) -> Usage:
    """Return the tokens of the whole run; only its host knows those of all its calls."""
    if outcome.usage != Usage() or outcome.reply is None:
        return outcome.usage
    return outcome.reply.usage


def without_parts(outcome: RunOutcome) -> RunOutcome:
    if outcome.reply is None:
        return outcome
    return replace(outcome, reply=replace(outcome.reply, parts=()))


def begun_anew() -> ModelError:
    return ModelError(
        "stream_cut",
        "The model's answer came to a premature end and was begun anew; what was sent "
        "cannot be taken back. Try your request again.",
    )


def interrupted() -> ModelError:
    return ModelError("cancelled", "The server stopped before the answer was complete.")
