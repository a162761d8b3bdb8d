"""What surely doesn't fit an action, as a JSON Schema: whatever a worker accepts, this schema accepts, too.

pydantic's own JSON Schemas describe arguments to people. To refuse by, they are too strict: for types that take
more than they say (a lax model takes "5" for an integer), sets, patterns, and validators that run before. Here,
what is not known to be as strict as its schema accepts anything.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

#: A type, or a configuration, as pydantic's core has it.
Core = Mapping[str, Any]
Schema = dict[str, Any]

#: Beyond that, a float is not the number that was sent.
_EXACT = 2**53


def accepted(core: Core) -> Schema:
    """The JSON Schema (2020-12) of what a type accepts as JSON, or more.

    Args:
        core: a `TypeAdapter`'s core schema.
    """
    reader = _Reader()
    schema = reader.read(core, {})
    return schema | {"$defs": reader.defs} if reader.defs else schema


class _Reader:
    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}
        #: By what the core calls a definition, its name: always the same one, which the core's are not.
        self._names: dict[str, str] = {}

    def read(self, core: Core, config: Core) -> Schema:  # noqa: PLR0911, PLR0912  # a table
        config = core.get("config", config)

        def inner(core: Core) -> Schema:
            return self.read(core, config)

        match core["type"]:
            case "definitions":
                for definition in core["definitions"]:
                    # It is built apart from where it is referred to: its configuration is its own, or none.
                    self.defs[self._name(definition["ref"])] = self.read(definition, {})
                return inner(core["schema"])
            case "definition-ref":
                return {"$ref": f"#/$defs/{self._name(core['schema_ref'])}"}
            case "none":
                return {"type": "null"}
            case "bool" if _is_strict(core, config):
                return {"type": "boolean"}
            case "int" if _is_strict(core, config):
                return {"type": "integer"} | _bounds(core)
            case "float" if _is_strict(core, config):
                return {"type": "number"} | _bounds(core)
            case "str" if not core.get("coerce_numbers_to_str", config.get("coerce_numbers_to_str")):
                return {"type": "string"} | _lengths(core, config)
            case "literal":
                return _one_of(core["expected"])
            case "enum" if core["cls"]._missing_.__func__ is Enum._missing_.__func__:  # type: ignore[attr-defined]
                return _one_of(member.value for member in core["members"])
            case "list":
                items = inner(core["items_schema"]) if "items_schema" in core else {}
                return {"type": "array", "items": items} | _named(
                    core, min_length="minItems", max_length="maxItems"
                )
            case "set" | "frozenset":
                return {"type": "array", "items": inner(core["items_schema"]) if "items_schema" in core else {}}
            case "tuple":
                return {"type": "array"}
            case "dict":
                values = inner(core["values_schema"]) if "values_schema" in core else {}
                return {"type": "object", "additionalProperties": values}
            case "nullable":
                return _nullable(inner(core["schema"]))
            case "union":
                choices = (choice[0] if isinstance(choice, tuple) else choice for choice in core["choices"])
                return _any_of(map(inner, choices))
            case "tagged-union":
                return _any_of(map(inner, core["choices"].values()))
            case "default" if core.get("on_error", "raise") == "raise":
                return inner(core["schema"])
            case "function-after" | "dataclass":
                return inner(core["schema"])
            case "model" if not core.get("custom_init"):
                return inner(core["schema"])
            case "chain":
                return inner(core["steps"][0])
            case "typed-dict":
                return self._object(core["fields"], core, config)
            case "model-fields":
                return self._object(core["fields"], core, config)
            case "dataclass-args":
                return self._object({field["name"]: field for field in core["fields"]}, core, config)
            case _:
                return {}

    def _object(self, fields: Mapping[str, Core], core: Core, config: Core) -> Schema:
        if any(field.get("validation_alias") for field in fields.values()):  # it may have several names
            return {"type": "object"}
        schema: Schema = {
            "type": "object",
            "properties": {name: self.read(field["schema"], config) for name, field in fields.items()},
            "required": [name for name, field in fields.items() if _is_required(field, core)],
        }
        if core.get("extra_behavior", config.get("extra_fields_behavior")) == "forbid":
            schema["additionalProperties"] = False
        return schema

    def _name(self, ref: str) -> str:
        return self._names.setdefault(ref, str(len(self._names)))


def _is_required(field: Core, core: Core) -> bool:
    return bool(field.get("required", core.get("total", True))) and not _has_default(field)


def _has_default(core: Core) -> bool:
    """Whether it may be left out: a default may be within what validates it."""
    return core["type"] == "default" or ("schema" in core and _has_default(core["schema"]))


def _is_strict(core: Core, config: Core) -> bool:
    return bool(core.get("strict", config.get("strict")))


def _bounds(core: Core) -> Schema:
    bounds = _named(core, ge="minimum", le="maximum", gt="exclusiveMinimum", lt="exclusiveMaximum")
    return {
        name: bound for name, bound in bounds.items() if isinstance(bound, int | float) and abs(bound) < _EXACT
    }


def _lengths(core: Core, config: Core) -> Schema:
    """Of the string that came, unless it is changed before it is measured."""
    for change in ("strip_whitespace", "to_lower", "to_upper"):
        if core.get(change, config.get(f"str_{change}")):
            return {}
    return _named(core, min_length="minLength", max_length="maxLength")


def _one_of(values: Iterable[object]) -> Schema:
    values = list(values)
    return {"enum": values} if all(isinstance(value, str) for value in values) else {}


def _nullable(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):  # its other keywords are about this type alone
        return schema | {"type": [schema["type"], "null"]}
    return _any_of([schema, {"type": "null"}])


def _any_of(choices: Iterable[Schema]) -> Schema:
    choices = list(choices)
    return {"anyOf": choices} if all(choices) else {}


def _named(core: Core, **names: str) -> Schema:
    return {name: core[key] for key, name in names.items() if core.get(key) is not None}
