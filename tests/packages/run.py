#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian packages: builds them from the tree, installs them, uses them as a stranger would.

usage: run.py [--keep FOLDER]

Builds in a copy of the tree. The installation is in a copy of this system that is thrown away (an
overlay in a mount name space of its own), which takes root; without, only the packages' contents
are looked at. --keep: leave the packages there.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
HERE = os.path.dirname(os.path.abspath(__file__))
SKIP = 77

# Each package, and what must be in it; ARCH is the multiarch triplet.
CONTENTS = {
    "viaduct-va-driver": [
        "/usr/include/viaduct/viaduct.h",
        "/usr/lib/ARCH/dri/viaduct_drv_video.so", "/usr/lib/ARCH/dri/vgem_drv_video.so",
        "/usr/lib/ARCH/dri/virtio_gpu_drv_video.so", "/usr/share/man/man7/viaduct_drv_video.7.gz"],
    "viaduct-guest": [
        "/lib/udev/rules.d/70-viaduct-guest.rules", "/lib/systemd/system/viaduct-vgem.service",
        "/lib/systemd/system/viaduct-region.service", "/lib/systemd/system/viaduct-region.socket"],
    "viaductd": [
        "/usr/bin/viaductd", "/usr/lib/viaduct/viaduct-worker",
        "/usr/share/viaduct/cdi/viaduct.json", "/etc/viaductd.conf",
        "/lib/systemd/system/viaductd.service", "/lib/systemd/system/viaductd.socket",
        "/usr/share/man/man8/viaductd.8.gz", "/usr/bin/viaduct-vsock",
        "/usr/bin/viaduct-serial", "/usr/share/man/man8/viaduct-serial.8.gz",
        "/lib/systemd/system/viaduct-serial@.service",
        "/lib/systemd/system/viaduct-vsock@.service", "/usr/share/man/man8/viaduct-vsock.8.gz",
        "/usr/bin/viaduct-gpu", "/lib/systemd/system/viaduct-gpu@.service",
        "/usr/share/man/man8/viaduct-gpu.8.gz"],
    "viaduct-tools": [
        "/usr/bin/viaduct", "/usr/lib/viaduct/viaduct-look",
        "/usr/lib/ARCH/viaduct/libviaduct-display.so",
        "/usr/bin/viaduct-region", "/usr/share/man/man8/viaduct-region.8.gz",
        "/usr/share/man/man1/viaduct.1.gz", "/usr/share/doc/viaduct-tools/README.md.gz"],
    "viaduct-cuda": ["/usr/lib/ARCH/viaduct/cuda/libcuda.so.1",
                     "/usr/lib/ARCH/viaduct/cuda/libnvidia-ml.so.1"],
    "viaduct-npu": ["/usr/lib/ARCH/libviaduct-npu.so.0", "/usr/include/viaduct/npu.h",
                    "/usr/lib/ARCH/viaduct/npu/libonnxruntime.so.1",
                    "/usr/lib/ARCH/viaduct/npu/libviaduct-ep.so",
                    "/usr/lib/ARCH/viaduct/npu/local/libonnxruntime.so.1"],
    "gstreamer1.0-viaduct": ["/usr/lib/ARCH/gstreamer-1.0/libgstviaduct.so"],
}


def run(command, timeout=900, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, timeout=timeout, check=False, **options)
    text = result.stdout.decode(errors="replace")
    if result.returncode:
        raise AssertionError(f"{command[0]} ended with {result.returncode}:\n{text[-3000:]}")
    return text


def build(folder):
    """Builds the packages from what is in the tree; returns {name: file}."""
    tree = os.path.join(folder, "viaduct")
    shutil.copytree(ROOT, tree, symlinks=True,
                    ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
    env = dict(os.environ, DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=2")
    for name in ("CFLAGS", "LDFLAGS", "LD_PRELOAD"):
        env.pop(name, None)
    # -d: setup knows other names for some of what is needed.
    run(["dpkg-buildpackage", "-b", "-us", "-uc", "-d"], cwd=tree, env=env)
    return {os.path.basename(path).split("_")[0]: path
            for path in glob.glob(os.path.join(folder, "*.deb"))}


def check_contents(packages):
    arch = run(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"]).strip()
    if sorted(packages) != sorted(CONTENTS):
        raise AssertionError(f"packages: {sorted(packages)}")
    for name, wanted in CONTENTS.items():
        lines = run(["dpkg-deb", "--contents", packages[name]]).splitlines()
        files = {line.split()[5].lstrip(".") for line in lines}
        for path in wanted:
            if path.replace("ARCH", arch) not in files:
                raise AssertionError(f"{name} has no {path}")
    return f"{len(packages)} packages"


def check_inside(packages, folder):
    """Runs the script `inside` in the thrown-away system; returns the lines in which it says what
    it did, and did not."""
    files = [os.path.join(HERE, "podman")]
    with open(os.path.join(ROOT, "docs", "GUEST-CONTAINER.md"), encoding="utf-8") as guide:
        text = re.sub(r" *\\\n *", " ", guide.read())
    for name, start in (("docker-run", "docker run"), ("podman-run", "podman run .*keep-groups")):
        files.append(os.path.join(folder, name))
        with open(files[-1], "w", encoding="utf-8") as file:
            file.write(re.search(rf"^    ({start} .*debian:12)$", text, re.M).group(1))
    for name in ("viaductd", "guest"):
        files.append(os.path.join(folder, f"kube-{name}.yaml"))
        shutil.copy(os.path.join(ROOT, "samples", "kubernetes", f"{name}.yaml"), files[-1])
    script = run(["unshare", "--mount", "--pid", "--fork", "--kill-child",
                  "sh", os.path.join(HERE, "inside"), *files, *packages.values()], timeout=400)
    lines = script.splitlines()
    if not lines or lines[-1] != "all is well":
        raise AssertionError(script[-3000:])
    return lines


def can_overlay():
    probe = "d=$(mktemp -d); mount -t tmpfs t $d && mkdir $d/u $d/w $d/r && " \
            "mount -t overlay o -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/r; e=$?; " \
            "umount -l $d; rmdir $d; exit $e"
    return os.getuid() == 0 and not subprocess.run(
        ["unshare", "--mount", "sh", "-c", probe], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep")
    args = parser.parse_args()
    for program in ("dpkg-buildpackage", "dh"):
        if not shutil.which(program):
            print(f"SKIP: {program} is not installed")
            return SKIP
    totals = {"ok": 0, "FAIL": 0, "skip": 0}
    packages = {}

    def judge(name, check, why_not=None):
        start, verdict = time.time(), "skip"
        try:
            said = why_not or check()
            verdict = "skip" if why_not else "ok"
        except (AssertionError, OSError, subprocess.TimeoutExpired) as why:
            verdict, said = "FAIL", str(why)
        totals[verdict] += 1
        print(f"{verdict:4} {name} ({time.time() - start:.1f} s) {said}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        judge("build", lambda: packages.update(build(folder)))
        judge("contents", lambda: check_contents(packages))
        lines = []

        def said(word):
            return "; ".join(line[len(word):] for line in lines if line.startswith(word))

        def inside():
            lines.extend(check_inside(packages, folder))
            return said("ok: ")

        judge("inside", inside,
              None if can_overlay() else "no overlay can be mounted (not root?)")
        if said("skip: "):
            judge("podman", lambda: None, said("skip: "))
        for path in packages.values() if args.keep else ():
            shutil.copy(path, args.keep)
    print(f"{totals['ok']} passed, {totals['FAIL']} failed, {totals['skip']} skipped")
    return 1 if totals["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
