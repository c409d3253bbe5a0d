"""The web server of the site, in a process of its own: `python -m fm_pipeline.console.server WORKSPACE PORT`."""

from __future__ import annotations

import sys

import uvicorn

from fm_pipeline.console.site import Site, prepare
from fm_pipeline.settings import load_settings


def main(workspace_file: str, port: str) -> None:
    """Serve on loopback until SIGTERM or Ctrl-C."""
    prepare(load_settings())
    uvicorn.run(Site(workspace_file), host="127.0.0.1", port=int(port), server_header=False, proxy_headers=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
