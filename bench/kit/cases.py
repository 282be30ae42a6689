"""The cases by name: what is sent, who takes part, and what is to be reached."""
from dataclasses import dataclass, field

PROXIES = ("relay", "nginx", "haproxy", "coxswain")
PARSERS = ("nginx", "haproxy", "coxswain")


@dataclass
class Goal:
    """coxswain's CPU per request against another's: at most `most` times."""
    against: str  # "relay", "peer" (the better one), "nginx", "bare"
    most: float

    def text(self):
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
    loader: str = ""     # "wrk" or "h2load" when the case is about that
    needs_php: bool = False
    direct: bool = False


def fields(n):
    return [f"X-Field-{i:02d}: value number {i} of {n}" for i in range(n)]


# nginx and HAProxy per CPU second: 1.3 times as many requests are 1/1.3 of the CPU per request.
FASTER = (Goal("peer", 1 / 1.3),)

SIDE_BY_SIDE = {
    "keepalive": Case("keep-alive, 64 connections, 13-byte body", wrk=[], goals=(Goal("relay", 1.15), Goal("peer", 0.65))),
    "wrk": Case("the same, made by wrk", loader="wrk", wrk=[]),
    "conns1000": Case("1,000 keep-alive connections", load=["-c1000"], wrk=["-c1000"], goals=FASTER),
    "connclose": Case("a connection per request, 64 at a time", load=["-C"], wrk=["-HConnection: close"], goals=FASTER),
    "16k": Case("16 KiB bodies", path="/16k", wrk=[], goals=FASTER),
    "headers64": Case("64 request fields", load=["-H63"], wrk=[f"-H{line}" for line in fields(63)], goals=FASTER),
    "upload1m": Case("1 MiB uploads", path="/1m", load=["-u1048576", "-c16"], goals=(Goal("peer", 1.0),)),
    "download1m": Case("1 MiB downloads", path="/1m", load=["-c16"], wrk=["-c16"], goals=(Goal("peer", 1.0),)),
    "latency": Case("one connection at a fixed rate", load=["-c1"], paced=0.5, latency=True, direct=True),
    "latency64": Case("64 connections at a fixed rate", paced=0.5, latency=True, direct=True),
    "h2load": Case("HTTP/2 in clear, 10 connections with 32 streams each", loader="h2load", kinds=PARSERS, goals=FASTER),
    "fastcgi": Case("FastCGI to php-fpm, a connection per request, at a fixed rate", path="/php", load=["-c16"], paced=0.7,
                    kinds=("nginx", "coxswain"), needs_php=True, goals=(Goal("nginx", 0.8), Goal("bare", 1.25))),
    "files1k": Case("static files of 1 KiB", path="/files/1k.bin", wrk=[], kinds=("nginx", "coxswain"),
                    goals=(Goal("nginx", 1.0),)),
    "files1m": Case("static files of 1 MiB", path="/files/1m.bin", load=["-c16"], wrk=["-c16"], kinds=("nginx", "coxswain"),
                    goals=(Goal("nginx", 1.0),)),
}
OTHERS = ("two-workers", "idle", "scale", "instructions", "micro")
NAMES = list(SIDE_BY_SIDE) + list(OTHERS)
