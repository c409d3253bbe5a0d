#!/bin/sh
# tiny-pacs answers a query for all studies with one of them if it is asked for the modalities or the number of images, too.
#
# The number that it gives (0.4.1) is that of the whole archive, and so are the modalities: of three patients a client sees one,
# whose study has six images instead of two. The number of series is the number of images. Nothing says that there are more: a
# migration that goes by such a list takes one study, and looks in it for six images. With the UID of one study the number of its
# images is right. A query for series does the same. The reason: the index (SQLite by default) is asked for a sum beside columns
# of one row, without a group. Without these attributes three answers come; which ones, see pynetdicom2-repeated-matches.sh.
#
# Needs python3.11 or newer and its venv; the server is on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tiny-pacs==0.4.1 pynetdicom2==0.9.8 pynetdicom==3.0.4 pydicom==3.0.2 \
    2>"$folder/log"

port=$("$folder/venv/bin/python" -c 'import socket
with socket.socket() as held:
    held.bind(("127.0.0.1", 0))
    print(held.getsockname()[1])')
cd "$folder"
"$folder/venv/bin/tiny-pacs" run -p "$port" >"$folder/server.log" 2>&1 &
server=$!

"$folder/venv/bin/python" -W ignore - "$port" <<'END'
import importlib.metadata, sys, time
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

client = AE()
client.add_requested_context(Find)
for storage in (CTImageStorage, MRImageStorage):
    client.add_requested_context(storage, ExplicitVRLittleEndian)
for _ in range(150):
    association = client.associate("127.0.0.1", int(sys.argv[1]), ae_title="TINY_PACS")
    if association.is_established:
        break
    time.sleep(0.2)
assert association.is_established


def store(patient, study, storage, modality, images):
    series = generate_uid()
    for number in range(images):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID, image.InstanceNumber = storage, generate_uid(), number
        image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = study, series, modality
        image.PatientID = image.PatientName = patient
        image.Rows = image.Columns = image.SamplesPerPixel = 1
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PhotometricInterpretation, image.PixelData = "MONOCHROME2", bytes(2)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        status = association.send_c_store(image)
        assert status.Status == 0, status


def find(level, *attributes, study=""):
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = level, "", study
    for attribute in attributes:
        setattr(query, attribute, None)
    answers = list(association.send_c_find(query, Find))
    assert answers[-1][0].Status == 0, answers
    found = []
    for _, match in answers[:-1]:
        values = (match[attribute].value for attribute in attributes)
        found.append((match.PatientID, *(sorted(value) if hasattr(value, "append") else value for value in values)))
    print(f"{level}: {len(found)} found:", *found)
    return found


print("tiny-pacs", importlib.metadata.version("tiny-pacs"))
studies = {patient: generate_uid() for patient in ("P-1", "P-2", "P-3")}
for patient, images in [("P-1", 2), ("P-2", 3)]:
    store(patient, studies[patient], CTImageStorage, "CT", images)
store("P-3", studies["P-3"], MRImageStorage, "MR", 1)

right = len(find("STUDY")) == 3
right &= find("STUDY", "ModalitiesInStudy") == [("P-1", ["CT", "MR"])]
right &= find("STUDY", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances") == [("P-1", 6, 6)]
right &= find("SERIES", "NumberOfSeriesRelatedInstances") == [("P-1", 6)]
right &= find("STUDY", "NumberOfStudyRelatedInstances", study=studies["P-2"]) == [("P-2", 3)]
association.release()
sys.exit(not right)
END
