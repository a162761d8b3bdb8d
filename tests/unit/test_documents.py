"""The documents against the code: what they list is what there is."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from taskqueue.settings import PREFIX, Settings
from taskqueue.task import FINAL, TRANSITIONS, Edge, Status

#: What a cell holds that has no value: an en dash.
NOTHING = "\u2013"
DOCS = Path(__file__).parents[2] / "docs"


def table(document: str, *header: str) -> list[list[str]]:
    """The cells of the table whose header begins with these texts."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (DOCS / document).read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ] + [[]]
    [start] = [n for n, row in enumerate(rows) if tuple(row[: len(header)]) == header]
    end = next(n for n in range(start + 2, len(rows)) if len(rows[n]) != len(rows[start]))
    return rows[start + 2 : end]


def status_or_nothing(cell: str) -> Status | None:
    return None if cell == NOTHING else Status(cell.strip("`"))


def test_the_lifecycles_table_lists_every_edge() -> None:
    listed = [
        Edge(status_or_nothing(source), status_or_nothing(target), verb.strip("`"))
        for source, target, verb, *_ in table("lifecycle.md", "from", "to", "verb")
    ]
    assert sorted(map(str, listed)) == sorted(map(str, TRANSITIONS))


def test_the_lifecycles_table_explains_every_status() -> None:
    assert [row[0] for row in table("lifecycle.md", "status", "means")] == [f"`{status}`" for status in Status]


def test_only_a_client_or_time_moves_a_final_task() -> None:
    assert {edge.verb for edge in TRANSITIONS if edge.source in FINAL} == {"retry", "delete"}


def test_no_edge_is_listed_twice() -> None:
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)


def test_every_status_can_be_reached_and_every_other_can_be_left() -> None:
    assert {edge.target for edge in TRANSITIONS} == {None, *Status}
    assert {edge.source for edge in TRANSITIONS} == {None, *Status}


@pytest.mark.parametrize(("document", "least"), [("guarantees.md", 30), ("security.md", 20)])
def test_every_test_that_shows_a_guarantee_exists(document: str, least: int) -> None:
    files = list((DOCS.parent / "tests").rglob("test_*.py"))
    there = {file.stem for file in files}
    for file in files:
        there.update(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"`(test_\w+)(\u2026?)`", (DOCS / document).read_text(encoding="utf-8"))
    assert len(named) >= least
    assert not [
        name for name, more in named if not any(test == name or (more and test.startswith(name)) for test in there)
    ]


def test_the_configurations_table_lists_every_setting_with_its_default() -> None:
    listed = {row[0]: row[1] for row in table("configuration.md", "setting", "default")}
    defaults = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        defaults[f"`{PREFIX}{name.upper()}`"] = NOTHING if default in (None, "") else f"`{default}`"
    assert listed == defaults


def test_every_setting_has_a_help() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]
