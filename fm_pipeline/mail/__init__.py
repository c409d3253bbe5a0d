"""Mail before and after a reimport: what it says (`message`), how it is handed over (`smtp`), that it is said once
(`outbox`), and the one line for commands and assets (`notify`).

What does not belong here: Dagster. The sensor that looks after runs is `fm_pipeline.sensors.mail`.
"""
