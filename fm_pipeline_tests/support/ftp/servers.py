"""FTP servers of hospitals: vsftpd, proftpd and pure-ftpd of Debian, unpacked by `scripts/unpack-ftp-servers`.

Each serves one folder on 127.0.0.1 to one virtual account, for reading and writing, and ends with the test. They switch
to an unprivileged account, so only root can start them.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline_tests.support.ftp.server import PASSWORD, USER
from fm_pipeline_tests.support.waiting import wait_until

NAMED_BY = "FM_PIPELINE_FTP_SERVERS"
SCRIPT = Path(__file__).parents[3] / "scripts" / "unpack-ftp-servers"
ACCOUNT = "daemon"  # its home folder exists, which vsftpd asks for
UPLOADS = "uploads"  # the folder that the account may write into


@dataclass(frozen=True)
class RealServer:
    """A running server.

    Attributes:
        root: the folder that it serves.
        username: of the account; vsftpd, which knows no virtual accounts by itself, has it for everybody.
    """

    kind: str
    port: int
    root: Path
    username: str


def unpacked_servers() -> Path:
    """Return the folder of the servers; skip the test if they cannot be fetched or started."""
    if os.getuid() != 0:
        pytest.skip("vsftpd, proftpd and pure-ftpd are started by root only")
    named = os.environ.get(NAMED_BY)
    if named:
        return Path(named)
    if shutil.which("apt-get") is None:
        pytest.skip("vsftpd, proftpd and pure-ftpd are fetched by apt-get, which is not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fm_pipeline"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "ftp-servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the test processes fetches them
        got = subprocess.run(  # noqa: S603
            [SCRIPT, cache / "ftp-servers"], capture_output=True, text=True, timeout=300, check=False
        )
    if got.returncode != 0:
        pytest.skip(f"scripts/unpack-ftp-servers could not fetch the servers: {got.stderr.strip()[-200:]}")
    return cache / "ftp-servers"


@contextmanager
def real_server(kind: str, *, certificate: Path | None = None, options: Sequence[str] = ()) -> Iterator[RealServer]:
    """Run a server over a fresh folder.

    Args:
        kind: one of `KINDS`.
        certificate: a PEM file with the key; TLS is then demanded on both connections.
        options: lines of its configuration, or of pure-ftpd's command.
    """
    servers = unpacked_servers()
    account = pwd.getpwnam(ACCOUNT)
    with tempfile.TemporaryDirectory(prefix="ftp-server-") as name:
        home = Path(name)
        home.chmod(0o755)
        root = home / "root"
        (root / UPLOADS).mkdir(parents=True)
        os.chown(root / UPLOADS, account.pw_uid, account.pw_gid)
        port = free_port()
        command = KINDS[kind](servers, home, port, account, certificate, options)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(servers)
            )
            try:
                wait_until(lambda: _listens(port) or process.poll() is not None, 20)
                assert process.poll() is None, (home / "log").read_text()
                yield RealServer(kind, port, root, "anonymous" if kind == "vsftpd" else USER)
            finally:
                # A session may wait forever, for example for a writer of a FIFO.
                sessions = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
                process.terminate()
                for session in sessions:
                    with suppress(psutil.NoSuchProcess):
                        session.kill()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)


def _environment(servers: Path) -> dict[str, str]:
    """Return where the programs find the libraries that were unpacked with them."""
    return {"LD_LIBRARY_PATH": ":".join(str(path) for path in servers.glob("**/lib/*-linux-gnu"))}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _accounts(servers: Path, home: Path, account: pwd.struct_passwd) -> Path:
    """Create a file like /etc/passwd with the virtual account."""
    users = home / "users"
    subprocess.run(  # noqa: S603
        [
            *(servers / "usr/sbin/ftpasswd", "--passwd", f"--file={users}", f"--name={USER}", "--shell=/bin/sh"),
            *(f"--uid={account.pw_uid}", f"--gid={account.pw_gid}", f"--home={home / 'root'}", "--sha512", "--stdin"),
        ],
        input=PASSWORD.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return users


def _vsftpd(
    servers: Path, home: Path, port: int, account: pwd.struct_passwd, certificate: Path | None, options: Sequence[str]
) -> list[str]:
    (home / "empty").mkdir()
    lines = [
        *("listen=YES", "listen_address=127.0.0.1", f"listen_port={port}", "background=NO", "seccomp_sandbox=NO"),
        *("isolate=NO", "isolate_network=NO", "local_enable=NO", "anonymous_enable=YES", "no_anon_password=YES"),
        *(f"anon_root={home / 'root'}", f"ftp_username={account.pw_name}", f"nopriv_user={account.pw_name}"),
        *(f"secure_chroot_dir={home / 'empty'}", "write_enable=YES", "anon_upload_enable=YES"),
        *("anon_world_readable_only=NO", "anon_umask=022", "xferlog_enable=NO"),
    ]
    if certificate:
        lines += ["ssl_enable=YES", "allow_anon_ssl=YES", "force_anon_logins_ssl=YES", "force_anon_data_ssl=YES"]
        lines += [f"rsa_cert_file={certificate}"]
    (home / "vsftpd.conf").write_text("\n".join([*lines, *options, ""]))
    return [str(servers / "usr/sbin/vsftpd"), str(home / "vsftpd.conf")]


def _proftpd(
    servers: Path, home: Path, port: int, account: pwd.struct_passwd, certificate: Path | None, options: Sequence[str]
) -> list[str]:
    users = _accounts(servers, home, account)
    lines = [
        *("ServerType standalone", "DefaultAddress 127.0.0.1", f"Port {port}", "UseIPv6 off", "UseReverseDNS off"),
        *(f"ModulePath {servers / 'usr/lib/proftpd'}", f"PidFile {home / 'pid'}", "ScoreboardFile none"),
        *(f"User {account.pw_name}", f"Group {ACCOUNT}", f"AuthUserFile {users}", "AuthOrder mod_auth_file.c"),
        *("RequireValidShell off", "DefaultRoot ~", "WtmpLog off", "TransferLog none", f"SystemLog {home / 'log'}"),
        *("ControlsEngine off", "AuthFileOptions InsecurePerms"),
    ]
    # Since Debian 13 listing and transfers are modules of their own, which the package's configuration loads.
    lines += [
        f"LoadModule {name}.c" for name in ("mod_ls", "mod_xfer") if (servers / f"usr/lib/proftpd/{name}.so").exists()
    ]
    if certificate:
        lines += ["LoadModule mod_tls.c", "TLSEngine on", "TLSRequired on", f"TLSRSACertificateFile {certificate}"]
        lines += [f"TLSRSACertificateKeyFile {certificate}", f"TLSLog {home / 'tls.log'}"]
    (home / "proftpd.conf").write_text("\n".join([*lines, *options, ""]))
    return [str(servers / "usr/sbin/proftpd"), "--nodaemon", "--quiet", "--config", str(home / "proftpd.conf")]


def _pure_ftpd(
    servers: Path, home: Path, port: int, account: pwd.struct_passwd, certificate: Path | None, options: Sequence[str]
) -> list[str]:
    users = _accounts(servers, home, account)
    # Its file has more fields, and its own hashes are so expensive that a login takes seconds.
    name, password, uid, gid, _, folder, _ = users.read_text().strip().split(":")
    users.write_text(":".join([name, password, uid, gid, "", f"{folder}/./", *[""] * 12]) + "\n")
    tool = str(servers / "usr/bin/pure-pw")
    command = [tool, "mkdb", str(home / "users.pdb"), "-f", str(users)]
    subprocess.run(command, stdout=subprocess.DEVNULL, env=_environment(servers), check=True)  # noqa: S603
    tls = ["-Y", "2", "-2", str(certificate)] if certificate else []
    return [
        *(str(servers / "usr/sbin/pure-ftpd"), "-S", f"127.0.0.1,{port}", "-l", f"puredb:{home / 'users.pdb'}"),
        *("-A", "-E", "-H", "-u", "1", "-4", "-f", "none", "-g", str(home / "pid"), *tls, *options),
    ]


KINDS: dict[str, Callable[..., list[str]]] = {"vsftpd": _vsftpd, "proftpd": _proftpd, "pure-ftpd": _pure_ftpd}
