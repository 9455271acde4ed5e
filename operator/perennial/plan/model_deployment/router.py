"""The router's configuration: an Envoy bootstrap in which all is static but the weights of the two slots.

Weights come from the collector (RTDS over REST, a long-poll). Until the collector has answered once, the static weights
hold: everything to the slot that was stable when this was written. When it falls silent, its last weights stay.
"""

from dataclasses import dataclass
from typing import Any, get_args

from perennial.plan.model_deployment.trust import TOKEN_MOUNT
from perennial.terms.names import (
    ADMIN_PORT,
    COLLECTOR_PORT,
    PREDICTION_ID,
    SERVER_PORT,
    STATISTICS_PORT,
    TRAFFIC_PORT,
    VERSION_SLOT,
)
from perennial.terms.words import Slot

WHOLE = 1000
"""The sum of the weights. Kept constant: a sum of 0 would answer 404 to everyone."""

ROUTE_TIMEOUT_SECONDS = 10
"""How long a prediction may take. Above it the client gets a 504, which counts as the slot's failure."""
EXTENSIONS = "type.googleapis.com/envoy.extensions"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the router listens and whom it calls, each (host, port). A port 0 lets the system choose.

    `token_secret` is where the file of `token_secret()` is, `token_folder` where the token itself is that it names.
    """

    slots: dict[Slot, tuple[str, int]]
    collector: tuple[str, int]
    traffic: tuple[str, int] = ("0.0.0.0", TRAFFIC_PORT)  # noqa: S104 - a pod serves its network
    statistics: tuple[str, int] = ("0.0.0.0", STATISTICS_PORT)  # noqa: S104
    admin: tuple[str, int] = ("127.0.0.1", ADMIN_PORT)
    token_secret: str = "/etc/envoy/token.json"  # noqa: S105 - a path
    token_folder: str = TOKEN_MOUNT


def bootstrap(
    name: str,
    namespace: str,
    stable: Slot,
    cluster_domain: str = "cluster.local",
    *,
    addresses: Addresses | None = None,
) -> Json:
    """Return the bootstrap of a ModelDeployment's routers.

    Envoy needs `--service-node` with a name that is unique among the routers (the pod's): by it the collector tells who
    has acknowledged which weights.

    Args:
        name: of the ModelDeployment.
        namespace: its namespace.
        stable: the slot that serves everything until the collector has answered.
        cluster_domain: the DNS domain of the cluster.
        addresses: instead of the Services' names and the usual ports; for tests.
    """
    at = addresses or _in_cluster(name, namespace, cluster_domain)
    return {
        "node": {"cluster": f"{namespace}/{name}"},
        "admin": {"address": _address(*at.admin)},
        "stats_flush_interval": "1s",
        "stats_config": {"histogram_bucket_settings": _latency_buckets()},
        "overload_manager": _connection_limit(),
        "layered_runtime": {"layers": [_weights_layer(), {"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [_traffic(at.traffic, stable), _statistics(at.statistics)],
            "clusters": [
                *(_slot_cluster(slot, at.slots[slot]) for slot in get_args(Slot)),
                _collector_cluster(at),
                _cluster("admin", at.admin),
            ],
        },
    }


def token_secret(file: str) -> Json:
    """Return the file by which Envoy finds the token that proves the router to the collector."""
    secret = {
        "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.Secret",
        "name": "token",
        "generic_secret": {"secret": {"filename": file}},
    }
    return {"resources": [secret]}


def _in_cluster(name: str, namespace: str, cluster_domain: str) -> Addresses:
    # The final dot makes the names absolute: no search path is tried first.
    def service(suffix: str) -> str:
        return f"{name}-{suffix}.{namespace}.svc.{cluster_domain}."

    return Addresses(
        slots={slot: (service(slot), SERVER_PORT) for slot in get_args(Slot)},
        collector=(service("collector"), COLLECTOR_PORT),
    )


def _weights_layer() -> Json:
    return {
        "name": "weights",
        "rtds_layer": {
            "name": "weights",
            "rtds_config": {
                "resource_api_version": "V3",
                "initial_fetch_timeout": "2s",
                "api_config_source": {
                    "api_type": "REST",
                    "transport_api_version": "V3",
                    "cluster_names": ["collector"],
                    "refresh_delay": "0.1s",
                    "request_timeout": "10s",
                },
            },
        },
    }


def _traffic(address: tuple[str, int], stable: Slot) -> Json:
    # The stable slot stands last, so that a growing weight never moves a request out of the candidate.
    order = sorted(get_args(Slot), key=lambda slot: slot == stable)
    route = {
        "match": {"prefix": "/"},
        "route": {
            "timeout": f"{ROUTE_TIMEOUT_SECONDS}s",
            "weighted_clusters": {
                "runtime_key_prefix": "arms",
                "clusters": [
                    {
                        "name": slot,
                        "weight": WHOLE if slot == stable else 0,
                        "response_headers_to_add": [_header(VERSION_SLOT, slot)],
                    }
                    for slot in order
                ],
            },
        },
    }
    identify = [
        _header(PREDICTION_ID, "%REQ(x-prediction-id)%"),
        _header(PREDICTION_ID, "%UNIQUE_ID%", action="ADD_IF_ABSENT"),
    ]
    virtual_host = {
        "name": "model",
        "domains": ["*"],
        "routes": [route],
        "request_headers_to_add": identify,
        "response_headers_to_add": [_header(PREDICTION_ID, f"%REQ({PREDICTION_ID})%")],
    }
    return _listener("traffic", address, virtual_host, client_headers=_untrusted_headers(), log_failures=True)


def _untrusted_headers() -> list[Json]:
    """Remove what a client may not say: how often to retry, how long to wait, and our own headers."""
    names = (
        PREDICTION_ID,
        VERSION_SLOT,
        "x-envoy-max-retries",
        "x-envoy-retry-on",
        "x-envoy-retry-grpc-on",
        "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-alt-stat-name",
    )
    return [{"remove": name} for name in names]


def _statistics(address: tuple[str, int]) -> Json:
    """Open exactly three pages of the admin interface to the network: they only tell."""
    routes = [
        {
            "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
            "route": {"cluster": "admin", "timeout": "5s"},
        }
        for path in ("/stats/prometheus", "/clusters", "/ready")
    ]
    return _listener("statistics", address, {"name": "statistics", "domains": ["*"], "routes": routes})


def _listener(
    name: str,
    address: tuple[str, int],
    virtual_host: Json,
    *,
    client_headers: list[Json] | None = None,
    log_failures: bool = False,
) -> Json:
    manager: Json = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": True,
        "request_headers_timeout": "10s",
        "request_timeout": "30s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        # `ab`, and an nginx that is not told otherwise, speak HTTP/1.0, some without a Host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": name},
        "route_config": {"name": name, "virtual_hosts": [virtual_host]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
            }
        ],
    }
    if client_headers:
        manager["early_header_mutation_extensions"] = [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": client_headers,
                },
            }
        ]
    if log_failures:
        manager["access_log"] = [_failure_log()]
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": _address(*address), "filter_chains": [{"filters": filters}]}


def _failure_log() -> Json:
    """Log failed requests, as JSON lines. Successes are counted, not logged."""
    failed = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "log.min_status"}}}
    fields = {
        "time": "%START_TIME%",
        "prediction": f"%REQ({PREDICTION_ID})%",
        "slot": "%UPSTREAM_CLUSTER%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "milliseconds": "%DURATION%",
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"status_code_filter": failed},
        "typed_config": {
            "@type": f"{EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": fields},
        },
    }


def _slot_cluster(slot: Slot, address: tuple[str, int]) -> Json:
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    return {
        **_cluster(slot, address),
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        # Below the servers' keep-alive, else a request meets a connection that is just being closed.
        **_http(common_http_protocol_options={"idle_timeout": "30s"}),
    }


def _collector_cluster(at: Addresses) -> Json:
    """Return the collector as Envoy calls it: every poll carries the pod's token, as it is in its file by then.

    The kubelet renews a token by moving a new folder in place of the old one; a file of secrets is read again, with all
    that it refers to, when something moves in the folder that is watched.
    """
    source = {"path": at.token_secret, "watched_directory": {"path": at.token_folder}}
    proof = {
        "@type": f"{EXTENSIONS}.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": {
                "@type": f"{EXTENSIONS}.http.injected_credentials.generic.v3.Generic",
                "credential": {"name": "token", "sds_config": {"path_config_source": source}},
                "header": "authorization",
                "header_value_prefix": "Bearer ",
            },
        },
    }
    last = {"@type": f"{EXTENSIONS}.filters.http.upstream_codec.v3.UpstreamCodec"}
    filters = [
        {"name": "envoy.filters.http.credential_injector", "typed_config": proof},
        {"name": "envoy.filters.http.upstream_codec", "typed_config": last},
    ]
    return {**_cluster("collector", at.collector), **_http(http_filters=filters)}


def _http(**options: Any) -> Json:
    """Return a cluster's options for HTTP/1.1."""
    protocol = {
        "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
        **options,
    }
    return {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol}}


def _cluster(name: str, address: tuple[str, int]) -> Json:
    endpoint = {"endpoint": {"address": _address(*address)}}
    return {
        "name": name,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{EXTENSIONS}.clusters.dns.v3.DnsCluster",
                "dns_lookup_family": "V4_ONLY",
                "dns_refresh_rate": "1s",
                "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
            },
        },
        "connect_timeout": "1s",
        # A slot without pods must not keep the router from starting.
        "wait_for_warm_on_init": False,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _connection_limit() -> Json:
    limit = {
        "@type": f"{EXTENSIONS}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": 20_000,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": name, "typed_config": limit}]}


def _latency_buckets() -> list[Json]:
    """Return the histogram's edges in milliseconds. An edge L - 1 is exact for "below L" (bins have two digits)."""
    buckets = [1, 2, 5, 9, 19, 49, 99, 199, 299, 499, 999, 1999, 4999, 9999]
    return [{"match": {"suffix": "upstream_rq_time"}, "buckets": buckets}]


def _header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
