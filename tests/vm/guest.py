#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A virtual machine of QEMU's, without KVM, and commands run in it."""
import json
import os
import queue
import socket
import subprocess
import threading
import time

# A shell that is told what to do on the second serial line; output goes to files.
PID1 = """#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export XDG_RUNTIME_DIR=/run
# Open before it is set up: the line forgets that when nobody has it open.
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo clocal
ip link set lo up 2>/dev/null
chmod 666 /dev/dri/renderD128 /dev/vport* 2>/dev/null
# As udev does it.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    [ ! -e $port/name ] || ln -s ../${port##*/} /dev/virtio-ports/$(cat $port/name)
done
for card in /sys/class/net/e*; do
    [ -e $card ] || continue
    /run/busybox ifconfig ${card##*/} 10.0.2.15 netmask 255.255.255.0 up
done
echo "@up 0" >&3
while read -r number <&3; do
    (sh /run/out/$number.sh >/run/out/$number.log 2>&1 </dev/null 3>&-
    code=$?; echo "@$number $code" >&3) &
done
"""


class Job:
    """A command that runs in the guest."""

    def __init__(self, guest, number):
        self.guest, self.number = guest, number

    def wait(self, timeout=90):
        """(exit code, output)."""
        code = self.guest.result(str(self.number), timeout)
        with open(os.path.join(self.guest.out, f"{self.number}.log"), "rb") as log:
            return code, log.read().decode(errors="replace")

    def output(self):
        with open(os.path.join(self.guest.out, f"{self.number}.log"), "rb") as log:
            return log.read().decode(errors="replace")


class Guest:
    """Boots; `devices` are further options of QEMU."""

    def __init__(self, folder, kernel, dest, devices, env=None, memory=768,
                 program="qemu-system-x86_64", room=""):
        self.folder = folder
        self.env = "".join(f"export {name}={value}\n" for name, value in (env or {}).items())
        self.out = os.path.join(folder, "out")
        os.makedirs(self.out)
        self.number = 0
        self.up = False
        self.done = {}
        self.news = queue.Queue()
        with open(os.path.join(self.out, "pid1"), "w", encoding="utf-8") as out:
            out.write(PID1)
        os.chmod(os.path.join(self.out, "pid1"), 0o755)
        share = "security_model=none,multidevs=remap"
        self.console = os.path.join(folder, "console")
        self.process = subprocess.Popen(
            [program, "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1",
             "-m", str(memory) + room,
             "-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on",
             "-machine", "pc,memory-backend=mem", "-display", "none", "-vga", "none",
             "-nodefaults", "-no-reboot", "-serial", f"file:{self.console}",
             "-serial", f"unix:{folder}/tell,server=on,wait=off",
             "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
             "-device", "virtio-rng-pci", "-kernel", os.path.join(kernel, "vmlinux"),
             "-initrd", os.path.join(kernel, "initrd.gz"),
             "-append", "console=ttyS0 quiet panic=-1",
             "-virtfs", f"local,path=/,mount_tag=root,readonly=on,{share}",
             "-virtfs", f"local,path={dest},mount_tag=dest,readonly=on,{share}",
             "-virtfs", f"local,path={self.out},mount_tag=out,{share}", *devices],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(folder, "qemu.log"), "wb"))
        self.tell = self.connect("tell")
        self.qmp = None
        threading.Thread(target=self.listen, daemon=True).start()

    def connect(self, name):
        path = os.path.join(self.folder, name)
        for _ in range(300):
            try:
                end = socket.socket(socket.AF_UNIX)
                end.connect(path)
                return end
            except OSError:
                end.close()
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise AssertionError(f"QEMU did not start: {self.said()}")

    def said(self):
        text = ""
        for name in ("qemu.log", "console"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, "rb") as log:
                    text += log.read().decode(errors="replace")[-1500:]
        return text

    def listen(self):
        for line in self.tell.makefile("rb"):
            words = line.decode(errors="replace").split()
            if len(words) == 2 and words[0].startswith("@"):
                self.news.put((words[0][1:], int(words[1])))
        self.news.put(None)

    def result(self, name, timeout):
        end = time.time() + timeout
        while name not in self.done:
            try:
                news = self.news.get(timeout=max(0.01, end - time.time()))
            except queue.Empty:
                raise AssertionError(f"no end of {name} within {timeout} s: {self.said()}") \
                    from None
            if news is None:
                raise AssertionError(f"the guest is gone: {self.said()}")
            self.done[news[0]] = news[1]
        return self.done.pop(name)

    def wait_up(self, timeout=120):
        if not self.up:
            self.result("up", timeout)
        self.up = True

    def start(self, script):
        """Runs a script of the shell; returns its Job at once."""
        self.number += 1
        path = os.path.join(self.out, f"{self.number}.sh")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.env + script + "\n")
        self.tell.sendall(f"{self.number}\n".encode())
        return Job(self, self.number)

    def run(self, script, timeout=90, expect=0):
        """Its output; another exit code than expected is a failure."""
        code, text = self.start(script).wait(timeout)
        if expect is not None and code != expect:
            raise AssertionError(f"exit code {code} in the guest: {text[-1500:]}")
        return text

    def start_broker(self):
        """viaduct-region; another one, if there was one."""
        self.run("[ ! -e /run/broker ] || kill -9 $(cat /run/broker)\n"
                 "rm -f /run/viaduct-region.sock\n"
                 "VIADUCT_LOG=warn viaduct-region </dev/null >>/run/broker.log 2>&1 & "
                 "echo $! >/run/broker\n"
                 "while [ ! -S /run/viaduct-region.sock ]; do sleep 0.1; done")

    def monitor(self, command, **arguments):
        """A command of QEMU's monitor protocol."""
        if not self.qmp:
            self.qmp = self.connect("qmp").makefile("rwb")
            self.qmp.readline()
            self.ask("qmp_capabilities", {})
        self.ask(command, arguments)

    def ask(self, command, arguments):
        self.qmp.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']}")
            if "return" in answer:
                return

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.tell.close()
