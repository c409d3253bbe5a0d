#!/bin/sh
# dicomtrolley's CachedSearcher gives one image of a study that has eleven, after somebody has asked for its report: "whole" is what came last.
#
# The package (4.1.0) finds studies in an archive and downloads them; a CachedSearcher around the search spares the archive the same question.
# It keeps studies by their UID, also those that a question has found a part of (only the series of modality SR, say), and each answer replaces
# the one before. The first question, asked once more, then has another answer: the remembered studies are looked up by UID, and are the part
# by now. A download that needs to know the images of a study asks the cache for them, and gets those of the part: ten CT images are left out.
# Nothing is raised or logged; the documentation says that a study in the cache is checked for its depth.
#
# Needs Debian on amd64 with apt, python3.11 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || kill "$orthanc" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

"$here/scripts/unpack-orthanc" trixie "$folder/orthanc" 1.12.7+dfsg-4 >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check dicomtrolley==4.1.0 pydicom==3.0.2 pynetdicom==3.0.4 2>"$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }

ports=$("$folder/venv/bin/python" -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[each.getsockname()[1] for each in sockets])')
http=${ports% *} dicom=${ports#* }
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $http, "DicomPort": $dicom, "DicomAet": "ARCHIVE",
 "DicomAlwaysAllowFind": true, "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []}
END
"$folder/orthanc/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$http" "$dicom" <<'END'
import importlib.metadata, sys, time, urllib.request
from io import BytesIO
from dicomtrolley.caching import CachedSearcher, DICOMObjectCache
from dicomtrolley.core import DICOMObjectLevels, QueryLevels, StudyReference
from dicomtrolley.dicom_qr import DICOMQR, DICOMQuery
from dicomtrolley.trolley import Trolley
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedSRStorage, ExplicitVRLittleEndian, generate_uid

at, archive = f"http://127.0.0.1:{sys.argv[1]}", DICOMQR("127.0.0.1", int(sys.argv[2]), aec="ARCHIVE")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(300):
    try:
        opener.open(at + "/system", timeout=60)
        break
    except OSError:
        time.sleep(0.1)

study = generate_uid()
for modality, kind, images in (("CT", CTImageStorage, 10), ("SR", EnhancedSRStorage, 1)):
    series = generate_uid()
    for number in range(1, images + 1):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID, file.Modality = kind, generate_uid(), modality
        file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID, file.InstanceNumber = study, series, "P-1", number
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        file.save_as(out, enforce_file_format=True)
        opener.open(at + "/instances", out.getvalue(), timeout=60)


def ask(searcher):
    """The number of images that each of four questions finds."""
    def found(**modality):
        studies = searcher.find_studies(DICOMQuery(PatientID="P-1", query_level=QueryLevels.INSTANCE, **modality))
        return sum(len(study.all_instances()) for study in studies)

    answers = {"all of P-1": found(), "P-1's reports": found(Modality="SR"), "all of P-1, once more": found()}
    download = Trolley(downloader=None, searcher=searcher).obtain_references([StudyReference(study_uid=study)], DICOMObjectLevels.INSTANCE)
    return {**answers, "to download for the study": len(download)}


print("dicomtrolley", importlib.metadata.version("dicomtrolley"), "- a study of P-1 with 10 CT images and a report")
direct, cached = ask(archive), ask(CachedSearcher(archive, DICOMObjectCache()))
print("without a cache:", direct)
print("with the cache: ", cached)
sys.exit(not (list(direct.values()) == [11, 1, 11, 11] and list(cached.values()) == [11, 1, 1, 1]))
END
