"""Parse a model name into what it asks of the simulator: a persona, a pace and faults.

A name is words joined by dashes. Words of the grammar below set pace and faults, in any order;
all other words form the persona. ``skeptic-ttft200-itl10`` is the skeptic; its first delta
comes after 200 ms and the others follow at intervals of 10 ms. ``main-err429x2-ra1`` answers the
first two requests for exactly this name with 429 and ``retry-after: 1``, and the third normally.
Several faults in a name apply in the order in which they are written.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

GRAMMAR = """\
A simulated model's name is words joined by dashes, for example skeptic-ttft200-itl10:

  PERSONA     optimist, skeptic, engineer, judge, main, or any other word
  ttftMS      milliseconds before the first delta (decimals allowed)
  itlMS       milliseconds between deltas (decimals allowed)
  nCOUNT      answer with exactly COUNT tokens of filler text
  slipN       make a mistake until told N times that the answer did not pass
  bugN        the same, but only in code
  refuse      decline to answer, without a word
  errSTATUS   answer with this HTTP status (400 to 599) and the protocol's error document
  raSECONDS   retry-after of that error
  cutN        cut the connection after N deltas
  stallN      fall silent after N deltas until the client leaves
  garbageN    send bytes that are not the protocol after N deltas, then end
  eofN        end the body cleanly after N deltas, without the protocol's ending
  erreventN   send the protocol's error event after N deltas
  ...xTIMES   after any fault: only the first TIMES requests of this model name
  idANY       nothing; makes a name of its own, with its own count of requests
"""

FaultKind = Literal["err", "cut", "stall", "garbage", "eof", "errevent"]

DEFAULT_PERSONA = "main"


@dataclass(frozen=True, slots=True)
class Fault:
    """``at`` is the HTTP status of ``err``, else the number of deltas sent before the fault.

    ``times`` is how many requests it affects; None means all.
    """

    kind: FaultKind
    at: int
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``tokens`` is the length of a filler answer; None means an answer by the rules.

    ``slips`` is how many complaints the model needs before its answer is right, ``bugs`` the same
    for code only.
    """

    model: str
    persona: str = DEFAULT_PERSONA
    ttft_s: float = 0.0
    itl_s: float = 0.0
    tokens: int | None = None
    retry_after_s: float | None = None
    faults: tuple[Fault, ...] = ()
    slips: int = 0
    bugs: int = 0
    refuses: bool = False

    def fault(self, seen: int) -> Fault | None:
        """Return the fault of the request that follows ``seen`` others of this name."""
        for fault in self.faults:
            if fault.times is None or seen < fault.times:
                return fault
            seen -= fault.times
        return None


def _fault(plan: Plan, word: re.Match[str]) -> Plan:
    kind: FaultKind = word["kind"]  # type: ignore[assignment]  # the patterns match only these
    times = int(word["times"]) if word["times"] else None
    return replace(plan, faults=(*plan.faults, Fault(kind, int(word["at"]), times)))


_WORDS: tuple[tuple[re.Pattern[str], Callable[[Plan, re.Match[str]], Plan]], ...] = (
    (re.compile(r"ttft(\d+(?:\.\d+)?)"), lambda p, w: replace(p, ttft_s=float(w[1]) / 1000)),
    (re.compile(r"itl(\d+(?:\.\d+)?)"), lambda p, w: replace(p, itl_s=float(w[1]) / 1000)),
    (re.compile(r"n(\d{1,6})"), lambda p, w: replace(p, tokens=int(w[1]))),
    (re.compile(r"ra(\d+(?:\.\d+)?)"), lambda p, w: replace(p, retry_after_s=float(w[1]))),
    (re.compile(r"(?P<kind>err)(?P<at>[45]\d\d)(?:x(?P<times>\d+))?"), _fault),
    (
        re.compile(r"(?P<kind>cut|stall|garbage|eof|errevent)(?P<at>\d+)(?:x(?P<times>\d+))?"),
        _fault,
    ),
    (re.compile(r"slip(\d)"), lambda p, w: replace(p, slips=int(w[1]))),
    (re.compile(r"bug(\d)"), lambda p, w: replace(p, bugs=int(w[1]))),
    (re.compile(r"refuse"), lambda p, w: replace(p, refuses=True)),
    (re.compile(r"id\w+"), lambda p, w: p),
)


def parse(model: str) -> Plan:
    """Parse a model name. Every name is valid: unknown words form the persona."""
    plan = Plan(model)
    persona: list[str] = []
    for word in model.split("-"):
        for pattern, set_word in _WORDS:
            if match := pattern.fullmatch(word):
                plan = set_word(plan, match)
                break
        else:
            persona.append(word)
    return replace(plan, persona="-".join(filter(None, persona)) or DEFAULT_PERSONA)
