# SPDX-License-Identifier: MIT
"""Speed of channels in virtual machines: `run.py --bench` writes the table of docs/PERFORMANCE.md."""
import glob
import os
import re
import subprocess
import time

DEVICE = "-hwaccel vaapi -hwaccel_device /dev/dri/renderD128"
QUIET = "ffmpeg -nostdin -v error"
TICK = os.sysconf("SC_CLK_TCK")
CLIPS = {"1080p": "testsrc2=s=1920x1080:r=30:d=6", "2160p": "testsrc2=s=3840x2160:r=30:d=2"}
WAYS = {"native": "-threads 1", "in surfaces": f"{DEVICE} -hwaccel_output_format vaapi",
        "read by the program": DEVICE}
HEAD = """| clip | channel | way | frames/s | times native | QEMU | relay | service | ms a frame, together | times native |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|"""


def seconds_of(text):
    return float(re.search(r"^took ([0-9.]+)", text, re.M).group(1))


def decode_time(guest, how, clip, more="", before=""):
    """Seconds of the guest's clock for one ffmpeg that decodes and drops what comes out."""
    return seconds_of(guest.run(
        before + "start=$(cut -d' ' -f1 /proc/uptime)\n"
        f"{QUIET} {how} -i {clip} {more} -f null - || exit 1\n"
        "end=$(cut -d' ' -f1 /proc/uptime)\n"
        "echo took $(echo $start $end | awk '{print $2 - $1}')", timeout=600))


def ticks(pid, waited=False):
    """Processors' time of a process, with that of its children that have ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return sum(int(n) for n in fields[11:15 if waited else 13]) / TICK


def children(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(path, encoding="utf-8") as names:
            found += [int(name) for name in names.read().split()]
    return found


class Clock:
    """Processors' time of the guest's QEMU, its relay, and the service with its workers."""

    def __init__(self, bench):
        self.bench = bench
        self.start = self.now()

    def now(self):
        # The nursery has waited for all workers: they are in its sum.
        while self.bench.serves():
            time.sleep(0.05)
        service = self.bench.service.process.pid
        relay = self.bench.daemons[-1].process.pid if self.bench.daemons else 0
        return (ticks(self.bench.guests[-1].process.pid), ticks(relay),
                ticks(service) + sum(ticks(pid, True) for pid in children(service)))

    def took(self):
        return [now - start for start, now in zip(self.start, self.now())]


def measure(bench, how, clip):
    """Seconds on the clock, and processors' time, of all frames and of the first one alone."""
    found = []
    # Once before it counts: the guest reads files of the programs, and of the driver, the first time.
    for more in ("-frames:v 1", "-frames:v 1", ""):
        clock = Clock(bench)
        found.append((decode_time(bench.guests[-1], how, clip, more), clock.took()))
    return found[1:]


def row(bench, name, way, frames, native):
    """A line of the table, and what it says: seconds and processors' seconds a frame. The clock's
    are with the program's start; of processors' time that is taken off: the first frame's run."""
    (_, first_cpu), (whole, whole_cpu) = measure(bench, WAYS[way], f"/clips/{name}.mp4")
    seconds = whole / frames
    cpu = [max(b - a, 0) / (frames - 1) for a, b in zip(first_cpu, whole_cpu)]
    native = native or (seconds, sum(cpu))
    cells = [name, bench.channel, way, f"{1 / seconds:.1f}", f"{native[0] / seconds:.2f}",
             *(f"{1000 * part:.1f}" for part in cpu), f"{1000 * sum(cpu):.1f}",
             f"{sum(cpu) / native[1]:.2f}"]
    return "| " + " | ".join(cells) + " |", (seconds, sum(cpu))


def table(bench, names):
    """The rows of one channel, each printed when it is known."""
    guest = bench.boot()
    guest.wait_up()
    if bench.channel == "region":
        guest.start_broker()
    for name in names:
        native, frames = None, len(bench.clip(name)[1])
        for way in WAYS:
            line, found = row(bench, name, way, frames, native)
            native = native or found
            print(line, flush=True)


def about(qemu):
    """What the numbers depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = re.search(r"model name\s*: (.*)", info.read())
    said = subprocess.run([qemu, "--version"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=60, check=False).stdout.decode(errors="replace")
    version = re.search(r"version ([0-9.]+)", said)
    return (f"QEMU {version.group(1) if version else '?'}, without KVM, one processor; {os.cpu_count()} processors "
            f"({model.group(1) if model else '?'}), load {os.getloadavg()[0]:.1f} at the start.")
