"""Loading a `host.py`: the one place of this layer that touches the world."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import anicca.declare
from anicca.declare.combine import combine
from anicca.declare.host import Host
from anicca.declare.ids import near
from anicca.declare.source import Source, locate
from anicca.errors import DeclarationError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    from anicca.declare.spec import Spec

MODULE = "__anicca_host__"
"""What the module of a loaded `host.py` is called."""


def evaluate(host_file: Path) -> Spec:
    """The spec of the host that a file declares. Raises `DeclarationError` with every fault found."""
    beside = _Beside(host_file.parent)
    host = _load(host_file, beside)
    return combine(host, lambda place, keyword, element: locate(beside.sources, place, keyword, element))


def _load(host_file: Path, beside: _Beside) -> Host:
    """The `host` of a Python file. Files beside it can be imported; nothing is written and no bytecode read."""
    name = os.fspath(host_file)
    start = Place(name, 1)
    if not host_file.is_file():
        raise DeclarationError(Fault(message="no such file", places=(start,)))
    before = dict(sys.modules)
    sys.meta_path.insert(0, beside)
    try:
        spec = importlib.util.spec_from_file_location(MODULE, host_file, loader=_Loader(MODULE, name, beside))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = module
        # Stdout is for the result of a command.
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except DeclarationError:
        raise
    except (Exception, SystemExit) as error:
        raise DeclarationError(_fault(error, name, beside)) from error
    finally:
        sys.meta_path.remove(beside)
        # Two hosts may each have a `web.py` of their own beside them.
        for own in (MODULE, *beside.found):
            sys.modules.pop(own, None)
            if own in before:
                sys.modules[own] = before[own]
    return _host(module, start)


def _host(module: ModuleType, start: Place) -> Host:
    """The module's `host`, or the fault that says what is there instead."""
    host = getattr(module, "host", None)
    if isinstance(host, Host):
        return host
    others = [name for name, value in vars(module).items() if isinstance(value, Host)]
    if host is None and others:
        message, hint = f"no host: the Host here is named {others[0]}", "name it host"
    elif host is None:
        message, hint = "no host: the file assigns none", 'add host = Host(name="…", …)'
    else:
        message, hint = f"host is a {type(host).__name__}, not a Host", "say host = Host(…)"
    raise DeclarationError(Fault(message=message, places=(start,), hint=hint))


class _Loader(importlib.machinery.SourceFileLoader):
    """A loader that compiles afresh under the name that the person gave, so that places read as typed."""

    def __init__(self, fullname: str, path: str, beside: _Beside) -> None:
        super().__init__(fullname, path)
        self._beside = beside

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        data = self.get_data(path)
        code = self.source_to_code(data, path)
        self._beside.read(path, importlib.util.decode_source(data))
        return code


class _Beside(importlib.abc.MetaPathFinder):
    """Finds modules and packages in the directory of the host's file; keeps the sources of what was loaded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.found: list[str] = []
        self.sources: dict[str, Source] = {}

    def read(self, path: str, text: str) -> None:
        """Keep a source that is about to run."""
        source = self.sources[path] = Source(text)
        for name, line in source.imports:
            file = self.directory / f"{name}.py"
            if name in sys.modules and name not in self.found and file.is_file():
                message = f"{file.name} beside it has the name of a module that is loaded already"
                hint = "give it another name: import would not find it"
                raise DeclarationError(Fault(message=message, places=(Place(path, line),), hint=hint))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        for directory in (self.directory,) if path is None else map(Path, path):
            # What lies elsewhere is for Python's own finders, with its bytecode.
            if not directory.is_relative_to(self.directory):
                continue
            for file in (directory / name / "__init__.py", directory / f"{name}.py"):
                if file.is_file():
                    self.found.append(fullname)
                    loader = _Loader(fullname, str(file), self)
                    spec = importlib.util.spec_from_file_location(fullname, file, loader=loader)
                    if spec is not None and file.stem == "__init__":
                        # Python makes this one absolute; places are to read as typed.
                        spec.submodule_search_locations = [str(file.parent)]
                    return spec
        return None


def _fault(error: BaseException, name: str, beside: _Beside) -> Fault:
    """What a person did wrong, at the innermost line of theirs."""
    if isinstance(error, SyntaxError):
        return Fault(message=f"syntax error: {error.msg}", places=(Place(error.filename or name, error.lineno or 1),))
    frames = traceback.extract_tb(error.__traceback__)
    own = [Place(frame.filename, frame.lineno or 1) for frame in frames if frame.filename in beside.sources]
    place = own[-1] if own else Place(name, 1)
    if isinstance(error, SystemExit):
        return Fault(message="it calls exit: a declaration has no effects", places=(place,))
    return Fault(
        message="".join(traceback.format_exception_only(error)).strip(), places=(place,), hint=_hint(error, beside)
    )


def _hint(error: BaseException, beside: _Beside) -> str | None:
    """What may help with the errors that one makes most."""
    if isinstance(error, ModuleNotFoundError):
        return f"modules are looked for in {beside.directory} and where Python finds its own"
    match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    word = None if match is None else getattr(anicca.declare, match[1], None)
    # Python 3.13 suggests by itself.
    if match is None or not dataclasses.is_dataclass(word) or "Did you mean" in str(error):
        return None
    return near(match[2], (field.name for field in dataclasses.fields(word)))
