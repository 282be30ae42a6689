"""The cases by name: what is sent, who takes part, and what is to be reached."""
from dataclasses import dataclass, field

PROXIES = ("relay", "nginx", "haproxy", "coxswain")
ONCE = ("once", "nginx", "haproxy", "coxswain")  # the relay opens a connection to the server for each of its clients
PARSERS = ("nginx", "haproxy", "nghttpx", "h2o", "coxswain")
SHAKERS = ("shake", *PARSERS)  # OpenSSL and the system calls that carry it
RESUMERS = ("shake", "shake -n", *PARSERS)  # with a new ticket for one that comes back, and without
GRPC = ("nginx", "haproxy", "nghttpx", "coxswain")


@dataclass
class Goal:
    """coxswain's CPU per request against another's: at most `most` times."""
    against: str  # "relay", "peer" (the better one), "nginx", "bare", "floor" (of OpenSSL; `most` is µs above it)
    most: float

    def text(self):
        if self.against == "floor":
            return f"≤ the floor + {self.most:.0f} µs"
        who = {"peer": "the better peer", "relay": "the relay", "bare": "a bare client"}.get(self.against, self.against)
        return f"≤ {self.most:.2f} × {who}"


@dataclass
class Case:
    title: str
    path: str = "/"
    load: list = field(default_factory=list)  # options of bench/load/load
    wrk: list = None                          # options of wrk for the same; None: wrk cannot
    kinds: tuple = PROXIES
    goals: tuple = ()
    paced: float = 0     # at this share of what the slowest carries, instead of flat out
    latency: bool = False
    loader: str = ""     # "wrk", "h2load" or "tls" when the case is about that
    variant: str = ""    # of the configs: "-tls" has TLS, HTTP/2 and the echo server behind it
    protocol: str = "h1" # or "h2c", "tls", "rsa", "reused": which of the ports
    host: str = ""       # asked for in the handshake
    body: int = 0        # bytes of every answer, for a loader that looks at no lengths
    message: bytes = b"" # sent as the body of a gRPC request
    floor: str = ""      # bench/micro/handshake says what OpenSSL alone takes
    squeeze: int = 0     # at least so many percent of the proxy's core are taken away: the client is dear too
    needs_php: bool = False
    direct: bool = False


def fields(n):
    return [f"X-Field-{i:02d}: value number {i} of {n}" for i in range(n)]


def secure(title, protocol="tls", **more):
    return Case(title, kinds=more.pop("kinds", PARSERS), variant="-tls", protocol=protocol, **more)


# Peers per CPU second: 1.3 times as many requests are 1/1.3 of the CPU per request.
FASTER = (Goal("peer", 1 / 1.3),)
LEVEL = (Goal("peer", 1.0),)
HANDSHAKE = (Goal("peer", 1.0), Goal("floor", 40))
STREAMS = ["-c10", "-m32"]
WIDE = ["-c4", "-m4", "-w30", "-W30"]  # windows of 1 GiB: the client holds nobody up
ECHO = b"\x00\x00\x00\x00\x10" + b"sixteen bytes in"

SIDE_BY_SIDE = {
    "keepalive": Case("keep-alive, 64 connections, 13-byte body", wrk=[], goals=(Goal("relay", 1.15), Goal("peer", 0.65))),
    "wrk": Case("the same, made by wrk", loader="wrk", wrk=[]),
    "conns1000": Case("1,000 keep-alive connections", load=["-c1000"], wrk=["-c1000"], squeeze=35, goals=FASTER),
    "connclose": Case("a connection per request, 64 at a time", load=["-C"], wrk=["-HConnection: close"], kinds=ONCE, squeeze=40,
                      goals=FASTER),
    "16k": Case("16 KiB bodies", path="/16k", wrk=[], squeeze=35, goals=FASTER),
    "headers64": Case("64 request fields", load=["-H63"], wrk=[f"-H{line}" for line in fields(63)], squeeze=35, goals=FASTER),
    "upload1m": Case("1 MiB uploads", path="/1m", load=["-u1048576", "-c16"], goals=(Goal("peer", 1.0),)),
    "download1m": Case("1 MiB downloads", path="/1m", load=["-c16"], wrk=["-c16"], goals=(Goal("peer", 1.0),)),
    "latency": Case("one connection at a fixed rate", load=["-c1"], paced=0.5, latency=True, direct=True),
    "latency64": Case("64 connections at a fixed rate", paced=0.5, latency=True, direct=True),
    "h2load": secure("HTTP/2 in clear, 10 connections with 32 streams each", "h2c", loader="h2load", load=STREAMS, body=13,
                     squeeze=35, goals=FASTER),
    "h2tls": secure("HTTP/2 over TLS, 10 connections with 32 streams each", loader="h2load", load=STREAMS, body=13,
                    squeeze=35, goals=FASTER),
    "grpc": secure("gRPC, unary echo of 16 bytes, HTTP/2 on both sides, 10 connections with 32 streams each", "h2c",
                   path="/bench.Echo/Say", kinds=GRPC, loader="h2load", load=STREAMS, body=len(ECHO), message=ECHO,
                   squeeze=35, goals=FASTER),
    "tls": secure("TLS 1.3, keep-alive, 64 connections, 13-byte body", loader="tls", goals=FASTER),
    "handshakes": secure("full handshakes of TLS 1.3, ECDSA P-256", kinds=SHAKERS, loader="tls", load=["-H"], host="ecdsa.bench",
                         floor="ecdsa", squeeze=50, goals=HANDSHAKE),
    "handshakes-rsa": secure("full handshakes of TLS 1.3, RSA 2048", "rsa", kinds=SHAKERS, loader="tls", load=["-H"], host="rsa.bench",
                             floor="rsa", squeeze=15, goals=HANDSHAKE),
    "resumptions": secure("resumed handshakes of TLS 1.3", kinds=RESUMERS, loader="tls", load=["-R"], host="ecdsa.bench", floor="resumed",
                          squeeze=50, goals=HANDSHAKE),
    "resumptions-reused": secure("resumed handshakes of TLS 1.3, the ticket used again", "reused", kinds=("shake -n", "h2o", "coxswain"),
                                 loader="tls", load=["-R"], host="ecdsa.bench", floor="reused", squeeze=50, goals=HANDSHAKE),
    "tls1m": secure("1 MiB downloads over TLS", path="/1m", loader="tls", load=["-c16"], squeeze=30, goals=LEVEL),
    "h2c1m": secure("1 MiB downloads over HTTP/2 in clear, 4 connections with 4 streams each", "h2c", path="/1m",
                    loader="h2load", load=WIDE, body=1 << 20, squeeze=50, goals=LEVEL),
    "fastcgi": Case("FastCGI to php-fpm, a connection per request, at a fixed rate", path="/php", load=["-c16"], paced=0.7,
                    kinds=("nginx", "coxswain"), needs_php=True, goals=(Goal("nginx", 0.8), Goal("bare", 1.25))),
    "files1k": Case("static files of 1 KiB", path="/files/1k.bin", wrk=[], kinds=("nginx", "coxswain"),
                    squeeze=55, goals=(Goal("nginx", 1.0),)),
    "files1m": Case("static files of 1 MiB", path="/files/1m.bin", load=["-c16"], wrk=["-c16"], kinds=("nginx", "coxswain"),
                    goals=(Goal("nginx", 1.0),)),
}
OTHERS = ("two-workers", "idle", "idle-tls", "idle-h2", "held", "scale", "instructions", "micro")
NAMES = list(SIDE_BY_SIDE) + list(OTHERS)
