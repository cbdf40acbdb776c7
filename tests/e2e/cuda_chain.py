#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The host's own libcuda behind viaductd, without a GPU: services in a chain.

usage: cuda_chain.py --viaductd PROGRAM --libcuda FILE [--far] -- PROGRAM [ARGUMENT...]
       cuda_chain.py --viaductd PROGRAM --tcp -- PROGRAM [ARGUMENT...]

The service in front, whose client the program is, has Viaduct's own libcuda.so.1 as the host's. That
runs kernels in the worker's process, or with --far at another service behind. What the program finds
must be what it finds with one. With --tcp it is one, which runs kernels itself and shares no memory with the program.
"""
import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time

TIMEOUT = 250


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(args, folder, name, cuda, **env):
    path = os.path.join(folder, name)
    host = f"tcp:127.0.0.1:{free_port()}" if args.tcp else "unix:" + path
    service = subprocess.Popen(
        [args.viaductd, "--socket", path, "--backend", "null", "--cuda", cuda,
         *(["--listen", host] if args.tcp else [])],
        env=dict(os.environ, **env), stdin=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not os.path.exists(path):
        if service.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the service with --cuda {cuda} does not start")
        time.sleep(0.05)
    return service, host


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("--libcuda")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--far", action="store_true")
    parser.add_argument("program", nargs="+")
    args = parser.parse_args()
    services = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            behind = {"VIADUCT_CUDA": "local"}
            if args.far:
                service, host = start(args, folder, "behind", "ptx", VIADUCT_CUDA="local")
                services.append(service)
                behind = {"VIADUCT_CUDA": "remote", "VIADUCT_HOST": host}
            cuda = "ptx" if args.tcp else "cuda:" + args.libcuda
            service, host = start(args, folder, "front", cuda, **behind)
            services.append(service)
            program = subprocess.run(
                args.program, env=dict(os.environ, VIADUCT_CUDA="remote", VIADUCT_HOST=host),
                stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
            return program.returncode if program.returncode >= 0 else 128 - program.returncode
        finally:
            for service in reversed(services):
                service.terminate()
                service.wait(60)


if __name__ == "__main__":
    sys.exit(main())
