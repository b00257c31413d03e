"""Print the events of a run as they come: a line for each step, the emitted text between them."""

from rich.console import Console
from rich.text import Text

from polyvox.gateway.cli.output.format import dollars, duration, plain, tokens
from polyvox.gateway.cli.output.run_tree import STATUS_STYLE
from polyvox.worker.watching.run_events import (
    JournalStopped,
    Problem,
    RunBegan,
    RunEnd,
    RunEvent,
    StepBegan,
    StepEnded,
    TextVoid,
    TextWritten,
    Tokens,
)
from polyvox.workflows.reply import METERS, Usage


class WatchPrinter:
    """Prints the events of one run to ``console``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: dict[str, str] = {}
        self._part: tuple[str, str | None] | None = None
        self._printed_text = False

    def print(self, event: RunEvent) -> None:
        match event.what:
            case RunBegan(run_id=run_id, model=model, flow=flow):
                self._line("run", f"{run_id}  {flow}  model {model}")
            case StepBegan(call=call, step=step, model=model, tool=tool):
                self._steps[call] = step
                self._line(step, f"asks {model}" if model else f"runs the tool {tool}")
            case TextWritten():
                self._text(event.what)
            case TextVoid(call=call, attempt=attempt, why=why):
                note = f"attempt {attempt}: the text above is void"
                self._line(self._step(call), note if why == "another attempt" else f"{why}:")
            case JournalStopped(call=call, reason=reason):
                self._line(self._step(call), f"{reason} The rest follows when it has ended.")
            case StepEnded() as ended:
                self._ended(self._step(ended.call), ended)
            case RunEnd() as ended:
                if not self._printed_text and ended.text:
                    self._break()
                    self._console.print(_lines(ended.text), soft_wrap=True)
                self._ended("run", ended)

    def _text(self, what: TextWritten) -> None:
        if self._part != (what.call, what.part):
            self._break()
            self._part = what.call, what.part
        self._printed_text |= what.part in ("text", None)
        style = "" if what.part in ("text", None) else "dim"
        self._console.print(_lines(what.text, style), end="", soft_wrap=True)

    def _ended(self, name: str, ended: StepEnded | RunEnd) -> None:
        facts = [duration(ended.duration_ms)]
        if isinstance(ended, StepEnded) and ended.attempts > 1:
            facts.append(f"attempt {ended.attempts}")
        if ended.tokens:
            facts += [f"tokens {tokens(_usage(ended.tokens))}", f"cost {dollars(ended.cost_usd)}"]
        status = Text(ended.status, style=STATUS_STYLE.get(ended.status, ""))
        self._line(name, "  ".join(facts), status)
        if ended.error is not None:
            self._line(name, _explained(ended.error))

    def _line(self, name: str, facts: str, status: Text | None = None) -> None:
        self._break()
        line = plain(name, "bold") + Text("  ")
        if status is not None:
            line += status + Text("  ")
        self._console.print(line + plain(facts), soft_wrap=True)

    def _break(self) -> None:
        """End the line that text has begun."""
        if self._part is not None:
            self._console.print()
            self._part = None

    def _step(self, call: str) -> str:
        return self._steps.get(call, "show")


def _lines(text: str, style: str = "") -> Text:
    return Text("\n").join(plain(line, style) for line in text.split("\n"))


def _usage(counts: Tokens) -> Usage:
    return Usage(*(counts[meter] for meter in METERS))


def _explained(error: Problem) -> str:
    return f"{error.message or ''} ({error.kind})".strip()
