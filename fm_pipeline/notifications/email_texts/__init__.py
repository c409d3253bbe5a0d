"""What every email says: one module for each kind of email, with its subjects and its sentences.

| module | subjects |
|---|---|
| `reimport.py` | *Reimport started*, *succeeded*, *failed*, *cancelled* |
| `plan.py` | *Plan ready*, *Plan failed* |
| `sync.py` | *The sync is waiting*, *has changed Nexus*, *was undone*, *has failed* |
| `restore_drill.py` | *Restore drill succeeded*, *Restore drill FAILED* |
| `overdue.py` | *Overdue*, *No longer overdue* |
| `dicom_import.py` | *DICOM import … has stopped*, *the watched directory cannot be read* |
| `maintenance.py` | *Nexus: maintenance …*, to the users of Nexus |

`why_it_failed.py` has the sentences about an error, which several kinds quote. `email_text.py` has the last lines of an
alert: time, page and help.

Every function here makes text of counts, ids and reports. What notices an event calls it and puts the text into the
outbox. What does not belong here: Dagster, a database, a file, the outbox, and any data of a patient.
"""
