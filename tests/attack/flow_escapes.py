"""The corpus of escapes: flows that try to reach the server's environment in different ways."""

from tests.attack.escape import (
    ATTRIBUTES,
    CANARY,
    EVERYBODY,
    IMPORTS_OS,
    MATCHED,
    OS_OF,
    READ,
    SPOKEN,
    SUBCLASSES,
    Escape,
)


def _modules() -> list[Escape]:
    """Modules that are attributes of allowed modules."""
    ways = {
        "dataclasses.sys": ("import dataclasses", "dataclasses.sys.modules['os']"),
        "from dataclasses import sys": ("from dataclasses import sys", "sys.modules['os']"),
        "enum.sys": ("import enum", "enum.sys.modules['os']"),
        "re.enum.sys": ("import re", "re.enum.sys.modules['os']"),
        "json.decoder's module": ("import json", "json.decoder.scanner.re.enum.sys.modules['os']"),
        "json.codecs": ("import json", "json.codecs.sys.modules['os']"),
        "asyncio.sys": ("import asyncio", "asyncio.sys.modules['os']"),
        "asyncio.subprocess": ("from asyncio import subprocess", "subprocess.events.os"),
        "asyncio.events": ("import asyncio.events", "asyncio.events.os"),
        "typing.sys": ("import typing", "typing.sys.modules['os']"),
        "statistics.sys": ("import statistics", "statistics.sys.modules['os']"),
        "our bundle": ("from polyvox.workflows.source.bundle import sys", "sys.modules['os']"),
        "our dry run": (
            "import polyvox.worker.registering.dry_run_child",
            "polyvox.worker.registering.dry_run_child.os",
        ),
        "our flow module": ("from polyvox.workflows.flow import inspect", "inspect.os"),
        "pydantic's main": ("import pydantic.main", "pydantic.main.sys.modules['os']"),
        "importlib": ("import importlib", "importlib.import_module('os')"),
        "importlib.resources": ("import importlib.resources", "importlib.resources._common.os"),
        "import os": ("import os", "os"),
        "from os import": ("from os import environ as e", "type('x', (), {'environ': e})"),
    }
    return [Escape(name, top, f"found = {way}{READ}") for name, (top, way) in ways.items()]


ESCAPES: list[Escape] = [
    *_modules(),
    Escape("subclasses of object", "", SUBCLASSES.format(base="object")),
    Escape("subclasses of a base", "", SUBCLASSES.format(base="().__class__.__base__")),
    Escape("subclasses by mro", "", SUBCLASSES.format(base="type(()).mro()[-1]")),
    Escape("globals of a function of ours", OS_OF, "found = canary(run.ask.__func__.__globals__)"),
    Escape(
        "globals by getattr",
        OS_OF,
        "found = canary(getattr(flow, '__glo' + 'bals__'))",
    ),
    Escape(
        "getattr under another name",
        OS_OF + "look = [getattr]\n",
        "found = canary(look[0](flow, '_'.join(['', '', 'globals', '', ''])))",
    ),
    Escape(
        "attrgetter",
        "from operator import attrgetter\n" + OS_OF,
        "found = canary(attrgetter('__glo' + 'bals__')(flow))",
    ),
    Escape(
        "methodcaller",
        "from operator import methodcaller\n" + OS_OF,
        "found = canary(methodcaller('__getattribute__', '__glo' + 'bals__')(flow))",
    ),
    Escape(
        "object.__getattribute__",
        OS_OF,
        "found = canary(object.__getattribute__(flow, '__glo' + 'bals__'))",
    ),
    Escape("builtins by name", "", f"found = __builtins__['__import__']('os'){READ}"),
    Escape("loader by name", "", f"found = __import__('os'){READ}"),
    Escape("eval", "", f"found = eval(\"__import__('os')\"){READ}"),
    Escape("exec", "space = {}", f"exec('import os', space)\nfound = space['os']{READ}"),
    Escape("compile", "", f"found = eval(compile(\"__import__('os')\", 'x', 'eval')){READ}"),
    Escape("globals()", OS_OF, "found = canary({**globals(), 'sys': None})"),
    Escape("vars of ours", OS_OF, "found = canary(vars(type(flow))['__globals__'].__get__(flow))"),
    Escape("the module of len", "", f"found = len.__self__.__import__('os'){READ}"),
    Escape(
        "a traceback's frame",
        OS_OF,
        "try:\n    run.conversation.then(1).foo\nexcept Exception as error:\n"
        "    frame = error.__traceback__.tb_frame\n"
        "    while frame.f_back is not None:\n        frame = frame.f_back\n"
        "        found = found or (frame.f_globals.get('sys') and canary(frame.f_globals)) or ''",
    ),
    Escape(
        "a generator's frame",
        OS_OF + "def steps():\n    yield frames.gi_frame.f_back\n",
        "global frames\nframes = steps()\nframe = next(frames)\nwhile frame.f_back is not None:\n"
        "    frame = frame.f_back\n"
        "    found = found or (frame.f_globals.get('sys') and canary(frame.f_globals)) or ''",
    ),
    Escape(
        "a coroutine's frame",
        "import asyncio\n" + OS_OF,
        "frame = asyncio.current_task().get_coro().cr_frame\n"
        "found = canary(frame.f_builtins['__import__']('polyvox.workflows.source.bundle').workflows"
        ".source.bundle.__dict__)",
    ),
    Escape(
        "a task's stack",
        "import asyncio\n" + OS_OF,
        "(frame,) = asyncio.current_task().get_stack(limit=1)\n"
        "found = canary({'__builtins__': frame.f_builtins})",
    ),
    Escape(
        "str.format",
        "",
        "text = '{0.__globals__[sys].modules[os].environ[" + CANARY + "]}'\n"
        "from polyvox.workflows.source.bundle import load_bundle\nfound = text.format(load_bundle)",
    ),
    Escape(
        "str.format of what a flow has",
        "",
        "text = '{0.__func__.__globals__[__builtins__]}'\nfound = text.format(run.ask)\n"
        "found = '{0.__globals__[inspect].os.environ[" + CANARY + "]}'.format(flow)",
    ),
    Escape(
        "str.format behind a name",
        "",
        "say = str.format\nfound = say('{0.__globals__[inspect].os.environ["
        + CANARY
        + "]}', flow)",
    ),
    Escape(
        "str.format_map",
        "",
        "found = '{f.__globals__[inspect].os.environ[" + CANARY + "]}'.format_map({'f': flow})",
    ),
    Escape(
        "str.format by getattr",
        "",
        "found = getattr('{0.__globals__[inspect].os.environ["
        + CANARY
        + "]}', 'for' + 'mat')(flow)",
    ),
    Escape(
        "UserString.format",
        "from collections import UserString",
        "found = UserString('{0.__globals__[inspect].os.environ[" + CANARY + "]}').format(flow)",
    ),
    Escape(
        "string.Formatter",
        "from string import Formatter",
        "found = Formatter().format('{0.__globals__[inspect].os.environ[" + CANARY + "]}', flow)",
    ),
    Escape(
        "str.format by a class pattern",
        "",
        "match '{0.__globals__[inspect].os.environ[" + CANARY + "]}':\n"
        "    case str(format=say):\n        found = say(flow)",
    ),
    Escape(
        "str.format in a format's width",
        "class Shown:\n    def __format__(self, width):\n        return width\n",
        "found = '{0:{1.__globals__[inspect].os.environ[" + CANARY + "]}}'.format(Shown(), flow)",
    ),
    Escape(
        "str.format of a str of its own",
        "class Own(str):\n    def say(self, what):\n        return super().format(what)\n",
        f"found = Own('{SPOKEN}').say(flow)",
    ),
    Escape(
        "str.format as a dataclass's field",
        "from dataclasses import astuple, dataclass, field\n@dataclass\nclass Own(str):\n"
        "    format: object = field(init=False)\n"
        "    def __new__(cls, text=''):\n        return str.__new__(cls, TEXT)\n"
        f"TEXT = '{SPOKEN}'\n",
        "found = astuple(Own())[0](flow)",
    ),
    Escape(
        "a class pattern",
        OS_OF,
        "match flow:\n    case object(__globals__=names):\n        found = canary(names)",
    ),
    Escape(
        "__match_args__",
        "import abc\n"
        + OS_OF
        + "class Any_(abc.ABC):\n    __match_args__ = ('__globals__',)\nAny_.register(type(flow))",
        "match flow:\n    case Any_(names):\n        found = canary(names)",
    ),
    Escape(
        "__match_args__ by type()",
        "import abc\n"
        + OS_OF
        + "Any_ = type(abc.ABC)('Any_', (), {'__match_args__': ('__glo' + 'bals__',)})\n"
        "Any_.register(type(flow))",
        "match flow:\n    case Any_(names):\n        found = canary(names)",
    ),
    Escape(
        "a class by type",
        "import abc\n"
        + OS_OF
        + "make = type\nAny_ = make('Any_', (abc.ABC,), {'__match_args__': ('__glo' + 'bals__',)})"
        "\nAny_.register(type(flow))",
        "match flow:\n    case Any_(names):\n        found = canary(names)",
    ),
    Escape(
        "an annotation that is a text",
        "from pydantic import BaseModel\nKEPT = []\nclass Named(BaseModel):\n"
        "    one: \"(KEPT.append(__import__('os')), int)[1]\"\n",
        f"found = KEPT[0]{READ}",
    ),
    Escape(
        "a text that pydantic resolves",
        "from pydantic import BaseModel\nKEPT = []\n"
        "TEXT = '(KEPT.append(__imp' + 'ort__(\"os\")"
        + READ.replace('"', '\\"').replace("\\", "")
        + "), int)[1]'\n"
        "class Named(BaseModel):\n    one: TEXT\n",
        "found = KEPT[0]",
    ),
    Escape(
        "a text below Optional",
        "from typing import Optional\nfrom pydantic import BaseModel\nKEPT = []\n"
        "TEXT = '(KEPT.append([c for c in ().__cla' + 'ss__.__base__.__subclas' + 'ses__()"
        " if c.__name__ == \"_wrap_close\"][0].__init__.__glo' + 'bals__), int)[1]'\n"
        "class Named(BaseModel):\n    one: Optional[TEXT] = None\n",
        f'found = KEPT[0]["environ"]["{CANARY}"]',
    ),
    Escape(
        "a TypeVar's bound",
        "from typing import Generic, TypeVar\nfrom pydantic import BaseModel\nKEPT = []\n"
        "T = TypeVar('T', bound='(KEPT.append(__imp' + 'ort__(\"os\")), int)[1]')\n"
        "class Named(BaseModel, Generic[T]):\n    one: T\n",
        f"found = KEPT[0]{READ}",
    ),
    Escape(
        "create_model",
        "from pydantic import create_model\nKEPT = []\n"
        "create_model('Named', one=('(KEPT.append(__import__(\"os\")), int)[1]', 1))\n",
        f"found = KEPT[0]{READ}",
    ),
    Escape(
        "ImportString",
        "from pydantic import BaseModel, ImportString\n"
        "class Named(BaseModel):\n    one: ImportString\n",
        f"found = Named(one='os').one{READ}",
    ),
    Escape(
        "ImportString behind TypeAdapter",
        "from pydantic import TypeAdapter, ImportString",
        f"found = TypeAdapter(ImportString).validate_python('os'){READ}",
    ),
    Escape(
        "from_attributes",
        ATTRIBUTES + "    model_config = ConfigDict(**{'from_' + 'attributes': True})\n",
        "found = canary(Named.model_validate(run).one)",
    ),
    Escape(
        "from_attributes when validating",
        ATTRIBUTES,
        "found = canary(Named.model_validate(run, from_attributes=True).one)",
    ),
    Escape(
        "from_attributes by super()",
        ATTRIBUTES + "    @classmethod\n    def read(cls, given):\n"
        "        return super().model_validate(given, **{'from_' + 'attributes': True})\n",
        "found = canary(Named.read(run).one)",
    ),
    Escape(
        "from_attributes set later",
        ATTRIBUTES,
        "Named.model_config['from_' + 'attributes'] = True\nNamed.model_rebuild(force=True)\n"
        "found = canary(Named.model_validate(run).one)",
    ),
    Escape(
        "a field's name in a dataclass",
        "from dataclasses import make_dataclass\nKEPT = []\n",
        f"found = make_dataclass('Named', ['one'], namespace={{}}).__init__.__globals__"
        f"['__builtins__']['__import__']('os'){READ}",
    ),
    Escape(
        "update_wrapper copies globals",
        "import functools\n" + OS_OF + "class Kept:\n    pass\n",
        "kept = Kept()\n"
        "functools.update_wrapper(kept, flow, assigned=('__globals__',), updated=())\n"
        "found = canary(kept.__globals__)",
    ),
    Escape(
        "a descriptor that hears of it",
        "import functools\n" + OS_OF + "class Kept:\n    def __setattr__(self, name, value):\n"
        "        KEPT.append(value)\nKEPT = []\n",
        "functools.update_wrapper(Kept(), flow, ('__glo' + 'bals__',), ())\n"
        "found = canary(KEPT[0])",
    ),
    Escape(
        "get_type_hints",
        "from typing import get_type_hints\nKEPT = []\n"
        "class Named:\n    pass\n"
        "Named.__annotations__ = {'one': '(KEPT.append(__import__(\"os\")), int)[1]'}\n",
        f"get_type_hints(Named, globals())\nfound = KEPT[0]{READ}",
    ),
    Escape(
        "ForwardRef",
        "from typing import ForwardRef\n",
        "KEPT = []\ntext = '(KEPT.append(__import__(\"os\")), int)[1]'\n"
        f"ForwardRef(text)._evaluate({{'KEPT': KEPT}}, {{}}, frozenset())\nfound = KEPT[0]{READ}",
    ),
    Escape(
        "ForwardRef of a text below List",
        "from typing import List, get_args\n",
        f"KEPT = []\ntext = '{IMPORTS_OS}'\n"
        "get_args(List[text])[0]._evaluate({'KEPT': KEPT}, {}, frozenset())\n"
        f"found = KEPT[0]{READ}",
    ),
    Escape(
        "a text in singledispatch",
        "import functools\nKEPT = []\n"
        "@functools.singledispatch\ndef told(value):\n    pass\n"
        f"@told.register\ndef _(value: '{IMPORTS_OS}'):\n    pass\n",
        f"found = KEPT[0]{READ}",
    ),
    Escape(
        "FunctionType",
        "from types import FunctionType",
        "found = FunctionType((lambda: __import__('os')).__code__, {})()" + READ,
    ),
    Escape(
        "a function's own builtins",
        "def own():\n    pass\n",
        f"found = own.__builtins__['__import__']('os'){READ}",
    ),
    Escape(
        "an enumeration made of a module",
        "import enum\nclass Made(enum.IntEnum):\n    ONE = 1\nKEPT = []\n",
        "Made._convert_('Other', 'os', lambda name: KEPT.append(name))\n"
        "found = Made._convert_.__func__.__globals__['sys'].modules['os']" + READ,
    ),
    Escape(
        "what copy puts together",
        "import copy\n" + OS_OF + "class Made:\n    def __reduce_ex__(self, version):\n"
        "        return getattr, (flow, '__globals__')\n",
        "found = canary(copy.copy(Made()))",
    ),
    Escape("help", "", "found = help.__call__.__func__.__globals__['sys'].modules['os']" + READ),
    Escape(
        "super with another's class",
        OS_OF,
        "found = canary(super(type(flow), flow).__getattribute__('__globals__'))",
    ),
    Escape(
        "ast.main opens files",
        "import ast",
        f"found = ast.main.__globals__['sys'].modules['os']{READ}",
    ),
    Escape(
        "ast.iter_fields",
        "import ast\n" + OS_OF + "class Node:\n    _fields = ('__glo' + 'bals__',)\n"
        "    def __init__(self, inner):\n        self.inner = inner\n"
        "    def __getattr__(self, name):\n        return getattr(self.inner, name)\n",
        "found = canary(dict(ast.iter_fields(Node(flow)))['__globals__'])",
    ),
    Escape(
        "the run's backend",
        OS_OF,
        "found = canary(type(run._backend).ask.__globals__ if hasattr(type(run._backend), 'ask') "
        "else type(run._backend).__init__.__globals__)",
    ),
    Escape(
        "pickled bytes in pydantic's old methods",
        "from pydantic import BaseModel\nclass Named(BaseModel):\n    one: str\n",
        "bytes_ = b\"cos\\ngetenv\\n(S'" + CANARY + "'\\ntRq\\x00}q\\x01(S'one'\\nh\\x00u.\"\n"
        "found = Named.parse_raw(bytes_, proto='pickle', allow_pickle=True).one",
    ),
    Escape(
        "a class by an alias of type",
        EVERYBODY.format("type[int]"),
        MATCHED,
    ),
    Escape(
        "a class by our own annotation",
        "from dataclasses import fields\nfrom polyvox.workflows import Flow\n"
        + EVERYBODY.format("[f.type for f in fields(Flow) if f.name == 'params'][0]"),
        MATCHED,
    ),
    Escape(
        "what wraps() wraps",
        "import functools\n"
        + OS_OF
        + "KEPT = []\nclass Kept:\n    def __setattr__(self, name, value):\n"
        "        KEPT.append(value)\n",
        "functools.wraps(flow).func(Kept(), flow, ('__glo' + 'bals__',), ())\n"
        "found = canary(KEPT[0])",
    ),
]
