#!/bin/sh
# vsftpd and proftpd may not reply to RETR at all, on files that they list as any other.
#
# vsftpd (lock_upload_files, on by default): of a file that somebody uploads it lists what is there so far, and lets a
# RETR of it wait for the lock, with no reply, for as long as the upload takes. proftpd: MLSD calls a FIFO
# `type=file;size=0`, and RETR of it waits for a writer. Both serve other sessions meanwhile. A client that takes silence
# for a dead server gives up the whole transfer for one file.
#
# Needs root and Debian 12's apt; starts the servers on 127.0.0.1. Exit code 0: as described; 1: they behave otherwise.
set -eu
folder=$(mktemp -d)
chmod 755 "$folder"
servers=""
trap 'for id in $servers; do pkill -P "$id" || true; kill "$id" && wait "$id" || true; done 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
cd "$folder"
mkdir unpacked root empty
apt-get -qq -o APT::Sandbox::User= download vsftpd=3.0.3-13+b2 proftpd-core=1.3.8+dfsg-4+deb12u5 \
    libhiredis0.14 libmemcachedutil2 libmemcached11 libhashkit2 libpcre2-posix3 libwrap0
for package in *.deb; do dpkg -x "$package" unpacked; done
LD_LIBRARY_PATH=$(find "$folder/unpacked" -type d -name '*-linux-gnu' | tr '\n' ':')
export LD_LIBRARY_PATH
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

mkdir root/in
chown daemon root/in
mkfifo -m 644 root/pipe
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
write_enable=YES
anon_upload_enable=YES
anon_world_readable_only=NO
anon_umask=022
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

python3 - "$vsftpd" "$proftpd" <<'END'
import ftplib, sys, time

def session(port):
    for _ in range(100):
        try:
            ftp = ftplib.FTP(timeout=5)
            ftp.connect("127.0.0.1", port)
            ftp.login()
            return ftp
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")

def reply_to_retr(port, name):
    try:
        with session(port) as ftp, ftp.transfercmd(f"RETR {name}"):
            return "a reply"
    except TimeoutError:
        return "none within 5 s"

vsftpd, proftpd = (int(port) for port in sys.argv[1:])
with session(vsftpd) as sender, sender.transfercmd("STOR in/scan.dcm") as channel:
    channel.sendall(b"half of it")
    with session(vsftpd) as reader:
        print("vsftpd", reader.welcome, "- LIST:", end=" ", flush=True)
        reader.retrlines("LIST in")
    first = reply_to_retr(vsftpd, "in/scan.dcm")
    print("reply to RETR:", first)
with session(proftpd) as reader:
    facts = dict(reader.mlsd())["pipe"]
    print("proftpd", reader.welcome, "- MLSD of a FIFO:", facts["type"], facts["size"])
second = reply_to_retr(proftpd, "pipe")
print("reply to RETR:", second)
sys.exit(not (first == second == "none within 5 s" and (facts["type"], facts["size"]) == ("file", "0")))
END
