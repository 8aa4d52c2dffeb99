"""From flags, environment and file to Settings, with errors that say where and what is expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from ops.config_file import Config, KeyPath, Value, read, scalar
from ops.errors import ConfigError, Problem
from ops.settings import Settings, missing

PREFIX: Final = "HELIOGRAPH_"
SECRET_BYTES_MAX: Final = 64 * 1024
_EXPECTED: Final = {
    "int_type": "a whole number is expected",
    "int_parsing": "a whole number is expected",
    "string_type": "text is expected",
    "bool_type": "true or false is expected",
    "tuple_type": "a list is expected",
    "path_type": "a path is expected",
    "model_type": "a section with keys is expected",
    "model_attributes_type": "a section with keys is expected",
    "missing": "this key is missing",
    "none_required": "nothing is expected",
}


def load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Value]) -> Settings:
    """Settings; `flags` by dotted path (`http.port`). Raises ConfigError with all problems found."""
    config = read(file, environment) if file else Config()
    if environment.get("HELIOGRAPH_DATA_DIR"):
        config.put(("data_dir",), environment["HELIOGRAPH_DATA_DIR"], "HELIOGRAPH_DATA_DIR")
    for name in sorted(environment):
        if name.startswith(PREFIX) and "__" in name[len(PREFIX) :]:
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            config.put(path, _override(path, environment[name]), name)
    for key, value in flags.items():
        config.put(tuple(key.split(".")), value, f"--{key.replace('.', '-').replace('_', '-')}")
    return check(config)


def check(config: Config) -> Settings:
    """Settings from what was said. Raises ConfigError."""
    _drop_empty_sections(config.values)
    _read_secrets(config, config.values, ())
    try:
        settings = Settings.model_validate(config.values)
    except ValidationError as error:
        problems = [_problem(config, detail) for detail in error.errors(include_url=False, include_input=False)]
        raise ConfigError(problems) from None
    lacking = [
        Problem(config.origin(path), ".".join(path), f"this key is missing: the engine {path[1]} needs it")
        for path in missing(settings)
    ]
    if lacking:
        raise ConfigError(lacking)
    return settings


def _override(path: tuple[str, ...], text: str) -> Value:
    return text if _field_is_secret(path) or path == ("data_dir",) else scalar(text)


def _drop_empty_sections(values: dict[str, Value]) -> None:
    # `agent:` with every key commented out says nothing, and means nothing.
    for key in [key for key, value in values.items() if value is None and _model_at((key,)) is not None]:
        del values[key]


def _read_secrets(config: Config, section: dict[str, Value], path: tuple[str, ...]) -> None:
    """Replace `name_file: path` by `name: what the file holds`, where `name` is a secret, in every section."""
    for key, value in list(section.items()):
        if isinstance(value, dict):
            _read_secrets(config, value, (*path, key))
            continue
        named = (*path, key.removesuffix("_file"))
        if not (key.endswith("_file") and _field_is_secret(named)):
            continue
        origin = config.origin((*path, key))
        if named[-1] in section:
            raise ConfigError([Problem(origin, ".".join(named), f"said twice: here, and by {key}")])
        config.put(named, _secret(Path(str(section.pop(key))), origin, ".".join((*path, key))), origin)


def _secret(path: Path, origin: str, key: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
        text = data.decode().strip()
    except OSError as error:
        raise ConfigError([Problem(origin, key, f"{path} cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError:
        raise ConfigError([Problem(origin, key, f"{path} is not UTF-8 text")]) from None
    if not text or len(data) > SECRET_BYTES_MAX:
        raise ConfigError([Problem(origin, key, f"{path} is {'larger than a secret is' if text else 'empty'}")])
    return text


def _problem(config: Config, detail: ErrorDetails) -> Problem:
    path: KeyPath = tuple(detail["loc"])
    key = ".".join(map(str, path))
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        reason = _unknown(path)
    elif detail["type"] == "value_error":
        reason = str(context["error"])
    elif detail["type"] == "literal_error":
        reason = f"{context['expected']} is expected"
    elif detail["type"] in ("greater_than_equal", "less_than_equal"):
        reason = _bounds(str(path[-1]), context)
    else:
        reason = _EXPECTED.get(detail["type"], detail["msg"])
    return Problem(config.origin(path), key, reason)


def _bounds(key: str, context: Mapping[str, Any]) -> str:
    if key == "port":
        return "a port from 0 to 65535 is expected"
    return f"at least {context['ge']} is expected" if "ge" in context else f"at most {context['le']} is expected"


def _unknown(path: KeyPath) -> str:
    model = _model_at(path[:-1])
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; known are {', '.join(known)}"


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    model: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return None
        model = inner[0]
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _field_is_secret(path: tuple[str, ...]) -> bool:
    model = _model_at(path[:-1])
    field = model.model_fields.get(path[-1]) if model else None
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))
