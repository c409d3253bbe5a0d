"""Django's backend for PostgreSQL. Its pool gives out no connection that the server has ended."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError

from fm_pipeline.db.stalled_connections import watch


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of one thread, from the pool of the process.

    `CONN_HEALTH_CHECKS` is not used. The pool would then wait 0, 1, 2, 4 seconds between the connections that it finds
    ended, and a restart of the server ends all of them: a request would run into the time limit.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Return a connection that works. If one does not, the pool replaces all that do not.

        Raises:
            PoolTimeout: there is none within the time limit of the pool.
        """
        while True:
            connection: Connection[Any] = super().get_new_connection(conn_params)
            try:
                self.pool.check_connection(connection)
            except OperationalError:
                self.pool.putconn(connection)
                self.pool.check()
            except BaseException:
                self.pool.putconn(connection)
                raise
            else:
                return connection

    def _configure_connection(self, connection: Connection[Any]) -> bool:
        """Watch each new connection of the pool: a server that falls silent ends the request with an error."""
        watch(connection, connection.info.get_parameters() | {"password": connection.info.password})
        return bool(super()._configure_connection(connection))  # type: ignore[misc]  # its stubs do not have it
