"""Alembic's entry point. The connection comes from `fm_pipeline.db.migrate`; there is no alembic.ini."""

from alembic import context

SCHEMA = "fm_pipeline"

context.configure(
    connection=context.config.attributes["connection"],
    version_table="alembic_version",
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
