"""The keys of a pydantic section, as a person who writes TOML reads them."""

from __future__ import annotations

import datetime
import inspect
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_TYPES: dict[object, tuple[str, str]] = {
    bool: ("`true` or `false`", "`true` or `false`"),
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    str: ("string", "strings"),
    Path: ("path", "paths"),
    datetime.date: ("date", "dates"),
    typing.Any: ("any value", "any values"),
}
"""Type -> its name, and the name of many."""


def section_sentence(section: type[BaseModel]) -> str:
    """What a section's docstring says after its name."""
    return _sentence(inspect.getdoc(section) or "") + "\n"


def key_entry(key: str, field: FieldInfo, *, level: int = 3, environment: str = "") -> str:
    """A key under its own heading: what it means, type, bounds, default.

    Args:
        key: the dotted key.
        field: pydantic's description of it.
        level: of the heading.
        environment: the environment name that sets it, if there is one.
    """
    facts = ", ".join([_type_words(field.annotation), *_bounds(field)])
    tail = f" · environment `{environment}`" if environment else ""
    words = _sentence(field.description or "")
    return f"{'#' * level} `{key}`\n\n{words}\n\n{facts} · {_default_words(field)}{tail}\n"


def toml_value(value: object) -> str:
    """A value in TOML's syntax."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml_value(item) for item in cast('tuple[object, ...]', value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(value)


def _sentence(docstring: str) -> str:
    """A docstring without the name of its section, in Markdown's marks."""
    if docstring.startswith("["):
        words = docstring.partition(" - ")[2]
        docstring = words[:1].upper() + words[1:]
    return docstring.replace("``", "`")


def _type_words(annotation: object, *, many: bool = False) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_words(arguments[0], many=many)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_type_words(part, many=many) for part in arguments if part is not type(None))
    if origin in {tuple, list}:
        return f"{'lists' if many else 'list'} of {_type_words(arguments[0], many=True)}"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        word = "tables" if many else "table"
        return f"{word} of {_type_words(arguments[1], many=True)}" if arguments else word
    return _TYPES[annotation][many]


def _bounds(field: FieldInfo) -> Iterator[str]:
    unit = "character" if field.annotation is str else "entry"
    for bound in field.metadata:
        match bound:
            case Ge(ge=value):
                yield f"at least {value}"
            case Gt(gt=value):
                yield f"above {value}"
            case Le(le=value):
                yield f"at most {value}"
            case Lt(lt=value):
                yield f"below {value}"
            case MinLen(min_length=1):
                yield f"at least one {unit}"
            case MaxLen(max_length=value):
                yield f"at most {value} {unit}s"
            case _:
                pass


def _default_words(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: object = field.default
    if default is None:
        return "default not set"
    return "default empty" if default in ({}, []) else f"default `{toml_value(default)}`"
