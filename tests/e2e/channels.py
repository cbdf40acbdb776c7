#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hosts that share no memory with the guest, end to end: stock ffmpeg over TCP, TLS and virtio-gpu.

usage: channels.py --viaduct PROGRAM --viaductd PROGRAM [NAME...]

Each channel must give the same bits as the Unix socket. What this machine lacks is skipped.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from run import TIMEOUT, Bench, Service, Skip, X264, ffmpeg, hashes, judge, need, run

DEVICE = ["-init_hw_device", "vaapi=va:/dev/dri/renderD128", "-filter_hw_device", "va"]
DECODE = ["-hwaccel", "vaapi", "-hwaccel_device", "va", "-hwaccel_output_format", "vaapi"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Remote(Service):
    """A service that also listens on a further channel; `env` leads clients there."""

    def __init__(self, bench, scheme, *options, port=None, name="remote"):
        self.port = port or free_port()
        self.uri = f"{scheme}:127.0.0.1:{self.port}"
        super().__init__(bench, "--listen", self.uri, *options, name=name)
        self.near = self.env
        self.env = {"VIADUCT_HOST": self.uri}

    def counters(self, bench):
        """Sums of all clients so far."""
        text = run([bench.args.viaduct, "top", "--json"], env=self.near).stdout.decode()
        return json.loads(text)


def client(bench, service, command, check=True, **more):
    return run([bench.args.viaduct, "exec", "--", *command], check,
               dict(service.env, **more))


def chains(bench):
    """Commands whose output must not depend on the channel."""
    clip = bench.clip("channel", "testsrc2=s=352x288:r=25:d=1", ["-bf", "2"])
    quiet = ["ffmpeg", "-nostdin", "-v", "error"]
    md5 = ["-f", "framemd5", "-"]
    return {
        "decode": ffmpeg(clip, ["-hwaccel", "vaapi"]),
        "threads": ffmpeg(clip, ["-threads", "4", "-hwaccel", "vaapi"]),
        "map": [*quiet, *DEVICE, *DECODE, "-i", clip, "-vf",
                "scale_vaapi=w=160:h=120:format=nv12,hwmap=mode=read+direct,format=nv12", *md5],
        "upload": [*quiet, *DEVICE, "-i", clip, "-vf",
                   "format=nv12,hwupload,scale_vaapi=w=200:h=160,hwdownload,format=nv12", *md5],
        "overlay": [*quiet, *DEVICE, *DECODE, "-i", clip, "-f", "lavfi", "-i",
                    "testsrc=s=64x48:r=25:d=1", "-filter_complex",
                    "[1]format=bgra,hwupload[o];[0][o]overlay_vaapi=x=16:y=8,hwdownload,"
                    "format=nv12", *md5],
        "transcode": [*quiet, *DEVICE, *DECODE, "-i", clip, "-c:v", "h264_vaapi", "-qp", "24",
                      *md5],
        "encode": [*quiet, *DEVICE, "-i", clip, "-vf", "format=nv12,hwupload", "-c:v",
                   "h264_vaapi", "-b:v", "500k", *md5],
    }


def compare(bench, service):
    """All chains, on the service's channel and on its Unix socket."""
    for name, command in chains(bench).items():
        want = run([bench.args.viaduct, "exec", "--", *command], env=service.near).stdout
        have = client(bench, service, command).stdout
        if not hashes(want) or hashes(have) != hashes(want):
            raise AssertionError(f"{name}: {len(hashes(have))} frames for {len(hashes(want))}: "
                                 f"{have.decode(errors='replace')[-300:]}")
    return f"{len(chains(bench))} commands, the same bits as over the Unix socket"


def test_tcp(bench):
    service = Remote(bench, "tcp")
    try:
        said = compare(bench, service)
        counters = service.counters(bench)
        for env, way in ((service.env, "sent over tcp when"), (service.near, "shared with")):
            text = run([bench.args.viaduct, "info"], env=env).stdout.decode()
            if not re.search(f"^frames are .*{way}", text, re.M):
                raise AssertionError(f"not said to be {way}: {text[:600]}")
    finally:
        code, log = service.stop()
    if code or counters["workers_died"]:
        raise AssertionError(f"exit code {code}, {counters}: {log}")
    return said


def test_virtgpu(bench):
    """A virtual machine's virtio-gpu in the program's own process, with both kinds of kernel."""
    if not bench.args.loop:
        raise Skip("this build has no virtio-gpu device")
    path = bench.path("relays.sock")
    service = Service(bench, "--listen", f"vm:{path}")
    inside = ["VIADUCT_HOST=virtgpu:/dev/dri/renderD128", "LIBVA_DRIVER_NAME=viaduct_loop",
              f"LIBVA_DRIVERS_PATH={os.path.dirname(bench.args.loop)}", f"VIADUCT_LOOP={path}"]

    def work():
        text = run([bench.args.viaduct, "top", "--json"], env=service.env).stdout.decode()
        total = json.loads(text)["total"]
        return total["decoded"], total["encoded"], total["processed"]

    try:
        want = {name: run([bench.args.viaduct, "exec", "--", *command], env=service.env).stdout
                for name, command in chains(bench).items()}
        before = work()
        for name, command in chains(bench).items():
            kernel = ["VIADUCT_LOOP_OLD=1"] if name in ("map", "upload") else []
            have = run([bench.args.viaduct, "exec", "--", "env", *inside, *kernel, *command],
                       env=service.env).stdout
            if not hashes(have) or hashes(have) != hashes(want[name]):
                raise AssertionError(f"{name}: {len(hashes(have))} frames for "
                                     f"{len(hashes(want[name]))}: "
                                     f"{have.decode(errors='replace')[-300:]}")
        after = work()
    finally:
        code, log = service.stop()
    if code or after != tuple(2 * n for n in before):
        raise AssertionError(f"exit code {code}, {before} then {after}: {log}")
    return f"{len(want)} commands, the same bits as over the Unix socket"


def test_import(bench):
    """Memory of a program's own is source and target of the host's work, shared or copied."""
    if not bench.args.program:
        raise Skip("this build has no program for it")
    service = Remote(bench, "tcp", name="import")
    try:
        for env in (service.near, service.env):
            result = run([bench.args.viaduct, "exec", "--", bench.args.program], False, env)
            if result.returncode == 77:
                raise Skip("no video processing")
            if result.returncode:
                raise AssertionError(f"{env}: {result.stdout.decode(errors='replace')[-400:]}")
    finally:
        code, log = service.stop()
    if code:
        raise AssertionError(f"exit code {code}: {log}")
    return "the same over the Unix socket and TCP"


def test_pixels_stay(bench):
    """A transcode's pictures do not cross the channel."""
    service = Remote(bench, "tcp")
    try:
        command = chains(bench)["transcode"]
        client(bench, service, command)
        stats = service.counters(bench)["total"]
    finally:
        service.stop()
    if stats["mapped"] or stats["decoded"] < 25 or stats["encoded"] < 25:
        raise AssertionError(f"{stats}")
    return f"{stats['decoded']} decoded, {stats['encoded']} encoded, none mapped"


def authority(bench):
    """Files of two authorities: names of certificates that the first has signed, and of neither."""
    folder = bench.path("pki")
    if os.path.exists(folder):
        return folder
    need("openssl")
    os.mkdir(folder)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def ssl(*args):
        run(["openssl", *args], env={"HOME": folder})

    for name in ("ca", "other"):
        ssl("req", "-x509", *key, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem",
            "-subj", f"/CN={name}", "-days", "2")
    for name, further in {"host": "DNS:localhost,IP:127.0.0.1", "guest": "DNS:localhost,IP:127.0.0.1",
                          "visitor": "DNS:visitor.example.org",
                          "many": ",".join(f"DNS:{i}.example.org" for i in range(17))}.items():
        ssl("req", *key, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr", "-subj",
            f"/CN={name}")
        with open(f"{folder}/names", "w", encoding="utf-8") as names:
            names.write(f"subjectAltName={further}\n")
        ssl("x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/ca.pem", "-CAkey",
            f"{folder}/ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{folder}/names",
            "-out", f"{folder}/{name}.pem")
    for name in ("secret", "wrong"):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(f"vm1:{os.urandom(32).hex()}\n")
    return folder


def need_tls(bench):
    folder = authority(bench)
    text = run([bench.args.viaductd, "--socket", bench.path("none.sock"), "--listen",
                "tls:127.0.0.1:1", "--once"], False).stdout
    if b"no TLS" in text:
        raise Skip("this build has no TLS")
    return folder


def certificates(folder, name="guest", trusted="ca"):
    return {"VIADUCT_TLS_CERTIFICATE": f"{folder}/{name}.pem",
            "VIADUCT_TLS_KEY": f"{folder}/{name}.key",
            "VIADUCT_TLS_AUTHORITY": f"{folder}/{trusted}.pem"}


def test_tls(bench):
    """Certificates: the right ones serve; each wrong one is refused with a reason on both sides."""
    folder = need_tls(bench)
    service = Remote(bench, "tls", "--tls-certificate", f"{folder}/host.pem", "--tls-key",
                     f"{folder}/host.key", "--tls-authority", f"{folder}/ca.pem")
    command = ffmpeg(bench.clip("channel"), ["-hwaccel", "vaapi"])
    try:
        want = hashes(run(ffmpeg(bench.clip("channel"), ["-threads", "1"])).stdout)
        have = hashes(client(bench, service, command, **certificates(folder)).stdout)
        if have != want or not have:
            raise AssertionError(f"{len(have)} frames for {len(want)}")
        decoded = service.counters(bench)["total"]["decoded"]
        wrong = {
            "a certificate of another authority": certificates(folder, "other"),
            "a host of another authority": certificates(folder, "guest", "other"),
            "a host of another name": dict(certificates(folder), VIADUCT_TLS_NAME="elsewhere"),
            "no certificate": {},
        }
        for name, env in wrong.items():
            result = run([bench.args.viaduct, "info"], False, dict(service.env, **env))
            if not result.returncode or (env and b"refuses this client" not in result.stdout):
                raise AssertionError(f"{name}: {result.returncode}: {result.stdout.decode()}")
        if service.counters(bench)["total"]["decoded"] != decoded or decoded < len(want):
            raise AssertionError("a refused client was served")
    finally:
        _, log = service.stop()
    if "TLS" not in log:
        raise AssertionError(f"the service does not say whom it refused: {log}")
    return f"{len(have)} frames; {len(wrong)} wrong sides refused"


def test_tls_secret(bench):
    folder = need_tls(bench)
    service = Remote(bench, "tls", "--tls-secret", f"{folder}/secret")
    try:
        good = client(bench, service, ffmpeg(bench.clip("channel"), ["-hwaccel", "vaapi"]), False,
                      VIADUCT_TLS_SECRET=f"{folder}/secret", VIADUCT_LOG="info")
        bad = run([bench.args.viaduct, "info"], False,
                  dict(service.env, VIADUCT_TLS_SECRET=f"{folder}/wrong"))
    finally:
        service.stop()
    if good.returncode or not bad.returncode or b"refuses this client" not in bad.stdout:
        raise AssertionError(f"{good.stdout.decode()[-200:]} / {bad.stdout.decode()[-200:]}")
    # Pictures travel three times as fast where the processor has the cipher (x86-64's flag, Arm's).
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        has_aes = re.search(r"^(flags|Features)\s*:.*\baes\b", info.read(), re.M)
    cipher = re.search(r"TLS: \(TLS1\.3\).*\((\S+)\)", good.stdout.decode())
    if not cipher or ("AES" in cipher.group(1)) != bool(has_aes):
        raise AssertionError(f"aes: {has_aes}, chosen: {good.stdout.decode()[:300]}")
    return f"who knows the secret is served with {cipher.group(1)}, who does not is told"


def test_refused_addresses(bench):
    """Plain TCP is for this machine, on both sides."""
    if not bench.args.viaductd:
        raise Skip("needs --viaductd")
    for uri, why in {"tcp:0.0.0.0:0": "use tls:", "tcp:*:0": "use tls:",
                     "udp:127.0.0.1:1": "none of tcp:", "tls:127.0.0.1:0": "TLS"}.items():
        result = run([bench.args.viaductd, "--socket", bench.path("none.sock"), "--listen", uri],
                     False)
        if not result.returncode or why not in result.stdout.decode():
            raise AssertionError(f"{uri}: {result.returncode}: {result.stdout.decode()}")
    result = run([bench.args.viaduct, "info"], False, {"VIADUCT_HOST": "tcp:192.0.2.1:7"})
    if not result.returncode:
        raise AssertionError("a guest connected to another machine without encryption")
    return "not offered, not used"


class Cut:
    """A relay that breaks each connection after so many bytes from the host."""

    def __init__(self, target, limit):
        self.target, self.limit = target, limit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.target))

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = self.connect()
            except OSError:
                return
            threading.Thread(target=self.pump, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, self.limit), daemon=True).start()

    @staticmethod
    def pump(source, sink, limit):
        try:
            while limit is None or limit > 0:
                data = source.recv(65536 if limit is None else min(65536, limit))
                if not data:
                    break
                sink.sendall(data)
                limit = None if limit is None else limit - len(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Machine(Cut):
    """The relay of a virtual machine, as viaduct-vsock connects: from an address with its name."""

    def __init__(self, path, name):
        self.name, self.count = name, 0
        super().__init__(path, None)

    def connect(self):
        end = socket.socket(socket.AF_UNIX)
        self.count += 1
        end.bind(f"\0viaduct-vm/{self.name}/{os.getpid()}-{self.count}")
        end.connect(self.target)
        return end


def answered(path, user):
    """Whether a relay of this user is answered (and not served) at once."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setresuid(user, user, user)
            with socket.socket(socket.AF_UNIX) as end:
                end.bind("\0viaduct-vm/red/1")
                end.settimeout(60)
                end.connect(path)
                code = len(end.recv(4096)) < 16
        finally:
            os._exit(code)
    return not os.waitpid(child, 0)[1]


def test_vm(bench):
    """Relays of virtual machines: in-band sessions, machines with names, users by policy."""
    path = bench.path("vm.sock")
    service = Service(bench, "--listen", f"vm:{path}", "--allow-uid", "54321", "--max-clients", "1",
                      name="relays")
    command = ffmpeg(bench.clip("channel"), ["-hwaccel", "vaapi"])
    machine = Machine(path, "green")
    env = {"VIADUCT_HOST": f"tcp:127.0.0.1:{machine.port}"}
    try:
        want = hashes(run(ffmpeg(bench.clip("channel"), ["-threads", "1"])).stdout)
        have = hashes(run([bench.args.viaduct, "exec", "--", *command], env=env).stdout)
        if have != want or not have:
            raise AssertionError(f"{len(have)} frames for {len(want)}")
        one, two = machine.connect(), machine.connect()
        two.recv(4096)
        refused = "no other user without root"
        if os.getuid() == 0:
            os.chmod(bench.folder, 0o711)
            refused = "another user's relay refused"
            if not answered(path, 65534):
                raise AssertionError("another user's relay has no answer")
        one.close()
        two.close()
    finally:
        _, log = service.stop()
    for line in ["refused virtual machine green"] + \
                (["refused virtual machine red: its relay"] if os.getuid() == 0 else []):
        if line not in log:
            raise AssertionError(f"no '{line}' in {log}")
    if os.path.exists(path):
        raise AssertionError("the socket is still there")
    return f"{len(have)} frames in band; {refused}; the log names machines"


def test_cut(bench):
    """The connection breaks in the middle of a message: an error soon, and nothing stays behind."""
    service = Remote(bench, "tcp")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", *DEVICE, *DECODE, "-i",
               bench.clip("channel"), "-vf", "hwdownload,format=nv12", "-f", "null", "-"]
    cuts = (7, 5000, 70001, 400003, 1500007)
    try:
        for limit in cuts:
            relay = Cut(service.port, limit)
            start = time.time()
            result = run([bench.args.viaduct, "exec", "--", *command], False,
                         {"VIADUCT_HOST": f"tcp:127.0.0.1:{relay.port}"})
            relay.listener.close()
            # `exec` serves a program itself if nobody answers: only what began must fail.
            if limit > 70000 and not result.returncode:
                raise AssertionError(f"cut after {limit} bytes: no error")
            if result.returncode > 128 or time.time() - start > 60:
                raise AssertionError(f"cut after {limit} bytes: {result.returncode} after "
                                     f"{time.time() - start:.0f} s: {result.stdout.decode()[-300:]}")
        for _ in range(100):
            counters = service.counters(bench)
            if not counters["clients"]:
                break
            time.sleep(0.1)
        if counters["clients"] or counters["workers_died"]:
            raise AssertionError(f"a worker stays, or died: {counters}")
    finally:
        service.stop()
    return f"cut after {', '.join(map(str, cuts))} bytes"


def test_frozen(bench):
    """A guest that is stopped while the host has pictures for it: others are served, and it goes on."""
    service = Remote(bench, "tcp", name="frozen")
    clip = bench.clip("frozen", "testsrc2=s=320x240:r=25:d=4", suffix="h264")
    # Its input does not end before this says so.
    command = ffmpeg("pipe:0", ["-hwaccel", "vaapi", "-probesize", "20000", "-f", "h264"])
    with open(clip, "rb") as file:
        stream = file.read()
    other = ffmpeg(bench.clip("near", "testsrc2=s=352x288:r=25:d=1"), ["-hwaccel", "vaapi"])
    try:
        want = hashes(run(ffmpeg(clip, ["-threads", "1"])).stdout)
        out = bench.path("frozen.txt")
        with open(out, "wb") as file, \
                subprocess.Popen([bench.args.viaduct, "exec", "--", *command],
                                 env=dict(os.environ, **service.env), stdin=subprocess.PIPE,
                                 stdout=file, stderr=file, start_new_session=True) as guest:
            try:
                guest.stdin.write(stream[:len(stream) // 2])
                guest.stdin.flush()
                for _ in range(1200):
                    before = service.counters(bench)["total"]["decoded"]
                    if before > 10:
                        break
                    time.sleep(0.05)
                os.killpg(guest.pid, signal.SIGSTOP)
                if len(hashes(client(bench, service, other).stdout)) != 25:
                    raise AssertionError("another guest is not served meanwhile")
                if not 10 < before < len(want) or guest.poll() is not None:
                    raise AssertionError(f"it was not in the middle: {before} of {len(want)}")
                os.killpg(guest.pid, signal.SIGCONT)
                guest.stdin.write(stream[len(stream) // 2:])
                guest.stdin.close()
                guest.wait(TIMEOUT)
            finally:
                if guest.poll() is None:
                    os.killpg(guest.pid, signal.SIGKILL)
        with open(out, "rb") as file:
            text = file.read()
        if guest.returncode or hashes(text) != want:
            raise AssertionError(f"exit code {guest.returncode}, {len(hashes(text))} frames of "
                                 f"{len(want)}: {text.decode(errors='replace')[-300:]}")
    finally:
        code, log = service.stop()
    if code:
        raise AssertionError(f"exit code {code}: {log}")
    return f"stopped after {before} of {len(want)} frames; another guest served, then the rest"


def test_nobody(bench):
    """A port where nobody listens, or somebody who says nothing sensible: told, and soon."""
    start = time.time()
    for scheme in ("tcp", "vsock"):
        uri = f"tcp:127.0.0.1:{free_port()}" if scheme == "tcp" else "vsock:local:4294967294"
        result = run([bench.args.viaduct, "doctor"], False, {"VIADUCT_HOST": uri})
        text = result.stdout.decode(errors="replace")
        if not result.returncode or f"no host service at {uri}" not in text or " - " not in text:
            raise AssertionError(f"{uri}: exit code {result.returncode}: {text[:600]}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        uri = f"tcp:127.0.0.1:{listener.getsockname()[1]}"

        def babble():
            end, _ = listener.accept()
            end.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
            end.recv(1)

        threading.Thread(target=babble, daemon=True).start()
        result = run([bench.args.viaduct, "info"], False, {"VIADUCT_HOST": uri})
    if not result.returncode or b"broke the protocol" not in result.stdout:
        raise AssertionError(f"a web server: {result.returncode}: {result.stdout[-300:]}")
    return f"3 places in {time.time() - start:.1f} s"


def test_restart(bench):
    """The host service is killed and comes back: running contexts fail, new ones work."""
    port = free_port()
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-re", "-hwaccel", "vaapi", "-i",
               bench.clip("long", "testsrc2=s=640x360:r=25:d=20", ["-preset", "ultrafast"]), "-f",
               "null", "-"]
    service = Remote(bench, "tcp", port=port)
    with subprocess.Popen([bench.args.viaduct, "exec", "--", *command],
                          env=dict(os.environ, **service.env), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as program:
        time.sleep(2)
        start = time.time()
        service.stop(signal.SIGKILL)
        out, _ = program.communicate(timeout=30)
    if not program.returncode or program.returncode > 128:
        raise AssertionError(f"exit code {program.returncode}: {out.decode()[-300:]}")
    took = time.time() - start
    service = Remote(bench, "tcp", port=port)
    try:
        have = hashes(client(bench, service, chains(bench)["decode"]).stdout)
    finally:
        service.stop()
    if len(have) != 25:
        raise AssertionError(f"{len(have)} frames after the restart")
    return f"error after {took:.1f} s; served again"


def test_balancer(bench):
    """Two hosts behind a balancer: sessions spread, and those of a dead host go to the other."""
    need("haproxy")
    hosts = [Remote(bench, "tcp", name=f"host{i}") for i in range(2)]
    port = free_port()
    with open(bench.path("haproxy.cfg"), "w", encoding="utf-8") as conf:
        conf.write("defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n"
                   "  timeout server 1h\n  retries 2\n  option redispatch 1\n"
                   f"listen viaduct\n  bind 127.0.0.1:{port}\n  balance roundrobin\n")
        for i, host in enumerate(hosts):
            conf.write(f"  server h{i} 127.0.0.1:{host.port} check inter 300ms fall 1 rise 1\n")
    env = {"VIADUCT_HOST": f"tcp:127.0.0.1:{port}"}
    command = [bench.args.viaduct, "exec", "--", *chains(bench)["decode"]]
    with subprocess.Popen(["haproxy", "-db", "-f", bench.path("haproxy.cfg")],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as balancer:
        try:
            time.sleep(1)
            for i in range(4):
                # However many sessions a command takes (`exec` looks at the host, too): with one
                # more now and then the programs' own come to both hosts.
                if i % 2:
                    socket.create_connection(("127.0.0.1", port)).close()
                if len(hashes(run(command, env=env).stdout)) != 25:
                    raise AssertionError("a session is not served")
            shares = [host.counters(bench)["total"]["decoded"] for host in hosts]
            if min(shares) < 25:
                raise AssertionError(f"not spread: {shares}")
            hosts[0].stop(signal.SIGKILL)
            time.sleep(1)
            for _ in range(3):
                if len(hashes(run(command, env=env).stdout)) != 25:
                    raise AssertionError("after a host's death a session is not served")
            after = hosts[1].counters(bench)["total"]["decoded"]
            if after < shares[1] + 75:
                raise AssertionError(f"not served by the other host: {after}")
        finally:
            balancer.terminate()
            for host in hosts:
                if host.process.poll() is None:
                    host.stop()
    return f"pictures {shares[0]} and {shares[1]}, {after - shares[1]} more after a death"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("--loop", help="viaduct_loop_drv_video.so")
    parser.add_argument("--import", dest="program", help="the program import")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.viaduct = os.path.abspath(args.viaduct)
    args.viaductd = os.path.abspath(args.viaductd)
    args.loop = args.loop and os.path.abspath(args.loop)
    args.program = args.program and os.path.abspath(args.program)
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    if not shutil.which("ffmpeg") or X264 not in run(["ffmpeg", "-v", "error",
                                                      "-encoders"]).stdout.decode():
        print("SKIP: there is no ffmpeg with libx264")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        return judge(tests, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
