"""Reading and writing objects of any format: JSON, or NPZ with the same keys flattened by dots.

What is read may be anything: a file of another kind, a damaged or hostile one, a pipe, an endless
stream. It is read within a bound, once, and either it is a plain object or one line says why not.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .archives import ARCHIVE, read_archive
from .errors import InstanceError

MOST_BYTES = 2**30  # of a file: a larger one would take more memory to parse than machines have
MOST_STREAMED = 2**28  # of a pipe or device, whose end nobody knows
DEEPEST = 64  # levels of lists and objects in one another
_CHUNK = 2**20
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')

_streams: ContextVar[dict[str, bytes] | None] = ContextVar("streams", default=None)


@contextlib.contextmanager
def streams_kept() -> Iterator[None]:
    """A context in which a pipe that is read a second time gives what it gave the first time.

    A pipe gives its content once, and a command looks at a file more than once.
    """
    token = _streams.set({})
    try:
        yield
    finally:
        _streams.reset(token)


def read_bytes(path: Path, starts: tuple[bytes, ...] = ()) -> bytes:
    """Return what a file, pipe or device holds, within a bound.

    starts: what the first byte that is no white space must be, where that is known: a stream of
    something else is refused at once. Raises InstanceError for what cannot be read or is too long.
    """
    kept = _streams.get()
    if kept is not None and str(path) in kept:
        return kept[str(path)]
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            regular = stat.S_ISREG(about.st_mode)
            most = MOST_BYTES if regular else MOST_STREAMED
            if about.st_size > most:
                raise _too_long(path, most)
            data = file.read(most + 1) if regular else _read_stream(file, most, starts)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InstanceError(f"{path}: cannot be read ({reason}); check the path") from None
    except ValueError as error:
        if isinstance(error, InstanceError):
            raise
        raise InstanceError(f"{path}: is no path ({error}); correct it") from None
    if len(data) > most:
        raise _too_long(path, most)
    if kept is not None and not regular:
        kept[str(path)] = data
    return data


def _too_long(path: Path, most: int) -> InstanceError:
    return InstanceError(
        f"{path}: holds more than {most // 2**20} MiB, the most that is read; give a smaller file"
    )


def _read_stream(file: BinaryIO, most: int, starts: tuple[bytes, ...]) -> bytes:
    """Read to the end, or to just over ``most`` bytes, or until it is clear that it is no such file."""
    data, looked = bytearray(), not starts
    while len(data) <= most and (chunk := file.read(_CHUNK)):
        data += chunk
        # of this chunk alone: there may be white space without end
        if not looked and (head := chunk.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]):
            looked = True
            if head not in starts:
                break
    return bytes(data)


def read_object(path: Path) -> dict[str, Any]:
    """Return the keys of a file, JSON or NPZ: by its suffix or, where that says nothing, its content.

    Raises InstanceError for a file that is missing, truncated or no such object.
    """
    data = read_bytes(path, (b"{", ARCHIVE[:1]))
    if path.suffix == ".npz" or (path.suffix != ".json" and data.startswith(ARCHIVE)):
        return read_archive(data, str(path), parse_json)
    return parse_json(data, str(path))


def write_object(keys: Mapping[str, Any], path: Path) -> None:
    """Write fields as JSON or NPZ by the suffix of ``path``."""
    if path.suffix == ".npz":
        archive = io.BytesIO()
        np.savez_compressed(archive, allow_pickle=False, **_flatten(keys))
        write_whole(path, archive.getvalue())
        return
    text = json.dumps(keys, default=_plain, allow_nan=False, ensure_ascii=False)
    write_whole(path, (text + "\n").encode("utf-8", "surrogatepass"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its path first, then renamed. Raises OSError.

    What is no regular file (a device, a pipe) is written as it is.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    # a link is kept: what it names is replaced
    target = Path(os.path.realpath(path))
    exists = target.exists()
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if exists:
            os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
        os.replace(beside, target)
    except BaseException:  # Ctrl-C too must leave no half file behind
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def to_json(keys: Mapping[str, Any]) -> str:
    """Return the canonical JSON text of an instance, the one its content hash is taken of."""
    return json.dumps(keys, default=_plain, allow_nan=False, sort_keys=True)


def to_plain(keys: Mapping[str, Any]) -> Any:
    """Return the same data with arrays as lists and NumPy scalars as Python numbers."""
    return json.loads(json.dumps(keys, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; InstanceError says where it stops being one."""
    return parse_json(read_bytes(path, (b"{",)), str(path))


def parse_json(data: bytes, source: str) -> dict[str, Any]:
    """Return the object that JSON text holds. Raises InstanceError as ``parse_value`` does."""
    keys = parse_value(data, source)
    if not isinstance(keys, dict):
        raise InstanceError(
            f"{source}: holds a {type(keys).__name__}, not an object; write {{...}}"
        )
    return keys


def parse_value(data: bytes, source: str) -> Any:
    """Return what JSON text in UTF-8 holds, one byte-order mark allowed.

    source: what a message begins with. Raises InstanceError for what is no JSON, gives a key twice,
    nests more than 64 deep, or holds NaN, Infinity or half a surrogate pair.
    """
    try:
        text = data.decode("utf-8-sig")
        keys = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise InstanceError(f"{source}: not UTF-8 text; save it as JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"{source}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "is the file truncated?"
        ) from None
    except _TwiceError as error:
        raise InstanceError.of(
            f"{source}: {str(error)!r}", "given twice", "a key stands once in an object", "drop one"
        ) from None
    except _NoNumberError as error:
        raise InstanceError(
            f"{source}: {error} at {_place(text)} is no JSON number; write a finite number"
        ) from None
    except ValueError as error:  # a number with too many digits to read
        raise InstanceError(f"{source}: {error}; write numbers that fit a double") from None
    except RecursionError:
        raise _too_deep(source) from None
    if text.count("[") + text.count("{") > DEEPEST and deeper([keys], DEEPEST + 1):
        raise _too_deep(source)
    if _HALF_PAIR.search(text):
        try:
            json.dumps(keys, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise InstanceError(
                f"{source}: {half} is half a surrogate pair, no character; write both or neither"
            ) from None
    return keys


class _TwiceError(ValueError):
    """A key that an object gives twice."""


class _NoNumberError(ValueError):
    """A literal that Python's reader takes for a number and JSON does not know."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(k for k, _ in pairs if k in seen or seen.add(k)))  # type: ignore[func-returns-value]
    return keys


def _no_number(literal: str) -> float:
    raise _NoNumberError(literal)


def _place(text: str) -> str:
    """Line and column of the first NaN or Infinity outside strings."""
    at = next(found.start() for found in _LITERAL.finditer(text) if found.group(1))
    line = text.count("\n", 0, at) + 1
    return f"line {line}, column {at - text.rfind(chr(10), 0, at)}"


def deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest more than ``levels`` deep."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, Mapping | list | tuple)
        ]
    return bool(layer)


def _too_deep(source: str) -> InstanceError:
    return InstanceError(f"{source}: nested more than {DEEPEST} deep, no instance is; flatten it")


def _flatten(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Nested keys joined by dots; ``meta`` as one JSON string; None written by leaving it out."""
    flat: dict[str, Any] = {}
    for key, value in keys.items():
        if key == "meta":
            flat[key] = json.dumps(value, default=_plain)
        elif isinstance(value, Mapping):
            flat.update({f"{key}.{inner}": np.asarray(v) for inner, v in value.items()})
        elif value is not None:
            flat[key] = np.asarray(value)
    return flat
