"""Reads a flow for registration, a file or a folder, and refuses what could not run or be replayed.

Three looks: at the source, for what differs from run to run; at the import, in a clean process, for
a flow is somebody's program and what it breaks is broken there; and at one run on imagined answers
in Temporal's sandbox (``dry_run_child.py``). All mistakes are told with file, line and what to do.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from polyvox.activities.storage.storable_json import text_mistake
from polyvox.worker.registering.dry_run import Report, Task, Trials
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError
from polyvox.workflows.source.bundle import is_folder, mistakes_in_folder, pack, unpack
from polyvox.workflows.source.determinism import complaints, may_walk_sets

_LARGEST = 1024 * 1024
_LONGEST_NAME = 200

_SKIPPED = frozenset({"__pycache__", "tests"})
"""Folders beside a flow's modules that are not part of it; neither is what begins with a dot."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A flow that may be registered; ``doubts`` are worth a look before it is relied on."""

    name: str
    source: str
    filename: str
    doubts: tuple[str, ...] = ()


def read_source(path: Path) -> str:
    """Return the stored text of the file or folder at ``path``. Raises FlowError."""
    try:
        if not path.is_dir():
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
    trials: Trials | None = None,
) -> Candidate:
    """Return ``source`` as a Candidate if it can be registered; takes about half a second.

    ``params`` are those of the trial run, guessed if there are none; ``providers`` those whose
    models the flow may ask, if they are known. ``trials`` are processes that were started before,
    to save time. Raises FlowError that names every mistake found.
    """
    if len(source) > _LARGEST:
        raise FlowError(f"{filename}: a flow has at most {_LARGEST // 1024} KiB of source.")
    if mistake := _unusable(source, filename):
        raise FlowError(mistake)
    _refuse_at_sight(source, filename)
    with ExitStack() as stack:
        ready = trials or stack.enter_context(Trials())
        twice = any(may_walk_sets(text) for text in _modules(source, filename).values())
        reports = ready.run(Task(source, filename, dict(params or {})), twice=twice)
    one, other = reports[0], reports[-1]
    refused = list(dict.fromkeys([*one.refused, *other.refused]))
    refused += _strangers(one, unpack(source, filename), filename, providers)
    if not refused and one.calls != other.calls:
        refused = [_difference(one, other, filename)]
    if refused:
        raise FlowError("\n".join(refused))
    return Candidate(one.name, source, filename, tuple(dict.fromkeys(one.doubts)))


def _unusable(source: str, filename: str) -> str:
    """Say why a text cannot be a stored flow at all; empty if it can."""
    if not 1 <= len(filename) <= _LONGEST_NAME or not filename.isprintable():
        return f"A flow's file name has 1 to {_LONGEST_NAME} printable characters."
    if mistake := text_mistake(source):
        return f"{filename}: the source {mistake}"
    if is_folder(source):
        try:
            files = unpack(source, filename)
            return "\n".join(mistakes_in_folder(files))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return f"{filename}: is not a stored folder. Register the folder itself."
    return ""


def _modules(source: str, filename: str) -> dict[str, str]:
    """Return a stored flow's Python texts by path; a single file may be called anything."""
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
            found.append(f"{shown}:{error.lineno}: {error.msg}.")
            continue
        except (RecursionError, MemoryError):
            found.append(f"{shown}:1: the source is nested too deeply to be read.")
            continue
        found += [f"{shown}:{complaint.line}: {complaint.message}" for complaint in looked]
    if found:
        raise FlowError("\n".join(found))


def _strangers(
    report: Report, texts: Mapping[str, str], filename: str, providers: Collection[str]
) -> list[str]:
    """Say which calls ask a model of a provider that is not known; none if no provider is."""
    known = ", ".join(sorted(providers))
    return [
        f"{_where(model, texts, filename)}: step {step!r} asks {model!r}, whose provider is not "
        f"known. Providers: {known}."
        for step, model, _ in report.calls
        if providers and model.partition(":")[0] not in providers
    ]


def _where(model: str, texts: Mapping[str, str], filename: str) -> str:
    """Return the line that names ``model``; a parameter may have brought it from outside."""
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
        same, what = min(len(one.calls), len(other.calls)), "made in one of them only"
    else:
        (step, model, _), (step_2, model_2, _) = (r.calls[same] for r in (one, other))
        what = f"step {step!r} of {model}"
        if (step, model) != (step_2, model_2):
            what += f" in one and step {step_2!r} of {model_2} in the other"
        else:
            what += " with another conversation in each"
    return (
        f"{filename}: in two processes the flow does not do the same: call {same + 1} is {what}. "
        "Does it walk a set? Sort it, or use a dict or a list."
    )


def _is_skipped(path: Path) -> bool:
    return any(part in _SKIPPED or part.startswith(".") for part in path.parts)
