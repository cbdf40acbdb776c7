#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rules of viaductd.conf, end to end: who is served, as what, and what both sides are told.

usage: policy.py --viaduct PROGRAM --viaductd PROGRAM [NAME...]
"""
import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from channels import Remote, certificates, client, free_port, need_tls
from run import Bench, Service, ffmpeg, hashes, judge, need, run


def write(path, text):
    with open(path, "w", encoding="utf-8") as conf:
        conf.write(text)


def info(bench, uri, **more):
    """What a client at `uri` is told: its exit code and text."""
    result = run([bench.args.viaduct, "info"], False,
                 dict({"VIADUCT_HOST": uri, "VIADUCT_LOG": "info"}, **more))
    return result.returncode, result.stdout.decode(errors="replace")


def expect(said, code, *patterns):
    have, text = said
    if (have == 0) != (code == 0):
        raise AssertionError(f"exit code {have}: {text[:400]}")
    for pattern in patterns:
        if not re.search(pattern, text):
            raise AssertionError(f"no {pattern!r} in: {text[:600]}")


def until(what, seconds=60):
    """Waits for what is on its way in another process."""
    end = time.time() + seconds
    while not what():
        if time.time() > end:
            raise AssertionError("it did not come about")
        time.sleep(0.05)


def test_mistakes(bench):
    """What is wrong is named with its line."""
    path = bench.path("mistakes.conf")
    cases = {
        "[guest a]": ":1: sections are written [client NAME]",
        "[client]": ":1: sections are written",
        "[client a": ":1: sections are written",
        "[client a] x": ":1: sections are written",
        "[client " + 40 * "a" + "]": ":1: the name of a client has 1 to 31",
        "[client a]\n[client a]": ":2: there is a [client a] already",
        "[client a]\nfrom = jellyfin": ":2: from = jellyfin: it starts with none of",
        "[client a]\nfrom = user:no-such-user-here": "there is no such user",
        "[client a]\nfrom = address:10.0.0.1/8": "bits behind",
        "[client a]\non = http": ":2: on = http: write unix, vm",
        "[client a]\nserve = maybe": ":2: serve = maybe: say yes or no",
        "[client a]\nmax-bytes = 1": ":2: max-bytes = 1: give a number",
        "[client a]\nmax-clients = 0": ":2: max-clients = 0: give a number",
        "[client a]\ncuda = ptx": "only none",
        "[client a]\nbackend =": "a value is missing",
        "[client a]\nregion = here": ":2: region = here: write a folder, from the root on",
        "[client a]\nregion = /a\nregion = /b": ":3: region = /b: this client has one",
        "[client a]\nbackend = null\nbackend = null": ":3: backend = null: this client has one",
        "[client a]\nallow-any = yes": "no such setting of [client a]",
        "".join(f"[client {i}]\nbackend = b{i}\n" for i in range(9)): ":18: backend = b8: more than",
        "".join(f"[client {i}]\n" for i in range(33)): ":33: more than 32 clients",
        "[client a]\n" + 17 * "from = user:1\n": ":18: from = user:1: more than 16",
    }
    for text, message in cases.items():
        write(path, text + "\n")
        result = run([bench.args.viaductd, "--socket", bench.path("x"), "--config", path], False)
        said = result.stdout.decode()
        if result.returncode != 2 or path not in said or message not in said:
            raise AssertionError(f"{text[:80]}: exit code {result.returncode}: {said}")
    # These are seen when it starts.
    for text, message in {
        "[client a]\non = vm": "[client a]: on = vm: nothing listens there",
        "[client a]\nfrom = certificate:x": "[client a]: from = certificate: nobody comes by TLS",
        "[client a]\nfrom = secret:x": "[client a]: from = secret: nobody comes by TLS",
        "backend = null\n[client a]\nbackend = no-such-engine": "no-such-engine",
    }.items():
        write(path, text + "\n")
        result = run([bench.args.viaductd, "--socket", bench.path("x"), "--config", path], False)
        said = result.stdout.decode()
        if result.returncode != 1 or message not in said:
            raise AssertionError(f"{text}: exit code {result.returncode}: {said}")
    return f"{len(cases) + 4} mistakes are named"


def test_rules(bench):
    """A service with rules for a user, an address, a listener and machines."""
    path, relays = bench.path("rules.conf"), bench.path("relays.sock")
    one, two = (f"tcp:127.0.0.1:{free_port()}" for _ in range(2))
    write(path, f"""
backend = null
max-contexts = 7
listen = {one}
listen = {two}
listen = vm:{relays}

[client near]
from = user:{os.geteuid()}
on = unix
max-contexts = 3
max-surfaces = 20
max-bytes = 64M

# The one that is full: its only client is a connection that says nothing.
[client crowded]
on = {one}
from = address:127.0.0.0/8
max-clients = 1
max-bytes = 32M

[client engines]
on = {two}
backend = null,filter

[client good machines]
from = vm:web-*

[client others]
serve = no
""")
    service = Service(bench, "--config", path, name="rules")
    machines = []
    try:
        expect(info(bench, f"unix:{service.socket}"), 0, r"contexts +at most 3\n",
               r"surfaces +at most 20\n", r"memory +at most 64 MiB", r"back end +null\n")
        expect(info(bench, one), 0, r"contexts +at most 7\n", r"memory +at most 32 MiB")
        expect(info(bench, two), 0, r"contexts +at most 7\n", r"back end +null\+filter")

        # A client that ended may be counted a moment longer.
        def crowd():
            held = socket.create_connection(("127.0.0.1", int(one.rsplit(":", 1)[1])))
            time.sleep(0.3)
            code, text = info(bench, one)
            held.close()
            return code and "as many clients as it may" in text
        until(crowd)
        # The limit is the rule's, not the service's.
        expect(info(bench, two), 0)
        until(lambda: not info(bench, one)[0])

        for name in ("web-1", "db-1"):
            machine = socket.socket(socket.AF_UNIX)
            machine.settimeout(60)
            machine.bind(f"\0viaduct-vm/{name}/{os.getpid():x}")
            machine.connect(relays)
            machines.append(machine)
        # Who is refused gets an answer to what he has not asked yet, and the end of it.
        if not machines[1].recv(4096):
            raise AssertionError("machine db-1 is not told that it is refused")
        until(lambda: machines[1].recv(4096) == b"")
        machines[0].setblocking(False)
        try:
            machines[0].recv(1)
            raise AssertionError("machine web-1 is refused")
        except BlockingIOError:
            pass
    finally:
        for machine in machines:
            machine.close()
        code, log = service.stop()
    for message in ("[client crowded] has 1 clients already (max-clients)",
                    "refused virtual machine db-1 on vm: [client others] says serve = no"):
        if message not in log:
            raise AssertionError(f"the log lacks {message!r}: {log}")
    if code or "web-1" in log:
        raise AssertionError(f"exit code {code}: {log}")
    return "limits, engines, refusals by user, address, listener and machine"


def test_refused(bench):
    """A rule that refuses beats what lets everybody in; the client is told, and asks why it may."""
    path = bench.path("refused.conf")
    write(path, f"backend = null\nallow-any = yes\n[client me]\nfrom = user:{os.geteuid()}\n"
                "serve = no\n")
    service = Service(bench, "--config", path, name="refused")
    try:
        expect(info(bench, f"unix:{service.socket}"), 1, "policy refuses this client")
        said = run([bench.args.viaduct, "doctor"], False, service.env).stdout.decode()
        if "viaductd.conf" not in said:
            raise AssertionError(f"doctor does not say where rules stand: {said}")
    finally:
        code, log = service.stop()
    if code or f"of user {os.geteuid()} on unix: [client me] says serve = no" not in log:
        raise AssertionError(f"exit code {code}: {log}")
    return "both sides say it"


def test_certificate(bench):
    """Sections by names in certificates: who it is, is known before a worker is there."""
    need("ffmpeg")
    folder, path = need_tls(bench), bench.path("certificate.conf")
    write(path, f"""
allow-any = yes
tls-certificate = {folder}/host.pem
tls-key = {folder}/host.key
tls-authority = {folder}/ca.pem

[client guest]
from = certificate:gue??
max-contexts = 3
max-bytes = 192M
max-clients = 1

[client visitors]
from = certificate:*.EXAMPLE.org
backend = null
max-contexts = 5

[client others]
on = tls
serve = no
""")
    service = Remote(bench, "tls", "--config", path, name="certificate")
    guest, visitor = certificates(folder), certificates(folder, "visitor")
    clip = bench.clip("proved", "testsrc2=s=352x288:r=25:d=1")
    try:
        expect(info(bench, service.uri, **guest), 0, r"contexts +at most 3\n", "at most 192 MiB")
        expect(info(bench, service.uri, **visitor), 0, r"contexts +at most 5\n",
               r"back end +null\n")
        # The host's own certificate is one of the authority's, too; its names match none.
        expect(info(bench, service.uri, **certificates(folder, "host")), 1,
               "policy refuses this client")
        # One of whose names it cannot read all: one of them might be refused.
        expect(info(bench, service.uri, **certificates(folder, "many")), 1)
        expect(info(bench, service.uri, **certificates(folder, "other")), 1,
               "policy refuses this client")
        want = hashes(run(ffmpeg(clip, ["-threads", "1"])).stdout)
        command = ffmpeg(clip, ["-hwaccel", "vaapi"])
        # The last one may be counted a moment longer.
        until(lambda: not service.counters(bench)["clients"])
        if hashes(client(bench, service, command, **guest).stdout) != want or not want:
            raise AssertionError("other frames than by the software decoder")
        until(lambda: not service.counters(bench)["clients"])

        # Its limit is the section's: a program that stays takes the one place.
        fifo = bench.path("fifo")
        os.mkfifo(fifo)
        held = subprocess.Popen([bench.args.viaduct, "exec", "--", "ffmpeg", "-v", "error",
                                 *command[command.index("-hwaccel"):command.index("-i")],
                                 "-i", fifo, "-f", "null", "-"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env=dict(os.environ, **service.env, **guest))
        with open(clip, "rb") as whole, open(fifo, "wb") as end:
            end.write(whole.read())
            end.flush()
            until(lambda: service.counters(bench)["clients"])
            expect(info(bench, service.uri, **guest), 1, "as many clients as it may")
            expect(info(bench, service.uri, **visitor), 0)
        held.wait(60)
        until(lambda: not service.counters(bench)["clients"])
        counters = service.counters(bench)
    finally:
        code, log = service.stop()
    for message in (r"\(certificate guest\): \[client guest\] has 1 clients already",
                    "certificate has more than 16 names", r"\(certificate host\) on tls: \[client others\] says serve = no"):
        if not re.search(message, log):
            raise AssertionError(f"the log lacks {message!r}: {log}")
    if code or counters["workers_died"]:
        raise AssertionError(f"exit code {code}, {counters}: {log}")
    return f"by common and further names; {len(want)} frames, the software decoder's"


def test_secret(bench):
    """Sections by the name of the secret, of which the host has several."""
    need_tls(bench)
    path, secrets = bench.path("secret.conf"), bench.path("secrets")
    lines = {name: f"{name}:{os.urandom(32).hex()}\n" for name in ("vm1", "vm2", "lab")}
    write(secrets, "# who may\n\n" + "".join(lines.values()))
    for name, line in lines.items():
        write(bench.path(name), line)
    write(bench.path("stranger"), lines["lab"].replace("lab:", "vm3:"))
    write(path, f"backend = null\nallow-any = yes\ntls-secret = {secrets}\n"
                "[client one]\nfrom = secret:vm1\nmax-contexts = 3\n"
                "[client machines]\nfrom = secret:vm*\nmax-contexts = 5\n")
    service = Remote(bench, "tls", "--config", path, name="secret")
    try:
        for name, contexts in {"vm1": 3, "vm2": 5, "lab": 32}.items():
            expect(info(bench, service.uri, VIADUCT_TLS_SECRET=bench.path(name)), 0,
                   rf"contexts +at most {contexts}\n")
        expect(info(bench, service.uri, VIADUCT_TLS_SECRET=bench.path("stranger")), 1)
    finally:
        code, log = service.stop()
    if code:
        raise AssertionError(f"exit code {code}: {log}")
    for text, message in {"vm1": "secret", "a:00": "fewer than 16",
                          lines["vm1"] + lines["vm1"]: ":2: a second one of this name"}.items():
        write(secrets, text)
        result = run([bench.args.viaductd, "--socket", bench.path("x"), "--config", path,
                      "--listen", f"tls:127.0.0.1:{free_port()}"], False)
        if not result.returncode or message not in result.stdout.decode():
            raise AssertionError(f"{text}: {result.returncode}: {result.stdout.decode()}")
    return "three names, a stranger's refused; mistakes in the file are named"


def closed(end):
    """Whether the other side has closed this connection."""
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_stall(bench):
    """Those who connect and say nothing do not keep others out, and are cut off."""
    folder, path = need_tls(bench), bench.path("stall.conf")
    write(path, f"""
backend = null
allow-any = yes
tls-certificate = {folder}/host.pem
tls-key = {folder}/host.key
tls-authority = {folder}/ca.pem
[client guest]
from = certificate:guest
""")
    service = Remote(bench, "tls", "--config", path, name="stall")
    guest = certificates(folder)
    ends = []

    def crowd(address, count):
        for i in range(count):
            end = socket.create_connection(("127.0.0.1", service.port), 60, (address, 0))
            # Some begin: a record's head, and no more.
            if i % 2:
                end.sendall(b"\x16\x03\x01\x02\x00")
            end.setblocking(False)
            ends.append(end)

    try:
        crowd("127.0.0.2", 40)
        start = time.time()
        until(lambda: sum(closed(end) for end in ends) >= 8, 20)
        if time.time() - start < 8 and sum(closed(end) for end in ends) != 8:
            raise AssertionError("more were cut off than one address is too many")
        expect(info(bench, service.uri, **guest), 0)
        # From everywhere: more than there are places.
        for last in range(3, 9):
            crowd(f"127.0.0.{last}", 25)
        expect(info(bench, service.uri, **guest), 0)
        expect(info(bench, f"unix:{service.socket}"), 0)
        until(lambda: all(closed(end) for end in ends), 40)
        expect(info(bench, service.uri, **guest), 0)
    finally:
        for end in ends:
            end.close()
        code, log = service.stop()
    if code or "handshakes that are not over" not in log:
        raise AssertionError(f"exit code {code}: {log[-2000:]}")
    return f"{len(ends)} connections without a word: others are served meanwhile"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.viaduct = os.path.abspath(args.viaduct)
    args.viaductd = os.path.abspath(args.viaductd)
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    with tempfile.TemporaryDirectory() as folder:
        return judge(tests, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
