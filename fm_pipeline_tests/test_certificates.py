"""What each client says of a certificate that it refuses. The servers speak TLS and nothing else."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server, socket

import pytest
import trustme

from fm_pipeline.dicom.ftp.connection import FtpServer, connect_to_server
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.notifications.smtp import Email, deliver
from fm_pipeline.storage.client import make_client
from fm_pipeline.storage.errors import storage_errors
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.mail import mail_settings

NOBODY = "postgresql://nobody@127.0.0.1:1/none"
NOW = datetime.now(UTC)
EXPIRED = (NOW - timedelta(days=90), NOW - timedelta(days=1))
TO_COME = (NOW + timedelta(days=1), NOW + timedelta(days=90))
GOOD = (NOW - timedelta(days=1), NOW + timedelta(days=90))


def ask_filemaker(port: int, folder: Path) -> object:
    return DataApiClient(f"https://127.0.0.1:{port}", "clinic", "a", "b", ca_bundle=folder / "ca.pem").layouts()


def ask_orthanc(port: int, folder: Path) -> object:
    url = f"https://127.0.0.1:{port}"
    given = {"orthanc_url": url, "orthanc_ca_bundle": folder / "ca.pem"}
    with Orthanc.from_settings(dicom_settings(NOBODY, folder).model_copy(update=given)) as orthanc:
        return orthanc.system()


def ask_ftp(port: int, folder: Path) -> object:
    return connect_to_server(FtpServer("127.0.0.1", port, ca_bundle=folder / "ca.pem"), 30)


def ask_smtp(port: int, folder: Path) -> object:
    return deliver(mail_settings(folder, port, smtp_security="tls"), Email("a.b", "S", "T\n"), lambda: True)


def ask_s3(port: int, folder: Path) -> object:
    given = {"s3_endpoint_url": f"https://127.0.0.1:{port}", "s3_bucket": "clinic", "aws_access_key_id": "key"}
    settings = dicom_settings(NOBODY, folder, **given, aws_secret_access_key="secret")  # no server asks
    with storage_errors("list the bucket"):
        return make_client(settings, attempts=1).list_objects_v2(Bucket="clinic")


CLIENTS: Sequence[Callable[[int, Path], object]] = (ask_filemaker, ask_orthanc, ask_ftp, ask_smtp, ask_s3)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It has the file of the authority, which every client trusts."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    return tmp_path


@contextmanager
def serving(certificate: trustme.LeafCert, *, ftp: bool) -> Iterator[int]:
    """Serve handshakes on a port of 127.0.0.1. An FTP server begins TLS when it is asked to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, context, ftp))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(2)
            thread.join()


def _serve(server: socket, context: ssl.SSLContext, ftp: bool) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # it is shut down
            return
        with connection:
            connection.settimeout(30)
            try:
                if ftp:
                    connection.sendall(b"220 Ready\r\n")
                    while b"AUTH" not in connection.recv(100):
                        connection.sendall(b"502 No\r\n")
                    connection.sendall(b"234 Begin\r\n")
                context.wrap_socket(connection, server_side=True).close()
            except OSError:  # the client has refused the certificate
                continue


@pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize(
    ("names", "dates", "said"),
    [
        ("127.0.0.1", EXPIRED, "has expired, or that of the authority that signed it"),
        ("127.0.0.1", TO_COME, "is not valid yet"),
        ("other.example", GOOD, "is for another name than"),
    ],
    ids=["expired", "not-yet", "other-name"],
)
def test_every_client_says_why_it_refuses_a_certificate(
    ask: Callable[[int, Path], object],
    names: str,
    dates: tuple[datetime, datetime],
    said: str,
    authority: trustme.CA,
    folder: Path,
) -> None:
    certificate = authority.issue_cert(names, not_before=dates[0], not_after=dates[1])
    with (
        serving(certificate, ftp=ask is ask_ftp) as port,
        pytest.raises(Exception, match=f"certificate .*{said}") as refused,
    ):
        ask(port, folder)
    assert type(refused.value).__module__.startswith("fm_pipeline.")
