"""Writes code, checks it in a sandbox, and repairs it before the client gets it.

Files are in fenced blocks whose first line names language and path. The commands run in a folder
with the coder's files, those in the user's messages and the ``files`` of the parameters.
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
"""Characters of a file up to which its syntax is checked; larger files are not parsed."""

MOST_COMPARED = 4_000_000
"""Pairs of lines; for larger files a diff removes all old lines and adds all new lines."""


class PatchParams(Params):
    coder: Model = Field(description="writes and repairs the code")
    reviewer: Model | None = Field(None, description="reviews code that passed the checks")
    syntax: bool = Field(True, description="parse Python and JSON files; nothing is run")
    commands: tuple[str, ...] = Field(
        (), description="run in the sandbox, in this order: formatter, linter, tests"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="files that are always present, for example tests"
    )
    rounds: int = Field(3, ge=0, le=10, description="maximum number of repairs")
    output: Literal["files", "diff"] = Field(
        "files", description="the coder's last answer, or a diff against the user's files"
    )
    on_failure: Literal["last", "error"] = Field(
        "last", description="what the client gets if the code does not pass"
    )
    progress: bool = Field(False, description="show the client each check as reasoning")
    command_timeout_s: float = Field(60.0, gt=0, le=600, description="seconds for one command")
    timeout_s: float = Field(600.0, gt=0, description="seconds for one answer")
    coder_prompt: str = Field(CODER_PROMPT, description="added to the coder's instructions")
    reviewer_prompt: str = Field(REVIEWER_PROMPT, description="the reviewer's instructions")
    repair_prompt: str = Field(
        REPAIR_PROMPT, pattern=r"\{complaints\}", description="asks to fix {complaints}"
    )


@flow
async def patch(run: Run[PatchParams]) -> Reply:
    """Generate code, check and review it, repair it, deliver it."""
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
    """Return the complaints of the first check that has any; cheap checks come first."""
    params = run.params
    if params.syntax and (found := syntax_errors(written)):
        return found
    if params.commands:
        # The parameters' files override the coder's, which must not change tests.
        try:
            results = await run.tool(
                "check_code",
                {
                    "files": {**given, **written, **params.files},
                    "commands": [*params.commands],
                    "timeout_s": params.command_timeout_s,
                },
                step="check",
                # The sandbox may be busy for half a minute, and needs some time to start.
                timeout_s=params.command_timeout_s * len(params.commands) + 75,
            )
        except ModelError as error:
            if error.kind != "unprocessable":
                raise
            # The coder's files cannot be written, which it can correct.
            return [error.message]
        failed = [result for result in results if not result["passed"]]
        if failed:
            return [f"`{r['command']}` failed (exit {r['exit']}):\n{r['output']}" for r in failed]
    if params.reviewer:
        review = Verified(params.reviewer, params.reviewer_prompt, step="review")
        return [*await run.check(shown(written, reply), [review])]
    return []


def shown(written: dict[str, str], reply: Reply) -> Reply:
    """Return the code for the reviewer: all files, including those a repair did not change."""
    blocks = "\n".join(f"```{path}\n{text}```" for path, text in written.items())
    return Reply((Text(f"{split(reply.text)[0].strip()}\n{blocks}"),))


def files_in(text: str) -> dict[str, str]:
    """Return the files in a text's fenced blocks, by path."""
    return split(text)[1]


def split(text: str) -> tuple[str, dict[str, str]]:
    """Return a text without its fenced files, and these files by path.

    A fence without an end is not a file. Each line is read only once.
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
    """Return the files in the user's messages; of several with one path the last counts."""
    found: dict[str, str] = {}
    for message in conversation.messages:
        if message.role == "user":
            found |= files_in(message.text)
    return found


def syntax_errors(files: dict[str, str]) -> list[str]:
    """Return syntax errors with path and line."""
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
    """Return the reply for the client; it states if the code did not pass."""
    text = reply.text.strip()
    if params.output == "diff":
        text = "".join(diff_of(path, given.get(path, ""), new) for path, new in written.items())
        text = f"```diff\n{text}```"
    else:
        # A repair contains only changed files; the client gets all files.
        said = files_in(text)
        missing = {p: t for p, t in written.items() if p not in said}
        text += "".join(f"\n\n```{p.rpartition('.')[2]} {p}\n{t}```" for p, t in missing.items())
    if complaints:
        text += "\n\nThis code did not pass its checks:\n" + "\n".join(complaints)
    return Reply((Text(text),), reply.finish, model=reply.model)


def diff_of(path: str, old: str, new: str) -> str:
    """Return a unified diff that ``git apply`` accepts."""
    olds, news = old.splitlines(keepends=True), new.splitlines(keepends=True)
    named = (f"a/{path}" if old else "/dev/null", f"b/{path}")
    if len(olds) * len(news) <= MOST_COMPARED:
        return "".join(difflib.unified_diff(olds, news, *named))
    # Comparing takes time proportional to the product of the lengths.
    changes = [*(f"-{line}" for line in olds), *(f"+{line}" for line in news)]
    head = f"--- {named[0]}\n+++ {named[1]}\n@@ -1,{len(olds)} +1,{len(news)} @@\n"
    return head + "".join(changes)
