"""Reads a dictionary that np.save has pickled, without running what is pickled.

A pickle is a program. `pickletools.genops` only takes it apart; the few instructions that build numbers, texts, lists,
dictionaries and NumPy arrays are carried out here, on our own terms, and everything else is refused by name. No
function that the file names is called, none is even looked up.
"""

from __future__ import annotations

import io
import math
import pickletools
import tokenize
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from udg_description.errors import UdgError

MAX_BYTES = 512 * 2**20
MAX_VALUES = 5_000_000  # outside of arrays: lists may name each other again and again
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_KINDS = "biufUS"  # bool, integers, floats, texts


class PlainFileError(UdgError):
    """A .npy file that is damaged, or holds more than data."""


_ARE_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError)


class _Name(NamedTuple):
    """A function or class that the pickle names."""

    module: str
    name: str


class _Type:
    """A NumPy type under construction."""

    def __init__(self, text: str) -> None:
        self.text, self.order = text, "="


class _Array:
    """A NumPy array under construction."""

    def __init__(self) -> None:
        self.value: Any = None


class _Mark:
    """Where a list of arguments begins."""


def load_plain(path: Path) -> dict[str, Any]:
    """The dictionary of a .npy file: numbers, texts, lists, dictionaries and arrays. Raises PlainFileError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PlainFileError(f"{path}: {path.stat().st_size / 2**20:.0f} MB; valid: up to {MAX_BYTES // 2**20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise PlainFileError(f"{path}: {error.strerror}") from None
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _HEADERS[version](stream)
    except (*_ARE_DAMAGE, SyntaxError, tokenize.TokenError) as error:  # NumPy parses the header
        raise PlainFileError(f"{path}: not a .npy file: {error}") from None
    if dtype != np.dtype(object) or shape != ():
        raise PlainFileError(f"{path}: an array {dtype} {shape}; valid: one dictionary, as np.save writes it")
    try:
        value = _Reader().read(stream.read())
    except _ARE_DAMAGE as error:
        raise PlainFileError(f"{path}: damaged: {error}") from None
    except PlainFileError as error:
        raise PlainFileError(f"{path}: {error}") from None
    value = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    if not isinstance(value, dict):
        raise PlainFileError(f"{path}: holds a {type(value).__name__}; valid: a dictionary")
    return {str(key): entry for key, entry in value.items()}


class _Reader:
    """Carries out the instructions of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._values = 0

    def read(self, data: bytes) -> Any:  # noqa: ANN401 - whatever the file holds
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return self._finished(self._stack.pop())
            self._do(opcode.name, argument)
        raise ValueError("it has no end")

    def _do(self, name: str, argument: Any) -> None:  # noqa: ANN401
        stack = self._stack
        if name in ("PROTO", "FRAME", "READONLY_BUFFER"):
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "BYTEARRAY8":
            stack.append(bytes(argument))
        elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            stack.append(_Mark)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[int(argument)])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._take(int(name[-1]))))
        elif name in ("TUPLE", "LIST"):
            values = self._since_mark()
            stack.append(tuple(values) if name == "TUPLE" else values)
        elif name in ("APPEND", "APPENDS"):
            values = self._take(1) if name == "APPEND" else self._since_mark()
            _of(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            values = self._take(2) if name == "SETITEM" else self._since_mark()
            if name == "DICT":
                stack.append({})
            _of(stack[-1], dict).update(zip(values[::2], map(self._finished, values[1::2]), strict=True))
        elif name == "POP":
            stack.pop()
        elif name == "GLOBAL":
            stack.append(_Name(*str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_Name(*(str(part) for part in self._take(2))))
        elif name == "REDUCE":
            function, arguments = self._take(2)
            stack.append(_made(function, arguments))
        elif name == "BUILD":
            (state,) = self._take(1)
            self._fill(stack[-1], state)
        else:
            raise PlainFileError(f"holds the pickle instruction {name}, which plain data does not need; refused")

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("too few values")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _since_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]

    def _fill(self, value: Any, state: Any) -> None:  # noqa: ANN401
        if isinstance(value, _Type):
            value.order = str(state[1])
            if state[2] is not None or state[3] is not None:
                raise PlainFileError("an array of records; valid: of numbers or texts")
        elif isinstance(value, _Array):
            _, shape, kind, fortran, content = state
            if isinstance(kind, _Type) and kind.text.startswith("O"):
                objects = np.empty(len(_of(content, list)), dtype=object)
                objects[:] = [self._finished(entry) for entry in content]
                value.value = objects.reshape(tuple(shape))
            else:
                value.value = _elements(kind, content, shape, fortran=bool(fortran))
        else:
            raise PlainFileError(f"sets the inside of a {type(value).__name__}; valid: an array's")

    def _finished(self, value: Any) -> Any:  # noqa: ANN401
        """The value without what stood for it during construction."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise PlainFileError(f"more than {MAX_VALUES} values outside of arrays; refused")
        if isinstance(value, _Array):
            return value.value
        if isinstance(value, (_Name, _Type)) or value is _Mark:
            raise PlainFileError(f"holds a {value!r}; valid: numbers, texts, lists, dictionaries, arrays")
        if isinstance(value, list):
            return [self._finished(entry) for entry in value]
        if isinstance(value, tuple):
            return tuple(self._finished(entry) for entry in value)
        return value


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}


def _of(value: Any, kind: type) -> Any:  # noqa: ANN401
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} is needed")
    return value


def _made(function: Any, arguments: Any) -> Any:  # noqa: ANN401
    """What the call of a named function stands for: an array, a type, a number. Nothing is called."""
    if not isinstance(function, _Name):
        raise ValueError("a call of what is no function")
    module, name = function
    if module in _ARRAY_MODULES and name == "_reconstruct":
        return _Array()
    if (module, name) in (("__builtin__", "bytes"), ("builtins", "bytes")) and not arguments:
        return b""
    if (module, name) == ("numpy", "dtype"):
        return _Type(str(arguments[0]))
    if module in _ARRAY_MODULES and name == "scalar":
        kind, content = arguments
        return _elements(kind, content, ()).item()
    if module in _ARRAY_MODULES and name == "_frombuffer":
        content, kind, shape, order = arguments
        return _elements(kind, content, shape, fortran=order == "F")
    if (module, name) == ("_codecs", "encode") and arguments[1:] == ("latin1",):
        return str(arguments[0]).encode("latin1")
    raise PlainFileError(f"calls {module}.{name}, which plain data does not need; refused, nothing was run")


def _elements(kind: Any, content: Any, shape: Any, fortran: bool = False) -> np.ndarray:  # noqa: ANN401
    """The array of some bytes."""
    text = _of(kind, _Type).text
    if text[:1] not in _KINDS:
        raise PlainFileError(f"an array of {text}; valid: of numbers or texts")
    dtype = np.dtype((kind.order if kind.order in "<>" else "=") + text)
    content = content.encode("latin1") if isinstance(content, str) else bytes(content)
    sizes = [int(size) for size in shape]
    if min(sizes, default=0) < 0 or math.prod(sizes) * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes for {dtype} {tuple(sizes)}")
    array = np.frombuffer(content, dtype=dtype) if content else np.empty(0, dtype=dtype)
    return array.astype(dtype.newbyteorder("="), copy=False).reshape(sizes, order="F" if fortran else "C")
