"""The document itself: valid, and of the same operations as the application."""

import re
from typing import Any

import pytest
from aiohttp import web
from jsonschema_rs import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.integration.openapi.described import Described, events
from tests.integration.system import System

from taskqueue.contract.requests import BatchBody, BulkBody, EventFilter, ListQuery, StatsQuery, SubmitBody
from taskqueue_api.ui.routes import pages


def test_it_is_valid_openapi_3_1(described: Described) -> None:
    OpenAPIV31SpecValidator(described.document).validate()
    assert described.document["openapi"].startswith("3.1")


def test_it_has_each_route_of_the_application_and_no_other(system: System, described: Described) -> None:
    app = system.client.app
    assert isinstance(app, web.Application)
    routes = {
        (route.method, re.sub(r"{(\w+):.*}(?=/|$)", r"{\1}", route.resource.canonical if route.resource else ""))
        for route in app.router.routes()
        if route.method != "HEAD"
    }
    # aiohttp's canonical form of a path has no patterns. The dashboard's pages are no part of the API.
    beside = {(page.method, page.path) for page in pages()}
    assert routes - beside == {(method, path) for method, path, _ in described.operations.values()}


async def test_a_get_answers_head_unless_it_streams(system: System, described: Described) -> None:
    for method, path, operation in described.operations.values():
        if method == "GET":
            streams = any(
                "text/event-stream" in answer.get("content", {}) for answer in operation["responses"].values()
            )
            name = "start.js" if "file" in path else await system.submit("x")
            async with system.client.head(re.sub("{.*}", name, path)) as response:
                assert (response.status == 405) == streams
                assert response.status in {200, 405}


def test_every_operation_says_what_it_does(described: Described) -> None:
    groups = {tag["name"] for tag in described.document["tags"]}
    for id, (_, _, operation) in described.operations.items():
        assert operation["summary"], id
        assert set(operation["tags"]) <= groups
        for answer in operation["responses"].values():
            assert answer["description"], id
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (id, parameter["name"])


def test_everything_that_can_be_sent_is_described() -> None:
    for model in (SubmitBody, BatchBody, BulkBody, EventFilter, ListQuery, StatsQuery):
        assert not [name for name, field in model.model_fields.items() if not field.description], model


def test_every_example_fits_its_schema(described: Described) -> None:
    count = 0
    for id, (_, _, operation) in described.operations.items():
        for content in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media_type, part in content.get("content", {}).items():
                for name, example in part.get("examples", {}).items():
                    count += 1
                    try:
                        if media_type == "text/event-stream":
                            for event in events(example["value"]):
                                described.check_event(part["schema"], event)
                        elif media_type == "application/json":
                            described.check_value(part["schema"], example["value"])
                    except ValidationError as error:
                        raise AssertionError(f"{id}: {name}") from error
    assert count > 40


@pytest.mark.parametrize(
    ("model", "value", "fits"),
    [
        ("SubmitBody", {"action": "x", "run_at": 1}, True),
        ("SubmitBody", {"action": "x", "run_at": 1, "delay": None}, True),
        ("SubmitBody", {"action": "x", "run_at": "2030-01-31T12:00:00Z"}, True),
        ("SubmitBody", {"action": "x", "run_at": "2030-01-31T12:00:00.123+05:30", "delay": None}, True),
        ("SubmitBody", {"action": "x", "run_at": "2030-01-31T12:00:00Z", "delay": 1}, False),
        ("SubmitBody", {"action": "x", "run_at": "2030-01-31T12:00:00"}, False),
        ("SubmitBody", {"action": "x", "run_at": "2030-02-30T12:00:00Z"}, False),
        ("SubmitBody", {"action": "x", "run_at": "1969-12-31T12:00:00Z"}, False),
        ("SubmitBody", {"action": "x", "run_at": 1, "delay": 1}, False),
        ("SubmitBody", {"action": "x\n"}, False),
        ("SubmitBody", {"action": "\U0001f469\u200d\U0001f467 x"}, True),
        ("SubmitBody", {"action": "x", "tags": ["a", "a"]}, False),
        ("SubmitBody", {"action": "x", "max_attempts": 3.0}, True),
        ("SubmitBody", {"action": "x", "other": 1}, False),
        ("BulkBody", {}, False),
        ("BulkBody", {"dry_run": True}, False),
        ("BulkBody", {"tag": None, "status": []}, False),
        ("BulkBody", {"tag": None, "status": ["failed"]}, True),
        ("BulkBody", {"created_after": "1"}, False),
        ("BatchBody", {"tasks": []}, False),
    ],
    ids=str,
)
async def test_the_schema_refuses_what_the_api_refuses(
    system: System, described: Described, model: str, value: Any, fits: bool
) -> None:
    path = {"SubmitBody": "/tasks", "BulkBody": "/tasks/delete", "BatchBody": "/tasks/batch"}[model]
    assert ((await system.post(path, json=value)).status != 400) is fits
    schema = {"$ref": f"#/components/schemas/{model}"}
    if fits:
        described.check_value(schema, value)
    else:
        with pytest.raises(ValidationError):
            described.check_value(schema, value)
