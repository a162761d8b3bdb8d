"""Answers as JSON text: what is kept as JSON is put in as it is, in ASCII."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.contract.tasks import PageAnswer, Payload, Progress, TaskError, WholeTaskAnswer
from taskqueue.task import Attempt, Outcome, Status, Task

TEXT = st.text(st.sampled_from('"\\\0\n/\x7f\x80é\u2028\ud800\udfff\U0001f600{}[],:') | st.characters())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=5)


#: Without data.
PAYLOAD = '{"id":"0192","action":"x","data":{},"created_at":1.5}'


def compact(value: Any) -> str:
    """As the store has it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def stored(**columns: Any) -> Task:
    blank: dict[str, Any] = {
        "seq": 1,
        "id": "0192",
        "action": "x",
        "payload": PAYLOAD,
        "status": Status.COMPLETED,
        "result": None,
        "error": None,
        "created_at": 1500,
        "run_at": 1500,
        "processed_at": 2000,
        "priority": 4,
        "attempt": 1,
        "failures": 0,
        "max_attempts": 3,
        "timeout": None,
        "cancel_requested": False,
        "tags": (),
        "progress": None,
    }
    return Task(**blank | columns)


@given(OBJECTS, OBJECTS | st.none(), OBJECTS | st.none(), OBJECTS | st.none())
def test_what_is_kept_reads_back(data: Any, result: Any, error: Any, progress: Any) -> None:
    payload = {"id": "0192", "action": "x", "data": data, "created_at": 1.5}
    texts = [None if part is None else compact(part) for part in (result, error, progress)]
    attempt = Attempt(1, "w", 1500, 2000, Outcome.ERROR, texts[1])
    task = stored(
        payload=compact(payload), result=texts[0], error=texts[1], progress=texts[2], attempts=(attempt,)
    )

    text = WholeTaskAnswer.whole(task).to_json()

    assert text.isascii()
    assert "\n" not in text
    answer = json.loads(text)
    assert (answer["data"], answer["payload"], answer["result"], answer["error"]) == (data, payload, result, error)
    assert (answer["progress"], answer["attempts"][0]["error"]) == (progress, error)
    assert text == json.dumps(answer, separators=(",", ":")), "it is compact, and in order"
    assert list(answer) == list(WholeTaskAnswer.model_fields)


def test_a_page_has_each_tasks_own_parts() -> None:
    payloads = [PAYLOAD.replace("{}", compact({"n": number})) for number in range(3)]
    tasks = [stored(payload=payload, result=compact({"é": n})) for n, payload in enumerate(payloads)]
    page = json.loads(PageAnswer(tasks=[WholeTaskAnswer.whole(task) for task in tasks], count=3).to_json())
    assert [task["data"]["n"] for task in page["tasks"]] == [0, 1, 2]
    assert [task["payload"]["data"]["n"] for task in page["tasks"]] == [0, 1, 2]
    assert [task["result"]["é"] for task in page["tasks"]] == [0, 1, 2]


def test_who_reads_an_answer_has_its_parts_checked() -> None:
    error = {"type": "E", "message": "m", "traceback": None}
    payload = {"id": "0192", "action": "x", "data": {"y": 1}, "created_at": 1.5}
    task = stored(payload=compact(payload), error=compact(error), progress='{"fraction":0.5,"message":null}')
    text = WholeTaskAnswer.whole(task).to_json()
    read = WholeTaskAnswer.model_validate_json(text)
    assert (read.data, read.payload) == ({"y": 1}, Payload(**payload))
    assert read.error == TaskError(**error)
    assert read.progress == Progress(fraction=0.5, message=None)
    assert read.to_json() == text
