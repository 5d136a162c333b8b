"""What a session may open: servers that answer every datagram or line with what they heard."""

import ctypes
import itertools
import socket
import struct
import subprocess
import sys


UDP_LITE = 136
# Of linux/sched.h.
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def udp(family, port, protocol=0):
    server = socket.socket(family, socket.SOCK_DGRAM, protocol)
    if port is not None:
        server.bind(("", port))
    return server


def leave():
    """Goes to a network of its own, without the sockets that are there."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        sys.exit(f"unshare: {ctypes.get_errno()}")


def hoard():
    """A socket whose memory for options is used up, so that the kernel cannot keep a word more with it."""
    hoarder = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        for group in itertools.count(1):
            address = socket.inet_pton(socket.AF_INET6, f"ff02::1:{group:x}")
            loopback = struct.pack("I", 1)
            hoarder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, address + loopback)
    except OSError:
        return hoarder


def echo(server):
    while True:
        text, sender = server.recvfrom(2048)
        server.sendto(text, sender)


def say(server):
    print(server.getsockname()[1], flush=True)


def main(kind, *arguments):
    if kind == "udp":
        port = int(arguments[0])
        protocol = UDP_LITE if "lite" in arguments else 0
        family = socket.AF_INET6 if "6" in arguments else socket.AF_INET
        hoarder = hoard() if "hoard" in arguments else None
        if "leave" in arguments:
            server = socket.socket(family, socket.SOCK_DGRAM, protocol)
            leave()
            server.bind(("", port))
        else:
            server = udp(family, port, protocol)
        say(server)
        echo(server)
    elif kind == "asks":
        # A client that is bound to a port, to any, or not at all, and turns to somebody by itself.
        address, port, own = arguments[0], int(arguments[1]), arguments[2]
        client = udp(socket.AF_INET, None if own == "unbound" else int(own))
        client.settimeout(10)
        client.sendto(b"asked", (address, port))
        try:
            print(client.recv(2048).decode(), flush=True)
        except TimeoutError:
            print("nothing", flush=True)
    elif kind == "lite":
        # A client of UDP-Lite: whether it is answered.
        client = udp(socket.AF_INET, None, UDP_LITE)
        client.settimeout(float(arguments[2]))
        client.sendto(b"word", (arguments[0], int(arguments[1])))
        client.recv(2048)
    elif kind == "connects":
        # Connects and lets go again at each line from its input; echoes all the time.
        address, port, own = arguments[0], int(arguments[1]), int(arguments[2])
        server = udp(socket.AF_INET, own)
        libc = ctypes.CDLL(None, use_errno=True)
        server.connect((address, port))
        say(server)
        sys.stdin.readline()
        unspecified = bytes(16)
        if libc.connect(server.fileno(), unspecified, len(unspecified)) != 0:
            sys.exit("connect(AF_UNSPEC)")
        print("let go", flush=True)
        echo(server)
    elif kind == "tcp":
        protocol = 262 if "mptcp" in arguments else 0
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        port = int(arguments[0])
        if port:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("", port))
        server.listen()
        say(server)
        while True:
            connection, _ = server.accept()
            subprocess.Popen(["cat"], stdin=connection, stdout=connection)
            connection.close()


main(*sys.argv[1:])
