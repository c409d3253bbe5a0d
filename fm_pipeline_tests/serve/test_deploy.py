"""The files in `deploy/`, read by the programs that they are for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
import trustme

from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import wait_until

UNITS = {"fm-pipeline.service": "fm-pipeline", "celery/fm-pipeline-worker.service": "celery"}
EXPOSURE = "25"  # in tenths, of 100; a unit without any hardening has 96
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {site}
}}
"""


class _Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def echoing() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("unit", "program"), UNITS.items())
def test_systemd_accepts_the_unit_and_finds_it_confined(unit: str, program: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    path = tmp_path / Path(unit).name
    text = (PACKAGE_PARENT / "deploy" / unit).read_text("utf-8")
    path.write_text(text.replace(f"/opt/fm-pipeline/.venv/bin/{program}", sys.executable), "utf-8")
    for command in (["verify"], ["security", "--offline=true", f"--threshold={EXPOSURE}"]):
        done = subprocess.run(  # noqa: S603
            [analyze, *command, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert path.name not in done.stderr, done.stderr  # a directive that it does not know


@pytest.mark.parametrize("unit", UNITS)
def test_a_confined_service_may_write_temporary_files(unit: str) -> None:
    # ProtectSystem=strict makes the whole file system read-only, /tmp too, and an import has its list of files there.
    text = (PACKAGE_PARENT / "deploy" / unit).read_text("utf-8")
    settings = re.findall(r"^(\w+)=(.+)$", text, re.MULTILINE)
    assert ("ProtectSystem", "strict") in settings
    assert {("PrivateTmp", "yes"), ("ReadWritePaths", "/tmp")} & set(settings)  # noqa: S108  # a line of the unit


def test_nginx_passes_on_the_host_and_the_websocket_of_a_page_and_hides_the_numbers(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("no nginx on this machine (Debian: apt-get install nginx-light)")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with echoing() as upstream:
        tls, plain = free_port(), free_port()
        site = (PACKAGE_PARENT / "deploy" / "nginx.conf").read_text("utf-8")
        site = re.sub(r"(?m)^( *ssl_certificate) .*;", rf"\1 {tmp_path}/cert.pem;", site)
        site = re.sub(r"(?m)^( *ssl_certificate_key) .*;", rf"\1 {tmp_path}/key.pem;", site)
        for old, new in ((":8000;", f":{upstream};"), ("listen 443", f"listen 127.0.0.1:{tls}")):
            site = site.replace(old, new)
        site = site.replace("listen 80", f"listen 127.0.0.1:{plain}").replace("console.clinic.example", "127.0.0.1")
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, site=site), "utf-8")
        command = [nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)  # noqa: S603
        assert checked.returncode == 0, checked.stderr
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server, requests.Session() as session:  # noqa: S603
            try:
                session.trust_env = False
                session.verify = str(tmp_path / "ca.pem")
                url = f"https://127.0.0.1:{tls}"
                wait_until(lambda: _answers(session, url))
                headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
                seen = session.get(f"{url}/dagster/graphql", headers=headers, timeout=30).json()
                assert (seen["Host"], seen["Upgrade"], seen["Connection"]) == (
                    f"127.0.0.1:{tls}",
                    "websocket",
                    "upgrade",
                )
                assert session.get(f"{url}/metrics", timeout=30).status_code == 404
                moved = session.get(f"http://127.0.0.1:{plain}/login/", timeout=30, allow_redirects=False)
                assert (moved.status_code, moved.headers["Location"]) == (301, "https://127.0.0.1/login/")
            finally:
                server.terminate()


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
