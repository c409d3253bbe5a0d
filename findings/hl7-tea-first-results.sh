#!/bin/sh
# hl7-tea accepts a laboratory's message, and hands over its first 1,024 bytes: of 22 results 18 arrive, and a glucose of 418 is 41.
#
# The package (2.0.1) receives, changes and sends HL7 messages. Its listener reads from a connection once, at most 1,024 bytes, answers "AA"
# and gives that to the program as the message. HL7 limits no message, and one ends where its last two bytes say so (MLLP), which it does
# not look at. An admission or a small panel fits, so that a trial works. Of a longer message the rest is missing, and the number in which
# the cut falls loses digits; the sender has "accepted", and does not send it again. conditional_map, which copies those values of a field
# that fit a condition, collects them from all segments of the name and gives each segment all of them: the potassium is "140~6.1", and
# so is the sodium. set_field with a list of two IDs, of a patient who has two, makes four. There is no error in any of these.
#
# Needs python3 and its venv; the server is on 127.0.0.1. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check hl7-tea==2.0.1 2>"$folder/log"

"$folder/venv/bin/python" - <<'END'
import logging, queue, socket, sys, threading, time, types
from importlib.metadata import version
from hl7_tea import Message
from hl7_tea.core.mapper import conditional_map, direct_map
from hl7_tea.mllp import listener
from hl7_tea.mllp.sender import send_message

logging.disable(logging.INFO)
RESULTS = [line.split(",") for line in """2951-2,Sodium,140,mmol/L
2823-3,Potassium,6.1,mmol/L
2075-0,Chloride,101,mmol/L
3094-0,Urea nitrogen,14,mg/dL
2160-0,Creatinine,1.1,mg/dL
17861-6,Calcium,9.4,mg/dL
1751-7,Albumin,4.2,g/dL
2885-2,Protein,7.1,g/dL
1975-2,Bilirubin,0.8,mg/dL
6768-6,Alkaline phosphatase,77,U/L
1920-8,AST,24,U/L
1742-6,ALT,31,U/L
2324-2,GGT,28,U/L
14804-9,LDH,402,U/L
2777-1,Phosphate,3.4,mg/dL
3084-1,Urate,5.2,mg/dL
2093-3,Cholesterol,204,mg/dL
2345-7,Glucose,418,mg/dL
19123-9,Magnesium,2.0,mg/dL
1988-5,CRP,212,mg/L
33959-8,Procalcitonin,14.2,ug/L
6598-7,Troponin T,0.9,ug/L""".splitlines()]

def message(results):
    lines = [r"MSH|^~\&|LAB|HOSPITAL|EHR|HOSPITAL|20260105083000||ORU^R01|M-1|P|2.5.1",
             "PID|1||P-1^^^HOSPITAL^MR~N-7^^^STATE^NI||Adams^Mary^Anne||19700102|F|||12 Main Street^^Boston^MA^02108^USA||617-555-0100",
             "OBR|1|A-1||24323-8^Comprehensive panel^LN"]
    lines += [f"OBX|{number}|NM|{code}^{name}^LN||{value}|{unit}|||||F" for number, (code, name, value, unit) in enumerate(results, 1)]
    return "\r".join(lines) + "\r"

# start() listens on each address of the machine: here on 127.0.0.1 only.
class Loopback(socket.socket):
    def bind(self, address):
        super().bind(("127.0.0.1", address[1]))

listener.socket = types.SimpleNamespace(socket=Loopback, AF_INET=socket.AF_INET, SOCK_STREAM=socket.SOCK_STREAM)
received = queue.Queue()

class Listener(listener.MllpListener):
    def handle_data(self, data):
        received.put(data)

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
threading.Thread(target=Listener().start, args=[port], daemon=True).start()

def sent(results):
    for _ in range(300):
        try:
            answer = send_message(message(results), "127.0.0.1", port, should_ack=True, timeout=30)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    arrived = [segment.get_field_one("OBX-3").split("^")[1:2] + [segment.get_field_one("OBX-5")]
               for segment in received.get(timeout=30).get_segments("OBX")]
    print(len(results), "results,", len(message(results)), "bytes - the answer:", answer.split("\r")[1].strip("\x1c"), end=" ")
    print("- arrived:", len(arrived), "- the last:", *arrived[-1], "- it was", *results[len(arrived) - 1][1:3])
    return answer.split("\r")[1].strip("\x1c"), arrived

print("hl7-tea", version("hl7-tea"))
answer, arrived = sent(RESULTS[:8])
right = answer == "MSA|AA|M-1" and arrived == [result[1:3] for result in RESULTS[:8]]
answer, arrived = sent(RESULTS)
right &= answer == "MSA|AA|M-1" and arrived == [*(result[1:3] for result in RESULTS[:17]), ["Glucose", "41"]]

source, copy = Message(message(RESULTS[:2])), Message()
direct_map(source, copy, ["MSH", "PID", "OBX-1", "OBX-2", "OBX-3"])
conditional_map(source, copy, "OBX-5", lambda value: value != "")
values = ["~".join(segment.get_field_all("OBX-5")) for segment in copy.get_segments("OBX")]
print("the values", *source.get_field_all("OBX-5"), "copied with conditional_map:", *values)
ids = ["P-2^^^HOSPITAL^MR", "N-8^^^STATE^NI"]
source.set_field("PID-3", ids)
print("two IDs set with set_field:", *source.get_field_all("PID-3"))
sys.exit(not (right and values == ["140~6.1"] * 2 and source.get_field_all("PID-3") == ids * 2))
END
