#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documents tell people to type or to write, done as it stands there.

usage: documents.py --build FOLDER [NAME...]

Commands are taken out of docs/ and run with other folders and ports, so a document that is wrong
fails. Units of systemd are judged by systemd-analyze. What this machine lacks is skipped.
"""
import argparse
import glob
import os
import re
import shutil
import sys
import tempfile

from channels import free_port
from run import Bench, Service, Skip, judge, need, run

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def blocks(document, first):
    """Indented blocks of a document with a line that begins so, lines that end in \\ joined."""
    with open(os.path.join(ROOT, "docs", document), encoding="utf-8") as file:
        text = file.read()
    found = []
    for block in re.findall(r"(?:^    .*\n(?:^\n(?=    ))?)+", text, re.M):
        lines = re.sub(r" *\\\n *", " ", re.sub(r"^ +", "", block, flags=re.M)).splitlines()
        if any(line.startswith(first) for line in lines):
            found.append(lines)
    if not found:
        raise AssertionError(f"{document} has no {first!r} any more")
    return found


def line_of(document, first, number=0):
    """The one command of a document that begins so."""
    lines = [line for block in blocks(document, first) for line in block if line.startswith(first)]
    return lines[number]


def shell(bench, script, env=None, check=True):
    """Runs lines of a shell in the test's folder, with this build's programs."""
    build = bench.args.build
    path = ":".join([*(os.path.join(build, part) for part in ("cli", "host_decoder", "vm")),
                     os.environ["PATH"]])
    return run(["sh", "-euc", f"cd {bench.folder}\n{script}"], check, dict(env or {}, PATH=path))


def test_units(bench):
    """All units of systemd, with this build's programs in them."""
    need("systemd-analyze")
    folder = bench.path("units")
    os.mkdir(folder)
    units = glob.glob(os.path.join(bench.args.build, "contrib", "*.service")) + \
        glob.glob(os.path.join(ROOT, "contrib", "systemd", "*.socket")) + \
        glob.glob(os.path.join(ROOT, "debian", "*.service"))
    names = []
    for path in units:
        # Debian's have their package's name in front; templates get an instance.
        name = os.path.basename(path).replace("viaduct-guest.", "").replace("@.", "@1.")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for program in re.findall(r"^Exec\w+=[-+!]*(\S+)", text, re.M):
            found = glob.glob(os.path.join(bench.args.build, "*", os.path.basename(program)))
            if found:
                text = text.replace(program, found[0])
        names.append(os.path.join(folder, name))
        with open(names[-1], "w", encoding="utf-8") as file:
            file.write(text)
    said = ""
    for name in names:
        result = run(["systemd-analyze", "verify", "--man=no", name], False)
        # What is wrong with this machine's own units is not ours.
        wrong = [line for line in result.stdout.decode(errors="replace").splitlines()
                 if "viaduct" in line]
        if wrong:
            said += "\n".join(wrong) + "\n"
    if said or len(names) < 3:
        raise AssertionError(f"{names}: {said}")
    return f"{len(names)} units"


def test_rules(bench):
    """Sections and settings of viaductd.conf, in docs/POLICY.md and the example."""
    with open(os.path.join(ROOT, "contrib", "viaductd.conf"), encoding="utf-8") as file:
        example = re.sub(r"^#(?=\S)", "", file.read(), flags=re.M)
    samples = ["\n".join(block) for block in blocks("POLICY.md", "[client")] + \
        [example[example.index("[client"):]]
    path, count = bench.path("sample.conf"), 0
    for sample in samples:
        sample = re.sub(r"(user:|group:|allow-[ug]id = )\w+", r"\1root", sample)
        sample = re.sub(r"^backend = .*", "backend = null", sample, flags=re.M)
        with open(path, "w", encoding="utf-8") as file:
            file.write(sample)
        # One that reads it and then finds a socket's folder missing.
        result = run([bench.args.viaductd, "--config", path, "--socket", "/nowhere/at/all"], False)
        text = result.stdout.decode()
        if "sample.conf:" in text or "/nowhere/at/all" not in text:
            raise AssertionError(f"{text}\n{sample}")
        count += sample.count("[client")
    return f"{count} sections"


def test_certificates(bench):
    """docs/GUEST-REMOTE.md: an authority, a host's and a guest's certificate, and a session."""
    need("openssl")
    make = next(block for block in blocks("GUEST-REMOTE.md", "openssl req -x509"))
    shell(bench, "\n".join(make))
    again = [re.sub(r"\bhost\b", "guest", line) for line in make if "-x509 -newkey" not in line]
    shell(bench, "\n".join(again))
    serve = line_of("GUEST-REMOTE.md", "viaductd --listen tls:", 0)
    return converse(bench, serve, {
        "VIADUCT_TLS_CERTIFICATE": "guest.pem", "VIADUCT_TLS_KEY": "guest.key",
        "VIADUCT_TLS_AUTHORITY": "ca.pem", "VIADUCT_TLS_NAME": "gpu.example.org"}, "viaduct info")


def test_secret(bench):
    """The same with a secret."""
    need("openssl")
    lines = next(block for block in blocks("GUEST-REMOTE.md", "(umask 077"))
    shell(bench, lines[0])
    ask = re.sub(r"VIADUCT_HOST=\S+", "", lines[2])
    return converse(bench, lines[1], {}, ask)


def converse(bench, serve, env, ask):
    """Starts the service of a document on another port, and asks it as the document says."""
    uri = f"tls:127.0.0.1:{free_port()}"
    options = re.sub(r"tls:\S+", uri, serve).split()[1:]
    options = [os.path.join(bench.folder, option)
               if os.path.exists(os.path.join(bench.folder, option)) else option
               for option in options]
    service = Service(bench, *options, name="remote")
    try:
        text = shell(bench, ask, dict(env, VIADUCT_HOST=uri)).stdout.decode()
    finally:
        code, log = service.stop()
    if code and "no TLS" in log:
        raise Skip("this build has no TLS")
    if code or uri not in text:
        raise AssertionError(f"{code}: {text} {log}")
    return "a session as it stands there"


def machine(bench, relay, number):
    """The service, a relay and QEMU of a document's block, until QEMU has connected."""
    block = next(b for b in blocks("GUEST-QEMU.md", relay) if any("qemu-system" in x for x in b))
    program = os.path.join(bench.args.build, "vm", relay)
    qemu = os.environ.get("VIADUCT_VM_QEMU", "qemu-system-x86_64")
    if not os.path.exists(program):
        raise Skip(f"this build has no {relay}")
    need(qemu)
    folder = os.path.join(bench.folder, f"machine{number}")
    os.mkdir(folder)
    script = "\n".join(block).replace("/run/viaduct", folder).replace("accel=kvm", "accel=tcg")
    script = script.replace("qemu-system-x86_64", f"{qemu} -S -display none -nodefaults")
    script = script.replace(" …", "").replace("viaductd --listen",
                                              f"viaductd --socket {folder}/own --listen")
    # The next line wants the socket of the one before.
    lines = []
    for line in script.splitlines():
        lines.append(line)
        if line.endswith("&"):
            lines.append("pids=\"${pids:-} $!\"\nsleep 0.5")
    lines[-1] = f"timeout 5 {lines[-1]} >qemu.log 2>&1 || code=$?"
    lines += ["kill $pids", "wait $pids || true", "cat qemu.log", "exit $code"]
    result = shell(bench, f"cd {folder}\ncode=0\n" + "\n".join(lines),
                   {"VIADUCT_LOG": "info"}, False)
    text = result.stdout.decode(errors="replace")
    # timeout's own: QEMU was there until then.
    if result.returncode != 124 or not re.search(r"has come|has connected", text):
        raise AssertionError(f"exit code {result.returncode}: {text[-1500:]}")


def test_vsock(bench):
    machine(bench, "viaduct-vsock", 1)
    return "the service, the relay and a machine, as it stands there"


def test_serial(bench):
    machine(bench, "viaduct-serial", 2)
    return "the service, the relay and a machine, as it stands there"


def test_gpu(bench):
    qemu = os.environ.get("VIADUCT_VM_QEMU", "qemu-system-x86_64")
    need(qemu)
    version = re.search(rb"version ([0-9]+)", run([qemu, "--version"]).stdout)
    if not version or int(version.group(1)) < 10:
        raise Skip("QEMU before 10 has vhost-user-gpu with KVM only; VIADUCT_VM_QEMU names another")
    machine(bench, "viaduct-gpu", 3)
    return "the service, the relay and a machine, as it stands there"


def test_regions(bench):
    """Files of memory in common: what the document says QEMU wants is what the program prints."""
    if not os.path.exists(os.path.join(bench.args.build, "vm", "viaduct-region")):
        raise Skip("this build has no viaduct-region")
    folder = bench.path("regions")
    make = line_of("GUEST-QEMU.md", "viaduct-region --make").split()
    command = " ".join(make).replace(make[2], folder).replace("--group kvm", "")
    said = shell(bench, command).stdout.decode().replace(folder, make[2])
    wanted = line_of("GUEST-QEMU.md", "-object memory-backend-file").split()
    missing = [word for word in wanted if word not in said.split()]
    if missing or len(os.listdir(folder)) != int(make[make.index("--count") + 1]):
        raise AssertionError(f"{missing} not in {said}")
    shutil.rmtree(folder)
    return f"{make[make.index('--count') + 1]} files, QEMU's options as the document has them"


def test_container(bench):
    """docs/GUEST-CONTAINER.md: ffmpeg through the bridge, each command."""
    need("ffmpeg")
    lines = [line for block in blocks("GUEST-CONTAINER.md", "viaduct exec -- ffmpeg")
             for line in block if line.startswith("viaduct exec -- ffmpeg")]
    source = "ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=352x288:r=25:d=1"
    shell(bench, f"{source} -c:v libx264 -pix_fmt yuv420p in.mp4\n"
                 f"{source} -c:v libx264 -pix_fmt yuv420p -flags +ildct+ilme in.mkv\n"
                 f"{source} -pix_fmt yuv420p in.y4m")
    env = {"XDG_RUNTIME_DIR": bench.folder, "VIADUCT_LOG": "error"}
    for line in lines:
        result = shell(bench, line.replace("ffmpeg ", "ffmpeg -nostdin -y -v error -xerror "), env,
                       False)
        if result.returncode:
            raise AssertionError(f"{line}: {result.stdout.decode(errors='replace')[-600:]}")
    text = shell(bench, line_of("GUEST-CONTAINER.md", "viaduct exec -- env"), env).stdout.decode()
    if "LIBVA_DRIVER" not in text:
        raise AssertionError(text)
    return f"{len(lines)} commands"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.viaduct = os.path.join(args.build, "cli", "viaduct")
    args.viaductd = os.path.join(args.build, "host_decoder", "viaductd")
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    with tempfile.TemporaryDirectory() as folder:
        return judge(tests, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
