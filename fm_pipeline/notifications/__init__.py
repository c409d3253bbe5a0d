"""Emails before and after a reimport, emails to users about maintenance, and alerts about everything else.

`email_texts/` says what every email says. `outbox.py` sends each email once, `smtp.py` talks to the mail server.
Commands and assets call `send_run_emails.py` and `send_alert.py`, sensors call `alerts.py`. What does not belong here:
Dagster. The sensor that watches runs is `fm_pipeline.defs.sensors.mail`.
"""
