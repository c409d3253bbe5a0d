"""The description of a file, as the versions of FileMaker Server write it, and as nobody should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.filemaker.model import Field
from fm_pipeline.filemaker.odata.metadata import Metadata, parse_metadata

SPACE = "com.filemaker.odata.Clinic 06.1.fmp12"
TYPES = {
    "Edm.String": "text",
    "Edm.Decimal": "number",
    "Edm.Date": "date",
    "Edm.TimeOfDay": "time",
    "Edm.DateTimeOffset": "timeStamp",
    "Edm.Stream": "container",
    "Edm.Binary": "container",
}
Described = Mapping[str, Mapping[str, tuple[str, int]]]  # type and repetitions of a field, by table and field

_names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12).filter(
    lambda name: name not in ("ROWID", "ROWMODID") and name[0] not in "$@"
)
_types = st.tuples(st.sampled_from(sorted(TYPES)), st.integers(1, 30))
_tables = st.dictionaries(_names, st.dictionaries(_names, _types, max_size=5), min_size=1)


def _xml(tables: Described) -> bytes:
    types, sets = "", ""
    for table, fields in tables.items():
        properties = "".join(
            f"<Property Name={quoteattr(name)} Type='{kind}'>"
            f"<Annotation Term='com.filemaker.odata.FieldID' String='FMFID:4296032405'/>"
            f"<Annotation Term='com.filemaker.odata.MaxRepetitions' Int='{repetitions}'/></Property>"
            for name, (kind, repetitions) in fields.items()
        )
        types += f"<EntityType Name={quoteattr(table + '_')}>{properties}</EntityType>"
        sets += f"<EntitySet Name={quoteattr(table)} EntityType={quoteattr(f'{SPACE}.{table}_')}/>"
    return (
        "<?xml version='1.0' encoding='utf-8'?><edmx:Edmx xmlns:edmx='http://docs.oasis-open.org/odata/ns/edmx'>"
        f"<edmx:DataServices><Schema Namespace='{SPACE}' xmlns='http://docs.oasis-open.org/odata/ns/edm'>"
        f"<Annotation Term='ServerVersion' String='OData Engine 22.0.2'/>{types}"
        f"<EntityContainer Name='c'>{sets}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
    ).encode()


def _json(tables: Described) -> bytes:
    schema: dict[str, object] = {
        f"{table}_": {
            "$Kind": "EntityType",
            "@com.filemaker.odata.TableID": "FMTID:1",
            **{
                name: {"$Type": kind, "$Nullable": True, "@com.filemaker.odata.MaxRepetitions": repetitions}
                for name, (kind, repetitions) in fields.items()
            },
        }
        for table, fields in tables.items()
    }
    sets = {table: {"$Collection": True, "$Type": f"{SPACE}.{table}_"} for table in tables}
    schema["container of the file"] = {"$Kind": "EntityContainer", **sets}
    document = {"$Version": "4.01", "@ServerVersion": "OData Engine 22.0.2", "Clinic 06.1": schema}
    return json.dumps(document).encode()


def test_the_json_of_filemaker_server_2024_is_understood() -> None:
    notes = {
        "$Kind": "EntityType",
        "$Key": ["id"],
        "id": {"$Type": "Edm.String"},
        "dose": {"$Nullable": True, "@Index": True, "@MaxRepetitions": 3, "$Type": "Edm.Decimal"},
        "age": {"$Nullable": True, "@Calculation": True, "@Org.OData.Core.V1.Permissions": "x", "$Type": "Edm.Decimal"},
    }
    schema = {
        "@Org.OData.Core.V1.SchemaVersion": "22ac2bedd8965dee",
        "Notes__": notes,
        "Other_": {"$Kind": "EntityType", "a": {"$Type": "Edm.Stream"}},
        "Notes_": {"$Kind": "EntitySet", "$Type": "Clinic.Notes__"},
    }
    found = parse_metadata(
        json.dumps({"$Version": "4.01", "@ServerVersion": "OData Engine 21.1.1", "Clinic": schema}).encode()
    )
    assert (found.version, list(found.tables), found.tables["Notes_"].key) == ("21.1.1", ["Notes_"], ("id",))
    assert found.tables["Notes_"].fields == (
        Field("id", "normal", "text"),
        Field("dose", "normal", "number", (1, 2, 3)),
        Field("age", "calculation", "number"),
    )


def _fields(found: Metadata) -> dict[str, list[Field]]:
    return {name: list(table.fields) for name, table in found.tables.items()}


@given(tables=_tables)
def test_xml_and_json_give_the_same_fields(tables: Described) -> None:
    expected = {
        table: [
            Field(name, "normal", TYPES[kind], tuple(range(1, repetitions + 1)))
            for name, (kind, repetitions) in fields.items()
        ]
        for table, fields in tables.items()
    }
    if not any(name.endswith("_") and name[:-1] in tables for name in tables):  # a type may be called as another's set
        for document in (_xml(tables), _json(tables)):
            found = parse_metadata(document)
            assert _fields(found) == expected
            assert found.version == "22.0.2"


def test_keys_calculations_and_the_ids_of_rows_are_told_apart() -> None:
    document = _xml({"Notes": {"id": ("Edm.String", 1), "ROWID": ("Edm.Decimal", 1), "age": ("Edm.Decimal", 1)}})
    document = document.replace(b'<Property Name="id"', b"<Key><PropertyRef Name='id'/></Key><Property Name=\"id\"")
    calculated = b"<Annotation Term='com.filemaker.odata.Calculation' Bool='true'/></Property></EntityType>"
    notes = parse_metadata(document.replace(b"</Property></EntityType>", calculated)).tables["Notes"]
    assert notes.key == ("id",)
    assert [(field.name, field.kind) for field in notes.fields] == [("id", "normal"), ("age", "calculation")]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<Schema><EntityType Name="N_"><Property Name="&b;" Type="Edm.String"/></EntityType></Schema>"""


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        BOMB.replace(b'[<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]', b'SYSTEM "file:///etc/hostname"'),
        b"",
        b"<html><body>Welcome!</body></html>",
        b"<Schema><EntityType/></Schema>",
        _xml({"a": {"b": ("Edm.String", 1)}})[:-9],
        _xml({"a": {"b": ("Edm.String", 99_999_999)}}),
        _xml({"a": {}}).replace(b"a_", b"other_", 1),
        b'{"d":{"a_":{"$Kind":"EntityType","$Key":5}}}',
        b'{"d":' * 100_000,
        b'{"d":{}}',
    ],
)
def test_what_is_no_description_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="no description"):
        parse_metadata(document)


@given(
    tables=_tables, cuts=st.lists(st.tuples(st.integers(0), st.integers(0, 9), st.binary(max_size=3)), max_size=4),
    form=st.sampled_from([_xml, _json]),
)  # fmt: skip
def test_a_spoilt_description_is_read_or_refused_and_nothing_else(tables, cuts, form) -> None:  # type: ignore[no-untyped-def]
    document = bytearray(form(tables))
    for place, length, bytes_there in cuts:
        start = place % len(document)
        document[start : start + length] = bytes_there
    try:
        found = parse_metadata(bytes(document))
    except ValueError:
        return
    assert found.tables
