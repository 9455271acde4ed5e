"""Settings come from flags and the environment, whole or not at all."""

from dataclasses import fields

import pytest

from perennial import app
from perennial.settings import Settings, SettingsError, flag, from_environment, unknown, variable

NEEDED = {
    "PERENNIAL_IMAGE_OPERATOR": "o:1",
    "PERENNIAL_IMAGE_SERVER": "s:1",
    "PERENNIAL_IMAGE_ROUTER": "r:1",
    "PERENNIAL_MLFLOW_URL": "http://mlflow:5000",
}


def test_what_is_not_given_has_its_default() -> None:
    settings = from_environment(NEEDED)
    assert settings == Settings(
        image_operator="o:1", image_server="s:1", image_router="r:1", mlflow_url="http://mlflow:5000"
    )
    assert settings.namespaces == ()
    assert settings.collector("ns", "m") == "http://m-collector.ns.svc.cluster.local:9900"


def test_values_have_the_types_of_their_fields() -> None:
    more = {"PERENNIAL_NAMESPACES": "a, b,", "PERENNIAL_WORKERS": "3", "PERENNIAL_RESYNC_SECONDS": "1.5"}
    settings = from_environment(NEEDED | more)
    assert (settings.namespaces, settings.workers, settings.resync_seconds) == (("a", "b"), 3, 1.5)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("WORKERS", "0", "must be at least 1"),
        ("WORKERS", "2.5", "must be a whole number"),
        ("RESYNC_SECONDS", "nan", "must be at least 1"),
        ("RESYNC_SECONDS", "inf", "must be at least 1"),
        ("LOG_FORMAT", "xml", "must be one of json, text"),
        ("COLLECTOR_URL", "http://{pod}", "may contain {name}, {namespace} and {domain}"),
        ("MODEL_NAMES", "{namespace}", "must contain {name}, may contain {namespace}"),
        ("MODEL_NAMES", "{namespace}/{name}", "no other braces, / or :"),
        ("MODEL_NAMES", "{team}.{name}", "no other braces"),
        ("LEASE_RENEW_DEADLINE_SECONDS", "15", "LEASE_DURATION_SECONDS > PERENNIAL_LEASE_RENEW_DEADLINE_SECONDS"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_must_hold(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        from_environment(NEEDED | {f"PERENNIAL_{variable}": value})
    assert sentence in str(refused.value)
    assert f"PERENNIAL_{variable}" in str(refused.value)


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        from_environment({})
    assert all(name in str(refused.value) for name in NEEDED)


def test_typing_errors_are_found_and_kubernetes_own_variables_are_not_meant() -> None:
    environment = NEEDED | {
        "PERENNIAL_WROKERS": "3",
        "PERENNIAL_OPERATOR_SERVICE_HOST": "10.0.0.1",
        "PERENNIAL_OPERATOR_SERVICE_PORT_METRICS": "9090",
        "PERENNIAL_OPERATOR_PORT": "tcp://10.0.0.1:9090",
        "PERENNIAL_OPERATOR_PORT_9090_TCP_ADDR": "10.0.0.1",
        "HOME": "/tmp",
    }
    assert unknown(environment) == ["PERENNIAL_WROKERS"]
    assert from_environment(environment) == from_environment(NEEDED)


def test_a_flag_overrules_its_variable_and_is_read_as_the_variable_is() -> None:
    settings = from_environment(
        NEEDED | {"PERENNIAL_WORKERS": "3", "PERENNIAL_LOG_FORMAT": "text"}, {"workers": "5", "namespaces": "a,b"}
    )
    assert (settings.workers, settings.log_format, settings.namespaces) == (5, "text", ("a", "b"))


def test_a_flag_that_cannot_be_used_is_named_as_it_was_given() -> None:
    with pytest.raises(SettingsError) as refused:
        from_environment(NEEDED | {"PERENNIAL_WORKERS": "3", "PERENNIAL_RESYNC_SECONDS": "0"}, {"workers": "many"})
    assert str(refused.value) == (
        "--workers='many' must be a whole number; PERENNIAL_RESYNC_SECONDS='0' must be at least 1"
    )


def test_help_names_every_flag_with_its_variable_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for each in fields(Settings):
        assert f" {flag(each)} VALUE " in text
        assert f"; {variable(each)})" in text
    assert "(must be set; PERENNIAL_MLFLOW_URL)" in text
    assert "(default: 16; PERENNIAL_WORKERS)" in text
    assert "(default: 36000; PERENNIAL_RESYNC_SECONDS)" in text
    assert "(default: empty; PERENNIAL_NAMESPACES)" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--wrokers", "3"], "unrecognized arguments: --wrokers 3; see --help"),
        (["--work", "3"], "unrecognized arguments: --work 3; see --help"),
        (["--workers"], "argument --workers: expected one argument; see --help"),
        (["--workers", "0"], "--workers='0' must be at least 1"),
    ],
)
def test_wrong_flags_end_it_with_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    assert app.main(arguments) == 64
    assert capsys.readouterr().err == f"{sentence}\n"
