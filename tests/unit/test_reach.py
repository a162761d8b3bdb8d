"""An API that others than this machine reach asks for keys, or doesn't start."""

import pytest

from taskqueue.process import BadSettingsError
from taskqueue.settings import Settings
from taskqueue_api.reach import refuse_open_door


@pytest.mark.parametrize(
    ("host", "published_on"),
    [
        ("127.0.0.1", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("localhost", ""),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("0.0.0.0", "localhost"),
    ],
)
def test_an_api_that_only_this_machine_reaches_starts_without_keys(host: str, published_on: str) -> None:
    refuse_open_door(Settings(host=host, published_on=published_on))


@pytest.mark.parametrize(
    ("host", "published_on", "told"),
    [
        ("0.0.0.0", "", "TASKQUEUE_HOST is 0.0.0.0"),
        ("::", "", "TASKQUEUE_HOST is ::"),
        ("10.0.0.7", "", "TASKQUEUE_HOST is 10.0.0.7"),
        ("queue.example", "", "TASKQUEUE_HOST is queue.example"),
        ("localhost.example", "", "TASKQUEUE_HOST is localhost.example"),
        ("", "", "TASKQUEUE_HOST is"),
        ("0.0.0.0", "0.0.0.0", "its port is published on 0.0.0.0"),
        ("0.0.0.0", "10.0.0.7", "its port is published on 10.0.0.7"),
    ],
)
def test_an_api_that_others_reach_does_not(host: str, published_on: str, told: str) -> None:
    settings = Settings(host=host, published_on=published_on)
    with pytest.raises(BadSettingsError, match=told):
        refuse_open_door(settings)
    for auth in ("on", "proxy"):
        refuse_open_door(settings.model_copy(update={"auth": auth}))
