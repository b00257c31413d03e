"""Every ending of an exchange, without an engine: a run is what the test says it does."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from polyvox.activities.ledger.entries import EndStatus
from polyvox.activities.live.channel import Batch, RunOutcome
from polyvox.activities.live.relay import Relay
from polyvox.activities.tracing.spans import RequestSpan, RunSpan, Tracing
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.exchange import Exchange
from polyvox.protocols.chat.client import response as chat_response
from polyvox.protocols.client_side import Ask, Encoder
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.start import RunRequest, StartedRun
from polyvox.workflows.conversation import Conversation, Json, Text, user
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted, Started
from polyvox.workflows.reply import Reply
from tests.programs.sinks import Sent

HELLO = Reply((Text("Hello"),))
LONG_S = 3600.0

both = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


class Handle(RunHandle):
    """A run that ends when the test says so; ``end`` is what the engine would tell."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.end: asyncio.Future[RunOutcome] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> RunOutcome:
        return await self.end

    async def cancel(self) -> None:
        self.cancelled += 1


class Span(RequestSpan, RunSpan):
    """How a span ended; that of a request with its status, that of a run with its word for it."""

    def __init__(self) -> None:
        self.ended: list[tuple[int | EndStatus, str | None]] = []

    def end(
        self, status: int | EndStatus, error: ModelError | None = None, *, run_id: str = ""
    ) -> None:
        self.ended.append((status, error.kind if error else None))


class Program(Tracing):
    """A program whose runs do what ``acts`` says as soon as they are started."""

    def __init__(self, acts: Callable[["Program"], None] = lambda _: None) -> None:
        self.relay = Relay()
        self.keep_alive_s = LONG_S
        self.handle = Handle()
        self.request_spans, self.run_spans = Span(), Span()
        self.failed: list[tuple[str, int]] = []
        self.answers: list[str] = []
        self.run_id = ""
        self._acts = acts

    @property
    def runs(self) -> "Program":
        return self

    @property
    def tracing(self) -> "Program":
        return self

    def request_span(self, method: str, route: str, *, traceparent: str | None = None) -> Span:
        return self.request_spans

    async def start(self, request: RunRequest) -> StartedRun:
        self.run_id = request.run_id
        self._acts(self)
        return StartedRun(self.handle, self.run_spans)

    def find(self, run_id: str) -> RunHandle:
        return self.handle

    async def attach(self, run_id: str) -> None:
        self.run_id = run_id

    async def has_other_listener(self, run_id: str) -> bool:
        return False

    has_shown = has_other_listener
    release = attach

    def answered(self, run_id: str) -> None:
        self.answers.append(run_id)

    def fail(self, run_id: str, error: ModelError) -> None:
        """Keep the error's kind, and whether the run had been cancelled by then."""
        self.failed.append((error.kind, self.handle.cancelled))

    async def completed_calls(self, run_id: str) -> set[str]:
        return set()

    def emit(self, *events: Event, attempt: int = 1) -> None:
        self.relay.publish(self.run_id, Batch("call", attempt, list(events)))

    def close(self, outcome: RunOutcome) -> None:
        self.relay.close(self.run_id, outcome)


def say(program: Program, text: str = "Hel") -> None:
    program.emit(Started("m"), PartStarted(Text("")), PartDelta(text))


def reply(program: Program) -> None:
    program.emit(Started("m"), PartStarted(Text("")), PartDelta("Hello"), PartEnded(Text("Hello")))
    program.close(RunOutcome(reply=HELLO))


async def answered(
    program: Program,
    sent: Sent | None = None,
    *,
    stream: bool,
    answers: object = chat_response,
    lasting: bool = False,
) -> Sent:
    sent = sent or Sent()
    ask = Ask("chat", "a-model", Conversation((user("Say hello"),)), stream)
    exchange = Exchange(
        program,
        answers,  # type: ignore[arg-type] # a module or a class with its functions
        ask,
        Caller("key"),
        lasting=lasting,
        follow_after_s=0,
    )
    await exchange.answer(sent)
    return sent


@both
async def test_a_reply_is_sent_and_ends_both_spans(stream: bool) -> None:
    program = Program(reply)
    sent = await answered(program, stream=stream)
    assert sent.finished is not None
    assert sent.finished.reply == replace(HELLO, parts=())
    if stream:
        assert sent.begun == 1
        assert b'"content":"Hello"' in sent.text
        assert sent.text.endswith(b"data: [DONE]\n\n")
    else:
        assert sent.document is not None
        assert sent.document["choices"][0]["message"]["content"] == "Hello"
    assert (b"x-polyvox-run", program.run_id.encode()) in sent.headers
    assert program.answers == [program.run_id]
    assert program.request_spans.ended == [(200, None)]
    assert program.run_spans.ended == [("completed", None)]
    assert program.handle.cancelled == 0


async def test_a_reply_completes_a_stream_that_missed_events() -> None:
    """The relay may lose events; the reply does not."""

    def acts(program: Program) -> None:
        say(program, "He")
        program.close(RunOutcome(reply=HELLO))

    sent = await answered(Program(acts), stream=True)
    assert b'"content":"He"' in sent.text
    assert b'"content":"llo"' in sent.text


@both
async def test_a_run_that_is_not_started_is_refused(stream: bool) -> None:
    def acts(_program: Program) -> None:
        raise ModelError("not_found", "No such model.")

    program = Program(acts)
    sent = await answered(program, stream=stream)
    assert sent.refused is not None
    assert sent.refused[1] == 404
    assert program.request_spans.ended == [(404, "not_found")]
    assert (program.run_spans.ended, program.handle.cancelled) == ([], 0)


@both
async def test_a_failure_before_the_first_word_is_refused(stream: bool) -> None:
    def acts(program: Program) -> None:
        program.emit(Started("m"))
        program.close(RunOutcome(error=ModelError("rate_limit", "Too fast.", retry_after_s=3)))

    program = Program(acts)
    sent = await answered(program, stream=stream)
    assert sent.refused is not None
    assert sent.refused[1] == 429
    assert (b"retry-after", b"3") in sent.headers
    assert program.request_spans.ended == [(429, "rate_limit")]
    assert program.run_spans.ended == [("failed", "rate_limit")]


async def test_a_failure_after_the_first_word_ends_the_stream() -> None:
    program = Program(say)
    sent = Sent(
        on_frames=lambda: program.close(RunOutcome(error=ModelError("overloaded", "Full.")))
    )
    await answered(program, sent, stream=True)
    assert (sent.begun, sent.refused) == (1, None)
    assert sent.finished is not None
    assert sent.finished.error is not None
    assert b"Full." in sent.text
    assert program.run_spans.ended == [("failed", "overloaded")]


async def test_words_that_begin_anew_cut_the_stream_and_end_the_run() -> None:
    program = Program(say)
    sent = Sent(on_frames=lambda: program.emit(Started("m"), attempt=2))
    await answered(program, sent, stream=True)
    assert sent.finished is not None
    assert sent.finished.error is not None
    assert sent.finished.error.kind == "stream_cut"
    assert program.handle.cancelled == 1


@both
async def test_a_client_that_leaves_ends_the_run(stream: bool) -> None:
    program = Program(say)
    sent = Sent()
    program._acts = lambda _: sent.leaving.set()
    await answered(program, sent, stream=stream)
    assert (sent.finished, sent.refused) == (None, None)
    assert program.handle.cancelled == 1
    assert program.run_spans.ended == [("cancelled", "cancelled")]


async def test_a_client_that_cannot_be_reached_has_left() -> None:
    def unreachable() -> None:
        raise OSError("The connection is closed.")

    program = Program(say)
    sent = await answered(program, Sent(on_frames=unreachable), stream=True)
    assert (sent.finished, program.handle.cancelled) == (None, 1)
    assert program.run_spans.ended == [("cancelled", "cancelled")]


async def test_a_silent_run_is_kept_alive_and_then_answered() -> None:
    program = Program()
    program.keep_alive_s = 0.0
    sent = await answered(program, Sent(on_frames=lambda: reply(program)), stream=True)
    assert sent.text.startswith(b": keep-alive\n\n")
    assert sent.finished is not None
    assert sent.finished.reply == replace(HELLO, parts=())


async def test_a_silent_run_that_fails_ends_the_stream_that_was_kept_alive() -> None:
    program = Program()
    program.keep_alive_s = 0.0
    failed = RunOutcome(error=ModelError("timeout", "Too long."))
    sent = await answered(program, Sent(on_frames=lambda: program.close(failed)), stream=True)
    assert (sent.refused, sent.begun) == (None, 1)
    assert b"Too long." in sent.text


@both
async def test_an_end_that_nobody_tells_is_asked_of_the_engine(stream: bool) -> None:
    program = Program(lambda program: program.handle.end.set_result(RunOutcome(reply=HELLO)))
    sent = await answered(program, stream=stream)
    assert sent.finished is not None
    assert sent.finished.reply == replace(HELLO, parts=())


@both
async def test_an_end_that_cannot_be_learned_is_told_at_once(stream: bool) -> None:
    """The client is not left waiting until the run's limit, and the run does not go on."""

    def acts(program: Program) -> None:
        program.handle.end.set_exception(RuntimeError("a defect"))

    program = Program(acts)
    sent = await asyncio.wait_for(answered(program, stream=stream), 20)
    assert sent.refused is not None
    assert (sent.refused[0].kind, sent.refused[1]) == ("internal", 500)
    assert "RuntimeError" in sent.refused[0].message
    assert program.handle.cancelled == 1
    assert program.failed == [("internal", 0)]
    assert program.request_spans.ended == [(500, "internal")]
    assert program.run_spans.ended == [("failed", "internal")]


class Defective:
    """Answers whose encoder fails at the first event, and whose document cannot be made."""

    render_error = staticmethod(chat_response.render_error)

    @staticmethod
    def encoder(ask: Ask, *, run_id: str, created: int) -> Encoder:
        class Failing(type(chat_response.encoder(ask, run_id="", created=0))):  # type: ignore[misc]
            def feed(self, event: Event) -> bytes:
                if isinstance(event, PartEnded):
                    raise RuntimeError("a defect")
                fed: bytes = super().feed(event)
                return fed

        encoder: Encoder = Failing(ask, run_id=run_id, created=created)
        return encoder

    @staticmethod
    def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        raise RuntimeError("a defect")


@both
async def test_a_defect_before_the_first_word_is_an_internal_error(stream: bool) -> None:
    """In the answer, in both spans and in the ledger, there before the run is cancelled."""
    program = Program(reply)
    sent = await answered(program, stream=stream, answers=Defective)
    assert sent.refused is not None
    assert (sent.refused[0].kind, sent.refused[1]) == ("internal", 500)
    assert program.failed == [("internal", 0)]
    assert program.request_spans.ended == [(500, "internal")]
    assert program.run_spans.ended == [("failed", "internal")]


async def test_a_defect_after_the_first_word_ends_the_stream_and_the_run() -> None:
    program = Program(say)
    sent = Sent(on_frames=lambda: program.emit(PartEnded(Text("Hello"))))
    await answered(program, sent, stream=True, answers=Defective)
    assert sent.finished is not None
    assert sent.finished.error is not None
    assert sent.finished.error.kind == "internal"
    assert b"RuntimeError in the gateway" in sent.text
    assert (program.failed, program.handle.cancelled) == ([("internal", 0)], 1)
    assert program.request_spans.ended == [(500, "internal")]


@both
async def test_a_defect_at_the_start_is_an_internal_error(stream: bool) -> None:
    def acts(_program: Program) -> None:
        raise RuntimeError("a defect")

    program = Program(acts)
    sent = await answered(program, stream=stream)
    assert sent.refused is not None
    assert sent.refused[1] == 500
    assert program.request_spans.ended == [(500, "internal")]


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_server_that_stops_leaves_only_lasting_runs_alone(lasting: bool) -> None:
    """Neither is traced as completed."""
    program = Program(say)
    shown = asyncio.Event()
    sent = Sent(on_frames=shown.set)
    exchange = asyncio.create_task(answered(program, sent, stream=True, lasting=lasting))
    await shown.wait()
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert program.handle.cancelled == (0 if lasting else 1)
    assert program.request_spans.ended == [(499, "cancelled")]
    assert program.run_spans.ended == [("cancelled", "cancelled")]
