#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Virtual machines: an unmodified Debian kernel under QEMU, and stock programs in it.

usage: run.py --build FOLDER [--full] [--channel NAME,...] [--keep] [NAME...]
       run.py --build FOLDER --bench [--channel NAME,...] [NAME...]

Guests have this machine's programs (its root file system, read-only, under a layer in memory), the
kernel's vgem for a render node, and what `meson install` installs. Without KVM: emulated. The short
form runs over viaduct-vsock; --full runs everything over each channel, and measures. --bench: a
table of each channel's speed against the guest's own decoder; NAMEs are clips. What this machine
lacks is skipped, with the reason.
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
import time

import kernel
import measure
from guest import Guest
from measure import DEVICE, QUIET

SKIP = 77
QEMU = "qemu-system-x86_64"
CHANNELS = ["vsock", "region", "serial", "tls", "vhost", "virtgpu"]
PORT = "/dev/virtio-ports/org.viaduct.0"
REGIONS = 2
CLIPS = {"small": "testsrc2=s=352x288:r=25:d=1", "long": "testsrc2=s=352x288:r=25:d=4"}
LARGE = {"large": "testsrc2=s=1920x1080:r=25:d=4"}


class Skip(Exception):
    """A test that cannot run here, and why."""


def host_run(command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, timeout=120, check=False, **options)
    text = result.stdout.decode(errors="replace")
    if result.returncode:
        raise AssertionError(f"{command[0]} ended with {result.returncode}: {text[-800:]}")
    return text


def hashes(text):
    return [line.rsplit(",", 1)[1].strip() for line in text.splitlines()
            if line[:2] == "0," and line.count(",") == 5]


class Daemon:
    """A program of the host that runs until it is stopped; its log."""

    def __init__(self, folder, name, command, until):
        self.path = os.path.join(folder, name + ".log")
        with open(self.path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=dict(os.environ, VIADUCT_LOG="info"))
        for _ in range(300):
            if os.path.exists(until):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"{name} did not start: {self.log()}")

    def log(self):
        with open(self.path, "rb") as log:
            return log.read().decode(errors="replace")

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)


def gpu_qemu():
    """A QEMU that has the device without KVM: VIADUCT_VM_QEMU, or the usual one."""
    program = os.environ.get("VIADUCT_VM_QEMU", QEMU)
    found = re.search(r"version ([0-9]+)", host_run([program, "--version"]))
    if not found or int(found.group(1)) < 10:
        raise Skip("QEMU before 10 has vhost-user-gpu with KVM only; VIADUCT_VM_QEMU names another")
    if "vhost-user-gpu-pci" not in host_run([program, "-machine", "pc", "-device", "help"]):
        raise Skip(f"{program} has no vhost-user-gpu (qemu-system-modules-opengl)")
    return program


class Bench:
    """The host's side, and guests on it."""

    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.channel, self.port = "vsock", 0
        self.qemu = QEMU
        self.dest = os.path.join(folder, "dest")
        self.daemons, self.guests, self.relays = [], [], {}
        self.kernel = None
        self.service = None
        self.clips = {}
        # Memory that is a file: QEMU and the service map it.
        self.memory = tempfile.mkdtemp(prefix="viaduct-vm-", dir="/dev/shm")

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, *parts):
        return os.path.join(self.args.build, *parts)

    def install(self):
        """As the packages do: the driver under the names that libva asks for."""
        host_run(["meson", "install", "-C", self.args.build, "--no-rebuild", "--destdir",
                  self.dest])
        for folder, _, files in os.walk(self.dest):
            if "viaduct_drv_video.so" in files:
                for name in ("vgem", "virtio_gpu"):
                    os.symlink("viaduct_drv_video.so",
                               os.path.join(folder, name + "_drv_video.so"))
                return
        raise AssertionError("no driver was installed")

    def start_service(self):
        for name in ("viaduct.sock", "vm.sock"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        listen = ["vm:" + self.path("vm.sock")]
        more = []
        if self.channel == "tls":
            listen.append(f"tls:127.0.0.1:{self.port}")
            more = ["--tls-secret", os.path.join(self.dest, "secret")]
        if self.channel == "vhost":
            listen.append("vsock:any:7474")
        config = self.path("viaductd.conf")
        with open(config, "w", encoding="utf-8") as out:
            for number in self.with_regions():
                out.write(f"[client {number}]\nfrom = vm:guest{number}\n"
                          f"region = {self.regions(number)}\n")
        more += ["--config", config]
        for uri in listen:
            more += ["--listen", uri]
        self.service = Daemon(self.folder, "viaductd",
                              [self.program("host_decoder", "viaductd"), "--socket",
                               self.path("viaduct.sock"), *more], self.path("vm.sock"))

    def counters(self):
        """Pictures that the service has decoded and encoded so far."""
        text = host_run([self.program("cli", "viaduct"), "top", "--json"],
                        env=dict(os.environ, VIADUCT_HOST="unix:" + self.path("viaduct.sock")))
        return {name: int(re.search(f'"total".*?"{name}": *([0-9]+)', text, re.S).group(1))
                for name in ("decoded", "encoded")}

    def serves(self):
        """Whether the service has clients now."""
        text = host_run([self.program("cli", "viaduct"), "top", "--json"],
                        env=dict(os.environ, VIADUCT_HOST="unix:" + self.path("viaduct.sock")))
        return bool(json.loads(text)["clients"])

    def boot(self):
        """Another guest, on the present channel."""
        number = 3 + len(self.guests)
        folder = self.path(f"{self.channel}{number}")
        os.mkdir(folder)
        devices = getattr(self, "devices_" + self.channel)(number, folder)
        env = {"serial": {"VIADUCT_HOST": "serial:" + PORT},
               "tls": {"VIADUCT_HOST": f"tls:10.0.2.2:{self.port}",
                       "VIADUCT_TLS_SECRET": "/secret"}}
        room = ",slots=2,maxmem=8G" if number in self.with_regions() else ""
        guest = Guest(folder, self.kernel, self.dest, devices, env.get(self.channel),
                      program=self.qemu, room=room)
        self.guests.append(guest)
        return guest

    def start_vsock(self, number, folder):
        """The relay of a guest; its socket."""
        end = os.path.join(folder, "vsock")
        relay = Daemon(folder, "viaduct-vsock",
                       [self.program("vm", "viaduct-vsock"), "--cid", str(number), "--socket", end,
                        "--name", f"guest{number}", "--port", "7474=vm:" + self.path("vm.sock"),
                        "--port", "7000=unix:" + self.path("echo.sock")],
                       end)
        self.daemons.append(relay)
        return end

    def devices_vsock(self, number, folder):
        end = self.start_vsock(number, folder)
        device = ["-chardev", f"socket,id=vs,path={end}", "-device",
                  "vhost-user-vsock-pci,chardev=vs,id=viaduct"]
        if number not in self.with_regions():
            return device
        text = host_run([self.program("vm", "viaduct-region"), "--make", self.regions(number),
                         "--count", str(REGIONS), "--size", "256M"])
        return device + text.split("\n", 1)[1].split()

    def regions(self, number):
        """The folder of a guest's memory that the host sees."""
        return f"{self.memory}/{self.channel}{number}"

    def with_regions(self):
        """Guests that have some: over vsock one of two, so that both kinds are tested."""
        return {"region": (3, 4), "vsock": (4,)}.get(self.channel, ())

    devices_region = devices_vsock

    def devices_serial(self, number, folder):
        end = os.path.join(folder, "port")
        relay = Daemon(folder, "viaduct-serial",
                       [self.program("vm", "viaduct-serial"), "--socket", end, "--name",
                        f"guest{number}", "--service", self.path("vm.sock")], end)
        self.daemons.append(relay)
        return ["-device", "virtio-serial-pci", "-chardev",
                f"socket,id=vd,path={end},reconnect=1", "-device",
                "virtserialport,chardev=vd,name=org.viaduct.0"]

    def devices_virtgpu(self, number, folder):
        end = os.path.join(folder, "gpu")
        relay = Daemon(folder, "viaduct-gpu",
                       [self.program("vm", "viaduct-gpu"), "--socket", end, "--name",
                        f"guest{number}", "--host", self.path("vm.sock")], end)
        self.daemons.append(relay)
        return ["-chardev", f"socket,id=gpu,path={end}", "-device",
                "vhost-user-gpu-pci,chardev=gpu"]

    def devices_tls(self, _number, _folder):
        return ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]

    def devices_vhost(self, number, _folder):
        return ["-device", f"vhost-vsock-pci,guest-cid={number}"]

    def choose(self, channel):
        """The channel of guests from now on."""
        if channel == "vhost" and not os.path.exists("/dev/vhost-vsock"):
            raise Skip("this kernel has no vhost_vsock")
        # What is compared has the same one.
        usual = os.environ.get("VIADUCT_VM_QEMU", QEMU) if self.args.bench else QEMU
        self.qemu = gpu_qemu() if channel == "virtgpu" else usual
        self.channel = channel
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(os.path.join(self.dest, "secret"), "w", encoding="utf-8") as file:
            file.write(f"vm:{os.urandom(32).hex()}\n")

    def make_clips(self):
        """Before guests boot, which have them in /clips."""
        os.mkdir(os.path.join(self.dest, "clips"))
        clips = measure.CLIPS if self.args.bench else dict(CLIPS, **(LARGE if self.args.full else {}))
        for name, source in clips.items():
            path = os.path.join(self.dest, "clips", name + ".mp4")
            host_run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v",
                      "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "2", path])

    def clip(self, name="small"):
        """A guest's path of a clip, and its frames' hashes by this machine's software decoder."""
        if name not in self.clips:
            path = os.path.join(self.dest, "clips", name + ".mp4")
            self.clips[name] = hashes(host_run(
                ["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-fps_mode", "passthrough", "-f",
                 "framemd5", "-"]))
        return f"/clips/{name}.mp4", self.clips[name]

    def close(self):
        for guest in self.guests:
            guest.stop()
        codes = [daemon.stop() for daemon in self.daemons + [self.service] if daemon]
        self.guests, self.daemons, self.service = [], [], None
        # -SIGKILL: the test did it.
        return [code for code in codes if code not in (0, -signal.SIGKILL)]


def decode(clip, more=""):
    return f"{QUIET} {DEVICE} -i {clip} -fps_mode passthrough {more} -f framemd5 -"


def same(text, want):
    have = hashes(text)
    if have != want or not want:
        raise AssertionError(f"{len(have)} frames for {len(want)}, "
                             f"{sum(a != b for a, b in zip(have, want))} differ: {text[-600:]}")


def test_boot(bench):
    guest = bench.boot()
    start = time.time()
    guest.wait_up()
    if bench.channel == "region":
        guest.start_broker()
    # Another one, beside the tests of the first.
    if not bench.args.names or {"two_guests", "regions", "region_restart"} & set(bench.args.names):
        bench.boot()
    return f"up after {time.time() - start:.0f} s: {guest.run('uname -r').strip()}"


def test_vainfo(bench):
    if not shutil.which("vainfo"):
        raise Skip("vainfo is not installed")
    text = bench.guests[0].run("vainfo --display drm --device /dev/dri/renderD128")
    for what in ("Viaduct", "VAProfileH264High ", "VAEntrypointEncSlice"):
        if what not in text:
            raise AssertionError(f"no {what} in {text[-800:]}")
    return "the driver is found for the node, the host without a setting"


def test_doctor(bench):
    text = bench.guests[0].run("viaduct doctor")
    if "a test picture is decoded, bit for bit" not in text:
        raise AssertionError(text)
    where = re.search(r"ok +host service (\S+)", text).group(1)
    way = re.search(r"ok +frames are (.*)", text).group(1)
    if ("in a region of" in way) != (bench.channel == "region") or "shared" in way:
        raise AssertionError(text)
    return f"all is well at {where}, frames {way}"


def test_decode(bench):
    clip, want = bench.clip()
    before = bench.counters()
    same(bench.guests[0].run(decode(clip)), want)
    decoded = bench.counters()["decoded"] - before["decoded"]
    if decoded != len(want):
        raise AssertionError(f"the host decoded {decoded} of {len(want)}")
    return f"{decoded} frames, bit-exact with the host's software decoder"


def test_gstreamer(bench):
    if not shutil.which("gst-launch-1.0"):
        raise Skip("gst-launch-1.0 is not installed")
    if bench.channel == "serial":
        raise Skip("its plugins open several displays at once, and a port serves one")
    clip, want = bench.clip()
    before = bench.counters()
    code, text = bench.guests[0].start(
        "gst-inspect-1.0 --exists vah264dec || exit 99\n"
        f"gst-launch-1.0 -q filesrc location={clip} ! qtdemux ! h264parse ! vah264dec ! "
        "video/x-raw,format=NV12 ! filesink location=/tmp/out.nv12 && "
        "md5sum </tmp/out.nv12").wait()
    if code == 99:
        raise Skip("GStreamer has no vah264dec here")
    raw = host_run(["sh", "-c", f"{QUIET} -i {bench.dest}{clip} -pix_fmt nv12 -f rawvideo - | md5sum"])
    if code or raw.split()[0] not in text:
        raise AssertionError(f"{code}: {text[-800:]}, expected {raw}")
    if bench.counters()["decoded"] - before["decoded"] != len(want):
        raise AssertionError("the host did not decode")
    return f"vah264dec: {len(want)} frames, the same bytes"


def test_export(bench):
    """Surfaces as dma-bufs, read by a program that knows nothing of VA-API."""
    if bench.channel != "virtgpu":
        raise Skip("this guest's kernel has no dma-bufs but virtio-gpu's")
    clip, want = bench.clip()
    same(bench.guests[0].run(
        f"{QUIET} -init_hw_device drm=d:/dev/dri/renderD128 -init_hw_device vaapi=va@d "
        "-filter_hw_device d -hwaccel vaapi -hwaccel_device va -hwaccel_output_format vaapi "
        f"-i {clip} -vf hwmap=derive_device=drm,format=drm_prime,hwdownload,format=yuv420p "
        "-fps_mode passthrough -f framemd5 -"), want)
    return f"{len(want)} frames through dma-bufs, bit-exact"


EXPORT = (f"{QUIET} -init_hw_device drm=d:/dev/dri/renderD128 -init_hw_device vaapi=va@d "
          "-filter_hw_device va -hwaccel vaapi -hwaccel_device va -hwaccel_output_format vaapi ")
TO_DRM = "hwmap=derive_device=drm,format=drm_prime,"


def through(bench, before, between, after):
    """A filter chain's frames, which must be the same with dma-bufs in its middle."""
    clip, want = bench.clip()
    plain, mapped = (bench.guests[0].run(f"{EXPORT} -i {clip} -vf {before}{middle}{after} "
                                         "-fps_mode passthrough -f framemd5 -")
                     for middle in ("", between))
    if len(hashes(plain)) != len(want):
        raise AssertionError(plain[-600:])
    same(mapped, hashes(plain))
    return len(want)


def test_export_10_bit(bench):
    """P010 surfaces as dma-bufs."""
    if bench.channel != "virtgpu":
        raise Skip("this guest's kernel has no dma-bufs but virtio-gpu's")
    count = through(bench, "scale_vaapi=format=p010,", TO_DRM, "hwdownload,format=p010le")
    return f"{count} frames of P010, the same as without"


def test_import(bench):
    """Memory of a program's own, and dma-bufs, are source and target of the host's work."""
    program = bench.program("tests", "e2e", "import")
    if not os.path.exists(program):
        raise Skip("this build has no program for it")
    # The guest's own /tmp hides a build that is there.
    guest = bench.guests[0]
    shutil.copy(program, guest.out)
    text = guest.run("/run/out/import memfd")
    if bench.channel != "virtgpu":
        return "a memfd: " + text.strip().splitlines()[-1]
    guest.run("/run/out/import own")
    return "a memfd, and a dma-buf that a surface was exported as"


def test_gstreamer_dmabuf(bench):
    """dma-bufs between GStreamer's elements."""
    if bench.channel != "virtgpu" or not shutil.which("gst-launch-1.0"):
        raise Skip("takes gst-launch-1.0, and a guest whose kernel has dma-bufs")
    clip, _ = bench.clip()
    script = "gst-inspect-1.0 --exists vapostproc || exit 99\n"
    for kind in ("VAMemory", "DMABuf"):
        script += (f"gst-launch-1.0 -q filesrc location={clip} ! qtdemux ! h264parse ! vah264dec ! "
                   f"'video/x-raw(memory:{kind})' ! vapostproc ! "
                   "video/x-raw,format=NV12,width=176,height=144 ! filesink location=/tmp/out "
                   "|| exit 1\nstat -c %s /tmp/out; md5sum </tmp/out\n")
    code, text = bench.guests[0].start(script).wait()
    if code == 99:
        raise Skip("GStreamer has no vapostproc here")
    said = re.findall(r"^([0-9]+)\n([0-9a-f]{32})", text, re.M)
    if code or len(said) != 2 or said[0] != said[1] or int(said[0][0]) != 25 * 176 * 144 * 3 // 2:
        raise AssertionError(f"{code}: {text[-800:]}")
    return "vah264dec to vapostproc, the same bytes as without"


def test_transcode(bench):
    clip, want = bench.clip()
    before = bench.counters()
    bench.guests[0].run(
        f"{QUIET} {DEVICE} -hwaccel_output_format vaapi -i {clip} -vf scale_vaapi=176:144 "
        "-c:v h264_vaapi -qp 22 -y /run/out/small.mp4")
    now = bench.counters()
    if now["encoded"] - before["encoded"] != len(want):
        raise AssertionError(f"{before} {now}")
    text = host_run(["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i",
                     os.path.join(bench.guests[0].out, "small.mp4"), "-f", "framemd5", "-"])
    if len(hashes(text)) != len(want):
        raise AssertionError(f"{len(hashes(text))} frames of {len(want)} came out")
    return f"{len(want)} frames decoded, scaled and encoded on the host"


def until_decoded(bench, before):
    """Waits for the host to have decoded more than that."""
    for _ in range(600):
        if bench.counters()["decoded"] > before:
            return
        time.sleep(0.1)
    raise AssertionError("nothing is decoded")


def test_two_guests(bench):
    """Two guests, two processes each; one process is killed, nobody else notices."""
    clip, want = bench.clip()
    bench.guests[1].wait_up()
    if bench.channel == "region":
        bench.guests[1].start_broker()
    if bench.channel == "serial":
        return one_at_a_time(bench, clip, want)
    # Reads a stream that does not end, so that it is there to be killed.
    before = bench.counters()["decoded"]
    victim = bench.guests[0].start(
        f"{QUIET} {DEVICE} -stream_loop -1 -re -i {clip} -f null - & echo $! >/run/victim; wait $!")
    until_decoded(bench, before)
    jobs = [guest.start(decode(clip)) for guest in bench.guests[:2] for _ in range(2)]
    until_decoded(bench, bench.counters()["decoded"])
    bench.guests[0].run("kill -9 $(cat /run/victim)")
    if victim.wait()[0] != 137:
        raise AssertionError(f"the victim was gone before: {victim.output()[-300:]}")
    for job in jobs:
        code, text = job.wait()
        if code:
            raise AssertionError(text[-600:])
        same(text, want)
    return f"{len(jobs)} processes in 2 guests right, one killed"


# Has both devices mapped: with a lock, as an honest program, or without; says in the end whether it
# still has.
HOLDER = """
import fcntl, mmap, os, sys, time
kept = []
for name in ("/dev/dax0.0", "/dev/dax1.0"):
    end = os.open(name, os.O_RDWR)
    if sys.argv[1] == "locks":
        fcntl.flock(end, fcntl.LOCK_EX)
    kept.append(mmap.mmap(end, 64 << 20))
print("holds", flush=True)
while not os.path.exists("/run/end"):
    time.sleep(0.1)
print(sum(memory[4096] for memory in kept), "kept", flush=True)
"""
IN_REGION = "frames are in memory of the machine"


def test_regions(bench):
    """Memory that a guest and its host have in common: a region a program, whatever happens to the
    broker; nothing of it for who had it before."""
    if bench.channel not in ("vsock", "region"):
        raise Skip("tested with vsock")
    guest = bench.guests[1]
    guest.wait_up()
    clip, want = bench.clip()
    look = "export VIADUCT_LOG=info\n" + decode(clip)

    def check(text, in_region):
        same(text, want)
        if (IN_REGION in text) != in_region:
            raise AssertionError(f"in a region: {not in_region}: {text[:600]}")

    if bench.channel == "vsock":
        check(guest.run(look), False)
    guest.start_broker()
    with open(os.path.join(guest.out, "holder.py"), "w", encoding="utf-8") as out:
        out.write(HOLDER)

    def held(how, in_region, times):
        guest.run("rm -f /run/end /run/held")
        holder = guest.start(f"python3 -B /run/out/holder.py {how} >/run/held")
        guest.run("while ! grep -q holds /run/held; do sleep 0.1; done")
        for _ in range(times):
            check(guest.run(look), in_region)
        guest.run("touch /run/end")
        return holder.wait()

    # One that is honest keeps what it has, and others go without.
    code, text = held("locks", False, 1)
    if code or "gets no region" not in guest.run("cat /run/broker.log"):
        raise AssertionError(f"an honest program lost its memory: {code} {text}")
    # One that is not loses it, if not by the first that needs a region: an access is a fault.
    code, text = held("steals", True, 1)
    if code != 128 + signal.SIGBUS:
        raise AssertionError(f"a program kept another one's memory: {code} {text}")
    # Three programs, two regions; the broker is killed while they run.
    before = bench.counters()["decoded"]
    jobs = [guest.start(look) for _ in range(REGIONS + 1)]
    until_decoded(bench, before)
    guest.start_broker()
    for job in jobs:
        code, text = job.wait()
        if code:
            raise AssertionError(text[-600:])
        same(text, want)
    check(guest.run(look), True)
    return "one a program, nothing left to others, a broker killed, frames bit-exact"


def one_at_a_time(bench, clip, want):
    """The same with ports that serve one process: a second one is told, one that is killed leaves
    the port to the next."""
    guest = bench.guests[0]
    before = bench.counters()["decoded"]
    victim = guest.start(f"{QUIET} {DEVICE} -stream_loop -1 -re -i {clip} -f null - & "
                         "echo $! >/run/victim; wait $!")
    until_decoded(bench, before)
    code, text = guest.start("vainfo --display drm --device /dev/dri/renderD128").wait()
    if not code or "one program at a time" not in text:
        raise AssertionError(f"the second: {code}: {text[-600:]}")
    guest.run("kill -9 $(cat /run/victim)")
    if victim.wait()[0] != 137:
        raise AssertionError(f"the victim was gone before: {victim.output()[-300:]}")
    for job in [one.start(decode(clip)) for one in bench.guests[:2]]:
        code, text = job.wait()
        if code:
            raise AssertionError(text[-600:])
        same(text, want)
    return "2 guests right, a second process told, one killed"


def test_restart(bench):
    """The host's service is killed and started again; no guest is."""
    clip, want = bench.clip()
    guest = bench.guests[0]
    before = bench.counters()["decoded"]
    held = guest.start(f"{QUIET} -xerror {DEVICE} -hwaccel_output_format vaapi -stream_loop -1 -re "
                       f"-i {clip} -vf hwdownload,format=nv12 -f null -")
    until_decoded(bench, before)
    bench.service.stop(signal.SIGKILL)
    code, text = held.wait(30)
    if not code:
        raise AssertionError(f"the old context went on: {text[-300:]}")
    code, text = guest.start("viaduct info").wait(30)
    if not code:
        raise AssertionError(f"served by nobody: {text[-300:]}")
    bench.start_service()
    for one in bench.guests:
        same(one.run(decode(clip)), want)
    return "old contexts end with errors, new ones work"


def test_region_restart(bench):
    """The service ends, again and again, while programs have regions: each gets an error, and the
    next one a region of the next service."""
    if bench.channel not in ("vsock", "region"):
        raise Skip("tested with vsock")
    guest = bench.guests[1]
    guest.wait_up()
    guest.start_broker()
    clip, want = bench.clip()
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        before = bench.counters()["decoded"]
        held = [guest.start(f"export VIADUCT_LOG=info\n{QUIET} -xerror {DEVICE} "
                            "-hwaccel_output_format vaapi -stream_loop -1 -re "
                            f"-i {clip} -vf hwdownload,format=nv12 -f null -")
                for _ in range(REGIONS)]
        until_decoded(bench, before)
        for job in held:
            for _ in range(300):
                if IN_REGION in job.output():
                    break
                time.sleep(0.1)
        bench.service.stop(how)
        for job in held:
            code, text = job.wait(60)
            if not code or IN_REGION not in text:
                raise AssertionError(f"{how}: exit code {code}: {text[-600:]}")
        bench.start_service()
        text = guest.run("viaduct info")
        if "in a region of" not in text:
            raise AssertionError(text[:600])
        text = guest.run("export VIADUCT_LOG=info\n" + decode(clip))
        same(text, want)
        if IN_REGION not in text:
            raise AssertionError(f"no region after {how}: {text[:600]}")
    return f"3 times with {REGIONS} programs; the next ones are in regions again"


def test_pause(bench):
    clip, want = bench.clip("long")
    guest = bench.guests[0]
    before = bench.counters()["decoded"]
    job = guest.start(decode(clip))
    until_decoded(bench, before)
    guest.monitor("stop")
    between = bench.counters()["decoded"]
    time.sleep(2)
    guest.monitor("cont")
    code, text = job.wait()
    if code:
        raise AssertionError(text[-600:])
    same(text, want)
    if between - before >= len(want):
        raise AssertionError("it was over before the pause")
    return f"stopped for 2 s after {between - before} of {len(want)} frames, then the rest"


def test_names(bench):
    """The service's log names the machines."""
    if bench.channel not in ("vsock", "region", "serial", "virtgpu"):
        raise Skip("over this channel machines have no names")
    log = bench.service.log()
    for number in range(3, 3 + len(bench.guests)):
        if f"virtual machine guest{number}" not in log:
            raise AssertionError(log[-800:])
    return "the log names each machine"


def test_relay_restart(bench):
    """The relay ends and starts again; the machine goes on, and where QEMU can, its programs, too."""
    if bench.channel not in ("vsock", "region", "serial", "virtgpu"):
        raise Skip("this channel has no relay")
    clip, want = bench.clip()
    guest = bench.guests[0]
    before = bench.counters()["decoded"]
    held = guest.start(f"{QUIET} -xerror {DEVICE} -stream_loop -1 -re -i {clip} -f null -")
    until_decoded(bench, before)
    bench.daemons[0].stop(signal.SIGKILL)
    start = time.time()
    if bench.channel == "virtgpu":
        code, text = held.wait(90)
        if not code:
            raise AssertionError(f"the old session went on: {text[-300:]}")
        code, text = guest.start("viaduct info").wait(60)
        if not code:
            raise AssertionError(f"served by nobody: {text[-300:]}")
        return (f"programs get errors after {time.time() - start:.0f} s; the machine goes on, and "
                "this device cannot be plugged again")
    end = os.path.join(guest.folder, "port" if bench.channel == "serial" else "vsock")
    os.unlink(end)
    if bench.channel == "serial":
        bench.devices_serial(3, guest.folder)
    else:
        bench.start_vsock(3, guest.folder)
        plug_again(guest, end)
    code, text = held.wait(90)
    if not code:
        raise AssertionError(f"the old session went on: {text[-300:]}")
    if bench.channel == "vsock":
        guest.run("while ! viaduct info >/dev/null; do sleep 0.2; done")
    same(guest.run(decode(clip)), want)
    return ("QEMU has connected again" if bench.channel == "serial" else
            "the device was plugged again") + ", the next session works"


def plug_again(guest, end):
    """Takes the vsock device out of a running machine, and puts in one that is connected anew."""
    guest.monitor("device_del", id="viaduct")
    # The guest's driver lets go of it first.
    for left in range(100, -1, -1):
        try:
            guest.monitor("chardev-remove", id="vs")
            break
        except AssertionError:
            if not left:
                raise
            time.sleep(0.1)
    address = {"type": "unix", "data": {"path": end}}
    guest.monitor("chardev-add", id="vs",
                  backend={"type": "socket", "data": {"addr": address, "server": False}})
    guest.monitor("device_add", driver="vhost-user-vsock-pci", chardev="vs", id="viaduct")


def test_measure(bench):
    """Frames a second of 1080p, decoded on the host; no limits: it depends on the machine."""
    clip, want = bench.clip("large")
    ways = {"in surfaces": f"{DEVICE} -hwaccel_output_format vaapi", "read by the program": DEVICE}
    if bench.channel == "region":
        ways["read by it, pixels sent"] = DEVICE
    if bench.channel == "vsock":
        ways["decoded by the guest itself"] = ""
    speeds = []
    for name, how in ways.items():
        before = "export VIADUCT_REGION=none\n" if "sent" in name else ""
        measure.decode_time(bench.guests[0], how, clip, "-frames:v 1", before)
        seconds = measure.decode_time(bench.guests[0], how, clip, before=before)
        speeds.append(f"{len(want) / seconds:.1f} {name}")
    text = "1080p frames/s: " + ", ".join(speeds)
    if bench.channel == "vsock":
        text += "; " + measure_bytes(bench)
    return text


def measure_bytes(bench):
    """Round trip and bytes a second of the bare device, between two programs of Python."""
    here = os.path.dirname(os.path.abspath(__file__))
    end = bench.path("echo.sock")
    daemon = Daemon(bench.folder, "echo", [sys.executable, "-B", os.path.join(here, "echo.py"),
                                           "serve", end], end)
    try:
        shutil.copy(os.path.join(here, "echo.py"), bench.guests[0].out)
        return bench.guests[0].run("python3 -B /run/out/echo.py measure").strip()
    finally:
        daemon.stop()


# In this order: without its relay a machine may be left without its device.
FULL = [test_measure, test_relay_restart]
SHORT = [test_boot, test_vainfo, test_doctor, test_decode, test_gstreamer, test_export,
         test_export_10_bit, test_import, test_gstreamer_dmabuf, test_transcode, test_two_guests,
         test_regions, test_region_restart, test_restart, test_pause, test_names]


def why_not():
    for program, package in {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
                             "modprobe": "kmod", "cpio": "cpio", "apt-get": "apt",
                             "ffmpeg": "ffmpeg"}.items():
        if not shutil.which(program):
            return f"{program} is not installed ({package})"
    if os.getuid():
        return "guests have this machine's files, which takes root"
    if os.uname().machine != "x86_64":
        return "this test's guests are x86-64"
    return None


def run_channel(bench, name, tests, totals):
    try:
        bench.choose(name)
    except Skip as why:
        totals["skip"] += 1
        print(f"skip {name}: {why}", flush=True)
        return
    bench.start_service()
    if bench.args.bench:
        measure.table(bench, bench.args.names or measure.CLIPS)
        totals["ok"] += 1
        return
    stop = False
    for test in tests:
        start, verdict = time.time(), "skip"
        try:
            said = "the guest is not up" if stop else test(bench)
            verdict = "skip" if stop else "ok"
        except Skip as why:
            said = str(why)
        except (AssertionError, OSError, subprocess.SubprocessError) as why:
            verdict, said = "FAIL", str(why)
            stop = stop or test is test_boot
        totals[verdict] += 1
        print(f"{verdict:4} {name} {test.__name__[5:]} ({time.time() - start:.1f} s) {said}",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--bench", action="store_true")
    parser.add_argument("--channel")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    reason = why_not()
    if reason:
        print(f"SKIP: {reason}")
        return SKIP
    channels = args.channel.split(",") if args.channel else CHANNELS if args.full or args.bench \
        else ["vsock"]
    totals = {"ok": 0, "FAIL": 0, "skip": 0}
    tests = [t for t in SHORT + (FULL if args.full else []) if not args.names or t is test_boot or t.__name__[5:] in args.names]
    folder = tempfile.mkdtemp(prefix="viaduct-vm-")
    bench = Bench(args, folder)
    try:
        try:
            bench.kernel = kernel.prepare()
        except (kernel.Missing, OSError, subprocess.SubprocessError) as why:
            print(f"SKIP: no kernel for guests: {why}")
            return SKIP
        try:
            bench.install()
            bench.make_clips()
        except AssertionError as why:
            print(f"FAIL: {why}")
            return 1
        if args.bench:
            print(f"{measure.about(os.environ.get('VIADUCT_VM_QEMU', QEMU))}\n\n{measure.HEAD}",
                  flush=True)
        for name in channels:
            try:
                run_channel(bench, name, tests, totals)
            finally:
                bad = bench.close()
            if bad:
                totals["FAIL"] += 1
                print(f"FAIL {name}: programs on the host ended with {bad}")
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(bench.memory, ignore_errors=True)
    print(f"{totals['ok']} passed, {totals['FAIL']} failed, {totals['skip']} skipped")
    return 1 if totals["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
