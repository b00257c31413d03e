"""Flows that try to escape their confinement, registered or loaded as an old stored version.

The corpus is in ``flow_escapes.py``. Each escape is also run without confinement, to prove that
it works there.
"""

import sqlite3
import sys
import typing
import warnings
from contextlib import closing
from html.entities import html5
from types import ModuleType

import pytest

from polyvox.worker.registering.registration import examine
from polyvox.workflows import Conversation, Flow, FlowError
from polyvox.workflows.confinement.escapes import ForbiddenReach
from polyvox.workflows.source.bundle import digest_of_source, load_bundle, pack
from polyvox.workflows.testing import Rehearsal
from tests.attack.asking import call, run_of
from tests.attack.conftest import Target
from tests.attack.escape import CANARY, SOURCE, Escape
from tests.attack.flow_escapes import ESCAPES

SECRET = "canary-of-the-environment"

REFUSALS = (FlowError, AttributeError)
"""An attribute that does not exist gives Python's own message."""

every_escape = pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CANARY, SECRET)


def answer_of(flow: Flow) -> str:
    """Return the flow's answer."""
    return Rehearsal({}).play(flow, "hello").text


def test_the_corpus_is_large() -> None:
    """The names differ, so that a failure shows which one it was."""
    assert len({escape.name for escape in ESCAPES}) == len(ESCAPES) >= 40


@every_escape
def test_an_escape_works_where_nothing_confines_it(
    escape: Escape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its failure elsewhere would prove nothing."""
    monkeypatch.delitem(vars(typing), "compile", raising=False)
    module = ModuleType("unconfined")
    monkeypatch.setitem(sys.modules, "unconfined", module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exec(compile(escape.source, "escape.py", "exec"), vars(module))
        assert SECRET in answer_of(vars(module)["escape"])
    # The typing module caches evaluated annotations, and this one was evaluated without the guard.
    for forget in vars(typing)["_cleanups"]:
        forget()


@every_escape
def test_an_escape_of_a_stored_version_fails_with_a_sentence(escape: Escape) -> None:
    """A version that was stored before the rules existed is loaded without registration."""
    with pytest.raises(REFUSALS) as caught:
        answer_of(load_bundle(escape.source, "escape.py", "escape@1"))
    said = str(caught.value)
    assert SECRET not in said
    assert said.endswith(".") or isinstance(caught.value, AttributeError)


@every_escape
def test_an_escape_in_a_folder_fails_with_a_sentence(escape: Escape) -> None:
    """The modules of a folder are confined like a single file."""
    with pytest.raises(REFUSALS):
        answer_of(load_bundle(pack({"flow.py": escape.source}), "folder", "escape@1"))


@every_escape
def test_an_escape_cannot_be_registered(escape: Escape) -> None:
    """It is refused with the file and the line that tries it."""
    with pytest.raises(FlowError, match=r"escape\.py:\d+: ") as caught:
        examine(escape.source, "escape.py")
    assert SECRET not in str(caught.value)


CHANGES = {
    "a method of ours": "Conversation.then = None",
    "by setattr": "setattr(Conversation, 'th' + 'en', None)",
    "by delattr": "delattr(Conversation, 'then')",
    "of a class by another name": "other = [Conversation][0]\nother.then = None",
    "by object.__setattr__": "object.__setattr__(flow, '__defaults__', (1,))",
    "a function's attribute": "flow.kept = 1",
    "a module's name": "import json\njson.dumps = None",
    "a run's insides": "run._backend = None",
    "by a setter of a function": "flow.__setattr__.args[0]('__defaults__', (1,))",
    "by update_wrapper": "import functools\nfunctools.update_wrapper(Conversation.then, flow)",
    "by total_ordering": "import functools\nfunctools.total_ordering(Conversation)",
    "by an abstract class": "from collections.abc import Mapping\nMapping.register(str)",
    "by a model's ways": "Params.register(str)",
    "by dataclass()": "from dataclasses import dataclass\ndataclass(Conversation)",
}


@pytest.mark.parametrize("body", CHANGES.values(), ids=CHANGES)
def test_a_flow_cannot_change_what_belongs_to_others(body: str) -> None:
    """All flows and the server share the classes and functions of Polyvox."""
    before = dict(vars(Conversation))
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    source = SOURCE.format(top="from polyvox.workflows import Conversation", body=lines)
    with pytest.raises(REFUSALS):
        answer_of(load_bundle(source, "changes.py", "escape@1"))
    assert dict(vars(Conversation)) == before


@pytest.mark.parametrize("shared", ["Params", "BaseModel"])
def test_the_settings_of_parameters_cannot_be_changed_for_others(shared: str) -> None:
    """Every flow's parameters derive from them."""
    source = SOURCE.format(
        top="from pydantic import BaseModel",
        body=f"    {shared}.model_config['extra'] = 'allow'",
    )
    with pytest.raises(TypeError, match="does not support item assignment"):
        answer_of(load_bundle(source, "changes.py"))


def test_a_list_of_ours_is_not_shared() -> None:
    """A flow's changes to its copy do not affect other flows or the server."""
    source = SOURCE.format(
        top="from polyvox.workflows.language import LANGUAGES\nfrom html.entities import html5",
        body="    html5.clear()\n    found = type(LANGUAGES).__name__",
    )
    answer_of(load_bundle(source, "clears.py"))
    assert html5


def test_a_guard_cannot_be_replaced_by_a_name_from_elsewhere() -> None:
    """A star import provides only allowed names, whatever ``__all__`` lists."""
    names = "def __getattr__(name):\n    return lambda value, name: value\n"
    names += "__all__ = ['__polyvox_' + 'change__']\n"
    source = SOURCE.format(
        top="from polyvox.workflows import Conversation\nfrom .names import *",
        body="    Conversation.then = None",
    )
    with pytest.raises(ForbiddenReach, match="__all__ must be a list of plain names"):
        load_bundle(pack({"flow.py": source, "names.py": names}), "folder")


@pytest.mark.parametrize("package", ["polyvox.activities", "os", "", "_polyvox_flow_x"])
def test_a_flow_reads_the_texts_of_no_other_package(package: str) -> None:
    """A path cannot lead out of the flow's folder, because its files are not on a disk."""
    reads = SOURCE.format(
        top="from importlib.resources import files",
        body=f"    found = files({package!r}).joinpath('x.md').read_text('utf-8')",
    )
    with pytest.raises(ForbiddenReach, match="files of its own folder"):
        answer_of(load_bundle(pack({"flow.py": reads, "x.md": "x"}), "folder"))


@pytest.mark.parametrize("path", ["../../../../etc/hostname", "/etc/hostname", "flow.py"])
def test_a_path_leads_out_of_no_folder(path: str) -> None:
    """A stored file is looked up only among the flow's own files."""
    reads = SOURCE.format(
        top="from importlib.resources import files",
        body=f"    found = files(__package__).joinpath({path!r}).read_text('utf-8')",
    )
    with pytest.raises(FileNotFoundError, match="The flow has no file"):
        answer_of(load_bundle(pack({"flow.py": reads}), "folder"))


@pytest.mark.parametrize("needs_params", [None, 0])
def test_a_server_with_an_old_escape_in_its_registry_serves_on(
    target: Target, needs_params: int | None
) -> None:
    """Its runs fail with a message; the list of models and other models work."""
    escape = next(escape for escape in ESCAPES if escape.name == "subclasses of object")
    name = f"old_{needs_params}"
    source = escape.source.replace("def escape(", f"def {name}(")
    with closing(sqlite3.connect(target.data / "polyvox.db", timeout=30)) as database, database:
        database.execute(
            "INSERT INTO flow_versions (name, version, digest, source, filename, message, "
            "created_at, description, needs_params) VALUES (?, 1, ?, ?, 'old.py', '', "
            "'2026-01-01 00:00:00', '', ?)",
            (name, digest_of_source(source), source, needs_params),
        )
        database.execute("UPDATE registry_revision SET revision = revision + 1")
    assert call(target, "GET", "/v1/models", target.key).status_code == 200
    document = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    failed = call(target, "POST", "/v1/chat/completions", target.key, document)
    assert failed.status_code in (404, 500)
    if needs_params is not None:
        assert "cannot be used in a flow" in failed.json()["error"]["message"]
    edit = {"flow": f"{name}@1"}
    refused = call(target, "PUT", f"/api/models/{name}", target.admin_key, edit)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (400, "invalid_request")
    assert run_of(target, target.key)
