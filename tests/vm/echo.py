#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a vsock device costs: a service on the host, and a program in the guest that times it.

usage: echo.py serve SOCKET
       echo.py measure
"""
import socket
import statistics
import sys
import threading
import time

PORT = 7000
ROUNDS = 500
BYTES = 32 << 20
PIECE = 1 << 18


def receive(end, size):
    got = 0
    buffer = bytearray(min(size, PIECE))
    while got < size:
        n = end.recv_into(buffer, min(len(buffer), size - got))
        if not n:
            raise EOFError
        got += n


def client(end):
    """One letter says what: echo, take (and say when it is all there), give."""
    what = end.recv(1)
    if what == b"e":
        while data := end.recv(64):
            end.sendall(data)
    elif what == b"t":
        receive(end, BYTES)
        end.sendall(b".")
    elif what == b"g":
        for _ in range(BYTES // PIECE):
            end.sendall(bytes(PIECE))
        end.recv(1)
    end.close()


def serve(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    while True:
        threading.Thread(target=client, args=(listener.accept()[0],), daemon=True).start()


def connect(what):
    end = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    end.connect((socket.VMADDR_CID_HOST, PORT))
    end.sendall(what)
    return end


def measure():
    end = connect(b"e")
    times = []
    for _ in range(ROUNDS):
        start = time.monotonic()
        end.sendall(bytes(64))
        receive(end, 64)
        times.append((time.monotonic() - start) * 1e6)
    end.close()
    rates = []
    for what in (b"t", b"g"):
        end = connect(what)
        start = time.monotonic()
        if what == b"t":
            for _ in range(BYTES // PIECE):
                end.sendall(bytes(PIECE))
            receive(end, 1)
        else:
            receive(end, BYTES)
        rates.append(BYTES / (time.monotonic() - start) / 1e6)
        end.close()
    print(f"round trip of 64 bytes {statistics.median(times):.0f} us, "
          f"{rates[0]:.0f} MB/s to the host, {rates[1]:.0f} MB/s to the guest")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    measure()
