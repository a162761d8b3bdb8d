"""Every setting: its name, default and help. Read from environment variables named TASKQUEUE_<NAME>."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from yarl import URL

from taskqueue.contract.limits import MAX_PAYLOAD_BYTES, MAX_TIMEOUT
from taskqueue.retry import Backoff

#: What the name of each setting's environment variable begins with.
PREFIX = "TASKQUEUE_"


class Settings(BaseSettings):
    """One class for all processes: they share a store, a queue and their timings.

    Raises:
        pydantic.ValidationError: a value is out of its range or of the wrong type.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    data_dir: Path = Field(
        Path("data"), description="Folder of the database file, `tasks.db`. Mount the folder, never the file."
    )
    broker_url: SecretStr = Field(
        SecretStr("amqp://taskqueue:taskqueue@127.0.0.1:5672/"),
        description="Where the broker is: `amqp://user:password@host:port/vhost`. "
        "The embedded mode uses its own queue in memory and doesn't read this.",
    )
    broker_user: str | None = Field(None, description="User name for the broker, instead of the URL's.")
    broker_password: SecretStr | None = Field(
        None, description="Password for the broker, instead of the URL's. Any characters; no encoding."
    )
    queue: str = Field(
        "tasks",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Name of the queue, which no other store uses; its dead-letter queue is `<name>.dead`.",
    )
    take_queue: bool = Field(
        False,
        description="Whether the queue is taken over from another store, or the store may have a queue of another "
        "name from now on: set it for one start.",
    )

    host: str = Field(
        "127.0.0.1",
        description="Address that the API listens on. Wider than loopback it needs `TASKQUEUE_AUTH`.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port that the API listens on; 0 picks a free one.")
    auth: Literal["off", "on", "proxy"] = Field(
        "off",
        description="Who may use the API: whoever reaches it, which must be from this machine only (`off`); who "
        "has a key (`on`); or whoever reaches it, since a proxy in front checks who that is (`proxy`).",
    )
    published_on: str = Field(
        "",
        description="Address on which a container's port is published, where that is all by which the API is "
        "reached from elsewhere; compose tells it.",
    )
    max_body_bytes: int = Field(
        1024 * 1024, ge=1, description="Largest request body, in bytes; a larger one is answered 413."
    )
    max_batch_bytes: int = Field(
        8 * 1024 * 1024,
        ge=1,
        description="Largest body of `POST /tasks/batch`, in bytes; what one task submits has no more, either.",
    )
    max_task_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1,
        le=MAX_PAYLOAD_BYTES,
        description="Largest message that a task makes, in bytes; a larger one is answered 413.",
    )
    check_actions: Literal["off", "known", "strict"] = Field(
        "known",
        description="Whether a POST's `data` is checked before it is stored: `off`, where a worker has told what "
        "its action takes (`known`), or so that unknown actions are refused, too (`strict`).",
    )
    max_wait: float = Field(
        60, ge=0, le=3600, description="Seconds that a request may wait for a task with `Prefer: wait`."
    )
    max_backlog: int = Field(
        1_000_000,
        ge=0,
        description="Tasks that may wait, `pending` or `queued`, before new or retried ones are answered 503; "
        "0 is no limit.",
    )
    max_streams: int = Field(
        1000, ge=0, description="Streams of events that an API process keeps open; more are answered 503."
    )
    max_waits: int = Field(
        2000,
        ge=0,
        description="Requests with `Prefer: wait` that an API process keeps waiting; more are answered 503.",
    )
    request_timeout: float = Field(
        30,
        gt=0,
        le=3600,
        description="Seconds in which a request's body must have come, and a GET be answered, beside waits.",
    )
    cors_origins: str = Field(
        "",
        description="Origins whose pages may use the API from a browser, separated by commas; `*` is all of them.",
    )
    mask: str = Field(
        "password,secret,client_secret,token,access_token,refresh_token,api_key,private_key,authorization,cookie",
        description="Names, separated by commas, whose values in data and results the dashboard's pages don't "
        "show; case, `-` and `_` don't count. The API itself masks nothing.",
    )
    trust_forwarded_prefix: bool = Field(
        False,
        description="Whether the proxy in front sets `X-Forwarded-Prefix`, the path under which it serves the "
        "API; answers then tell addresses that begin with it.",
    )
    trust_forwarded_for: bool = Field(
        False,
        description="Whether the proxy in front sets `X-Forwarded-For`, whose last item is the address that asked "
        "it; wrong keys are then slowed down by it, and the audit tells it.",
    )
    idempotency_keep: float = Field(86400, gt=0, description="Seconds for which an Idempotency-Key is remembered.")
    keep_completed: float = Field(
        7 * 86400, ge=0, description="Seconds for which completed tasks are kept; 0 is for ever."
    )
    keep_failed: float = Field(
        30 * 86400, ge=0, description="Seconds for which failed tasks are kept; 0 is for ever."
    )
    keep_cancelled: float = Field(
        30 * 86400, ge=0, description="Seconds for which cancelled tasks are kept; 0 is for ever."
    )
    keep_events: float = Field(
        6 * 3600, gt=0, description="Seconds for which events are kept: a stream can be resumed that long."
    )
    publish_timeout: float = Field(
        1.5,
        gt=0,
        le=60,
        description="Seconds a publish may take until the task is left to the relay as `pending`.",
    )
    write_timeout: float = Field(
        5,
        gt=0,
        le=300,
        description="Seconds a write may wait for the database's write lock; a POST is then answered 503.",
    )

    consumers: int = Field(
        2, ge=1, le=1000, description="Consumers of a worker process: the tasks that it runs at a time."
    )
    prefetch: int = Field(
        5, ge=1, le=1000, description="Messages that the broker hands to a consumer ahead of time."
    )
    handlers: str | None = Field(
        None,
        description="Modules or packages that register actions, separated by commas. All modules of a package are "
        "imported. If not set: the package `handlers`, or where there is none the examples that ship.",
    )
    unknown_action_after: float = Field(
        86400,
        ge=0,
        le=366 * 86400,
        description="Seconds for which a task waits for a worker that knows its action, before it fails as "
        "`UnknownAction`; 0 is at once.",
    )
    processes: int = Field(
        0,
        ge=0,
        le=1000,
        description='Child processes of a worker, for handlers with `executor="process"`; 0 is one for each core. '
        "There are never more than consumers.",
    )
    process_tasks: int = Field(
        1000, ge=1, description="Tasks that a child process runs until a new one takes its place."
    )
    simulated_work: float = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds of waiting added to each task, to watch a queue fill and drain.",
    )
    max_result_bytes: int = Field(
        1024 * 1024,
        ge=1,
        description="Largest result of a task as JSON, in bytes; a larger one fails the task.",
    )
    max_attempts: int = Field(
        3, ge=1, le=100, description="Attempts that a task has, if neither its POST nor its action says."
    )
    retry_base: float = Field(
        1, ge=0, le=3600, description="Longest wait before the second attempt, in seconds; doubles each time."
    )
    retry_cap: float = Field(600, ge=0, le=86400, description="Longest wait between two attempts, in seconds.")
    task_timeout: float = Field(
        3600,
        gt=0,
        le=MAX_TIMEOUT,
        description="Seconds that an attempt may take, if neither the task's POST nor its action says.",
    )
    lease: float = Field(
        15,
        gt=0,
        le=3600,
        description="Seconds without a heartbeat after which a worker counts as lost and its tasks are rescued.",
    )
    dispatch_lease: float = Field(
        10,
        gt=0,
        le=3600,
        description="Seconds during which one process alone may publish a task. "
        "It must be above `publish_timeout` and `write_timeout` together, by at least a second.",
    )
    relay_interval: float = Field(
        1, gt=0, le=60, description="Seconds between two looks for pending tasks that are due."
    )
    give_back_after: float = Field(
        5,
        gt=0,
        le=3600,
        description="Seconds after which messages prefetched behind a running task go back to the queue.",
    )
    reconcile_after: float = Field(
        60,
        gt=0,
        le=86400,
        description="Seconds after which a queued task whose message is not in the queue is published again.",
    )
    drain_timeout: float = Field(
        20, gt=0, le=3600, description="Seconds that running tasks and requests have to finish after SIGTERM."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker has metrics for Prometheus; 0 is none. (The API has `GET /metrics`.)",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of that port. Whoever reaches it reads the names of actions, and needs no key.",
    )
    traces: Literal["off", "otlp"] = Field(
        "off",
        description="Whether a worker sends spans of its attempts by OTLP over HTTP (`otlp`), to where the "
        "variables of OpenTelemetry say. It needs the extra `otel`.",
    )
    health_file: Path | None = Field(
        None, description="File that a healthy worker touches at each heartbeat, for a cheap health check."
    )

    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`json` lines, readable `text`, or `auto`: text on a terminal, JSON elsewhere."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log lines that are written."
    )

    @field_validator("broker_url")
    @classmethod
    def _readable_url(cls, url: SecretStr) -> SecretStr:
        try:
            parsed = URL(url.get_secret_value())
        except ValueError:
            raise ValueError("not a URL (is its password percent-encoded?)") from None
        if parsed.scheme not in {"amqp", "amqps"} or not parsed.host:
            raise ValueError("begins with amqp:// or amqps:// and names a host")
        return url

    @field_validator("dispatch_lease")
    @classmethod
    def _outlasts_a_publish(cls, lease: float, others: ValidationInfo) -> float:
        # A confirmed publish must have its lease taken off before others take it for given up.
        if lease < others.data.get("publish_timeout", 0) + others.data.get("write_timeout", 0) + 1:
            raise ValueError(f"must be above {PREFIX}PUBLISH_TIMEOUT + {PREFIX}WRITE_TIMEOUT by a second")
        return lease

    @property
    def broker(self) -> str:
        """The broker's URL with its credentials."""
        url = self.broker_url.get_secret_value()
        if self.broker_user is None and self.broker_password is None:
            return url
        parsed = URL(url)
        user = self.broker_user or parsed.user
        password = self.broker_password.get_secret_value() if self.broker_password else parsed.password
        return str(parsed.with_user(user).with_password(password))

    @property
    def backoff(self) -> Backoff:
        """How long a task waits after a failed attempt, if its action doesn't say."""
        return Backoff(first=self.retry_base, most=self.retry_cap)

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data_dir / "tasks.db"
