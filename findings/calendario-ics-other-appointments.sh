#!/bin/sh
# calendario-ics changes each appointment of the file when one is changed: a weekly dialysis becomes one, a cancelled visit takes place.
#
# The package (2.3.1) creates, reads, updates and deletes events in iCalendar files. To change or to delete one, it writes all events
# of the file anew, from the seven values of each that it had read. Rules of recurrence are none of these, nor is the status: of
# eight sessions of a dialysis one is left, each day that was taken out of them is forgotten, and a cancelled appointment is CONFIRMED. A
# time in UTC loses its Z, one in a time zone its zone: whoever reads the file takes both for the time where they are. A whole day
# begins at 00:00. Guests, alarms and tasks between the events are gone. The answer is "Evento ... modificado.", and the comment of the
# function says that the rest of the file is kept.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check calendario_ics==2.3.1 icalendar==7.3.0 recurring-ical-events==3.8.2 \
    2>"$folder/log"
mkdir "$folder/calendars"

HOME=$folder CALENDARIO_ICS_DIR="$folder/calendars" "$folder/venv/bin/python" - "$folder/calendars/clinic.ics" <<'END'
import datetime, sys
from importlib.metadata import version
from pathlib import Path
import icalendar, recurring_ical_events
import calendario_ics

file = Path(sys.argv[1])
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//clinic//EN
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:check-up@clinic.example
DTSTAMP:20260101T080000Z
DTSTART;TZID=Europe/Berlin:20260105T090000
DTEND;TZID=Europe/Berlin:20260105T093000
SUMMARY:Check-up Adams
LOCATION:Room 1
END:VEVENT
BEGIN:VEVENT
UID:dialysis@clinic.example
DTSTAMP:20260101T080000Z
DTSTART;TZID=Europe/Berlin:20260106T080000
DTEND;TZID=Europe/Berlin:20260106T120000
RRULE:FREQ=WEEKLY;COUNT=9
EXDATE;TZID=Europe/Berlin:20260120T080000
SUMMARY:Dialysis Brown
ATTENDEE;CN=Transport:mailto:transport@clinic.example
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Order the transport
TRIGGER:-P1D
END:VALARM
END:VEVENT
BEGIN:VTODO
UID:call@clinic.example
DTSTAMP:20260101T080000Z
SUMMARY:Call Clark about the result
END:VTODO
BEGIN:VEVENT
UID:cancelled@clinic.example
DTSTAMP:20260101T080000Z
DTSTART:20260107T130000Z
DTEND:20260107T140000Z
STATUS:CANCELLED
SUMMARY:Visit Clark
END:VEVENT
BEGIN:VEVENT
UID:vaccination@clinic.example
DTSTAMP:20260101T080000Z
DTSTART;VALUE=DATE:20260108
DTEND;VALUE=DATE:20260109
SUMMARY:Day of vaccination
END:VEVENT
END:VCALENDAR
"""

def seen(title):
    """The appointments of the file, as a calendar's program takes them: summary, start, status."""
    calendar = icalendar.Calendar.from_ical(file.read_bytes())
    span = recurring_ical_events.of(calendar).between(datetime.date(2026, 1, 1), datetime.date(2026, 4, 1))
    found = sorted((str(event["SUMMARY"]), str(event["DTSTART"].dt), str(event.get("STATUS", ""))) for event in span)
    parts = [part.name for part in calendar.walk() if part.name in ("VTODO", "VALARM")]
    guests = [str(event["ATTENDEE"]) for event in calendar.walk("VEVENT") if "ATTENDEE" in event]
    print(title, *found, f"{parts} {guests}", sep="\n  ")
    return found, parts, guests

print("calendario-ics", version("calendario_ics"))
file.write_bytes(CALENDAR.replace("\n", "\r\n").encode())
before = seen("before")
done = calendario_ics.modificar_evento("check-up@clinic.example", calendario="clinic", location="Room 2")
print(done)
after = seen("after the room of the check-up was changed")
sys.exit(not (
    done[0] is True
    and [event[0] for event in before[0]].count("Dialysis Brown") == 8 and before[1:] == (["VALARM", "VTODO"], ["mailto:transport@clinic.example"])
    and ("Visit Clark", "2026-01-07 13:00:00+00:00", "CANCELLED") in before[0]
    and after == ([
        ("Check-up Adams", "2026-01-05 09:00:00", "CONFIRMED"), ("Day of vaccination", "2026-01-08 00:00:00", "CONFIRMED"),
        ("Dialysis Brown", "2026-01-06 08:00:00", "CONFIRMED"), ("Visit Clark", "2026-01-07 13:00:00", "CONFIRMED"),
    ], [], [])
))
END
