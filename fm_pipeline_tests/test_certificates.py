"""What each client says of a certificate that it refuses. The servers speak TLS and nothing else."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import create_server, socket
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.ftp.connection import FtpServer, connect_to_server
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import FtpError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.notifications.smtp import Email, deliver
from fm_pipeline.preflight.certificates import SSL_REQUEST, TlsServer, check_certificates, read_validity, servers_of
from fm_pipeline.preflight.dicom import check_dicom
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.settings import Settings
from fm_pipeline.storage.client import make_client
from fm_pipeline.storage.errors import storage_errors
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.mail import mail_settings, misbehaving_server
from fm_pipeline_tests.support.waiting import wait_until

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


# What a server reads and answers before TLS begins
BEGINNINGS: Mapping[str, Sequence[tuple[bytes, bytes]]] = {
    "tls": (),
    "ftp": ((b"", b"220-The clinic's\r\n220 Ready\r\n"), (b"AUTH", b"234 Begin\r\n")),
    "smtp": ((b"", b"220 Ready\r\n"), (b"EHLO", b"250-clinic\r\n250 STARTTLS\r\n"), (b"STARTTLS", b"220 Begin\r\n")),
    "postgresql": ((SSL_REQUEST, b"S"),),
}


@contextmanager
def serving(certificate: trustme.LeafCert, *, protocol: str) -> Iterator[int]:
    """Serve handshakes on a port of 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, context, protocol))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(2)
            thread.join()


def _serve(server: socket, context: ssl.SSLContext, protocol: str) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # it is shut down
            return
        with connection:
            connection.settimeout(30)
            try:
                for asked, answer in BEGINNINGS[protocol]:
                    while asked and asked not in connection.recv(100):
                        connection.sendall(b"502 No\r\n")
                    connection.sendall(answer)
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
        serving(certificate, protocol="ftp" if ask is ask_ftp else "tls") as port,
        pytest.raises(Exception, match=f"certificate .*{said}") as refused,
    ):
        ask(port, folder)
    assert type(refused.value).__module__.startswith("fm_pipeline.")


def certificate_of_own_authority(folder: Path, *, lacks: str) -> trustme.LeafCert:
    """Write `ca.pem`, and return a certificate of this authority; an extension is missing in one of the two."""
    key, ca_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def name(of: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, of)])

    def build(of: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        begun = x509.CertificateBuilder().issuer_name(name("clinic")).subject_name(name(of)).public_key(public)
        begun = begun.serial_number(x509.random_serial_number()).not_valid_before(GOOD[0]).not_valid_after(GOOD[1])
        return begun.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)

    authority = build("clinic", ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    if lacks != "key usage":
        usage = [each in (5, 6) for each in range(9)]  # it signs certificates and lists of revoked ones
        authority = authority.add_extension(x509.KeyUsage(*usage), critical=True)
    server = build("server", key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
    )
    if lacks != "authority key identifier":
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        server = server.add_extension(issuer, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    return trustme.LeafCert(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        server.sign(ca_key, hashes.SHA256()).public_bytes(pem),
        [],
    )


@pytest.mark.parametrize("lacks", ["key usage", "authority key identifier"])
def test_of_a_certificate_that_only_a_newer_python_refuses_is_said_what_it_lacks_and_its_end_is_told(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_python_3_13(*given: Any, **named: Any) -> ssl.SSLContext:
        context = original(*given, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", of_python_3_13)
    certificate = certificate_of_own_authority(tmp_path, lacks=lacks)
    with serving(certificate, protocol="ftp") as port:
        with pytest.raises(FtpError, match=f"(?i)does not follow RFC 5280.*OpenSSL says .*{lacks}.*Python before 3.13"):
            ask_ftp(port, tmp_path)
        settings = Settings.model_validate({"nexus_database_url": NOBODY, "ftp_ca_bundle": str(tmp_path / "ca.pem")})
        server = TlsServer("Nexus' database", "127.0.0.1", port, "ftp")  # libpq does not refuse it
        (found,) = check_certificates(settings, [server], FindingBuilder(load_rules(), "services"))
    assert f"valid until {GOOD[1]:%Y-%m-%d}" in found.found


MAIL = {"smtp_from": "a@clinic.example", "smtp_to": "b@clinic.example"}
# How a server is named in the settings; FTP is configured in the database
SETTINGS: Mapping[str, tuple[str, Callable[[int, Path], dict[str, object]]]] = {
    "FileMaker Server": ("tls", lambda port, _: {"filemaker_url": f"https://127.0.0.1:{port}"}),
    "S3": ("tls", lambda port, _: {"s3_endpoint_url": f"https://127.0.0.1:{port}"}),
    "Orthanc": ("tls", lambda port, _: {"orthanc_url": f"https://127.0.0.1:{port}/"}),
    "the mail server": ("smtp", lambda port, _: {"smtp_host": "127.0.0.1", "smtp_port": port}),
    "the mail server in TLS": (
        "tls",
        lambda port, _: {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "tls"},
    ),
    "Nexus' database": (
        "postgresql",
        lambda port, folder: {
            "nexus_database_url": f"postgresql://a@127.0.0.1:{port}/b?sslmode=verify-full&sslrootcert={folder}/ca.pem"
        },
    ),
    "the FTP server": ("ftp", lambda *_: {}),
}


SOON = (NOW - timedelta(days=70), NOW + timedelta(days=20), "for 19 days more")


@pytest.mark.parametrize(
    ("name", "begun", "ends", "warned"),
    [
        *((name, *SOON) for name in SETTINGS),
        ("S3", *GOOD, ""),
        ("S3", NOW - timedelta(days=305), NOW + timedelta(days=60), ""),  # less than a third of a year is left
        ("S3", NOW - timedelta(days=4), NOW + timedelta(days=3), ""),  # of those that are renewed every few days
        ("S3", NOW - timedelta(days=6), NOW + timedelta(days=1, hours=1), "for 1 day more"),
        ("S3", *EXPIRED, "nothing"),  # the check of the server tells that
    ],
)
def test_a_certificate_that_ends_soon_is_told_with_its_day(
    name: str, begun: datetime, ends: datetime, warned: str, authority: trustme.CA, folder: Path
) -> None:
    protocol, given = SETTINGS[name]
    certificate = authority.issue_cert("127.0.0.1", not_before=begun, not_after=ends)
    with serving(certificate, protocol=protocol) as port:
        settings = Settings.model_validate({"nexus_database_url": NOBODY} | MAIL | given(port, folder))
        servers = [TlsServer("the FTP server", "127.0.0.1", port, "ftp")] if protocol == "ftp" else servers_of(settings)
        found = list(check_certificates(settings, servers, FindingBuilder(load_rules(), "services")))
    if warned == "nothing":
        assert found == []
        return
    ((subject, level, said, rule),) = [(each.subject, each.level, each.found, each.rule) for each in found]
    assert subject == f"certificate of {name.removesuffix(' in TLS')}"
    assert f"valid until {ends:%Y-%m-%d}" in said
    assert (level, rule) == (("warning", "certificate_ends_soon") if warned else ("good", ""))
    assert said.endswith(warned)


def test_the_check_looks_at_all_of_them_and_at_the_ftp_server_of_the_configuration(
    authority: trustme.CA, folder: Path, migrated_url: str
) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_after=GOOD[1])
    with serving(certificate, protocol="tls") as port, serving(certificate, protocol="ftp") as ftp:
        given = {"orthanc_url": f"https://127.0.0.1:{port}", "ftp_ca_bundle": folder / "ca.pem"}
        settings = dicom_settings(migrated_url, folder, **given)
        changes = {"ftp_host": "127.0.0.1", "ftp_port": ftp, "ftp_enabled": True}
        (folder / "hospital").mkdir()
        configure(settings, changes, actor="bench", now=NOW)
        of_ftp = list(
            check_dicom(settings.model_copy(update={"orthanc_url": None}), FindingBuilder(load_rules(), "DICOM"))
        )
        without_database = settings.model_copy(update={"nexus_database_url": SecretStr(NOBODY)})
        of_all = preflight(without_database)
    said = [each.subject for each in (*of_ftp, *of_all) if each.subject.startswith("certificate")]
    assert said == ["certificate of the FTP server", "certificate of Orthanc"]


def test_a_server_that_never_ends_its_reply_is_left_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.preflight.certificates.TIMEOUT_SECONDS", 1)
    left = threading.Event()

    def drip(client: socket, ended: threading.Event) -> None:
        for _ in range(1000):  # for 20 seconds at least
            try:
                client.sendall(b"2")
            except OSError:
                left.set()
                return
            ended.wait(0.02)

    with misbehaving_server(drip) as port:
        server = TlsServer("the mail server", "127.0.0.1", port, "smtp")
        assert read_validity(server, ssl.create_default_context()) is None
        wait_until(left.is_set)


def test_only_servers_whose_certificate_somebody_verifies_are_asked_and_none_that_did_not_answer() -> None:
    several = "postgresql://u@one:1,two:2/d?sslmode=verify-ca"
    given = {"nexus_database_url": several, "orthanc_url": "http://here:8042", "filemaker_url": "https://fm"}
    settings = Settings.model_validate(given | MAIL | {"smtp_host": "mail", "smtp_security": "none"})
    database = [TlsServer(f"Nexus' database on {host}", host, n, "postgresql") for n, host in ((1, "one"), (2, "two"))]
    on_one_port = settings.model_copy(update={"nexus_database_url": SecretStr(f"{several}&port=7")})
    assert [each.port for each in servers_of(on_one_port)][-2:] == [7, 7]
    assert list(servers_of(settings)) == [TlsServer("FileMaker Server", "fm", 443), *database]
    assert list(servers_of(settings, without=frozenset({"filemaker_unreachable"}))) == database
    encrypted = settings.model_copy(update={"nexus_database_url": SecretStr("postgresql://u@h/d?sslmode=require")})
    assert list(servers_of(encrypted, without=frozenset({"filemaker_unreachable"}))) == []
