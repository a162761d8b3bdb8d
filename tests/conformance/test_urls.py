"""Which URLs `open_broker` takes."""

import pytest

from taskqueue.broker import BrokerError, open_broker


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:s3cret@rabbitmq:5672/",
        "amqp://user:s3%2Fcr%40et@rabbitmq/vhost",
        "amqps://rabbitmq?cafile=/ca.pem",
        "memory://",
    ],
)
def test_a_good_url_opens_a_broker(url: str) -> None:
    assert open_broker(url, "tasks")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "scheme"),
        ("s3cret", "scheme"),
        ("redis://user:s3cret@host/", "scheme"),
        ("amqp://user:s3cret@", "host"),
        ("amqp://user:x@host:s3cret/", "port"),
        ("amqp://user:x@host:99999/s3cret", "port"),
        ("amqp://user:x@[s3cret/", "host"),
        ("amqp://user:12/s3cret@host/", "percent-encode"),
        ("amqp://user:12?s3cret@host/", "percent-encode"),
        ("amqp://user:12#s3cret@host/", "percent-encode"),
    ],
)
def test_a_bad_url_is_refused_with_a_reason_and_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(BrokerError, match=reason) as raised:
        open_broker(url, "tasks")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__context__ is None or raised.value.__suppress_context__
