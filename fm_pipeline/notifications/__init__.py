"""Mail before and after a reimport, and alarms.

What a mail says is in `message.py`; that it is sent once, in `outbox.py`; how it is handed over, in `smtp.py`.
Commands and assets call `notify.py`. What does not belong here: Dagster. The sensor that looks after runs is
`fm_pipeline.defs.sensors.mail`.
"""
