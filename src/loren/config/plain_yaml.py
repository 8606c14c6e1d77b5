"""YAML from outside: plain values only, bounded, without aliases (a few lines of them make gigabytes), tags or repeated keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from loren.config.load import MAX_CONFIG_BYTES
from loren.errors import ConfigError, Problem

_MAX_NODES = 10_000
_MAX_DEPTH = 20


class _StrictLoader(yaml.SafeLoader):
    """YAML's plain values; a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level has keys.

    Raises:
        ConfigError: it can't be read, or is more than plain values with text keys.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_CONFIG_BYTES} bytes, found {path.stat().st_size}")
        text = path.read_bytes().decode()
        _refuse_large(path, text)
        value: object = yaml.load(text, Loader=_StrictLoader)
    except ConfigError:
        raise  # a ValueError too, and says more
    except OSError as error:
        raise ConfigError(f"{path}: expected a YAML file, found {error.strerror or 'an unreadable one'}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, found another byte at offset {error.start}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}: expected plain YAML without repeated keys, found something else{where}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected YAML with keys, found {type(value).__name__}")
    strange = [
        Problem(str(path), "expected keys of text, found another kind")
        for key in cast("dict[Any, Any]", value)
        if not isinstance(key, str)
    ]
    if strange:
        raise ConfigError(f"{path}: {len(strange)} problem(s)", problems=strange)
    return cast("dict[str, Any]", value)


def _refuse_large(path: Path, text: str) -> None:
    """Count before anything is built: aliases multiply what they name.

    Raises:
        ConfigError: there is an alias, or too much.
    """
    depth = nodes = 0
    for event in cast("Iterator[yaml.Event]", yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{path}: expected YAML without aliases, found one at line {event.start_mark.line + 1}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise ConfigError(f"{path}: expected at most {_MAX_NODES} values, {_MAX_DEPTH} deep; found more")
