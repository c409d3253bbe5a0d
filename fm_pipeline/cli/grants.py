"""`fm-pipeline grants`: the roles of the pipeline in PostgreSQL, as SQL."""

from __future__ import annotations

import click


@click.command(name="grants")
@click.option("--role", default="fm_pipeline", show_default=True, help="For reimports, backups, images and DICOM.")
@click.option("--restore-role", default="fm_pipeline_restore", show_default=True, help="For restores.")
@click.option("--console-role", default="fm_pipeline_console", show_default=True, help="For CONSOLE_DATABASE_URL.")
@click.option("--audit-role", default="fm_pipeline_audit", show_default=True, help="Owns the audit trail; no login.")
def command(role: str, restore_role: str, console_role: str, audit_role: str) -> None:
    """Print the SQL that makes the pipeline's roles in this database, with the least privileges that they need.

    The tables come from the catalogue of the database that NEXUS_DATABASE_URL names. Let it name the owner of the
    tables for this command, who sees all of them. Nothing is written. Run it again after a release of Nexus with new
    tables, and once the pipeline has made its own.
    """
    from fm_pipeline.db.connection import connect
    from fm_pipeline.nexus.grants import RoleNames, grant_statements
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    roles = RoleNames(role, restore_role, console_role, audit_role)
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        for statement in grant_statements(cursor, settings, roles):
            click.echo(statement)
