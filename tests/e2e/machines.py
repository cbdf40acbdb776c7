#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hosts, a balancer and a guest that are machines of their own, as far as the network goes.

usage: machines.py --viaduct PROGRAM --viaductd PROGRAM [NAME...]

Each is a network namespace on one bridge; HAProxy stands in the namespace of the bridge. Needs root,
or a kernel that lets users make namespaces; else it is skipped, with the reason.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from run import Bench, Skip, X264, ffmpeg, hashes, judge, need, run

HOSTS = 2
PORT = 7474
# One program, which opens a context with each line that it reads, and says what came of it.
PROGRAM = """
import ctypes, os, sys
va, drm = ctypes.CDLL("libva.so.2"), ctypes.CDLL("libva-drm.so.2")
drm.vaGetDisplayDRM.restype = ctypes.c_void_p
display = ctypes.c_void_p(drm.vaGetDisplayDRM(os.open("/dev/dri/renderD128", os.O_RDWR)))
major, minor, config = ctypes.c_int(), ctypes.c_int(), ctypes.c_uint()
if va.vaInitialize(display, ctypes.byref(major), ctypes.byref(minor)):
    sys.exit("no display")
if va.vaCreateConfig(display, 6, 1, None, 0, ctypes.byref(config)):
    sys.exit("no config")
for _ in sys.stdin:
    context = ctypes.c_uint()
    print(va.vaCreateContext(display, config, 320, 240, 1, None, 0, ctypes.byref(context)), flush=True)
"""


CONNECT = f"import socket; socket.create_connection(('10.77.0.1', {PORT})).close()"


class Machine:
    """A network namespace with one link to the bridge; a process holds it."""

    def __init__(self, number):
        self.address = f"10.77.0.{number}"
        self.link = f"m{number}"
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.prefix = ["nsenter", "--net", "--target", str(self.holder.pid)]
        for _ in range(100):
            if os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"):
                break
            time.sleep(0.02)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns",
           str(self.holder.pid))
        ip("link", "set", self.link, "master", "bridge", "up")
        for command in (["addr", "add", f"{self.address}/24", "dev", "eth0"],
                        ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run([*self.prefix, "ip", *command])

    def stop(self):
        # The namespace would take it along, but in its own time.
        run(["ip", "link", "del", self.link], False)
        self.holder.kill()
        self.holder.wait()


def ip(*args):
    return run(["ip", *args])


class Host(Machine):
    """A machine with a viaductd."""

    def __init__(self, bench, number, secret):
        super().__init__(number)
        self.bench = bench
        self.socket = bench.path(f"{self.link}.sock")
        self.process = subprocess.Popen(
            [*self.prefix, bench.args.viaductd, "--socket", self.socket, "--tls-secret", secret,
             "--listen", f"tls:{self.address}:{PORT}"],
            env=dict(os.environ, VIADUCT_LOG="warn"), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for _ in range(600):
            if os.path.exists(self.socket + ".stats") or self.process.poll() is not None:
                break
            time.sleep(0.05)

    def total(self, counter):
        text = run([self.bench.args.viaduct, "top", "--json"],
                   env={"VIADUCT_HOST": f"unix:{self.socket}"}).stdout
        return json.loads(text)["total"][counter]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        super().stop()


class Network:
    """Two hosts, a balancer before them, and a guest."""

    def __init__(self, bench):
        self.bench, self.machines, self.balancer = bench, [], None
        if not bench.network:
            ip("link", "set", "lo", "up")
            ip("link", "add", "bridge", "type", "bridge")
            ip("addr", "add", "10.77.0.1/24", "dev", "bridge")
            ip("link", "set", "bridge", "up")
            bench.network = True
        secret = bench.path("secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write(f"guests:{os.urandom(32).hex()}\n")
        self.hosts = [self.keep(Host(bench, 10 + i, secret)) for i in range(HOSTS)]
        if any(host.process.poll() is not None for host in self.hosts):
            self.stop()
            raise Skip("viaductd does not serve tls: here")
        self.guest = self.keep(Machine(20))
        self.env = {"VIADUCT_HOST": f"tls:10.77.0.1:{PORT}", "VIADUCT_TLS_SECRET": secret}
        config = bench.path("haproxy.cfg")
        with open(config, "w", encoding="utf-8") as conf:
            conf.write("defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n"
                       "  timeout server 1h\n  retries 2\n  option redispatch 1\n"
                       f"listen viaduct\n  bind 10.77.0.1:{PORT}\n  balance roundrobin\n"
                       "  default-server check inter 300ms fall 2 rise 1 "
                       "on-marked-down shutdown-sessions\n")
            for host in self.hosts:
                conf.write(f"  server {host.link} {host.address}:{PORT}\n")
        self.balancer = subprocess.Popen(["haproxy", "-db", "-f", config],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def keep(self, machine):
        self.machines.append(machine)
        return machine

    def run(self, command, check=True):
        return run([*self.guest.prefix, self.bench.args.viaduct, "exec", "--", *command], check,
                   self.env)

    def stop(self):
        if self.balancer:
            self.balancer.terminate()
            self.balancer.wait()
        for machine in self.machines:
            machine.stop()


def served(network, clip, times):
    for i in range(times):
        found = hashes(network.run(ffmpeg(clip, ["-hwaccel", "vaapi"])).stdout)
        if len(found) != 25:
            raise AssertionError(f"session {i}: {len(found)} pictures of 25")


def fail_over(bench, kill):
    """Sessions spread; a program whose host dies has its next context on the other one."""
    need("haproxy")
    clip = bench.clip("machines", "testsrc2=s=352x288:r=25:d=1")
    network = Network(bench)
    program = None
    try:
        for i in range(4):
            served(network, clip, 1)
            # However many sessions a command takes (`exec` looks at the host, too): with one more
            # now and then the programs' own come to both hosts.
            if i % 2:
                run([*network.guest.prefix, sys.executable, "-c", CONNECT])
        shares = [host.total("decoded") for host in network.hosts]
        if min(shares) < 25:
            raise AssertionError(f"not spread: {shares}")
        program = subprocess.Popen(
            [*network.guest.prefix, bench.args.viaduct, "exec", "--", sys.executable, "-c",
             PROGRAM], env=dict(os.environ, **network.env), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        def context():
            program.stdin.write(b"\n")
            program.stdin.flush()
            return int(program.stdout.readline())

        before = [host.total("contexts") for host in network.hosts]
        if context():
            raise AssertionError("the program gets no context")
        after = [host.total("contexts") for host in network.hosts]
        first = next(i for i in range(HOSTS) if after[i] > before[i])
        other = network.hosts[1 - first]
        kill(network.hosts[first])
        start = time.time()
        tries = 1
        while context():
            tries += 1
            if time.time() - start > 30:
                raise AssertionError("no context 30 s after the host's death")
            time.sleep(0.3)
        took = time.time() - start
        if other.total("contexts") <= after[1 - first]:
            raise AssertionError("the new context is not on the other host")
        served(network, clip, 2)
    finally:
        if program:
            program.kill()
            program.communicate()
        network.stop()
    return (f"pictures {shares[0]} and {shares[1]}; the same program's context number {tries} after the "
            f"death, {took:.1f} s later, is the other host's")


def test_host_killed(bench):
    return fail_over(bench, lambda host: host.process.send_signal(signal.SIGKILL))


def test_host_unplugged(bench):
    """No packet says that the host is gone."""
    return fail_over(bench, lambda host: ip("link", "set", host.link, "down"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.viaduct = os.path.abspath(args.viaduct)
    args.viaductd = os.path.abspath(args.viaductd)
    for program in ("ip", "unshare", "nsenter", "haproxy", "ffmpeg"):
        if not shutil.which(program) and not os.path.exists(f"/usr/sbin/{program}"):
            print(f"SKIP: {program} is not installed")
            return 77
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if not args.inside:
        apart = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        probe = subprocess.run([*apart, "ip", "link", "add", "probe", "type", "veth"], check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if probe.returncode:
            print(f"SKIP: no network namespaces: {probe.stdout.decode().strip()}")
            return 77
        os.execvp(apart[0], [*apart, sys.executable, "-B", *sys.argv, "--inside"])
    if X264 not in run(["ffmpeg", "-v", "error", "-encoders"]).stdout.decode():
        print("SKIP: there is no ffmpeg with libx264")
        return 77
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        bench.network = False
        return judge(tests, bench, args.names)


if __name__ == "__main__":
    sys.exit(main())
