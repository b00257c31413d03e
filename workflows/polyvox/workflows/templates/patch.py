"""Writes code, checks it where it can do no harm, and mends it before the client sees it.

Files travel in fenced blocks whose first line names language and path. Those in the user's words,
and the ``files`` of the parameters, lie beside the coder's own when the commands run.
"""

import ast
import difflib
import json
import re
from collections import deque
from typing import Literal

from pydantic import Field

from polyvox.workflows import (
    Conversation,
    Model,
    ModelError,
    Params,
    Reply,
    Run,
    Text,
    Verified,
    flow,
    user,
)

CODER_PROMPT = (
    "Give every file you write or change completely, each in a fenced block whose first line has "
    "the language and the path, like this:\n```python src/example.py\n...\n```\n"
    "Say in a few sentences what you did and why. The code is checked before it is delivered."
)

REVIEWER_PROMPT = (
    "You review code before it is delivered. Complain only of what makes it wrong: it does not do "
    "what was asked, it fails in a case that matters, it is unsafe. Name file and place and say "
    "what to do. Style is no complaint."
)

REPAIR_PROMPT = (
    "Your code did not pass:\n{complaints}\n\nMend it. Give every file you change completely again."
)

_OPENING = re.compile(
    r"(?P<fence>`{3,})[\w+-]*[ \t]+(?:path=|file=)?[\"']?(?P<path>[\w./-]*\w\.\w+)[\"']?[ \t]*"
)
_CLOSING = re.compile(r"(?P<fence>`{3,})[ \t]*")

LONGEST_PARSED = 200_000
"""Characters of a file that is parsed here; a larger one is left to the commands."""

MOST_COMPARED = 4_000_000
"""Pairs of lines; of larger files a diff takes away the old one and adds the new one."""


class PatchParams(Params):
    coder: Model = Field(description="writes the code and mends it")
    reviewer: Model | None = Field(None, description="reads what passed the checks")
    syntax: bool = Field(True, description="parse Python and JSON files; nothing is run")
    commands: tuple[str, ...] = Field(
        (), description="run in the sandbox, in this order: formatter, linter, tests"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="files that are always there, tests for example"
    )
    rounds: int = Field(3, ge=0, le=10, description="repairs at most")
    output: Literal["files", "diff"] = Field(
        "files", description="the coder's last words, or a diff against the user's files"
    )
    on_failure: Literal["last", "error"] = Field(
        "last", description="what the client gets when the code never passes"
    )
    progress: bool = Field(False, description="show the client each check as reasoning")
    command_timeout_s: float = Field(60.0, gt=0, le=600, description="seconds for one command")
    timeout_s: float = Field(600.0, gt=0, description="seconds for one answer")
    coder_prompt: str = Field(CODER_PROMPT, description="added to the coder's instructions")
    reviewer_prompt: str = Field(REVIEWER_PROMPT, description="the reviewer's instructions")
    repair_prompt: str = Field(
        REPAIR_PROMPT, pattern=r"\{complaints\}", description="asks to mend {complaints}"
    )


@flow
async def patch(run: Run[PatchParams]) -> Reply:
    """Generate code, check and review it, mend it, deliver it."""
    params = run.params
    given = {**files_said(run.conversation), **params.files}
    conversation = run.conversation.instructed(params.coder_prompt)
    reply = await run.ask(params.coder, conversation, step="code", timeout_s=params.timeout_s)
    written = files_in(reply.text)
    complaints: list[str] = []
    for done in range(params.rounds + 1):
        if reply.tool_calls or not written:
            return reply
        complaints = await complaints_about(run, reply, given, written)
        run.note("checked", round=done, passed=not complaints, complaints=complaints)
        await tell(run, done, complaints)
        if not complaints or done == params.rounds:
            break
        listed = "\n".join(f"- {complaint}" for complaint in complaints)
        told = params.repair_prompt.replace("{complaints}", listed)
        conversation = conversation.then(reply.message, user(told))
        reply = await run.ask(params.coder, conversation, step="repair", timeout_s=params.timeout_s)
        written = {**written, **files_in(reply.text)}
    if complaints and params.on_failure == "error":
        raise ModelError(
            "unprocessable",
            f"The code did not pass after {params.rounds} repairs: {complaints[0][:500]}",
        )
    return delivered(params, reply, given, written, complaints)


async def complaints_about(
    run: Run[PatchParams], reply: Reply, given: dict[str, str], written: dict[str, str]
) -> list[str]:
    """What is wrong, told by the first check that finds anything: cheap ones come first."""
    params = run.params
    if params.syntax and (found := syntax_errors(written)):
        return found
    if params.commands:
        # The parameters' files count: a coder must not mend a test.
        try:
            results = await run.tool(
                "check_code",
                {
                    "files": {**given, **written, **params.files},
                    "commands": [*params.commands],
                    "timeout_s": params.command_timeout_s,
                },
                step="check",
                # It may wait half a minute for its turn, and needs some time to begin.
                timeout_s=params.command_timeout_s * len(params.commands) + 75,
            )
        except ModelError as error:
            if error.kind != "unprocessable":
                raise
            # The coder gave files that cannot be written, and can give better ones.
            return [error.message]
        failed = [result for result in results if not result["passed"]]
        if failed:
            return [f"`{r['command']}` failed (exit {r['exit']}):\n{r['output']}" for r in failed]
    if params.reviewer:
        review = Verified(params.reviewer, params.reviewer_prompt, step="review")
        return [*await run.check(shown(written, reply), [review])]
    return []


def shown(written: dict[str, str], reply: Reply) -> Reply:
    """The code as the reviewer gets it: every file, also those a repair left alone."""
    blocks = "\n".join(f"```{path}\n{text}```" for path, text in written.items())
    return Reply((Text(f"{split(reply.text)[0].strip()}\n{blocks}"),))


def files_in(text: str) -> dict[str, str]:
    """The files in a text's fenced blocks, by path."""
    return split(text)[1]


def split(text: str) -> tuple[str, dict[str, str]]:
    """What a text says outside of its fenced files, and these by path.

    A fence without an end is not a file. Each line is looked at once, whatever the text.
    """
    lines = text.split("\n")
    ends: dict[str, deque[int]] = {}
    for number, line in enumerate(lines):
        if closing := _CLOSING.fullmatch(line):
            ends.setdefault(closing["fence"], deque()).append(number)
    outside: list[str] = []
    files: dict[str, str] = {}
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at])
        later = ends.get(opening["fence"], deque()) if opening else deque[int]()
        while later and later[0] <= at:
            later.popleft()
        if opening and later:
            files[opening["path"]] = "".join(f"{line}\n" for line in lines[at + 1 : later[0]])
            outside.append("")
            at = later[0] + 1
        else:
            outside.append(lines[at])
            at += 1
    return "\n".join(outside), files


def files_said(conversation: Conversation) -> dict[str, str]:
    """The files in the user's words; a later one of the same path counts."""
    found: dict[str, str] = {}
    for message in conversation.messages:
        if message.role == "user":
            found |= files_in(message.text)
    return found


def syntax_errors(files: dict[str, str]) -> list[str]:
    """What does not even parse, with path and line."""
    found: list[str] = []
    for path, text in files.items():
        if len(text) > LONGEST_PARSED:
            continue
        try:
            if path.endswith(".py"):
                ast.parse(text, path)
            elif path.endswith(".json"):
                json.loads(text)
        except SyntaxError as error:
            found.append(f"{path}:{error.lineno}: {error.msg}")
        except (ValueError, RecursionError, MemoryError) as error:
            found.append(f"{path}: {error}")
    return found


async def tell(run: Run[PatchParams], done: int, complaints: list[str]) -> None:
    if run.params.progress:
        what = f"{len(complaints)} complaints" if complaints else "passed"
        await run.show(f"Check {done + 1}: {what}.\n")


def delivered(
    params: PatchParams,
    reply: Reply,
    given: dict[str, str],
    written: dict[str, str],
    complaints: list[str],
) -> Reply:
    """The reply for the client; code that did not pass says so."""
    text = reply.text.strip()
    if params.output == "diff":
        text = "".join(diff_of(path, given.get(path, ""), new) for path, new in written.items())
        text = f"```diff\n{text}```"
    else:
        # A repair gives only what it changed; the client gets everything.
        said = files_in(text)
        missing = {p: t for p, t in written.items() if p not in said}
        text += "".join(f"\n\n```{p.rpartition('.')[2]} {p}\n{t}```" for p, t in missing.items())
    if complaints:
        text += "\n\nThis code did not pass its checks:\n" + "\n".join(complaints)
    return Reply((Text(text),), reply.finish, model=reply.model)


def diff_of(path: str, old: str, new: str) -> str:
    """A unified diff as ``git apply`` takes it."""
    olds, news = old.splitlines(keepends=True), new.splitlines(keepends=True)
    named = (f"a/{path}" if old else "/dev/null", f"b/{path}")
    if len(olds) * len(news) <= MOST_COMPARED:
        return "".join(difflib.unified_diff(olds, news, *named))
    # Comparing takes time that grows with the product.
    changes = [*(f"-{line}" for line in olds), *(f"+{line}" for line in news)]
    head = f"--- {named[0]}\n+++ {named[1]}\n@@ -1,{len(olds)} +1,{len(news)} @@\n"
    return head + "".join(changes)
