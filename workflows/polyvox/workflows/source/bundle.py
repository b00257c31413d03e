"""The stored form of a flow: the text of one file, or a folder of modules and prompts as one text.

A folder is stored as a JSON object of its files by relative path, sorted, so that the same files
always have the same digest. Flows are loaded from this text without file access: modules import
each other with relative imports, and read prompts with ``importlib.resources.files(__package__)``.
"""

import ast
import hashlib
import json
import linecache
import re
import sys
import types
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import PurePosixPath

from polyvox.workflows.confinement.execution import Confinement
from polyvox.workflows.flow import Flow, FlowError, confined, load_flow

_HEAD = '{"polyvox_flow_folder":1,"files":'

DATA_SUFFIXES = frozenset({".csv", ".j2", ".json", ".md", ".toml", ".txt", ".xml", ".yaml", ".yml"})
"""The suffixes of files that a flow's folder may contain besides modules; all are UTF-8 text."""

_MODULE = re.compile(r"(?:[A-Za-z_]\w*/)*[A-Za-z_]\w*\.py")


def pack(files: Mapping[str, str]) -> str:
    """Return the stored text of a folder: its files by relative path with ``/``."""
    listed = json.dumps(files, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"{_HEAD}{listed}}}"


def unpack(source: str, filename: str) -> dict[str, str]:
    """Return the files of a stored flow by path; the path of a single file is ``filename``."""
    if not source.startswith(_HEAD):
        return {filename: source}
    files: dict[str, str] = json.loads(source)["files"]
    return files


def is_folder(source: str) -> bool:
    return source.startswith(_HEAD)


def digest_of_source(source: str) -> str:
    """Return the digest of a stored flow."""
    return hashlib.sha256(source.encode()).hexdigest()


def load_bundle(source: str, filename: str, label: str = "") -> Flow:
    """Load a stored flow; ``filename`` is the name of the file or folder.

    A ``label`` (``careful@2``) is appended to the file names in tracebacks. Raises what
    ``load_flow`` raises. The modules of a folder together must declare exactly one flow.
    """
    suffix = f" ({label})" if label else ""
    if not is_folder(source):
        return load_flow(source, filename + suffix)
    files = unpack(source, filename)
    package = f"_polyvox_flow_{digest_of_source(source)}"
    modules = _Folder(package, filename, suffix, files).load()
    found = {
        id(value): value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Flow) and value.function.__globals__ is vars(module)
    }
    if len(found) != 1:
        names = ", ".join(sorted(flow.name for flow in found.values())) or "none"
        raise FlowError(
            f"The modules in {filename} must declare exactly one @flow function together; "
            f"found: {names}."
        )
    return next(iter(found.values()))


def unload(flow: Flow) -> None:
    """Remove the modules of a loaded flow that is not needed any more, and their source lines."""
    package = flow.function.__module__.partition(".")[0]
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        module = sys.modules.pop(name)
        # A folder without __init__.py is a module without a file.
        linecache.cache.pop(getattr(module, "__file__", None) or "", None)


class _Folder:
    """Loads the modules of one folder, each after the modules it imports."""

    def __init__(self, package: str, shown: str, suffix: str, files: Mapping[str, str]) -> None:
        self._package = package
        self._shown = shown
        self._suffix = suffix
        self._files = files
        self._sources = {_dotted(path): path for path in files if path.endswith(".py")}
        self._confinement = Confinement(package, self._files_below)
        self._loading: list[str] = []
        self._loaded: dict[str, types.ModuleType] = {}

    def load(self) -> list[types.ModuleType]:
        folders = {""} | {
            parent
            for path in self._files
            for parent in _parents(path)
            if all(step.isidentifier() for step in parent.split("."))
        }
        for folder in sorted(folders):
            self._add(folder, is_package=True)
        for name in sorted(self._sources):
            self._load(name)
        return [self._loaded[name] for name in sorted(self._loaded)]

    def _files_below(self, package: str) -> "StoredFolder":
        return StoredFolder(
            self._files, package.removeprefix(self._package).strip(".").replace(".", "/")
        )

    def _add(self, name: str, *, is_package: bool) -> types.ModuleType:
        full = f"{self._package}.{name}" if name else self._package
        module = types.ModuleType(full)
        module.__spec__ = ModuleSpec(full, None, is_package=is_package)
        module.__package__ = full if is_package else full.rpartition(".")[0]
        if is_package:
            module.__path__ = []
        sys.modules[full] = self._loaded[name] = module
        if name:
            parent = self._loaded[name.rpartition(".")[0]]
            setattr(parent, name.rpartition(".")[2], module)
        return module

    def _load(self, name: str) -> None:
        if name in self._loading:
            circle = " -> ".join([*self._loading[self._loading.index(name) :], name])
            raise FlowError(f"Modules in {self._shown} import each other: {circle}.")
        path = self._sources[name]
        is_package = path.endswith("__init__.py")
        known = self._loaded.get(name)
        if known is not None and (not is_package or "__file__" in vars(known)):
            return
        self._loading.append(name)
        source = self._files[path]
        filename = f"{self._shown}/{path}{self._suffix}"
        tree = confined(source, filename)
        for needed in _imported(tree, name, is_package=is_package):
            if needed in self._sources and needed != name:
                self._load(needed)
        module = known or self._add(name, is_package=False)
        module.__file__ = filename
        self._confinement.execute(source, tree, filename, module)
        self._loading.pop()


class StoredFolder:
    """A stored file or folder of a flow, returned by ``importlib.resources.files``; read-only."""

    def __init__(self, files: Mapping[str, str], path: str) -> None:
        self._files = {path: text for path, text in files.items() if not path.endswith(".py")}
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def joinpath(self, *steps: str) -> "StoredFolder":
        """Return the file or folder at ``steps`` below this one."""
        path = "/".join(part for part in (self._path, *steps) if part)
        return StoredFolder(self._files, path.strip("/"))

    def __truediv__(self, step: str) -> "StoredFolder":
        return self.joinpath(step)

    def is_file(self) -> bool:
        return self._path in self._files

    def is_dir(self) -> bool:
        return any(path.startswith(self._head) for path in self._files)

    def iterdir(self) -> Iterator["StoredFolder"]:
        """Yield the direct contents of this folder, sorted."""
        below = {
            path.removeprefix(self._head).partition("/")[0]
            for path in self._files
            if path.startswith(self._head)
        }
        yield from (self.joinpath(name) for name in sorted(below))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the file's text. Raises FileNotFoundError."""
        return self.read_bytes().decode(encoding, errors)

    def read_bytes(self) -> bytes:
        """Return the file's text encoded as UTF-8. Raises FileNotFoundError."""
        if not self.is_file():
            raise FileNotFoundError(f"The flow has no file {self._path!r}.")
        return self._files[self._path].encode()

    @property
    def _head(self) -> str:
        return f"{self._path}/" if self._path else ""


def mistakes_in_folder(files: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for each file that cannot be part of a flow."""
    for path in files:
        suffix = PurePosixPath(path).suffix
        if not path.isprintable() or any(step in ("", ".", "..") for step in path.split("/")):
            yield f"{path!r}: a path must consist of relative, printable names: prompts/judge.md."
            continue
        if suffix == ".py" and not _MODULE.fullmatch(path):
            yield f"{path}: a module's path must consist of identifiers, such as prompts/judge.py."
        elif suffix != ".py" and suffix not in DATA_SUFFIXES:
            known = " ".join(sorted(DATA_SUFFIXES))
            yield f"{path}: only .py and text files ({known}) can be part of a flow."


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("__init__").rstrip("/").replace("/", ".")


def _parents(path: str) -> list[str]:
    folders = path.split("/")[:-1]
    return [".".join(folders[: depth + 1]) for depth in range(len(folders))]


def _imported(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[str]:
    """Yield the names in this folder that a module's relative imports may refer to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            steps = name.split(".") if name else []
            above = node.level - is_package
            start = steps[: len(steps) - above] if above else steps
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
