"""Settings: one frozen dataclass is the Python API, the TOML file and the command line."""

import ast
import difflib
import hashlib
import inspect
import itertools
import json
import textwrap
import tomllib
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from screenwise.errors import ConfigError


def read_config(path: Path, cls: type) -> Any:
    """Read settings of the dataclass `cls` from a TOML file; what is not named keeps its default.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a key is unknown (the message suggests the nearest), or a value
        has the wrong type.
    """
    return from_mapping(cls, _read_toml(path), str(path))


def check_config(path: Path, classes: tuple[type, ...]) -> None:
    """Refuse a TOML file that names a setting of none of the dataclasses, or one with a wrong type.

    Raises
    ------
    ConfigError
        As `read_config` does; every class must have defaults for all its fields.
    """
    mapping = _read_toml(path)
    owner = {field.name: cls for cls in classes for field in fields(cls)}
    _refuse_unknown(mapping, list(owner), str(path))
    for cls in classes:
        from_mapping(cls, {name: value for name, value in mapping.items() if owner[name] is cls}, str(path))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}. Write one with --print-config."
        raise ConfigError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not TOML: {error}. Write one with --print-config."
        raise ConfigError(message) from error


def _refuse_unknown(mapping: dict[str, Any], known: list[str], where: str) -> None:
    for name in mapping:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(known)}."
            message = f"{where}: there is no setting {name!r}; {cure}"
            raise ConfigError(message)


def from_mapping(cls: type, mapping: dict[str, Any], where: str = "settings") -> Any:
    """Return `cls` filled from a plain mapping, with nested tables for nested dataclasses.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     seed: int = 0
    >>> from_mapping(Settings, {"seed": 3})
    Settings(seed=3)
    >>> from_mapping(Settings, {"sed": 3}, "fit.toml")
    Traceback (most recent call last):
    ...
    screenwise.errors.ConfigError: fit.toml: there is no setting 'sed'; did you mean 'seed'?
    """
    known = [field.name for field in fields(cls)]
    hints = get_type_hints(cls)
    _refuse_unknown(mapping, known, where)
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in mapping.items()}
    try:
        return cls(**values)
    except TypeError as error:
        message = f"{where}: {error}."
        raise ConfigError(message) from error


def _value(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            message = f"{where} must be a table of settings, not {value!r}."
            raise ConfigError(message)
        return from_mapping(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _first_that_fits([one for one in inner if one is not type(None)], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            message = f"{where} must be a list, not {value!r}."
            raise ConfigError(message)
        return tuple(_value(inner[0], one, where) for one in value)
    if origin in (Mapping, dict) and not isinstance(value, Mapping):
        message = f"{where} must be a table such as {{name = value}}, not {value!r}."
        raise ConfigError(message)
    return _plain(origin or kind, value, where)


def _first_that_fits(kinds: list[Any], value: Any, where: str) -> Any:
    for place, kind in enumerate(kinds):
        try:
            return _value(kind, value, where)
        except ConfigError:
            if place == len(kinds) - 1:
                raise
    return value


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (int, float, str, bool) and (type(value) is not kind):
        message = f"{where} must be {_NAMES[kind]}, not {value!r}."
        raise ConfigError(message)
    return value


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def to_mapping(config: Any) -> dict[str, Any]:
    """Return settings as a plain mapping that JSON and TOML can hold (tuples as lists, paths as text)."""
    mapping: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return mapping


def config_hash(config: Any) -> str:
    """Return 16 hexadecimal digits that depend only on the names and values of the settings.

    Examples
    --------
    >>> from dataclasses import make_dataclass
    >>> one = make_dataclass("A", [("x", int), ("y", int)], frozen=True)(1, 2)
    >>> two = make_dataclass("B", [("y", int), ("x", int)], frozen=True)(2, 1)
    >>> config_hash(one) == config_hash(two)
    True
    """
    text = json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_toml(config: Any) -> str:
    """Return settings as commented TOML: each field's docstring stands above its line.

    A setting that is None is written as a comment, since TOML has no null.

    Examples
    --------
    >>> from screenwise.config import from_mapping
    >>> import tomllib
    >>> from dataclasses import make_dataclass
    >>> print(to_toml(make_dataclass("A", [("seed", int)], frozen=True)(3)))
    seed = 3
    """
    return "\n".join(_toml_lines(config, "")).strip("\n")


def _toml_lines(config: Any, prefix: str) -> list[str]:
    comments = field_docs(type(config))
    plain, nested = [], []
    for field in fields(config):
        value = getattr(config, field.name)
        comment = [f"# {line}" for line in textwrap.wrap(comments.get(field.name, ""), 96)]
        if is_dataclass(value):
            table = f"{prefix}{field.name}"
            nested += ["", *comment, f"[{table}]", *_toml_lines(value, f"{table}.")]
        elif value is None:
            plain += [*comment, f"# {field.name} = (not set)"]
        else:
            plain += [*comment, f"{field.name} = {_toml_value(value)}"]
    return plain + nested


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    # JSON's numbers, strings, true and false are TOML's too.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def field_docs(cls: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass, by field name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs
