#!/bin/sh
# Perl's two readers of workbooks write the reading of a Japanese name behind it: 田中 becomes 田中タナカ, another name.
#
# Excel keeps with each Japanese text how it was typed, as its reading (ECMA-376, 18.4.6: rPh), so that it can sort by sound; it
# is not shown in the cell. Spreadsheet::ParseXLSX and Spreadsheet::XLSX, as Debian 12 has them, join all texts of the entry. A
# name in the same list that came from elsewhere (pasted, exported) has no reading and stays, so that the two are no longer
# equal: a patient who is known is not found, and is entered again. Text in two formats is read right by the first one alone.
# Spreadsheet::XLSX also leaves XML's references as they are: a result of <5 is &lt;5. There is no error.
#
# Needs Debian 12 on amd64 with apt, perl, python3. The Perl modules are unpacked in a temporary folder.
# Exit code 0: as described; 1: they behave otherwise now.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
(. "$here/scripts/_environment" && "$bin/python" -m fm_pipeline.sandbox.programs.debian "$folder/perl" \
    libspreadsheet-parsexlsx-perl=0.27-3+deb12u2 libspreadsheet-xlsx-perl=0.17-1) >"$folder/log" 2>&1 ||
    { tail -n 5 "$folder/log"; exit 1; }

"${PYTHON:-python3}" - "$folder/names.xlsx" <<'END'
import sys, zipfile

READING = '<rPh sb="0" eb="2"><t>タナカ</t></rPh><phoneticPr fontId="1"/>'
TWO_FORMATS = "<r><t>田</t></r><r><rPr><b/></rPr><t>中</t></r>"
STRINGS = [f"<t>田中</t>{READING}", "<t>田中</t>", f"{TWO_FORMATS}{READING}", "<t>&lt;5</t>"]
main, office = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org/officeDocument/2006"
links = "http://schemas.openxmlformats.org/package/2006/relationships"
types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
rows = "".join(f'<row r="{at}"><c r="A{at}" t="s"><v>{at - 1}</v></c></row>' for at in range(1, len(STRINGS) + 1))
parts = {"xl/workbook.xml": "sheet.main", "xl/worksheets/sheet1.xml": "worksheet", "xl/sharedStrings.xml": "sharedStrings",
    "xl/styles.xml": "styles"}
overrides = "".join(f'<Override PartName="/{name}" ContentType="{types}.{kind}+xml"/>' for name, kind in parts.items())
targets = {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml", "styles": "styles.xml"}
relations = "".join(
    f'<Relationship Id="rId{at}" Type="{office}/relationships/{kind}" Target="{target}"/>'
    for at, (kind, target) in enumerate(targets.items(), 1)
)
files = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
    "_rels/.rels": f'<Relationships xmlns="{links}"><Relationship Id="rId1" Type="{office}/relationships/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}/relationships"><sheets>'
        '<sheet name="Patients" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{links}">{relations}</Relationships>',
    "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><dimension ref="A1:A{len(STRINGS)}"/><sheetData>{rows}</sheetData>'
        '</worksheet>',
    "xl/sharedStrings.xml": f'<sst xmlns="{main}" count="{len(STRINGS)}" uniqueCount="{len(STRINGS)}">'
        + "".join(f"<si>{text}</si>" for text in STRINGS) + "</sst>",
    "xl/styles.xml": f'<styleSheet xmlns="{main}"><fonts count="2"><font><sz val="11"/><name val="Arial"/></font>'
        '<font><sz val="6"/><name val="Arial"/></font></fonts><fills count="1"><fill><patternFill patternType="none"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf/>'
        '</cellStyleXfs><cellXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/></cellXfs></styleSheet>',
}
with zipfile.ZipFile(sys.argv[1], "w") as book:
    for name, text in files.items():
        book.writestr(name, ('<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + text).encode())
END

PERL5LIB="$folder/perl/usr/share/perl5:$(echo "$folder"/perl/usr/lib/*/perl5/5.*)" \
    LD_LIBRARY_PATH="$folder/perl/usr/lib/x86_64-linux-gnu" perl - "$folder/names.xlsx" <<'END'
use strict;
use warnings;
use utf8;
use Encode qw(decode_utf8);
use Spreadsheet::ParseXLSX;
use Spreadsheet::XLSX;
binmode STDOUT, ':utf8';

my @shown = ('田中', '田中', '田中', '<5');
my %expected = (
    'Spreadsheet::ParseXLSX' => ['田中タナカ', '田中', '田中', '<5'],
    'Spreadsheet::XLSX'      => ['田中タナカ', '田中', '田中タナカ', '&lt;5'],
);
my %read = (
    'Spreadsheet::ParseXLSX' => sub { (Spreadsheet::ParseXLSX->new->parse($_[0])->worksheets)[0] },
    'Spreadsheet::XLSX'      => sub { Spreadsheet::XLSX->new($_[0])->{Worksheet}[0] },
);
print "a workbook shows: @shown\n";
my $right = 1;
for my $name (sort keys %read) {
    my $sheet = $read{$name}->($ARGV[0]);
    my @found = map { my $text = $sheet->{Cells}[$_][0]{Val}; utf8::is_utf8($text) ? $text : decode_utf8($text) } 0 .. $#shown;
    print "$name ", $name->VERSION, " reads: @found\n";
    $right &&= "@found" eq "@{$expected{$name}}";
}
exit !$right;
END
