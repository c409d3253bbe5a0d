"""The shape of a body: its paths, each with the forms of the values there. Lists and their entries are one path."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat

from fm_pipeline.filemaker.recorder.forms import form_of
from fm_pipeline.filemaker.recorder.names import Names
from fm_pipeline.filemaker.recorder.vocabulary import VALUE_WORDS, XML_WORDS

Shape = Mapping[str, list[str]]
"""Forms by path, for example {"response/data[]/modId": ["text 9"]}."""

_WORD = re.compile("|".join(sorted(VALUE_WORDS)))
_CODE = re.compile(r"-?\d{1,5}")
_DEEPEST = 16  # levels; the answers of both interfaces have half of it
_DATE_FORMAT = re.compile(r"[MdyHhmsa:/. -]{1,24}")
# Values that are kept as they are: words of the interface, where they stand and if they have the form that they must.
_KEPT: Final = {
    "response/productInfo/version": re.compile(r"\d{1,3}(\.\d{1,6}){0,4}"),
    "response/productInfo/dateFormat": _DATE_FORMAT,
    "response/productInfo/timeFormat": _DATE_FORMAT,
    "response/productInfo/timeStampFormat": _DATE_FORMAT,
    "messages[]/code": _CODE,
    "error/code": _CODE,
    "response/fieldMetaData[]/type": _WORD,
    "response/fieldMetaData[]/result": _WORD,
    "response/fieldMetaData[]/displayType": _WORD,
    "value[]/kind": _WORD,
}
_EDM = re.compile(r"Edm\.(String|Decimal|Date|TimeOfDay|DateTimeOffset|Stream|Binary|Boolean|Double|Int16|Int32|Int64)")
_XML_CODE = re.compile(rb"<(?:[\w.-]+:)?code(?:\s[^>]*)?>\s*(-?\d{1,5})\s*</")


def shape_of(body: bytes, names: Names) -> Shape:
    """Return the shape of a body in JSON or XML; of another one under the path "" what it is."""
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return {"": ["nothing"]}
    try:
        if start.startswith((b"<!doctype html", b"<html")):
            return {"": ["a web page"]}
        return _of_xml(body) if start.startswith(b"<") else _of_json(json.loads(body), names)
    except (ValueError, RecursionError, expat.ExpatError):
        whole = "ends as JSON does" if body.rstrip().endswith(b"}") else "does not end as JSON does"
        return {"": [f"neither JSON nor XML; {whole}"]}


def code_in(body: bytes) -> int | None:
    """Return FileMaker's code in a body, of the Data API or of an error of OData; None if there is none."""
    try:
        parsed = json.loads(body)
        code = parsed["messages"][0]["code"] if "messages" in parsed else parsed["error"]["code"]
    except (ValueError, RecursionError):
        found = _XML_CODE.search(body)
        return int(found[1]) if found else None
    except (TypeError, KeyError, IndexError):
        return None
    return int(code) if _CODE.fullmatch(str(code)) else None


class _Forms:
    def __init__(self) -> None:
        self._met: dict[str, set[str]] = {}

    def add(self, path: str, form: str) -> None:
        self._met.setdefault(path, set()).add(form)

    def shape(self) -> Shape:
        return {path: sorted(forms) for path, forms in sorted(self._met.items())}


def _of_json(parsed: object, names: Names) -> Shape:
    forms = _Forms()

    def walk(path: str, value: object, depth: int = 0) -> None:
        if depth == _DEEPEST:
            forms.add(path, "deeper")
        elif isinstance(value, dict):
            forms.add(path, "object" if value else "object, empty")
            for key, below in value.items():
                name = names.of_key(key)
                walk(f"{path}/{name}" if path else name, below, depth + 1)
        elif isinstance(value, list):
            forms.add(path, f"list of {len(value)}")
            for below in value:
                walk(f"{path}[]", below, depth + 1)
        elif path in _KEPT and _KEPT[path].fullmatch(str(value)):
            forms.add(path, f"is {value}")
        else:
            forms.add(path, form_of(value))

    walk("", parsed)
    return forms.shape()


def _of_xml(body: bytes) -> Shape:
    forms, path = _Forms(), list[str]()

    def start(tag: str, attributes: dict[str, str]) -> None:
        path.append(_xml_word(tag))
        if len(path) > _DEEPEST:
            raise ValueError
        place = "/".join(path)
        forms.add(place, "element")
        for name, value in attributes.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                continue
            plain = value.removeprefix("Collection(").removesuffix(")")
            kept = _xml_word(name) == "Type" and _EDM.fullmatch(plain)
            forms.add(f"{place}@{_xml_word(name)}", f"is {value}" if kept else "text")

    def refuse(*_: object) -> None:
        raise ValueError

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.StartDoctypeDeclHandler = refuse  # entities can be made to fill the memory
    parser.Parse(body, True)
    return forms.shape()


def _xml_word(name: str) -> str:
    word = name.rpartition(":")[2]
    return word if word in XML_WORDS else "other"
