"""Settings of section ``[parsegate]`` that the gateway's process reads, and the declarations of the processor's.

The processor reads its own with :mod:`parsegate.client.settings`; they are declared here because Airflow takes all of a
provider's options from one place.
"""

from __future__ import annotations

from typing import Any

from ..resolvers.settings import RESOLVER_OPTIONS, Option

JOB_TOKEN_LIFETIME = Option(
    "job_token_lifetime",
    3600.0,
    "Seconds for which the token is valid that a processor gets when it registers. It registers again in time.",
    minimum=60.0,
)
PROCESSOR_TOKEN_LIFETIME = Option(
    "processor_token_lifetime",
    86400.0,
    "Seconds for which a token of `parsegate token processor` is valid when --lifetime is not given. Write the token "
    "again before they have passed: the agent reads the file anew.",
    minimum=1.0,
)
OPERATOR_TOKEN_LIFETIME = Option(
    "operator_token_lifetime",
    3600.0,
    "Seconds for which a token of `parsegate token operator` is valid when --lifetime is not given.",
    minimum=1.0,
)
MAX_BODY_BYTES = Option(
    "max_body_bytes",
    16 * 1024 * 1024,
    "The largest request body that the gateway reads, in bytes, both as it comes and as it inflates when it is "
    "compressed. A larger one is answered with 413.",
    minimum=1024,
)
MAX_BATCH_OPERATIONS = Option(
    "max_batch_operations", 100, "The most GraphQL operations that one HTTP request may carry as an array.", minimum=1
)
OPERATION_THREADS = Option(
    "operation_threads",
    0,
    "How many GraphQL operations one gateway process executes at the same time. 0 means half of the connections that "
    "[database] sql_alchemy_pool_size and sql_alchemy_max_overflow allow, a quarter in Airflow's API server; it is "
    "always fewer than all of them.",
    minimum=0,
)
MOUNT_IN_API_SERVER = Option(
    "mount_in_api_server",
    False,
    "Whether Airflow's API server serves the gateway too, under /parsegate, and Airflow's UI shows the status page. "
    "Whoever is logged in to Airflow is an operator there, may read what Airflow lets them read, and change nothing.",
)

METRICS_OPEN = Option(
    "metrics_open",
    False,
    "Whether anyone who reaches the gateway may read /metrics. Otherwise it needs the token of an operator that grants "
    "all bundles, as `Authorization: Bearer TOKEN`.",
)
MAX_CONNECTIONS_PER_CALLER = Option(
    "max_connections_per_caller",
    20,
    "The most connections for live events, WebSockets and event streams together, that one caller (the subject of the "
    "token) may have to one gateway process.",
    minimum=1,
)
MAX_SUBSCRIPTIONS_PER_CONNECTION = Option(
    "max_subscriptions_per_connection",
    20,
    "The most GraphQL operations that may be under way at once on one WebSocket.",
    minimum=1,
)
MAX_MESSAGE_BYTES = Option(
    "max_message_bytes",
    256 * 1024,
    "The largest message that the gateway reads from a WebSocket, in bytes. A larger one ends the connection.",
    minimum=1024,
)
CONNECTION_INIT_TIMEOUT = Option(
    "connection_init_timeout",
    10.0,
    "Seconds in which a WebSocket's client must say who it is, by the protocol's message connection_init.",
    minimum=0.1,
)
SUBSCRIBER_SEND_TIMEOUT = Option(
    "subscriber_send_timeout",
    30.0,
    "Seconds for which a subscriber may leave the gateway waiting to send it an event. It is dropped then.",
    minimum=0.1,
)
SUBSCRIBER_KEEP_ALIVE = Option(
    "subscriber_keep_alive",
    15.0,
    "Seconds of silence after which an event stream gets a comment, so that no proxy takes it for dead.",
    minimum=0.1,
)

GATEWAY_OPTIONS = (
    *RESOLVER_OPTIONS,
    JOB_TOKEN_LIFETIME,
    PROCESSOR_TOKEN_LIFETIME,
    OPERATOR_TOKEN_LIFETIME,
    MAX_BODY_BYTES,
    MAX_BATCH_OPERATIONS,
    OPERATION_THREADS,
    MAX_CONNECTIONS_PER_CALLER,
    MAX_SUBSCRIPTIONS_PER_CONNECTION,
    MAX_MESSAGE_BYTES,
    CONNECTION_INIT_TIMEOUT,
    SUBSCRIBER_SEND_TIMEOUT,
    SUBSCRIBER_KEEP_ALIVE,
    METRICS_OPEN,
    MOUNT_IN_API_SERVER,
)

PROCESSOR_OPTIONS = (
    Option(
        "url",
        "",
        "URL of the gateway, ending in /graphql. The processor needs it.",
        example="https://parsegate.example.com/graphql",
    ),
    Option(
        "token_path",
        "",
        "File that holds the processor token, readable by the agent alone. It is read again when it changes and after "
        "the gateway refused the token. The processor needs it.",
        example="/run/secrets/parsegate/token",
    ),
    Option("ca_path", "", "PEM file of the certificate authorities to trust for the gateway; empty for the system's."),
    Option("client_certificate_path", "", "PEM file of the certificate to present to the gateway; empty for none."),
    Option(
        "client_key_path",
        "",
        "PEM file of the client certificate's private key; empty when the certificate's file holds it.",
    ),
    Option(
        "proxy",
        "",
        "URL of the HTTP proxy to reach the gateway through; empty for none.",
        example="http://user:password@proxy.example.com:3128",
        sensitive=True,
    ),
    Option(
        "startup_timeout", 300.0, "Seconds for which a starting processor waits for the gateway before it gives up."
    ),
    Option(
        "poll_interval",
        2.0,
        "Seconds between the requests of an idle processor: for new callbacks, parse requests and bundle states.",
        minimum=0.1,
    ),
    Option(
        "compress_above",
        1024,
        "Request bodies of more bytes than this are sent compressed, with zstd; -1 sends all of them as they are. "
        "Those of reads and of variables that DAG code writes are never compressed.",
        minimum=-1,
    ),
    Option(
        "agent_socket",
        "",
        "Unix socket of an agent that runs as a sidecar; empty to start an agent beside the processor.",
    ),
    Option(
        "run_as_user",
        "",
        "User name or id that the processor changes to after its agent is started, so that DAG code cannot read the "
        "agent's token; empty to stay. It needs root to start.",
    ),
    Option(
        "status_path",
        "",
        "File in which the agent keeps its state for `parsegate status --local`; empty for the default.",
    ),
)

OPERATOR_OPTIONS = (
    Option(
        "operator_token_path",
        "",
        "File that holds an operator token, for `parsegate status`, `wait` and the like. They read it from the "
        "environment alone.",
        example="/run/secrets/parsegate/operator-token",
    ),
    Option(
        "operator_token",
        "",
        "The operator token itself, for a pipeline that keeps it as a secret in the environment; "
        "`operator_token_path` comes first.",
        sensitive=True,
    ),
)


def declarations() -> dict[str, Any]:
    """The provider's ``config``: every option of both sides, as Airflow's ``provider_info.schema.json`` wants it."""
    types = {bool: "boolean", int: "integer", float: "float", str: "string"}
    return {
        "parsegate": {
            "description": "Settings of parsegate's gateway, and of the DAG processors that use it.",
            "options": {
                option.name: {
                    "description": option.description,
                    "version_added": "0.1.0",
                    "type": types[type(option.default)],
                    "example": option.example,
                    "default": str(option.default),
                    **({"sensitive": True} if option.sensitive else {}),
                }
                for option in (*GATEWAY_OPTIONS, *PROCESSOR_OPTIONS, *OPERATOR_OPTIONS)
            },
        }
    }
