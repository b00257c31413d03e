"""The failure of a call whose process stops: another process makes the next attempt."""

from temporalio import activity

from polyvox.workflows.errors import ModelError


def stopped_process(*, shown: bool) -> ModelError | None:
    """Return why the activity that calls this was cancelled, if its worker is stopping.

    ``shown`` says whether the client has received a part of the answer, which another attempt
    could not replace. Temporal would report a cancelled call, which ends the run.
    """
    details = activity.cancellation_details()
    if details is None or not details.worker_shutdown:
        return None
    if shown:
        return ModelError(
            "stream_cut",
            "The server that read the model's answer was stopped before its end. Try your request "
            "again.",
        )
    return ModelError("overloaded", "The server that made this call was stopped.")
