"""Checks JSON against a schema, with a reason for everything that does not fit.

`result.schema.json` beside this file says what a result is, in JSON Schema (draft 2020-12), so that editors and other
programs can read it too. This module knows the keywords that it uses: type, const, enum, required, properties,
additionalProperties, propertyNames, pattern, minimum, exclusiveMinimum, maximum, minLength, maxLength, minProperties,
items, minItems, maxItems and local $ref. A keyword it does not know is an error in the schema, not a check left out. A
pattern is of the whole text: `$` does not let a line feed through, as it does in Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1env.errors import nearest

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_ABOUT = {"$schema", "$id", "$defs", "title", "description"}
_KNOWN = _ABOUT | {
    "$ref", "type", "const", "enum", "required", "properties", "additionalProperties", "propertyNames", "pattern",
    "minimum", "exclusiveMinimum", "maximum", "minLength", "maxLength", "minProperties", "items", "minItems", "maxItems",
}  # fmt: skip


def load(name: str) -> dict[str, Any]:
    """A schema beside this file."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return schema


def misfits(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What does not fit, each with its place and reason; empty where all does."""
    return list(_misfits(value, schema, schema, ""))


def _misfits(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    if unknown := set(schema) - _KNOWN:
        raise ValueError(f"the schema has keywords that are not known here: {', '.join(sorted(unknown))}")
    if "$ref" in schema:
        yield from _misfits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
        return
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, name) for name in types):
        yield f"{_named(place)} is {_short(value)}, which is no {' or '.join(types)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{_named(place)} is {_short(value)}; only {_short(schema['const'])} is known here"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{_named(place)} is {_short(value)}; valid: {', '.join(map(_short, schema['enum']))}"
    if isinstance(value, str):
        yield from _text(value, schema, place)
    elif isinstance(value, dict):
        yield from _object(value, schema, root, place)
    elif isinstance(value, list):
        yield from _array(value, schema, root, place)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(value, schema, place)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _text(value: str, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{_named(place)} is too short: {_short(value)}"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{_named(place)} has {len(value):,} characters; at most {schema['maxLength']:,} are allowed"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        yield f"{_named(place)} is {_short(value)}, which does not match {schema['pattern']}"


def _number(value: float, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{_named(place)} is {value}; at least {schema['minimum']} is valid"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"{_named(place)} is {value}; it must be above {schema['exclusiveMinimum']}"
    if value > schema.get("maximum", value):
        yield f"{_named(place)} is {value}; at most {schema['maximum']} is valid"


def _object(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{_named(place)} lacks {name!r}"
    if len(value) < schema.get("minProperties", 0):
        yield f"{_named(place)} is empty"
    others = schema.get("additionalProperties", True)
    for name, item in value.items():
        within = f"{place}.{name}" if place else name
        if name in properties:
            yield from _misfits(item, properties[name], root, within)
        elif others is False:
            yield f"{_named(place)} has {name!r}, which is not known here{nearest(name, list(properties))}"
        elif isinstance(others, dict):
            yield from (
                f"the name of {reason}"
                for reason in _misfits(name, schema.get("propertyNames", {}), root, within)
            )
            yield from _misfits(item, others, root, within)


def _array(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{_named(place)} has {len(value)} items; {schema.get('minItems', 0)} to {schema.get('maxItems', 'any')} fit"
    for index, item in enumerate(value):
        yield from _misfits(item, schema.get("items", {}), root, f"{place}[{index}]")


def _named(place: str) -> str:
    return place or "the document"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
