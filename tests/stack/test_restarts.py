"""`docker compose restart` of each service, while clients keep posting."""

import pytest
from tests.stack.load import Load
from tests.stack.stack import Stack

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("service", ["rabbitmq", "worker", "api"])
def test_restarting_a_service_under_load_loses_no_task_and_runs_none_twice(disturbed: Stack, service: str) -> None:
    with Load(disturbed) as load:
        load.goes_on()
        disturbed.shell(f"docker compose restart {service}")
        disturbed.wait_for_broker()
        accepted_meanwhile = len(load.accepted)
        load.goes_on()

    assert len(load.accepted) > accepted_meanwhile > 0
    assert not load.errors
    for task in disturbed.completed(load.accepted):
        assert task["result"] == {"output": load.accepted[task["id"]]}
        outcomes = [attempt["outcome"] for attempt in task["attempts"]]
        assert outcomes[-1] == "ok"
        assert set(outcomes[:-1]) <= {"shutdown"}
