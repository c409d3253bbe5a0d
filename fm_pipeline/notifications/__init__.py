"""Emails before and after a reimport, emails to users about maintenance, and alerts about everything else.

`reimport_email_text.py` writes the text of a reimport's emails, `alerts.py` that of alerts. `outbox.py` sends each
email once, `smtp.py` talks to the mail server. Commands and assets call `send_run_emails.py` and `send_alert.py`. What
does not belong here: Dagster. The sensor that watches runs is `fm_pipeline.defs.sensors.mail`.
"""
