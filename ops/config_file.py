"""One YAML file as plain values, each with the line it came from; `${ENV}` and `${ENV:-default}` are expanded in scalars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import yaml

from ops.errors import ConfigError, Problem

FILE_BYTES_MAX: Final = 1024 * 1024
_NODES_MAX: Final = 20_000
_DEPTH_MAX: Final = 20
_VARIABLE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class Config:
    """Values that were said somewhere, and where."""

    values: dict[str, Value] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    """Origin by path: `file.yaml:3`, a variable's name, a flag."""

    def origin(self, path: KeyPath) -> str:
        """Where the setting was said, or something in it, or the nearest setting around it; empty when nowhere."""
        for end in range(len(path), -1, -1):
            found = self.origins.get(path[:end]) or self._origin_within(path[:end])
            if found:
                return found
        return ""

    def _origin_within(self, path: KeyPath) -> str:
        return next((at for known, at in self.origins.items() if path and known[: len(path)] == path), "")

    def put(self, path: tuple[str, ...], value: Value, origin: str) -> None:
        """Say a value, in place of what was said before. Raises ConfigError when `path` leads through something that is no section."""
        section = self.values
        for key in path[:-1]:
            inner = section.get(key)
            if inner is None:
                inner = section[key] = {}
            if not isinstance(inner, dict):
                raise ConfigError([Problem(origin, ".".join(path), f"{key} is not a section")])
            section = inner
        section[path[-1]] = value
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins[path] = origin


def read(path: Path, environment: Mapping[str, str]) -> Config:
    """The file's values. Raises ConfigError, with the line."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError([Problem(str(path), "", f"larger than {FILE_BYTES_MAX} bytes")])
    return _Reader(path.name, environment).read(data)


def scalar(text: str) -> Value:
    """The value that YAML sees in a text; the text itself when it is no YAML. For overrides."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return loaded if isinstance(loaded, str | int | float | bool | list | dict) else text


class _Reader:
    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._name = name
        self._environment = environment
        self._config = Config()
        self._problems: list[Problem] = []
        self._nodes = 0
        self._loader = yaml.SafeLoader("")

    def read(self, data: bytes) -> Config:
        try:
            root = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ConfigError([Problem(f"{self._name}:{line}", "", "not UTF-8 text")]) from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError([Problem(f"{self._name}:{line}", "", f"not YAML: {error.problem}")]) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError([Problem(self._name, "", f"not YAML: {error}")]) from error
        if root is None:
            return self._config
        values = self._value(root, ())
        if not isinstance(values, dict):
            self._fault(root, (), "sections are expected at the top")
        else:
            self._config.values = values
        if self._problems:
            raise ConfigError(self._problems)
        return self._config

    def _value(self, node: yaml.Node, path: KeyPath) -> Value:
        self._nodes += 1
        if self._nodes > _NODES_MAX or len(path) > _DEPTH_MAX:
            # Aliases can make a small file huge, so what is built is counted, not what is written.
            raise ConfigError([Problem(self._at(node), "", "too many or too deep values")])
        self._config.origins.setdefault(path, self._at(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in made:
                self._fault(key_node, (*path, key), "said twice")
            self._config.origins[(*path, key)] = self._at(key_node)
            made[key] = self._value(value_node, (*path, key))
        return made

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Value:
        text = str(node.value)
        expanded = _VARIABLE.sub(lambda match: self._expansion(match, node, path), text)
        tag = node.tag
        if expanded != text and getattr(node, "style", None) is None:
            tag = self._loader.resolve(yaml.ScalarNode, expanded, (True, False))  # type: ignore[no-untyped-call]
        fresh = yaml.ScalarNode(tag, expanded, node.start_mark, node.end_mark)
        if tag == "tag:yaml.org,2002:timestamp":
            return expanded
        try:
            value = self._loader.construct_object(fresh)
        except (yaml.YAMLError, ValueError) as error:
            self._fault(node, path, f"not a value: {getattr(error, 'problem', error)}")
            return None
        return value if isinstance(value, str | int | float | bool) else None

    def _expansion(self, match: re.Match[str], node: yaml.Node, path: KeyPath) -> str:
        if match[1] is None:
            return "${"
        value = self._environment.get(match[1]) or match[2]
        if value is None:
            self._fault(
                node,
                path,
                f"the environment variable {match[1]} is not set; write ${{{match[1]}:-default}} to do without",
            )
            return ""
        return value

    def _fault(self, node: yaml.Node, path: KeyPath, reason: str) -> None:
        self._problems.append(Problem(self._at(node), ".".join(map(str, path)), reason))

    def _at(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"
