"""Writes answers that are stored.

The client gets the same as for any other answer. The response object is passed on as it is at the
end of the answer, before that end is sent, so a client can continue the response at once.
"""

from collections.abc import Callable

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.responses.client.stream import Encoder
from polyvox.protocols.responses.include import Included
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

Keep = Callable[[dict[str, Json]], None]
"""Called once, with the response object at its end."""


class StoredStreamEncoder(Encoder):
    """Writes one answer and passes its response object to ``keep``."""

    def __init__(
        self, ask: Ask, *, run_id: str, created: int, keep: Keep, shows: Included | None = None
    ) -> None:
        super().__init__(ask, run_id=run_id, created=created, shows=shows)
        self._keep = keep

    def finish(self, reply: Reply) -> bytes:
        frames = super().finish(reply)
        self._keep(self.response)
        return frames

    def fail(self, error: ModelError) -> bytes:
        frames = super().fail(error)
        self._keep(self.response)
        return frames


class StoredResponseEncoder:
    """Encodes the answer to one request; ``writing`` is its encoder once it has begun."""

    def __init__(
        self,
        keep: Keep,
        prepared: StoredStreamEncoder | None = None,
        *,
        encoder_type: type[StoredStreamEncoder] = StoredStreamEncoder,
    ) -> None:
        self._keep = keep
        self._encoder_type = encoder_type
        self._prepared = prepared
        self.writing: StoredStreamEncoder | None = prepared

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> StoredStreamEncoder:
        self.writing = self._prepared or self._encoder_type(
            ask, run_id=run_id, created=created, keep=self._keep
        )
        return self.writing

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        writing = self.encoder(ask, run_id=run_id, created=created)
        writing.finish(reply)
        return writing.shown

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        return answers.render_error(error, run_id)
