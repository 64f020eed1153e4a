"""Reading and writing objects of any format: JSON, or NPZ with the same keys flattened by dots."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InstanceError

_BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_object(path: Path) -> dict[str, Any]:
    """Return the keys of a file, JSON or NPZ by its suffix.

    Raises InstanceError for a file that is missing, truncated or no such object.
    """
    return _read_npz(path) if path.suffix == ".npz" else read_json(path)


def write_object(keys: Mapping[str, Any], path: Path) -> None:
    """Write fields as JSON or NPZ by the suffix of ``path``."""
    if path.suffix == ".npz":
        flat = _flatten(keys)
        np.savez_compressed(path, allow_pickle=False, **flat)
        return
    text = json.dumps(keys, default=_plain, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


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
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise InstanceError(f"{path}: not UTF-8 text; save it as JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "is the file truncated?"
        ) from None
    except ValueError as error:  # a number with too many digits to read
        raise InstanceError(f"{path}: {error}; write numbers that fit a double") from None
    except RecursionError:
        raise InstanceError(f"{path}: nested too deeply for an instance; see DESIGN") from None
    if not isinstance(keys, dict):
        raise InstanceError(f"{path}: holds a {type(keys).__name__}, not an object; see DESIGN")
    return keys


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


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            flat = {key: archive[key] for key in archive.files}
    except OSError as error:
        reason = error.strerror or "not an NPZ archive"
        raise InstanceError(f"{path}: cannot be read ({reason}); check the path") from None
    except (*_BROKEN, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise InstanceError(
            f"{path}: not an NPZ archive of plain arrays ({error}); is the file truncated?"
        ) from None
    keys: dict[str, Any] = {}
    for key, value in flat.items():
        plain = value.item() if value.ndim == 0 else value
        if key == "meta":
            try:
                plain = json.loads(str(plain))
            except json.JSONDecodeError as error:
                raise InstanceError(f"{path}: meta is not a JSON string ({error.msg})") from None
        outer, dot, inner = key.partition(".")
        if dot:
            keys.setdefault(outer, {})[inner] = plain
        else:
            keys[key] = plain
    return keys
