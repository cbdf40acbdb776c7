#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian kernel for guests: fetched once, taken apart, and an initial file system for it.

The kernel is the distribution's, unchanged. It is booted as an ELF file: unpacking a bzImage under
emulation takes ten seconds. The initial file system mounts this machine's root, read-only, under a
layer in memory; so a guest has the programs that this machine has.
"""
import glob
import gzip
import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import zlib

# The first that finds a device, or needs none, has renderD128.
MODULES = ["virtio_pci", "9p", "9pnet_virtio", "overlay", "virtio_rng", "virtio_gpu", "vgem",
           "vmw_vsock_virtio_transport", "virtio_console", "virtio_net", "nd_pmem", "dax_pmem",
           "device_dax", "virtio_pmem"]

# Mounts: the root of this machine below, over it what was installed for the test, over that memory.
INIT = """#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs d /dev
mount -t proc p /proc
mount -t sysfs s /sys
for m in /m/*; do insmod $m || echo "insmod $m failed"; done
o=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o $o,ro,cache=loose root /lower
mount -t 9p -o $o,ro,cache=loose dest /dest
mount -t tmpfs t /rw
mkdir /rw/u /rw/w
mount -t overlay -o lowerdir=/dest:/lower,upperdir=/rw/u,workdir=/rw/w o /new
for d in dev proc sys; do mount --move /$d /new/$d; done
mount -t tmpfs t /new/run
mount -t tmpfs -o mode=1777 t /new/tmp
mkdir -p /new/dev/shm /new/run/out
mount -t tmpfs -o mode=1777 t /new/dev/shm
mount -t 9p -o $o,rw,cache=none out /new/run/out
cp /bin/busybox /new/run/busybox
exec switch_root /new /run/out/pid1
"""


class Missing(Exception):
    """What is needed and is not here."""


def call(command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, timeout=300, check=False, **options)
    text = result.stdout.decode(errors="replace")
    if result.returncode:
        raise Missing(f"{command[0]} ended with {result.returncode}: {text[-500:]}")
    return text


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("VIADUCT_VM_CACHE") or os.path.join(base, "viaduct-vm")


def unpack_image(image):
    """The ELF file in a bzImage (Documentation/arch/x86/boot.rst: payload_offset, _length)."""
    setup = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup + 1) * 512 + offset
    # Behind the payload stands its size.
    payload = image[start:start + length - 4]
    if payload[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(payload)
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=payload, stdout=subprocess.PIPE,
                              check=True).stdout
    raise Missing("the kernel is packed in a way that this test does not know")


def package():
    """The newest kernel package's name."""
    for line in call(["apt-cache", "depends", "linux-image-amd64"]).splitlines():
        words = line.split()
        if words[:1] == ["Depends:"] and words[1].startswith("linux-image-"):
            return words[1]
    raise Missing("apt knows no package linux-image-amd64")


def prepare():
    """Fetches and unpacks what the cache does not have; returns its folder of this kernel."""
    name = package()
    what = hashlib.sha256((INIT + " ".join(MODULES)).encode()).hexdigest()[:8]
    folder = os.path.join(cache_folder(), f"{name}-{what}")
    if os.path.exists(os.path.join(folder, "initrd.gz")):
        return folder
    work = folder + ".new"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    call(["apt-get", "download", "-q", name], cwd=work)
    deb = glob.glob(os.path.join(work, "*.deb"))[0]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
        call_stdin(["tar", "x", "-C", work, "./boot", "./lib/modules"], tar.stdout)
    os.remove(deb)
    with open(glob.glob(os.path.join(work, "boot/vmlinuz-*"))[0], "rb") as image:
        elf = unpack_image(image.read())
    with open(os.path.join(work, "vmlinux"), "wb") as out:
        out.write(elf)
    make_initrd(work)
    shutil.rmtree(os.path.join(work, "lib"))
    shutil.rmtree(os.path.join(work, "boot"))
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)
    return folder


def call_stdin(command, stdin):
    if subprocess.run(command, stdin=stdin, check=False, timeout=300).returncode:
        raise Missing(f"{command[0]} failed")


def make_initrd(work):
    version = os.listdir(os.path.join(work, "lib/modules"))[0]
    call(["depmod", "-b", work, version])
    root = os.path.join(work, "root")
    for name in ("bin", "m", "dev", "proc", "sys", "lower", "dest", "rw", "new"):
        os.makedirs(os.path.join(root, name))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
    os.symlink("busybox", os.path.join(root, "bin/sh"))
    seen = []
    for module in MODULES:
        for line in call(["modprobe", "-d", work, "-S", version, "--show-depends",
                          module]).splitlines():
            words = line.split()
            if words[0] == "insmod" and words[1] not in seen:
                seen.append(words[1])
    for number, path in enumerate(seen):
        target = os.path.join(root, "m", f"{number:03}-{os.path.basename(path)}")
        if path.endswith(".xz"):
            with lzma.open(path) as packed, open(target[:-3], "wb") as out:
                shutil.copyfileobj(packed, out)
        else:
            shutil.copy(path, target)
    with open(os.path.join(root, "init"), "w", encoding="utf-8") as out:
        out.write(INIT)
    os.chmod(os.path.join(root, "init"), 0o755)
    names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE, check=True).stdout
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root,
                            input=names, stdout=subprocess.PIPE, check=True).stdout
    with gzip.open(os.path.join(work, "initrd.gz"), "wb", compresslevel=1) as out:
        out.write(packed)
    shutil.rmtree(root)
