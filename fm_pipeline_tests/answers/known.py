"""Right contents of each server's answers, from which the wrong ones are made."""

from __future__ import annotations

from typing import Any

from fm_pipeline_tests.support.scripted_http import STATISTICS, SYSTEM

_ID = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
ORTHANC: list[Any] = [
    SYSTEM,
    STATISTICS,
    {**SYSTEM, "MaximumStorageSize": 1, "MaximumPatientCount": 1, "ReadOnly": True},
    {"Status": "Success", "ID": _ID, "ParentPatient": _ID, "ParentStudy": _ID, "ParentSeries": _ID},
    {"HttpStatus": 400, "OrthancStatus": 15, "Details": "no DICOM"},
    {"HttpStatus": 507, "OrthancStatus": 19},
    [{"ID": _ID, "Type": "Instance", "FileSize": 7}],
    b"d41d8cd98f00b204e9800998ecf8427e",
    b"1.2.840.10008.1.2.1",
]
_OK = [{"code": "0", "message": "OK"}]
_DATA_INFO = {"database": "clinic", "foundCount": 1, "returnedCount": 1, "totalRecordCount": 1}
_ROW = {"fieldData": {"id": "1", "image": ""}, "portalData": {}, "recordId": "1", "modId": "0"}
_FIELD = {"name": "id", "type": "normal", "result": "text", "repetitionStart": 1, "repetitionEnd": 2}
FILEMAKER: list[Any] = [
    {"response": {"token": "a" * 36}, "messages": _OK},
    {"response": {"dataInfo": _DATA_INFO, "data": [_ROW], "token": "t"}, "messages": _OK},
    {"response": {"productInfo": {"version": "19.6.1.45"}, "token": "t"}, "messages": _OK},
    {
        "response": {"layouts": [{"name": "a"}, {"isFolder": True, "folderLayoutNames": [{"name": "b"}]}]},
        "messages": _OK,
    },
    {"response": {"fieldMetaData": [_FIELD], "token": "t"}, "messages": _OK},
    {"response": {"recordId": "1", "modId": "1", "token": "t"}, "messages": _OK},
    *(
        {"response": {}, "messages": [{"code": code}]}
        for code in ("101", "105", "112", "212", "401", "952", "960", "-1")
    ),
    b"\xff\xd8\xff\xe0",
]
_SCHEMA = (
    '<?xml version="1.0"?><Edmx><Schema Namespace="s"><Annotation Term="ServerVersion" String="OData Engine 22.0.2"/>'
    '<EntityType Name="Notes_"><Property Name="id" Type="Edm.String"><Annotation Term="MaxRepetitions" Int="%s"/>'
    '</Property></EntityType><EntityContainer><EntitySet Name="Notes" EntityType="s.Notes_"/></EntityContainer>'
    "</Schema></Edmx>"
)
ODATA: list[Any] = [
    {"value": [{"name": "Notes", "kind": "EntitySet", "url": "Notes"}]},
    {"@count": 1, "value": [{"ROWID": 1, "ROWMODID": 0, "id": "a"}]},
    {"@odata.count": "2", "value": [{"ROWID": "2", "ROWMODID": "0", "id": None}], "@odata.nextLink": "Notes?$skip=1"},
    {"@count": 0, "value": []},
    {"@count": 3, "value": [], "@nextLink": "https://elsewhere.example/"},
    {"value": ["one", None, "three"]},
    {"value": [{"error": {"code": "8309", "message": "no"}}]},
    *({"error": {"code": code, "message": "no"}} for code in ("-1002", "-1010", "-1023", "212", "802", "303", "9")),
    b'<?xml version="1.0"?><m:error xmlns:m="urn:m"><m:code>802</m:code><m:message>no</m:message></m:error>',
    b'{"@count":1,"value":[{"ROWID":1,"ROWMODID":0,"id":?}]}',
    (_SCHEMA % 1).encode(),
    (_SCHEMA % 3).encode(),
    b"\xff\xd8\xff\xe0",
]
_LISTING = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>%s</IsTruncated>'
    "<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>%s</ETag><Size>%s</Size></Contents>"
    "<NextContinuationToken>%s</NextContinuationToken></ListBucketResult>"
)
_TIME = "2026-01-01T00:00:00.000Z"
S3: list[Any] = [
    (_LISTING % ("false", "patients/1.jpg", _TIME, '"etag"', "7", "")).encode(),
    (_LISTING % ("true", "patients/1.jpg", _TIME, '"etag"', "7", "next")).encode(),
    (_LISTING % ("true", "patients/1.jpg", _TIME, '"etag"', "7", "")).encode(),
    (_LISTING % ("false", "patients/1.jpg", "yesterday", '"etag"', "7", "")).encode(),
    (_LISTING % ("maybe", "", _TIME, "", "many", "")).encode(),
    b'<?xml version="1.0"?><ListBucketResult><Contents><Size>7</Size></Contents></ListBucketResult>',
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please</Message></Error>',
    b'<?xml version="1.0"?><Error><Code></Code></Error>',
    b"<Error/>",
    b'<?xml version="1.0"?><CopyObjectResult><ETag>"etag"</ETag></CopyObjectResult>',
    b"<CopyObjectResult/>",
    b"content",
]
