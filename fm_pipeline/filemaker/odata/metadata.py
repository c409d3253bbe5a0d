"""`$metadata`: the table occurrences of a file with fields, types, repetitions and keys, from XML or JSON.

A large file's is more than a megabyte, so the XML is parsed as a stream, and only what is needed is kept. A document
type is refused: FileMaker sends none, and entities can be made to fill the memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from fm_pipeline.filemaker.model import MOST_REPETITIONS, Field
from fm_pipeline.filemaker.odata.urls import ROW_ID, ROW_MOD_ID

_RESULTS = {
    "Edm.String": "text",
    "Edm.Decimal": "number",
    "Edm.Date": "date",
    "Edm.TimeOfDay": "time",
    "Edm.DateTimeOffset": "timeStamp",
    "Edm.Stream": "container",  # FileMaker Server 2024
    "Edm.Binary": "container",  # FileMaker Server 2025
}
_VERSIONS = ("ServerVersion", "ProductVersion")
_KINDS = {"Calculation": "calculation", "Summary": "summary"}


@dataclass(frozen=True, slots=True)
class TableOccurrence:
    """A table occurrence.

    Args:
        key: the fields that FileMaker itself keeps unique and filled; empty if there are none.
    """

    name: str
    fields: tuple[Field, ...]
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file shows.

    Args:
        version: of the OData engine, for example "22.0.2"; empty if the document has none.
        tables: by name.
    """

    version: str
    tables: Mapping[str, TableOccurrence]


def parse_metadata(content: bytes) -> Metadata:
    """Return the contents of a `$metadata` document.

    Raises:
        ValueError: it is neither the XML nor the JSON form, or has a document type.
    """
    try:
        return _from_json(content) if content.lstrip()[:1] == b"{" else _from_xml(content)
    except (expat.ExpatError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise ValueError("no description of a file") from None


@dataclass
class _Property:
    name: str
    type: str
    repetitions: int = 1
    kind: str = "normal"

    def annotate(self, term: str, value: object) -> None:
        """Take an annotation; terms have a namespace in front, but in JSON not all."""
        term = term.rpartition(".")[2].lstrip("@")
        if term == "MaxRepetitions":
            self.repetitions = int(str(value))
            if not 1 <= self.repetitions <= MOST_REPETITIONS:
                raise ValueError
        elif term in _KINDS and str(value).lower() == "true":
            self.kind = _KINDS[term]

    def field(self) -> Field:
        plain = self.type.removeprefix("Collection(").removesuffix(")")
        return Field(self.name, self.kind, _RESULTS.get(plain, "text"), tuple(range(1, self.repetitions + 1)))


@dataclass
class _Type:
    properties: list[_Property] = field(default_factory=list)
    key: list[str] = field(default_factory=list)


class _Contents:
    """What was met in a document, whatever its form."""

    def __init__(self) -> None:
        self.version = ""
        self.types: dict[str, _Type] = {}
        self.sets: dict[str, str] = {}  # the type's name with its namespace, by the set's name

    def note_version(self, term: str, value: object) -> None:
        if term.rpartition(".")[2].lstrip("@") in _VERSIONS and (found := re.search(r"\d+(\.\d+)*", str(value))):
            self.version = self.version or found[0]

    def result(self) -> Metadata:
        if not self.types:
            raise ValueError
        sets = self.sets or {name.removesuffix("_"): name for name in self.types}
        return Metadata(self.version, {name: self._table(name, type_name) for name, type_name in sets.items()})

    def _table(self, name: str, type_name: str) -> TableOccurrence:
        # The namespace and the type's own name may have dots; the longest end that is a type is meant.
        parts = type_name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        found = next((self.types[end] for end in ends if end in self.types), None) or self.types.get(f"{name}_")
        if found is None:
            raise ValueError
        fields = (each.field() for each in found.properties if each.name not in (ROW_ID, ROW_MOD_ID))
        return TableOccurrence(name, tuple(fields), tuple(found.key))


class _XmlReader:
    """Takes the elements of the XML form as they come."""

    def __init__(self) -> None:
        self.contents = _Contents()
        self._type: _Type | None = None  # the one whose element is open
        self._property: _Property | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if name == "EntityType":
            self._type = self.contents.types.setdefault(attributes["Name"], _Type())
        elif name == "EntitySet":
            self.contents.sets[attributes["Name"]] = attributes["EntityType"]
        elif name == "Annotation":
            self._annotation(attributes)
        elif self._type is not None and name == "Property":
            self._property = _Property(attributes["Name"], attributes.get("Type", "Edm.String"))
            self._type.properties.append(self._property)
        elif self._type is not None and name == "PropertyRef":
            self._type.key.append(attributes["Name"])

    def end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if name == "EntityType":
            self._type = None
        elif name == "Property":
            self._property = None

    def refuse(self, *_: object) -> None:
        raise ValueError

    def _annotation(self, attributes: dict[str, str]) -> None:
        value = next((attributes[form] for form in ("Int", "Bool", "String") if form in attributes), "")
        if self._property is not None:
            self._property.annotate(attributes["Term"], value)
        else:
            self.contents.note_version(attributes["Term"], value)


def _from_xml(content: bytes) -> Metadata:
    reader = _XmlReader()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.Parse(content, True)
    return reader.contents.result()


def _from_json(content: bytes) -> Metadata:
    contents = _Contents()
    for name, value in json.loads(content).items():
        if name.startswith("@"):
            contents.note_version(name, value)
        elif not name.startswith("$") and isinstance(value, dict):
            _add_schema(contents, value)
    return contents.result()


def _add_schema(contents: _Contents, schema: Mapping[str, Any]) -> None:
    for name, value in schema.items():
        if name.startswith("@"):
            contents.note_version(name, value)
        elif isinstance(value, dict) and value.get("$Kind") == "EntityType":
            contents.types[name] = _type_from_json(value)
        elif isinstance(value, dict) and value.get("$Kind") == "EntitySet":  # FileMaker Server 2024 has no container
            contents.sets[name] = str(value["$Type"])
        elif isinstance(value, dict) and value.get("$Kind") == "EntityContainer":
            members = ((name, one) for name, one in value.items() if isinstance(one, dict) and one.get("$Collection"))
            contents.sets.update((name, str(one["$Type"])) for name, one in members)


def _type_from_json(value: Mapping[str, Any]) -> _Type:
    made = _Type(key=[str(name) for name in value.get("$Key", [])])
    for name, one in value.items():
        if name.startswith(("$", "@")) or not isinstance(one, dict) or one.get("$Kind") == "NavigationProperty":
            continue
        made.properties.append(_Property(name, str(one.get("$Type", "Edm.String"))))
        for term, given in one.items():
            if term.startswith("@"):
                made.properties[-1].annotate(term, given)
    return made
