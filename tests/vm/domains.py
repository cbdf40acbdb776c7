#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libvirt's domains in samples/: valid for libvirt's schema, and with devices that QEMU has.

usage: domains.py FILE...
"""
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as tree

SKIP = 77
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)


def has_device(name):
    """Whether this machine's QEMU knows the device; None: there is no QEMU, or it has no module."""
    if not shutil.which("qemu-system-x86_64"):
        return None
    listed = run("qemu-system-x86_64", "-machine", "none", "-device", "help").stdout.decode()
    if f'"{name}"' in listed:
        return True
    return None if "gpu" in name else False


def main():
    if not shutil.which("virt-xml-validate"):
        print("SKIP: virt-xml-validate is not installed (libvirt-clients)")
        return SKIP
    bad = 0
    for path in sys.argv[1:]:
        result = run("virt-xml-validate", path, "domain")
        said = [] if not result.returncode else [result.stdout.decode().strip()[:400]]
        values = [arg.get("value") for arg in tree.parse(path).iter(QEMU + "arg")]
        for option, value in zip(values[::2], values[1::2]):
            if option == "-device" and has_device(value.split(",")[0]) is False:
                said.append(f"QEMU has no {value}")
            chardev = re.search("chardev=([^,]+)", value)
            if chardev and not any(f"id={chardev.group(1)}," in one for one in values):
                said.append(f"{value}: there is no such chardev")
        print("FAIL" if said else "ok  ", path.rsplit("/", 1)[1], "; ".join(said))
        bad += bool(said)
    return 1 if bad or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
