"""Settings: where they come from, what wins, and how errors point at their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.config_file import Value
from ops.errors import ConfigError
from ops.settings import Settings, masked, revealed
from ops.settings_load import load


def write(folder: Path, text: str) -> Path:
    path = folder / "heliograph.yaml"
    path.write_text(text)
    return path


def problems(
    folder: Path, text: str, environment: Mapping[str, str] | None = None, flags: Mapping[str, Value] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environment or {}, flags or {})
    return [str(problem) for problem in caught.value.problems]


def test_without_anything_said_all_is_default() -> None:
    assert load(None, {}, {}) == Settings()
    assert (Settings().http.port, Settings().otlp.port) == (4354, 4318)


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, "http: {port: 1}\notlp: {port: 1}\nlog: {level: debug}\n")
    environment = {"HELIOGRAPH_HTTP__PORT": "2", "HELIOGRAPH_OTLP__PORT": "2", "PATH": "/bin"}
    settings = load(file, environment, {"http.port": 3})
    assert (settings.http.port, settings.otlp.port, settings.log.level) == (3, 2, "debug")
    assert settings.log.format == "json"


def test_an_unknown_key_is_named_with_its_line_and_a_near_one(tmp_path: Path) -> None:
    assert problems(tmp_path, "http:\n  port: 1\nagent:\n\n  host_intervall: 15s\n") == [
        "heliograph.yaml:5: agent.host_intervall: unknown key; did you mean host_interval?"
    ]


def test_an_unknown_section_without_a_near_one_lists_those_there_are(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "zebra: 1\n")
    assert problem.startswith("heliograph.yaml:1: zebra: unknown key; known are data_dir, http, otlp")


def test_unknown_keys_in_lists_are_found(tmp_path: Path) -> None:
    text = "agent:\n  follow:\n    - /var/log/*.log\n    - path: /x\n      servise: web\n"
    assert problems(tmp_path, text) == ["heliograph.yaml:5: agent.follow.1.servise: unknown key; did you mean service?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http: {port: many}", "1: http.port: a whole number is expected"),
        ('http: {port: "80"}', "1: http.port: a whole number is expected"),
        ("http: {port: true}", "1: http.port: a whole number is expected"),
        ("http: {port: 70000}", "1: http.port: a port from 0 to 65535 is expected"),
        ("http: [1]", "1: http: a section with keys is expected"),
        ("demo: 3", "1: demo: true or false is expected"),
        ("agent:\n  follow: /x", "2: agent.follow: a list is expected"),
        ("agent:\n  follow: [{service: x}]", "2: agent.follow.0.path: this key is missing"),
        ("agent:\n  host_interval: 15", "2: agent.host_interval: a duration with its unit such as 15s, 500ms or 1h30m is expected"),
        ("agent:\n  host_interval: 15 parsecs", "2: agent.host_interval: a duration such as 15s, 500ms or 1h30m is expected"),
        ("agent: {host_interval: 0s}", "1: agent.host_interval: more than zero is expected"),
        ("bus: {file_bytes_max: 10}", "1: bus.file_bytes_max: a size with its unit such as 10MiB is expected"),
        ("log: {level: loud}", "1: log.level: 'debug', 'info', 'warning' or 'error' is expected"),
        ("http:\n  port: 1\n  port: 2", "3: http.port: said twice"),
        ("http:\n  host: [", "2: not YAML: expected the node content, but found '<stream end>'"),
        ("- a", "1: sections are expected at the top"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [f"heliograph.yaml:{problem}"]


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "http: {port: x}\nlog: {level: y}\nzebra: 1\n")) == 3


def test_a_wrong_override_is_named_by_its_variable(tmp_path: Path) -> None:
    assert problems(tmp_path, "", {"HELIOGRAPH_HTTP__PORT": "x"}) == [
        "HELIOGRAPH_HTTP__PORT: http.port: a whole number is expected"
    ]
    assert problems(tmp_path, "", {"HELIOGRAPH_HTP__PORT": "1"}) == [
        "HELIOGRAPH_HTP__PORT: htp: unknown key; did you mean http?"
    ]


def test_an_override_may_be_a_list(tmp_path: Path) -> None:
    settings = load(None, {"HELIOGRAPH_AGENT__FOLLOW": "[/a/*.log, {path: /b, service: web}]"}, {})
    assert [(f.path, f.service) for f in settings.agent.follow] == [("/a/*.log", None), ("/b", "web")]


def test_variables_are_expanded_and_keep_their_type(tmp_path: Path) -> None:
    text = "http:\n  port: ${PORT}\n  host: '${HOST:-127.0.0.1}'\nagent: {follow: ['${HOME}/x', '$${HOME}/y']}\n"
    settings = load(write(tmp_path, text), {"PORT": "99", "HOME": "/root"}, {})
    assert (settings.http.port, settings.http.host) == (99, "127.0.0.1")
    assert [follow.path for follow in settings.agent.follow] == ["/root/x", "${HOME}/y"]


def test_an_expanded_variable_cannot_add_keys(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "http:\n  host: ${HOST}\n"), {"HOST": "a\n  port: 1"}, {})
    assert settings.http.host == "a\n  port: 1"
    assert settings.http.port == 4354


def test_an_unset_variable_is_an_error_with_its_line(tmp_path: Path) -> None:
    assert problems(tmp_path, "log:\n  level: ${LEVEL}\n")[0].startswith(
        "heliograph.yaml:2: log.level: the environment variable LEVEL is not set"
    )


def test_a_secret_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cr3t-token\n")
    settings = load(write(tmp_path, f"http:\n  token_file: {tmp_path / 'secret'}\n"), {}, {})
    assert settings.http.token is not None
    assert settings.http.token.get_secret_value() == "s3cr3t-token"
    assert "s3cr3t" not in repr(settings)
    assert masked(settings)["http"]["token"] == "<secret>"


def test_a_secret_file_that_is_missing_is_an_error_with_its_line(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "http:\n  token_file: /nowhere/secret\n")
    assert problem == "heliograph.yaml:2: http.token_file: /nowhere/secret cannot be read: No such file or directory"


def test_a_secret_said_twice_is_an_error(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "http:\n  token: a\n  token_file: b\n")
    assert problem == "heliograph.yaml:3: http.token: said twice: here, and by token_file"


def test_a_wrong_secret_is_not_in_the_error(tmp_path: Path) -> None:
    assert "s3cr3t" not in "".join(problems(tmp_path, "http:\n  token: [s3cr3t]\n"))


def test_an_empty_file_and_empty_sections_say_nothing(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), {}, {}) == Settings()
    assert load(write(tmp_path, "agent:\n  # nothing\n"), {}, {}) == Settings()


def test_a_file_that_grows_by_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    assert any("too many" in problem for problem in problems(tmp_path, "\n".join(lines)))


def test_a_file_that_is_missing_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.yaml", {}, {})
    assert "larger than" in problems(tmp_path, "#" * (1024 * 1024 + 1))[0]
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"binary.yaml:2: not UTF-8"):
        load(tmp_path / "binary.yaml", {}, {})


def test_settings_survive_the_way_to_a_role(tmp_path: Path) -> None:
    text = "http: {token: s}\nagent: {host_interval: 1m30s, follow: [/x]}\nrules: {webhooks: ['http://h/k'], files: [a.yaml]}\n"
    settings = load(write(tmp_path, text), {}, {})
    assert Settings.model_validate(revealed(settings)) == settings


@pytest.mark.parametrize(("said", "bytes_max"), [("0", 0), ("0B", 0), ("10MiB", 10 * 1024**2)])
def test_a_spool_has_a_size_or_there_is_none(tmp_path: Path, said: str, bytes_max: int) -> None:
    settings = load(write(tmp_path, f"agent: {{spool: {{bytes_max: {said}}}}}"), {}, {})
    assert settings.agent.spool.bytes_max == bytes_max
    assert Settings.model_validate(revealed(settings)) == settings
    assert problems(tmp_path, "agent: {spool: {bytes_max: 10}}") == [
        "heliograph.yaml:1: agent.spool.bytes_max: a size with its unit such as 10MiB is expected"
    ]


def test_the_data_directory_may_come_from_its_variable() -> None:
    assert load(None, {"HELIOGRAPH_DATA_DIR": "/d"}, {}).data_dir == Path("/d")
    assert load(None, {"HELIOGRAPH_DATA_DIR": "/d"}, {"data_dir": "/e"}).data_dir == Path("/e")


def test_only_what_was_set_is_shown_unless_all_is_asked_for(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "agent: {host_interval: 90s}\n"), {}, {})
    assert masked(settings, only_set=True) == {"agent": {"host_interval": "1m30s"}}
    assert masked(settings)["bus"]["file_bytes_max"] == "8GiB"
