#!/bin/sh
# Orthanc's neuroimaging plugin gives all slices of a PET the scale of one: 100, 200 and 400 Bq/ml become 100, 100 and 100.
#
# The plugin (1.1, Debian trixie's orthanc-neuro) gives a series as NIfTI (/series/{id}/nifti), "similar to well-known converters". A PET's
# slices may each have a scale of their own (Rescale Slope; PS3.3, C.8.9.4). NIfTI has one for a volume; the plugin copies the stored numbers,
# writes one slice's scale, and the activity in the others is wrong by the ratio. The distance of the slices is taken from two of them. If one
# is missing in the middle, the gap closes, and what lies behind it moves. Pixels that are not square are turned: the distance between
# rows, which DICOM names first, becomes that between columns. Orthanc answers 200 to each.
#
# Needs Debian on amd64 with apt, python3 and its venv. Orthanc is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
orthanc=
trap '[ -z "$orthanc" ] || kill "$orthanc" 2>/dev/null; wait; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1

root="$folder/root"
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian --suite trixie "$root" \
    orthanc=1.12.7+dfsg-4 orthanc-neuro=1.1+dfsg-1+b7) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }

port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/orthanc.json" <<END
{"StorageDirectory": "$folder/store", "IndexDirectory": "$folder/store", "HttpPort": $port, "DicomServerEnabled": false,
 "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": ["$root/usr/lib/orthanc/libOrthancNeuro.so.1.1"]}
END
DCMDICTPATH="$root/usr/share/dcmtk/dicom.dic" "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \
    "$root/usr/sbin/Orthanc" "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
orthanc=$!

"$folder/venv/bin/python" - "$port" <<'END'
import json, struct, sys, time, urllib.request
from io import BytesIO
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

at = f"http://127.0.0.1:{sys.argv[1]}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None):
    with opener.open(urllib.request.Request(at + path, body), timeout=60) as answer:
        return answer.read()


def series(kind, positions, thickness, slopes=None, spacing=(1, 1)):
    """Stores a series whose pixels are all 100; returns its volume as Orthanc gives it."""
    study, uid = generate_uid(), generate_uid()
    for number, position in enumerate(positions, 1):
        file = Dataset()
        file.SOPClassUID, file.SOPInstanceUID, file.StudyInstanceUID, file.SeriesInstanceUID = kind, generate_uid(), study, uid
        file.PatientID, file.Modality, file.InstanceNumber = "P-1", "CT" if kind == CTImageStorage else "PT", number
        file.ImageOrientationPatient, file.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, position]
        file.SliceThickness, file.PixelSpacing = thickness, list(spacing)
        file.RescaleSlope, file.RescaleIntercept = (slopes or [1] * len(positions))[number - 1], 0
        if kind != CTImageStorage:
            file.Units = "BQML"
        file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 4, 6, 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
        file.PixelData = struct.pack("<24H", *[100] * 24)
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        file.save_as(out, enforce_file_format=True)
        stored = json.loads(ask("/instances", out.getvalue()))
    nifti = ask(f"/series/{stored['ParentSeries']}/nifti")
    columns, rows, slices = struct.unpack_from("<3h", nifti, 42)
    sizes, (start, slope, intercept) = struct.unpack_from("<3f", nifti, 80), struct.unpack_from("<3f", nifti, 108)
    pixels = struct.unpack_from(f"<{columns * rows * slices}H", nifti, int(start))
    values = [pixels[columns * rows * index] * slope + intercept for index in range(slices)]
    return {"slices": slices, "columns, rows, slices apart": sizes, "values": values}


for _ in range(300):
    try:
        print("Orthanc", json.loads(ask("/system"))["Version"], "- neuro", json.loads(ask("/plugins/neuro"))["Version"])
        break
    except OSError:
        time.sleep(0.1)

gap = series(CTImageStorage, [0, 3, 6, 12, 15], thickness=3)
print("slices at 0, 3, 6, 12 and 15 mm:", gap["slices"], "slices,", gap["columns, rows, slices apart"][2], "mm apart")
pet = series(PositronEmissionTomographyImageStorage, [0, 3, 6], thickness=3, slopes=[1, 2, 4])
print("PET slices of 100, 200 and 400 Bq/ml:", pet["values"])
oblong = series(CTImageStorage, [0, 3, 6], thickness=3, spacing=(2, 1))
print("rows 2 mm apart, columns 1 mm:", oblong["columns, rows, slices apart"])
sys.exit(not (
    (gap["slices"], gap["columns, rows, slices apart"][2]) == (5, 3)
    and pet["values"] == [100, 100, 100] and oblong["columns, rows, slices apart"] == (2, 1, 3)
))
END
