#!/bin/sh
# dicom2fhir files the pictures of all patients of a folder under one of them, whose name it writes as { "Alphabetic": "Brown.
#
# from_directory() reads a folder with its subfolders and gives a transaction for a FHIR server: one Patient, one ImagingStudy.
# It takes both from the file that the system lists first; the series of every other file are added to that study, also if its
# patient and its study are others. Names come as objects in DICOM's JSON, and each one is written as JSON and cut at its
# carets, so the family name has braces and quotation marks in it. A file whose Patient ID is empty, which DICOM allows,
# gets an ID of JSON as well, the same for all: two unknown patients are one Patient. The transaction replaces (PUT) what the
# server holds under these ids. There is no error and no warning.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicom2fhir==0.1.25 fhir.resources==8.1.0 fhir-core==1.1.12 \
    pydicom==3.0.2 pandas==2.3.3 2>"$folder/log"

"$folder/venv/bin/python" - "$folder" <<'END'
import asyncio, json, sys
from importlib.metadata import version
from pathlib import Path
from dicom2fhir.dicom2fhir import from_directory
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

folder = Path(sys.argv[1])

def write(path, patient_id, name):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = EncapsulatedPDFStorage, generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = patient_id, name, "19700102", "F"
    file.StudyDate, file.StudyTime, file.Modality = "20260105", "101112", "DOC"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return patient_id, file.StudyInstanceUID, file.SeriesInstanceUID

def converted(name):
    bundle = asyncio.run(from_directory(folder / name, config={"dicom_timezone": "Europe/Berlin"}))
    entries = json.loads(bundle.model_dump_json())["entry"]
    kinds = [entry["resource"]["resourceType"] for entry in entries]
    return kinds, *({entry["resource"]["resourceType"]: entry for entry in entries}[kind] for kind in ("Patient", "ImagingStudy"))

print("dicom2fhir", version("dicom2fhir"))
files = [write(folder / "both/1/report.dcm", "P-1", "Adams^Mary"), write(folder / "both/2/report.dcm", "P-2", "Brown^Tom")]
kinds, patient, study = converted("both")
identifier, name = patient["resource"]["identifier"][0]["value"], patient["resource"]["name"][0]
uids = [row["value"].removeprefix("urn:oid:") for row in study["resource"]["identifier"]]
series = {row["uid"] for row in study["resource"]["series"]}
own = next(row for row in files if row[0] == identifier)
print("folder of P-1 and P-2, a study each:", *kinds, "- patient:", identifier, "- name:", json.dumps(name))
print(f"  study of {identifier} has series of:", *(row[0] for row in files if row[2] in series))
right = kinds == ["ImagingStudy", "Patient", "Device"] and uids == [own[1]] and series == {row[2] for row in files}
right &= study["resource"]["subject"]["reference"] == f"Patient/{patient['resource']['id']}"
family = {"P-1": "Adams", "P-2": "Brown"}[identifier]
right &= name["family"] == '{\n  "Alphabetic": "' + family

unknown = []
for number, name in enumerate(("Clark^Ann", "Davis^Joe")):
    write(folder / f"unknown{number}/report.dcm", "", name)
    patient = converted(f"unknown{number}")[1]
    unknown.append(patient["request"])
    print("no Patient ID,", name, "->", patient["request"]["method"], patient["request"]["url"][:20] + "...", end=" ")
    print("identifier:", json.dumps(patient["resource"]["identifier"][0]["value"]))
right &= unknown[0] == unknown[1] and unknown[0]["method"] == "PUT"
sys.exit(not right)
END
