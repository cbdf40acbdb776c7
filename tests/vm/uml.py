#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User-mode Linux: a second kernel as an ordinary program, and viaduct-vsock as its vsock device.

usage: uml.py --build FOLDER [--keep]

The guest's kernel is Debian's user-mode-linux (VIADUCT_UML names another one), its root file system
this machine's, read-only (hostfs). Starts in a second, without KVM. Skipped, with the reason, where
such a kernel is not there or does not run.
"""
import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from run import Daemon, SKIP, hashes, host_run

SECONDS = 120
FRAMES = 50
MODULES = ["vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"]

# What is not there on a machine's root file system that nobody writes to. Each command's output and
# code go to files, and so does its end.
INIT = """#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LANG=C.UTF-8
export XDG_RUNTIME_DIR=/run VIADUCT_HOST=vsock:host:7474
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
mkdir -p /dev/shm /run/out
mount -t tmpfs none /dev/shm
mount -t hostfs -o {folder}/out none /run/out
for module in {modules}; do insmod $module; done
ip link set lo up
run() {{ name=$1; shift; {viaduct} exec -- "$@" >/run/out/$name.log 2>&1 </dev/null; echo $? >/run/out/$name.code; }}
run vainfo vainfo
run doctor {viaduct} doctor
# One reads a stream without an end, so that it is there to be killed.
{viaduct} exec -- {ffmpeg} {device} -stream_loop -1 -re -i {clip} -f null - >/run/out/victim.log 2>&1 </dev/null & victim=$!
run one {ffmpeg} {device} -i {clip} -pix_fmt yuv420p -f framemd5 - & one=$!
run two {ffmpeg} {device} -i {clip} -pix_fmt yuv420p -f framemd5 - & two=$!
sleep 1
kill -9 $victim 2>/run/out/kill.log; echo $? >/run/out/kill.code
wait $one $two
run transcode {ffmpeg} {device} -hwaccel_output_format vaapi -i {clip} -vf scale_vaapi=176:144 -c:v h264_vaapi -qp 22 -y /run/out/small.mp4
sync
halt -f -d
"""


def boot(folder, program, init, more=()):
    """The kernel's log; it has ended, one way or the other."""
    env = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    command = [program, "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
               "init=" + init, "con=null", "con0=null,fd:1", "umid=viaduct" + str(os.getpid()),
               "uml_dir=" + folder + "/", *more]
    with open(os.path.join(folder, "console"), "wb") as console:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console,
                                   stderr=console, env=env, start_new_session=True)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    with open(os.path.join(folder, "console"), "rb") as console:
        return console.read().decode(errors="replace")


def find_modules(program):
    release = re.search(r"[0-9]+\.[0-9]+\.[0-9]+\S*", host_run([program, "--version"])).group(0)
    modules = []
    for name in MODULES:
        found = glob.glob(f"/usr/lib/uml/modules/{release}/**/{name}.ko*", recursive=True)
        if not found:
            return None
        modules.append(found[0])
    return modules


def read(folder, name):
    with open(os.path.join(folder, "out", name), "rb") as text:
        return text.read().decode(errors="replace")


def check(folder, want, counters):
    """What the guest left behind."""
    said = {}
    for name in ("vainfo", "doctor", "one", "two", "transcode", "kill"):
        if not os.path.exists(os.path.join(folder, "out", name + ".code")):
            raise AssertionError(f"{name} did not come to its end")
        said[name] = read(folder, name + ".log")
        if int(read(folder, name + ".code")):
            raise AssertionError(f"{name}: {said[name][-600:]}")
        if "private service" in said[name]:
            raise AssertionError(f"{name} did not reach the host: {said[name][-300:]}")
    if "Driver version: Viaduct" not in said["vainfo"]:
        raise AssertionError(said["vainfo"][-600:])
    for name in ("one", "two"):
        if hashes(said[name]) != want:
            raise AssertionError(f"{name}: other frames than in software")
    made = host_run(["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i",
                     os.path.join(folder, "out", "small.mp4"), "-f", "framemd5", "-"])
    if len(hashes(made)) != FRAMES:
        raise AssertionError(f"{len(hashes(made))} frames came out of the transcode")
    if counters["decoded"] < 3 * FRAMES + 1 or counters["encoded"] != FRAMES:
        raise AssertionError(f"the service counted {counters}")


def total(build, sock):
    text = host_run([os.path.join(build, "cli", "viaduct"), "top", "--json"],
                    env=dict(os.environ, VIADUCT_HOST="unix:" + sock))
    return {name: int(re.search(f'"total".*?"{name}": *([0-9]+)', text, re.S).group(1))
            for name in ("decoded", "encoded")}


def run(build, folder, program, modules):
    path = {name: os.path.join(folder, name) for name in ("viaduct.sock", "vm.sock", "vsock")}
    clip = os.path.join(folder, "clip.mp4")
    os.mkdir(os.path.join(folder, "out"))
    host_run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i",
              f"testsrc2=s=352x288:r=25:d={FRAMES / 25}", "-c:v", "libx264", "-pix_fmt", "yuv420p",
              clip])
    want = hashes(host_run(["ffmpeg", "-nostdin", "-v", "error", "-i", clip, "-f", "framemd5", "-"]))
    init = os.path.join(folder, "init")
    with open(init, "w", encoding="utf-8") as out:
        out.write(INIT.format(folder=folder, modules=" ".join(modules), clip=clip,
                              viaduct=os.path.join(build, "cli", "viaduct"),
                              ffmpeg="ffmpeg -nostdin -v error",
                              device="-hwaccel vaapi"))
    os.chmod(init, 0o755)
    daemons = []
    try:
        daemons.append(Daemon(folder, "viaductd", [
            os.path.join(build, "host_decoder", "viaductd"), "--config", "/dev/null", "--socket",
            path["viaduct.sock"], "--listen", "vm:" + path["vm.sock"]], path["vm.sock"]))
        daemons.append(Daemon(folder, "relay", [
            os.path.join(build, "vm", "viaduct-vsock"), "--cid", "3", "--socket", path["vsock"],
            "--name", "uml", "--port", "7474=vm:" + path["vm.sock"]], path["vsock"]))
        console = boot(folder, program, init, [f"virtio_uml.device={path['vsock']}:19"])
        try:
            check(folder, want, total(build, path["viaduct.sock"]))
        except AssertionError as why:
            raise AssertionError(f"{why}\n{console[-800:]}\n{daemons[1].log()[-300:]}") from why
        if "machine uml has come" not in daemons[1].log():
            raise AssertionError(daemons[1].log())
    finally:
        for daemon in reversed(daemons):
            daemon.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    program = os.environ.get("VIADUCT_UML") or shutil.which("linux.uml")
    if not program:
        print("SKIP: no linux.uml here (user-mode-linux)")
        return SKIP
    modules = find_modules(program)
    if not modules:
        print(f"SKIP: {program} has no modules for vsock in /usr/lib/uml")
        return SKIP
    folder = tempfile.mkdtemp(prefix="viaduct-uml-")
    try:
        # Does it run at all? It wants ptrace, and memory that may be executed.
        console = boot(folder, program, "/bin/true")
        if "Run /bin/true as init" not in console:
            print(f"SKIP: user-mode Linux does not start here: {console[-300:]}")
            return SKIP
        run(os.path.abspath(args.build), folder, program, modules)
    except AssertionError as why:
        print(f"FAIL: {why}")
        return 1
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"ok   two processes right, a third one killed, {FRAMES} frames transcoded on the host")
    return 0


if __name__ == "__main__":
    sys.exit(main())
