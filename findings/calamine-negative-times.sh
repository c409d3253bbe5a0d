#!/bin/sh
# python-calamine reads a negative time of a workbook as a time of the day: -06:00:00 becomes 18:00:00, without an error.
#
# A FileMaker time is a duration and may be negative; in a workbook that counts from 1904 Excel shows such times as they are.
# In a cell with the format h:mm:ss, python-calamine 0.9.1 leaves out whole days and wraps the rest around midnight, so that
# -6 and -30 hours are both 18:00:00, as an appointment at six in the evening is. With the format [h]:mm:ss the sign stays.
# openpyxl and fastexcel (the same Rust library below) give moments before the first day of the workbook, which can be seen.
#
# Needs python3 and its venv. Exit code 0: as described; 1: they behave otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check python-calamine==0.9.1 openpyxl==3.1.5 XlsxWriter==3.3.1 \
    fastexcel==0.21.0 pyarrow==26.0.1 2>"$folder/log"

"$folder/venv/bin/python" - "$folder/times.xlsx" <<'END'
import sys
from datetime import datetime, time, timedelta
import fastexcel, openpyxl, python_calamine, xlsxwriter

path, hours = sys.argv[1], (18, -6, -30)
right = True
for counts_from_1904 in (True, False):
    with xlsxwriter.Workbook(path, {"date_1904": counts_from_1904}) as book:
        sheet = book.add_worksheet()
        formats = [book.add_format({"num_format": kind}) for kind in ("h:mm:ss", "[h]:mm:ss")]
        for row, each in enumerate(hours):
            for column, kind in enumerate(formats):
                sheet.write_number(row, column, each / 24, kind)
    calamine = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    other = list(openpyxl.load_workbook(path).active.iter_rows(values_only=True))
    third = fastexcel.read_excel(path).load_sheet(0, header_row=None, use_columns=[0]).to_arrow().column(0).to_pylist()
    first_day = datetime(1904, 1, 1) if counts_from_1904 else datetime(1899, 12, 31)
    print("workbook that counts from", first_day.date(), "- calamine h:mm:ss | [h]:mm:ss | openpyxl | fastexcel")
    for each, found, others, more in zip(hours, calamine, other, third, strict=True):
        print(f"{each:4} hours:", found[0], "|", found[1], "|", others[0], "|", more)
        right &= found == [time(18), timedelta(hours=each)]
        right &= each > 0 or (others[0] < first_day and more < first_day)
sys.exit(not right)
END
