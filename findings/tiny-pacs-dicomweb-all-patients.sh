#!/bin/sh
# tiny-pacs-dicomweb, asked for the studies of 00100020=P-1, gives those of all patients: it knows that attribute as PatientID only.
#
# QIDO-RS takes an attribute by its keyword or by its tag (PS3.18, 8.3.4.1). This server (0.1.0) knows nine keywords, and leaves out of the
# query whatever else it is asked: each tag, and StudyDescription, StudyID, PatientSex or StudyTime by either. The answer is 200 with all
# studies, and no Warning; where the first study is taken for the patient's, it is another's. With the keyword there is one.
# A client that asks WADO-RS for a study in one transfer syntax gets the images that are stored in it, with 200: of a study of which one
# image is compressed it has the other one only, in a complete multipart body. The README has 406 for that, which comes if no image
# fits. dicomweb-client takes both answers for what it asked for.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check "tiny-pacs[dicomweb]==0.4.1" tiny-pacs-dicomweb==0.1.0 pynetdicom2==0.9.8 \
    dicomweb-client==0.61.2 pydicom==3.0.2 2>"$folder/log"

ports=$("$folder/venv/bin/python" -c 'import socket
with socket.socket() as one, socket.socket() as other:
    one.bind(("127.0.0.1", 0)); other.bind(("127.0.0.1", 0))
    print(one.getsockname()[1], other.getsockname()[1])')
dicom=${ports% *} http=${ports#* }
cat >"$folder/server.yaml" <<END
components:
  HttpServer: {on: true, host: 127.0.0.1, port: $http}
  DICOMWeb: {on: true, prefix: /dicomweb, auth: none}
END
cd "$folder"
"$folder/venv/bin/tiny-pacs" run -c server.yaml -p "$dicom" >"$folder/server.log" 2>&1 &
server=$!

"$folder/venv/bin/python" - "$http" <<'END'
import os, sys, time
from importlib.metadata import version
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid
from requests import HTTPError

os.environ["NO_PROXY"] = "127.0.0.1"
client = DICOMwebClient(f"http://127.0.0.1:{sys.argv[1]}/dicomweb")

def image(patient, study, series, number, compressed):
    file = Dataset()
    file.preamble = bytes(128)
    file.SOPClassUID, file.SOPInstanceUID, file.InstanceNumber = CTImageStorage, generate_uid(), number
    file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality, file.SeriesNumber = study, series, "CT", 1
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = patient, f"Name^{patient}", "19700102", "F"
    file.StudyDate, file.StudyTime, file.StudyID, file.AccessionNumber = "20260105", "101112", f"S-{patient}", f"A-{patient}"
    file.StudyDescription = f"Study of {patient}"
    file.Rows = file.Columns = 2
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation, file.SamplesPerPixel, file.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    file.PixelData = bytes(8)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if compressed:
        file["PixelData"].VR = "OW"
        file.compress(RLELossless, generate_instance_uid=False)
    return file

for _ in range(150):
    try:
        client.search_for_studies()
        break
    except OSError:
        time.sleep(0.2)

print("tiny-pacs-dicomweb", version("tiny-pacs-dicomweb"), "- tiny-pacs", version("tiny-pacs"))
everybody, studies = ["P-1", "P-2", "P-3"], {}
for patient in everybody:
    studies[patient], series = generate_uid(), generate_uid()
    client.store_instances([image(patient, studies[patient], series, number, number == 2) for number in (1, 2)])

def found(**wanted):
    patients = sorted(study["00100020"]["Value"][0] for study in client.search_for_studies(search_filters=wanted))
    print("asked for", *(f"{key}={value}" for key, value in wanted.items()), "- studies of:", *patients)
    return patients

right = found(PatientID="P-2") == ["P-2"]
for wanted in ({"00100020": "P-2"}, {"0020000D": studies["P-2"]}, {"StudyDescription": "Study of P-2"}, {"StudyID": "S-P-2"},
               {"PatientSex": "M"}):
    right &= found(**wanted) == everybody

def retrieved(syntax):
    try:
        images = [int(file.InstanceNumber) for file in client.retrieve_study(studies["P-2"], media_types=(("application/dicom", syntax),))]
    except HTTPError as error:
        images = [error.response.status_code]
    print("the study of P-2, asked for in", syntax, "- images:", *images)
    return images

right &= sorted(retrieved("*")) == [1, 2] and retrieved(ExplicitVRLittleEndian) == [1] and retrieved(RLELossless) == [2]
sys.exit(not right)
END
