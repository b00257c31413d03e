"""The simulator's answer: a pure function of the request and the plan of the model name.

The text is computed from the conversation: the question, its turn and number of words, its sums,
images, tool results, a persona's position on the question, or a report that compares labelled
answers. The same request always gets the same answer. Every text starts with
``[simulated:PERSONA] `` except JSON, which must remain valid.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import cycle, islice

import orjson

from polyvox.gateway.simulator import tokens
from polyvox.gateway.simulator.acting import (
    arithmetic,
    json_keys,
    judgement,
    mistakes,
    personas,
    pictures,
    schema,
    toolbox,
)
from polyvox.gateway.simulator.acting import question as questions
from polyvox.gateway.simulator.acting.question import Question, Result
from polyvox.gateway.simulator.plan import Plan
from polyvox.workflows.conversation import (
    Conversation,
    OutputFormat,
    Part,
    Protocol,
    Reasoning,
    Text,
    ToolCall,
)
from polyvox.workflows.reply import FinishReason, Reply, Usage

LONGEST_QUOTE = 4000
"""Characters of a tool's result that an answer quotes."""

_ECHO = re.compile(
    r"\b(?:say|reply|respond|answer|repeat|output|print)\b(?: (?:with|back|me|this))*"
    r" (?:exactly|only|just|verbatim)(?: (?:this|the (?:word|words|text|phrase)))?:? *(?P<text>.+)",
    re.S | re.I,
)
_ABOUT_SYSTEM = re.compile(
    r"\bsystem (?:prompt|message|instructions?)\b|\b(?:your|which|what) instructions?\b", re.I
)
_ABOUT_EARLIER = re.compile(r"\b(?:before|earlier|previous(?:ly)?|first|last)\b", re.I)
_ABOUT_ASKING = re.compile(r"\b(?:ask(?:ed)?|sa(?:y|id)|t[eo]ld|question|message|turn)\b", re.I)
_FILLER = "the simulator fills this answer with plain words so that its length can be measured"


def answer(conversation: Conversation, plan: Plan) -> Reply:
    """Return the Reply to ``conversation`` as ``plan``'s persona, within the options' limits."""
    question = questions.read(conversation)
    options = conversation.options
    parts: list[Part] = []
    label = f"[simulated:{plan.persona}] "
    wrong = mistakes.is_due(conversation, plan.slips)
    if plan.refuses:
        parts = []
    elif plan.tokens is not None:
        parts.append(Text(_filler(label, plan.tokens)))
    else:
        if options.effort not in (None, "none"):
            parts.append(Reasoning(_thoughts(question)))
        called = toolbox.calls(conversation, question)
        if called:
            parts += called
        elif options.format:
            parts.append(Text(_document(options.format, conversation, question, plan)))
        elif code := mistakes.program(
            question, wrong=wrong or mistakes.is_due(conversation, plan.bugs)
        ):
            parts.append(Text(f"{label}Here it is.\n\n{code}"))
        else:
            parts.append(Text(label + _body(conversation, question, plan)))
        if wrong:
            parts = mistakes.with_mistakes(parts)
    finish: FinishReason = "refusal" if plan.refuses else "stop"
    if any(isinstance(part, ToolCall) for part in parts):
        finish = "tool_calls"
    parts, stopped = _stopped(parts, options.stop, len(label))
    if stopped is not None:
        finish = "stop"
    parts, whole = _within(parts, options.max_tokens)
    if not whole:
        finish, stopped = "length", None
    usage = Usage(
        input=tokens.of_conversation(conversation),
        output=sum(map(tokens.of_part, parts)),
        reasoning=sum(tokens.of_part(p) for p in parts if isinstance(p, Reasoning)),
    )
    return Reply(tuple(parts), finish, usage, plan.model, stopped)


def signed(reply: Reply, protocol: Protocol) -> Reply:
    """Return ``reply`` with its reasoning signed by ``protocol``. Clients must return the
    signature unchanged."""
    parts = tuple(
        replace(p, opaque=f"simulated{questions.stable_number(p.text):016x}", origin=protocol)
        if isinstance(p, Reasoning)
        else p
        for p in reply.parts
    )
    return replace(reply, parts=parts)


def _body(conversation: Conversation, question: Question, plan: Plan) -> str:
    if plan.persona == "judge" or len(judgement.answers(question.text)) > 1:
        return judgement.report(question.text)
    if question.results:
        return _after_tools(question, plan)
    if echo := _ECHO.search(question.gist):
        return echo["text"].strip().strip("\"'`“”")
    lines = [
        _question_facts(question),
        *(fact for rule in _FACTS if (fact := rule(conversation, question))),
    ]
    if question.wants_advice and len(lines) == 1:
        lines.append(personas.opinion(personas.persona(plan.persona), question))
    return "\n".join(lines)


def _question_facts(question: Question) -> str:
    if not question.text:
        return "The request has no text from the user."
    words = question.gist.split()
    shown = " ".join(words[:40])
    more = " ..." if len(words) > 40 else ""
    verb = "asked" if question.wants_advice else "said"
    count = f"{question.length} word{'' if question.length == 1 else 's'}"
    line = f"You {verb}: “{shown}{more}” (turn {question.turn}, {count})."
    if question.wants_advice or not question.key_words:
        return line
    return f"{line} Key words: {', '.join(question.key_words)}."


def _after_tools(question: Question, plan: Plan) -> str:
    lines = [_quoted(result) for result in question.results]
    lines += [f"You sent {pictures.describe(image)}." for image in question.images]
    if question.wants_advice:
        speaker = personas.persona(plan.persona)
        lines.append(f"My advice: {personas.position(speaker, question)}.")
    lines += [f"{found}." for found in arithmetic.results(question.gist)]
    return "\n".join(lines)


def _quoted(result: Result) -> str:
    text = result.text.strip()
    if result.tool == toolbox.REVIEW and not result.is_error:
        return f"The panel's review: {judgement.unlabelled(text)[:LONGEST_QUOTE]}"
    name = result.tool or "A tool"
    verb = "failed with" if result.is_error else "returned"
    if len(text) > LONGEST_QUOTE:
        text = f"{text[:LONGEST_QUOTE]} ... ({len(text) - LONGEST_QUOTE} more characters)"
    shown = [f"{pictures.describe(image)}" for image in result.images]
    content = "; ".join([*([text] if text else []), *shown]) or "nothing"
    return f"{name} {verb}: {content}"


def _sums(_: Conversation, question: Question) -> str:
    return " ".join(f"{found}." for found in arithmetic.results(question.gist))


def _seen(_: Conversation, question: Question) -> str:
    return "\n".join(f"You sent {pictures.describe(image)}." for image in question.images)


def _instruction(conversation: Conversation, question: Question) -> str:
    if not _ABOUT_SYSTEM.search(question.gist):
        return ""
    texts = [m.text for m in conversation.messages if m.role in ("system", "developer")]
    if conversation.system:
        texts.insert(0, conversation.system.text)
    text = " ".join(" ".join(texts).split())
    return f"My instruction says: “{text[:400]}”." if text else "I was given no instruction."


def _recalled(_: Conversation, question: Question) -> str:
    text = question.gist
    if not (_ABOUT_EARLIER.search(text) and _ABOUT_ASKING.search(text) and question.earlier):
        return ""
    first, last = question.earlier[0][:200], question.earlier[-1][:200]
    if len(question.earlier) == 1:
        return f"You first said “{first}”."
    return f"You first said “{first}”, and before this turn “{last}”."


_FACTS: tuple[Callable[[Conversation, Question], str], ...] = (
    _sums,
    _seen,
    _instruction,
    _recalled,
)


def _thoughts(question: Question) -> str:
    done = f" The tools returned {len(question.results)} results." if question.results else ""
    return f"The request has {question.length} words.{done} The simulator follows its rules."


def _filler(label: str, number: int) -> str:
    known = tokens.split(label.rstrip())
    words = islice(cycle(_FILLER.split()), max(number - len(known), 0))
    return " ".join(["".join(known[:number]), *words])


def _document(
    wanted: OutputFormat, conversation: Conversation, question: Question, plan: Plan
) -> str:
    """Return JSON in the format ``wanted``, filled with the content of a text answer."""
    named: dict[str, object] = {}
    if len(judgement.answers(question.text)) > 1:
        named.update(judgement.findings(question.text))
    properties = schema.checked(wanted.schema).get("properties", {})
    if "passed" in properties:
        named.update(mistakes.verdict(question.text))
    if "label" in properties:
        named.update(mistakes.label(question.text))
    named["answer"] = _body(conversation, question, plan)
    if wanted.kind == "json_schema":
        value = schema.instance(wanted.schema, question.words[:50], named)
    elif keys := json_keys.asked_keys(question.gist):
        value = {**json_keys.filled(keys, question.key_words), **_kept(named, keys)}
    else:
        value = {"simulated": plan.persona, **named}
    return orjson.dumps(value).decode()


def _kept(named: Mapping[str, object], keys: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in named.items() if name in keys}


def _stopped(
    parts: list[Part], sequences: tuple[str, ...], label: int
) -> tuple[list[Part], str | None]:
    """Return ``parts`` up to the first stop sequence in a text, and which one it was.

    The first ``label`` characters of a text are never searched, so that the label always remains.
    """
    for at, part in enumerate(parts):
        if isinstance(part, Text):
            found = [(part.text.find(s, label), s) for s in sequences if s]
            hits = [hit for hit in found if hit[0] >= 0]
            if hits:
                end, sequence = min(hits)
                return [*parts[:at], Text(part.text[:end])], sequence
    return parts, None


def _within(parts: list[Part], limit: int | None) -> tuple[list[Part], bool]:
    """Return the first ``limit`` tokens of ``parts``, and whether these are all."""
    if limit is None:
        return parts, True
    held: list[Part] = []
    left = limit
    for part in parts:
        size = tokens.of_part(part)
        if size <= left:
            held.append(part)
            left -= size
            continue
        if isinstance(part, Text | Reasoning) and left > 0:
            held.append(replace(part, text=tokens.first(part.text, left)))
        return held, False
    return held, True
