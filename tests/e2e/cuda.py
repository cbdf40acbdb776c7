#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CUDA at a host: what a service has to stand, and its clients.

usage: cuda.py --viaductd PROGRAM --viaduct PROGRAM --client PROGRAM [--cuda WHAT] [--tcp] [NAME...]

A client whose kernel never ends is stopped, one whose worker dies loses its context and goes on, one
that leaves takes its worker with it; and the service serves on. With --tcp clients share no memory with it.
"""
import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

TIMEOUT = 120


def children(pid):
    """Processes below one, in whatever depth."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as f:
                stat = f.read()
        except OSError:
            continue
        if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
            found += [(int(entry), stat.split("(", 1)[1].rsplit(")", 1)[0])]
            found += children(int(entry))
    return found


def workers(service):
    return [pid for pid, name in children(service.pid) if name == "viaduct-client"]


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.05)


class Test:
    def __init__(self, args, folder):
        self.args = args
        self.socket = os.path.join(folder, "viaduct.sock")
        self.further = []
        host = "unix:" + self.socket
        if args.tcp:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                host = f"tcp:127.0.0.1:{probe.getsockname()[1]}"
            self.further = ["--listen", host]
        self.env = dict(os.environ, VIADUCT_HOST=host, VIADUCT_CUDA="remote", VIADUCT_LOG="none")

    def start(self):
        self.service = subprocess.Popen(
            [self.args.viaductd, "--socket", self.socket, "--backend", "null",
             "--max-cuda-seconds", "2", "--max-cuda-bytes", "64M", "--cuda", self.args.cuda,
             *self.further],
            env=dict(os.environ, VIADUCT_LOG="none", VIADUCT_CUDA="local"), stdin=subprocess.DEVNULL)
        wait_for("the service does not start", lambda: os.path.exists(self.socket))

    def stop(self):
        self.service.terminate()
        self.service.wait(20)

    def client(self, what, **more):
        return subprocess.Popen([self.args.client, what], env=self.env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **more)

    def run(self, what, want=""):
        client = self.client(what)
        out = client.communicate(timeout=TIMEOUT)[0]
        assert client.returncode == 0, f"{what}: exit code {client.returncode}"
        assert out == want, f"{what}: wrote {out!r}"

    def test_works(self):
        self.run("works")

    def test_fault(self):
        """The sentence is in the program's log, once; only the executor knows one."""
        client = subprocess.run([self.args.client, "fault"], env=dict(self.env, VIADUCT_LOG="error"),
                                text=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                timeout=TIMEOUT, check=False)
        assert client.returncode == 0, client.stderr
        want = "viaduct: error: cuda: kernel add, line 15, block 0,0,0, thread 0: "\
            "address out of bounds (0x10)\n"
        assert client.stderr == (want if self.args.cuda == "ptx" else ""), client.stderr

    def test_fork(self):
        self.run("fork")

    def test_limit(self):
        self.run("limit")

    def test_quota(self):
        self.run("quota")

    def test_print(self):
        self.run("print", "hello 42\n" * 32)

    def test_streams(self):
        self.run("streams")

    def test_large(self):
        self.run("large")

    def test_doctor(self):
        for name, text, want in (
                ("shared", b"\0libcudart.so.13\0", "is linked with the shared runtime"),
                ("static", b"\0cuGetExportTable\0", "has the static runtime"),
                ("other", b"\0nothing\0", "has no runtime")):
            path = os.path.join(os.path.dirname(self.socket), name)
            with open(path, "wb") as f:
                f.write(b"\x7fELF" + text)
            out = subprocess.run([self.args.viaduct, "doctor", path], env=self.env, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 check=False).stdout
            assert f"{path} {want}" in out, out

    def test_info(self):
        out = subprocess.run([self.args.viaduct, "info"], env=self.env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
        assert "\nCUDA          device 0: Viaduct PTX executor, 64 MiB, " in out, out

    def test_killed(self):
        # Those of the tests before may take a moment to end.
        wait_for("a worker outlives its client", lambda: not workers(self.service))
        client = self.client("killed")
        assert client.stdout.readline() == "running\n"
        before = workers(self.service)
        assert len(before) == 1, before
        os.kill(before[0], signal.SIGKILL)
        client.communicate(timeout=TIMEOUT)
        assert client.returncode == 0, f"exit code {client.returncode}"

    def test_leave(self):
        client = self.client("leave")
        out = client.communicate(timeout=TIMEOUT)[0]
        assert client.returncode == 0 and out == "running\n"
        wait_for("a worker outlives its client", lambda: not workers(self.service))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--client", required=True)
    parser.add_argument("--cuda", default="ptx")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        test = Test(args, folder)
        test.start()
        names = args.names or [n[5:] for n in dir(test) if n.startswith("test_")]
        try:
            for name in names:
                start = time.monotonic()
                try:
                    getattr(test, "test_" + name)()
                    # Whatever the client did: the next one is served.
                    test.run("works")
                    print(f"ok    {name}, {time.monotonic() - start:.1f} s")
                except (AssertionError, subprocess.TimeoutExpired) as err:
                    print(f"FAIL  {name}: {err}")
                    failed += 1
        finally:
            test.stop()
    print(f"{len(names) - failed} of {len(names)} right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
