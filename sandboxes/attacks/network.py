"""Connections to anywhere: this machine, other boxes, the world."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack

NETWORK = (
    Attack(
        "this machine",
        "network",
        "connect to a port that this machine listens on, at every address that it has",
        """
usual = {"172.17.0.1", "172.18.0.1", "10.0.2.2", "192.168.65.2", "0.0.0.0", "host.docker.internal"}
for address in sorted(usual | set(given["addresses"])):
    for port in (given["port"], given["neighbour_port"]):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.settimeout(0.3)
            forbidden("connected to %s port %d" % (address, port), sock.connect, (address, port))
done()
""",
    ),
    Attack(
        "the world",
        "network",
        "connect to the internet, to name servers and to the metadata service of a cloud",
        """
for address, port in (("1.1.1.1", 443), ("8.8.8.8", 53), ("169.254.169.254", 80), ("100.100.100.200", 80),
                      ("192.168.0.1", 80), ("10.0.0.1", 80), ("2606:4700:4700::1111", 443),
                      ("fd00:ec2::254", 80), ("93.184.216.34", 80)):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(0.3)
        try: sock.connect((address, port))
        except (TimeoutError, ConnectionRefusedError) as error: broke("packets to %s are sent: %r" % (address, error))
        except OSError: continue
        else: broke("connected to %s port %d" % (address, port))
if [name for _, name in socket.if_nameindex() if name != "lo"]: broke("has a network card")
done()
""",
    ),
    Attack(
        "packets without a connection",
        "network",
        "send what nobody has asked for: UDP, DNS, broadcast, multicast",
        """
import socket as s
question = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01"
for address in set(given["addresses"]) | {"172.17.0.1", "255.255.255.255", "224.0.0.251", "169.254.169.254", "8.8.8.8"}:
    for port in (given["port"], 53, 5353):
        with s.socket(s.AF_INET6 if ":" in address else s.AF_INET, s.SOCK_DGRAM) as sock:
            try:
                sock.setsockopt(s.SOL_SOCKET, s.SO_BROADCAST, 1)
                sock.sendto(question, (address, port))
            except OSError: continue
            if not address.startswith(("127.", "::1")): broke("sent to %s port %d" % (address, port))
for name in ("example.com", "localhost.localdomain", "host.docker.internal", "metadata.google.internal"):
    try: found = s.getaddrinfo(name, 80)
    except OSError: continue
    if any(not entry[4][0].startswith(("127.", "::1")) for entry in found): broke("found the address of " + name)
done()
""",
    ),
    Attack(
        "sockets without a path",
        "network",
        "connect to abstract sockets of this machine and of other boxes",
        """
for name in (given["abstract"], given["neighbour_abstract"], "/containerd-shim/x.sock", "/tmp/.X11-unix/X0", "dbus"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            forbidden("connected to the abstract socket " + name, sock.connect, chr(0) + name)
try:
    with open("/proc/net/unix", "rb") as file: os.write(1, file.read())
except OSError: pass
done()
""",
    ),
    Attack(
        "the machine below",
        "network",
        "speak with the host of this virtual machine (vsock)",
        """
for cid in (0, 1, 2, 3, 0xffffffff):
    for port in (22, 1024, 8000, 9999):
        try: sock = socket.socket(40, socket.SOCK_STREAM)
        except OSError: continue
        with sock:
            sock.settimeout(0.2)
            forbidden("connected to machine %d port %d" % (cid, port), sock.connect, (cid, port))
done()
""",
    ),
    Attack(
        "raw sockets",
        "network",
        "write its own packets, or read those of others",
        """
for name, family, kind, protocol in (
    ("raw IP", 2, 3, 255), ("raw ICMP", 2, 3, 1), ("packets", 17, 3, 0x0300), ("datagram packets", 17, 2, 0x0300),
    ("raw IPv6", 10, 3, 58), ("Bluetooth", 31, 3, 1), ("CAN", 29, 3, 1), ("NFC", 39, 5, 0), ("XDP", 44, 3, 0),
    ("RDS", 21, 5, 0), ("TIPC", 30, 5, 0), ("SMC", 43, 1, 0), ("key management", 15, 3, 2),
    ("kernel ciphers", 38, 5, 0),
):
    try: sock = socket.socket(family, kind, protocol)
    except OSError: continue
    sock.close()
    broke("made a socket for " + name)
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
    forbidden("changed an interface", fcntl.ioctl, sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1043))
    address = struct.pack("16sH2x4s8x", b"lo", 2, bytes([10, 0, 0, 1]))
    forbidden("gave itself an address", fcntl.ioctl, sock, 0x8916, address)
    forbidden("made a bridge", fcntl.ioctl, sock, 0x89a0, b"owned\\0")
    forbidden("bound to a device", sock.setsockopt, socket.SOL_SOCKET, 25, b"eth0\\0")
try: netlink = socket.socket(16, 3, 0)
except OSError: done()
# A dummy interface.
link = struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH8s", 12, 3, b"owned0")
link += struct.pack("HH", 16, 18) + struct.pack("HH8s", 12, 1, b"dummy")
netlink.send(struct.pack("IHHII", 16 + len(link), 16, 0x605, 1, 0) + link)
answer = netlink.recv(4096)
if struct.unpack_from("i", answer, 16)[0] == 0: broke("made an interface")
done()
""",
    ),
)
