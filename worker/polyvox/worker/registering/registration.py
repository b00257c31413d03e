"""Reads a flow, a file or a folder, and rejects it if it could not run or be replayed.

There are three checks: the source is searched for non-deterministic code; the flow is imported in a
separate process, because it is an untrusted program; and it is run once with stub replies in
Temporal's sandbox (``dry_run_child.py``). Each mistake is reported with file, line and remedy.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from polyvox.activities.storage.storable_json import text_mistake
from polyvox.worker.registering.dry_run import DryRuns, Report, Task
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError
from polyvox.workflows.source.bundle import is_folder, mistakes_in_folder, pack, unpack
from polyvox.workflows.source.determinism import complaints, may_walk_sets

_LARGEST = 1024 * 1024
_LONGEST_NAME = 200

_SKIPPED = frozenset({"__pycache__", "tests"})
"""Folders that are not part of a flow; names that begin with a dot are not part of it either."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A flow that can be registered; ``doubts`` are warnings for its author."""

    name: str
    source: str
    filename: str
    doubts: tuple[str, ...] = ()


def read_source(path: Path) -> str:
    """Return the stored text of the file or folder at ``path``. Raises FlowError."""
    try:
        if not path.is_dir():
            if path.suffix != ".py" and path.exists():
                raise FlowError(
                    f"{str(path)!r} is not a Python file. Register a file that ends in .py, or the "
                    "folder of a flow with its prompts."
                )
            return path.read_text(encoding="utf-8")
        files = {
            file.relative_to(path).as_posix(): file
            for file in sorted(path.rglob("*"))
            if file.is_file() and not _is_skipped(file.relative_to(path))
        }
        if found := list(mistakes_in_folder(dict.fromkeys(files, ""))):
            raise FlowError("\n".join(found))
        if not any(name.endswith(".py") for name in files):
            raise FlowError(f"The folder {str(path)!r} has no Python module.")
        return pack({name: file.read_text(encoding="utf-8") for name, file in files.items()})
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError(f"Cannot read {str(path)!r}: {error}.") from None


def examine(
    source: str,
    filename: str,
    *,
    params: Mapping[str, Json] | None = None,
    providers: Collection[str] = (),
    dry_runs: DryRuns | None = None,
) -> Candidate:
    """Return ``source`` as a Candidate if it can be registered; takes about half a second.

    ``params`` are the parameters of the dry run, guessed from the schema if empty. ``providers``
    are the known providers; if empty, the flow's models are not checked. ``dry_runs`` is a process
    that was started in advance to save time. Raises FlowError that names every mistake found.
    """
    if len(source) > _LARGEST:
        raise FlowError(
            f"{filename}: the source is larger than the limit of {_LARGEST // 1024} KiB."
        )
    if mistake := _unusable(source, filename):
        raise FlowError(mistake)
    _refuse_at_sight(source, filename)
    with ExitStack() as stack:
        ready = dry_runs or stack.enter_context(DryRuns())
        twice = any(may_walk_sets(text) for text in _modules(source, filename).values())
        reports = ready.run(Task(source, filename, dict(params or {})), twice=twice)
    one, other = reports[0], reports[-1]
    refused = list(dict.fromkeys([*one.refused, *other.refused]))
    refused += _unknown_providers(one, unpack(source, filename), filename, providers)
    if not refused and one.calls != other.calls:
        refused = [_difference(one, other, filename)]
    if refused:
        raise FlowError("\n".join(refused))
    return Candidate(one.name, source, filename, tuple(dict.fromkeys(one.doubts)))


def _unusable(source: str, filename: str) -> str:
    """Return why a text cannot be a stored flow at all, an empty string if it can."""
    if not 1 <= len(filename) <= _LONGEST_NAME or not filename.isprintable():
        return f"A flow's file name must have 1 to {_LONGEST_NAME} printable characters."
    if mistake := text_mistake(source):
        return f"{filename}: the source {mistake}"
    if is_folder(source):
        try:
            files = unpack(source, filename)
            return "\n".join(mistakes_in_folder(files))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return f"{filename}: is not a valid stored folder. Register the folder itself."
    return ""


def _modules(source: str, filename: str) -> dict[str, str]:
    """Return a stored flow's Python texts by path; a single file may have any name."""
    texts = unpack(source, filename)
    if not is_folder(source):
        return texts
    return {path: text for path, text in texts.items() if path.endswith(".py")}


def _refuse_at_sight(source: str, filename: str) -> None:
    folder = is_folder(source)
    found: list[str] = []
    for path, text in _modules(source, filename).items():
        shown = f"{filename}/{path}" if folder else path
        try:
            looked = complaints(text, shown, in_folder=folder)
        except SyntaxError as error:
            found.append(f"{shown}:{error.lineno}: this is not valid Python: {_reason(error)}")
            continue
        except (RecursionError, MemoryError):
            found.append(f"{shown}:1: the source is nested too deeply to be read.")
            continue
        found += [f"{shown}:{complaint.line}: {complaint.message}" for complaint in looked]
    if found:
        raise FlowError("\n".join(found))


def _reason(error: SyntaxError) -> str:
    """Return Python's message as a sentence, and the line it is about."""
    message = error.msg if error.msg.endswith((".", "?", "!")) else f"{error.msg}."
    line = (error.text or "").strip()
    return f"{message} The line is: {line}" if line else message


def _unknown_providers(
    report: Report, texts: Mapping[str, str], filename: str, providers: Collection[str]
) -> list[str]:
    """Return a message for each call to an unknown provider; none if ``providers`` is empty."""
    known = ", ".join(sorted(providers))
    return [
        f"{_where(model, texts, filename)}: step {step!r} asks {model!r}, whose provider is not "
        f"known. Providers: {known}."
        for step, model, _ in report.calls
        if providers and model.partition(":")[0] not in providers
    ]


def _where(model: str, texts: Mapping[str, str], filename: str) -> str:
    """Return the line that names ``model``, or the file if the name came from a parameter."""
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if model in line:
                shown = path if path == filename else f"{filename}/{path}"
                return f"{shown}:{number}"
    return filename


def _difference(one: Report, other: Report, filename: str) -> str:
    pairs = zip(one.calls, other.calls, strict=False)
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), None)
    if same is None:
        same, what = min(len(one.calls), len(other.calls)), "made in only one of them"
    else:
        (step, model, _), (step_2, model_2, _) = (r.calls[same] for r in (one, other))
        what = f"step {step!r} of {model}"
        if (step, model) != (step_2, model_2):
            what += f" in one and step {step_2!r} of {model_2} in the other"
        else:
            what += " with different conversations"
    return (
        f"{filename}: the flow behaves differently in two processes: call {same + 1} is {what}. "
        "If it iterates over a set, sort the set, or use a dict or a list."
    )


def _is_skipped(path: Path) -> bool:
    return any(part in _SKIPPED or part.startswith(".") for part in path.parts)
