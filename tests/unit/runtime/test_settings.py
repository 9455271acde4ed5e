"""Settings come from the environment, whole or not at all."""

import pytest

from perennial.settings import Settings, SettingsError, described, from_environment, unknown

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


def test_help_names_every_setting_with_its_default() -> None:
    text = described()
    assert "PERENNIAL_MLFLOW_URL (must be set)" in text
    assert "PERENNIAL_WORKERS (default: 16)" in text
    assert "PERENNIAL_NAMESPACES (default: empty)" in text
    assert text.count("PERENNIAL_") >= len(Settings.__dataclass_fields__)
