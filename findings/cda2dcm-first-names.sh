#!/bin/sh
# cda2dcm files a document of Mary Adams under her stage name and her social security number, and one of Anna van der Berg under "van der".
#
# The program (DCMTK 3.6.9, Debian 13) wraps a clinical document (HL7's CDA) into a DICOM file for the archive, and takes the patient from
# it. In CDA a patient may have several names, each with its use, several IDs, each with the authority that gave it, and several family
# names, with qualifiers for what they are; their order means nothing. The program takes the first of each kind: a stage name (use="A"), or
# the name that ended with a marriage (validTime), and an ID without a number (nullFlavor) leaves the patient without one. Of a family
# name's parts it takes the prefix ("VV"), or the birth name ("BR"). A name without parts (<name>Mary Adams</name>) is no name, and the
# hour of birth stays in the date, where DICOM has eight digits. There is no message, the exit code is 0, and
# the manual says nothing of it. In the archive the document belongs to another patient.
#
# Needs Debian on amd64 with apt, python3 and its venv. DCMTK is Debian trixie's, unpacked in a temporary folder.
# Exit code 0: as described; 1: it behaves otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian --suite trixie "$folder/debian" \
    dcmtk=3.6.9-5+deb13u3 libdcmtk19=3.6.9-5+deb13u3) >"$folder/log" 2>&1 || { tail -n 5 "$folder/log"; exit 1; }
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydicom==3.0.2 2>"$folder/log"

DCMDICTPATH="$folder/debian/usr/share/dcmtk/dicom.dic" "$folder/venv/bin/python" -W ignore - "$folder" <<'END'
import subprocess, sys
from pathlib import Path
from pydicom import dcmread

folder = Path(sys.argv[1])
root = folder / "debian"
cda2dcm = [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu", root / "usr/bin/cda2dcm"]
print(subprocess.run([*cda2dcm, "--version"], capture_output=True, text=True).stdout.split("\n")[0])

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="1.2.826.0.1.3680043.9.1" extension="D-1"/><code code="18842-5" codeSystem="2.16.840.1.113883.6.1"/><title>Discharge summary</title>
<effectiveTime value="20260105103000+0100"/><confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
<recordTarget><patientRole>{ids}<patient>{names}<administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>{birth}</patient>
</patientRole></recordTarget>
<author><time value="20260105103000+0100"/><assignedAuthor><id root="1.2.826.0.1.3680043.9.4" extension="D7"/></assignedAuthor></author>
<custodian><assignedCustodian><representedCustodianOrganization><id root="1.2.826.0.1.3680043.9.3"/></representedCustodianOrganization>
</assignedCustodian></custodian><component><nonXMLBody><text>She may go home.</text></nonXMLBody></component></ClinicalDocument>
"""
HOSPITAL, SECURITY = '<id root="1.2.826.0.1.3680043.9.2" extension="P-1"/>', '<id root="2.16.840.1.113883.4.1" extension="999-00-1234"/>'
MARY = '<name use="L"><given>Mary</given><family>Adams</family></name>'
STAGE = '<name use="A"><given>Lola</given><family>Star</family></name>'
BEFORE = '<name><given>Mary</given><family>Cole</family><validTime><low value="1980"/><high value="2010"/></validTime></name>'


def converted(title, names=MARY, ids=HOSPITAL, born="19800102"):
    birth = f'<birthTime value="{born}"/>'
    (folder / "document.xml").write_text(DOCUMENT.format(names=names, ids=ids, birth=birth), encoding="utf-8")
    ran = subprocess.run([*cda2dcm, folder / "document.xml", folder / "document.dcm"], capture_output=True, text=True)
    file = dcmread(folder / "document.dcm")
    print(f"{title:32} {str(file.PatientName):18} ID {str(file.PatientID):12} born {file.PatientBirthDate}", ran.stderr.strip())
    return ran.returncode, str(file.PatientName).rstrip("^"), str(file.PatientID), str(file.PatientBirthDate)


seen = [
    converted("one name, one ID"),
    converted("stage name first", names=STAGE + MARY),
    converted("former name first", names=BEFORE + MARY),
    converted("social security number first", ids=SECURITY + HOSPITAL),
    converted("unknown ID first", ids='<id nullFlavor="UNK"/>' + HOSPITAL),
    converted("van der Berg", names='<name><given>Anna</given><family qualifier="VV">van der </family><family>Berg</family></name>'),
    converted("birth name first", names='<name><given>Mary</given><family qualifier="BR">Cole</family><family>Adams</family></name>'),
    converted("name without parts", names="<name>Mary Adams</name>"),
    converted("hour of birth", born="198001021530+0100"),
]
sys.exit(seen != [
    (0, "Adams^Mary", "P-1", "19800102"), (0, "Star^Lola", "P-1", "19800102"), (0, "Cole^Mary", "P-1", "19800102"),
    (0, "Adams^Mary", "999-00-1234", "19800102"), (0, "Adams^Mary", "", "19800102"), (0, "van der^Anna", "P-1", "19800102"),
    (0, "Cole^Mary", "P-1", "19800102"), (0, "", "P-1", "19800102"), (0, "Adams^Mary", "P-1", "198001021530+0100"),
])
END
