#!/bin/sh
# `lftp mirror --delete` deletes the copies of a folder that the FTP server cannot read any more: vsftpd and proftpd list it as empty, 226.
#
# A folder may be entered and not be read: one of another user, with the mode 711, as a restore or a change of rights leaves it. vsftpd
# (3.0.3) answers LIST with no line and "226 Transfer done (but failed to open directory)": 226 is success. So does proftpd (1.3.8), with
# "226 Transfer complete". To a program that makes two places equal that is a folder whose files were deleted: lftp (4.9.2) deletes
# the copies of all of them, says nothing, and its exit code is 0. What is in the folder can be fetched by name all the while. A folder
# with the mode 700 cannot be entered; both servers say so (550), and its copies are kept.
#
# Needs root and Debian 12's apt; starts the servers on 127.0.0.1. Exit code 0: as described; 1: they behave otherwise.
set -eu
folder=$(mktemp -d)
chmod 755 "$folder"
servers=""
trap 'for id in $servers; do pkill -P "$id" || true; kill "$id" && wait "$id" || true; done 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder"
mkdir unpacked root empty
apt-get -qq -o APT::Sandbox::User= download vsftpd=3.0.3-13+b2 proftpd-core=1.3.8+dfsg-4+deb12u5 lftp=4.9.2-2+b1 \
    libhiredis0.14 libmemcachedutil2 libmemcached11 libhashkit2 libpcre2-posix3 libwrap0
for package in *.deb; do dpkg -x "$package" unpacked; done
LD_LIBRARY_PATH=$(find "$folder/unpacked" \( -type d -name '*-linux-gnu' -o -path '*/lib/lftp/*' -type d \) | tr '\n' ':')
export LD_LIBRARY_PATH
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

vsftpd=$(port)
cat >vsftpd.conf <<END
listen=YES
listen_address=127.0.0.1
listen_port=$vsftpd
background=NO
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=$folder/root
ftp_username=daemon
nopriv_user=daemon
secure_chroot_dir=$folder/empty
END
unpacked/usr/sbin/vsftpd vsftpd.conf &
servers="$servers $!"
proftpd=$(port)
cat >proftpd.conf <<END
ServerType standalone
DefaultAddress 127.0.0.1
Port $proftpd
UseIPv6 off
ModulePath $folder/unpacked/usr/lib/proftpd
PidFile $folder/proftpd.pid
ScoreboardFile none
User daemon
Group daemon
WtmpLog off
TransferLog none
SystemLog $folder/proftpd.log
<Anonymous $folder/root>
  User daemon
  Group daemon
  UserAlias anonymous daemon
  RequireValidShell off
</Anonymous>
END
unpacked/usr/sbin/proftpd --nodaemon --quiet --config "$folder/proftpd.conf" 2>/dev/null &
servers="$servers $!"

LFTP_MODULE_PATH=$(dirname "$(find "$folder/unpacked" -name proto-ftp.so)") HOME=$folder python3 - "$vsftpd" "$proftpd" <<'END'
import ftplib, subprocess, sys, time
from pathlib import Path


def replies(port):
    """The last replies to LIST and to RETR in the folder."""
    for _ in range(100):
        try:
            ftp = ftplib.FTP(timeout=10)
            ftp.connect("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    with ftp:
        ftp.login()
        ftp.cwd("2019")
        lines = []
        said = ftp.retrlines("LIST", lines.append)
        return len(lines), said, ftp.retrbinary("RETR 1.dcm", bytes)[:3]


def mirror(port, into):
    command = f"set ftp:ssl-allow no; open 127.0.0.1 -p {port} -u anonymous,; mirror --delete / {into}"
    done = subprocess.run(["unpacked/usr/bin/lftp", "-c", command], capture_output=True, text=True, timeout=100)
    copies = {place.name: len(list(place.iterdir())) for place in sorted(Path(into).iterdir())}
    print(f"  mirror --delete: exit code {done.returncode}, {(done.stdout + done.stderr).strip()!r}, copies: {copies}")
    return done.returncode, copies


for name in ("2019", "2024", "2025"):
    for number in (1, 2, 3):
        Path("root", name).mkdir(exist_ok=True)
        Path("root", name, f"{number}.dcm").write_text(name)
right = True
for name, port, said in (("vsftpd", sys.argv[1], "but failed to open"), ("proftpd", sys.argv[2], "226 Transfer complete")):
    for mode, other in ((0o755, 0o755), (0o711, 0o755), (0o711, 0o700)):
        Path("root/2019").chmod(mode)
        Path("root/2024").chmod(other)
        answers = replies(int(port))
        print(f"{name}, 2019: {mode:o}, 2024: {other:o} - LIST 2019: {answers[0]} lines, {answers[1]!r}; RETR 2019/1.dcm: {answers[2]}")
        first, closed = mode == 0o755, other == 0o700
        right &= answers[0] == (3 if first else 0) and answers[1][:3] == answers[2] == "226" and (first or said in answers[1])
        right &= mirror(port, "copies-" + name) == (int(closed), {"2019": 3 if first else 0, "2024": 3, "2025": 3})
sys.exit(not right)
END
