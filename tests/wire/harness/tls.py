"""Certificates made on the spot, clients that speak TLS, and contexts for servers that do."""

import os
import socket
import ssl
import subprocess

from .net import SLOW, Client, build

KINDS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"], "ed25519": ["ed25519"]}


def openssl(*args, **kw):
    done = subprocess.run(["openssl", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    assert done.returncode == 0, "openssl %s: %s" % (" ".join(args), done.stderr.decode("utf-8", "replace"))
    return done.stdout


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, cert, key):
        self.cert, self.key = str(cert), str(key)

    def config(self, **more):
        return dict({"cert": self.cert, "key": self.key}, **more)

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(open(self.cert).read())

    def replace(self, other):
        """Puts another pair in the place of this one, as programs that renew certificates do."""
        for mine, its in ((self.cert, other.cert), (self.key, other.key)):
            with open(its, "rb") as f, open(mine + ".new", "wb") as to:
                to.write(f.read())
            os.replace(mine + ".new", mine)


class Authority:
    """A CA of our own in a folder."""

    def __init__(self, folder, name="Test CA"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.name, self.count = name, 0
        self.pair = Pair(self.path("ca.pem"), self.path("ca.key"))
        openssl("req", "-x509", "-newkey", *KINDS["ec"], "-nodes", "-keyout", self.pair.key, "-out", self.pair.cert,
                "-subj", "/CN=" + name, "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def cert(self):
        return self.pair.cert

    def issue(self, *hosts, kind="ec", days=10, name=None, usage="serverAuth,clientAuth", serial=None):
        """A certificate for these hosts (addresses too)."""
        self.count += 1
        stem = self.path("%d" % self.count)
        names = ",".join(("IP:" if h.replace(".", "").isdigit() or ":" in h else "DNS:") + h for h in hosts)
        more = ["-addext", "subjectAltName=" + names] if names else []
        openssl("req", "-x509", "-utf8", "-newkey", *KINDS[kind], "-nodes", "-keyout", stem + ".key", "-out", stem + ".pem",
                "-CA", self.pair.cert, "-CAkey", self.pair.key, "-subj", "/CN=" + (name or (hosts or ["nobody"])[0]),
                "-days", str(days), "-set_serial", str(serial or 1000 + self.count), "-addext", "basicConstraints=CA:FALSE",
                "-addext", "extendedKeyUsage=" + usage, *more)
        return Pair(stem + ".pem", stem + ".key")

    def issue_patched(self, name, old, new):
        """A certificate whose bytes `old` in the name are `new`, of the same length, and which is signed all the same."""
        pair = self.issue(name=name)
        with open(pair.cert) as f:
            der = ssl.PEM_cert_to_DER_cert(f.read())
        _, start, _ = der_at(der, 0)
        _, body, end = der_at(der, start)
        _, _, algorithm_end = der_at(der, end)
        tbs = der[start:end].replace(old, new)
        assert tbs != der[start:end] and len(old) == len(new)
        with open(pair.cert + ".tbs", "wb") as f:
            f.write(tbs)
        openssl("dgst", "-sha256", "-sign", self.pair.key, "-out", pair.cert + ".sig", pair.cert + ".tbs")
        with open(pair.cert + ".sig", "rb") as f:
            signature = der_wrap(3, b"\0" + f.read())
        with open(pair.cert, "w") as f:
            f.write(ssl.DER_cert_to_PEM_cert(der_wrap(0x30, tbs + der[end:algorithm_end] + signature)))
        return pair

    def client_context(self, pair=None, alpn=None, **kw):
        """Trusts this CA and nobody else."""
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.load_verify_locations(self.cert)
        return tune(ctx, pair, alpn, **kw)

    def server_context(self, pair, alpn=None, ask=False, **kw):
        ctx = tune(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair, alpn, **kw)
        if ask:
            ctx.verify_mode = ssl.CERT_REQUIRED
            ctx.load_verify_locations(self.cert)
        return ctx


def der_at(data, at):
    """Tag, where the contents begin and where they end (X.690 8.1)."""
    tag, n, at = data[at], data[at + 1], at + 2
    if n & 0x80:
        count = n & 0x7F
        n, at = int.from_bytes(data[at : at + count], "big"), at + count
    return tag, at, at + n


def der_wrap(tag, contents):
    n = len(contents)
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([n]) if n < 0x80 else bytes([0x80 | len(size)]) + size) + contents


def tune(ctx, pair, alpn, version=None, ciphers=None):
    if pair:
        ctx.load_cert_chain(pair.cert, pair.key)
    if alpn:
        ctx.set_alpn_protocols(alpn)
    if version:
        ctx.minimum_version = ctx.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3,
                                                     "1.1": ssl.TLSVersion.TLSv1_1}[version]
    if ciphers:
        ctx.set_ciphers(ciphers)
    return ctx


class TlsClient(Client):
    """One client connection over TLS. A stream that ends without close_notify raises."""

    def __init__(self, port, ctx, host="web.test", session=None, before=b"", **kw):
        super().__init__(port, **kw)
        self.raw = self.sock
        if before:
            self.raw.sendall(before)
        try:
            self.sock = ctx.wrap_socket(self.raw, server_hostname=host, session=session, suppress_ragged_eofs=False)
        except BaseException:
            self.raw.close()
            raise

    def half_close(self):
        """close_notify and FIN, and the other direction stays open: Python's unwrap would wait for the answer."""
        raise NotImplementedError

    @property
    def peer(self):
        return self.sock.getpeercert(True)


class MemoryTls:
    """TLS by hand over a plain Client: every record is ours to send, hold back or cut."""

    def __init__(self, port, ctx, host="web.test", session=None, **kw):
        self.client = Client(port, **kw)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_hostname=host, session=session)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.client.sock.sendall(data)

    def feed(self):
        data = self.client.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return bool(data)

    def run(self, what):
        while True:
            try:
                result = what()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                self.feed()

    def handshake(self):
        self.run(self.tls.do_handshake)
        return self

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def read(self, n=65536):
        return self.run(lambda: self.tls.read(n))


def fetch_tls(port, ctx, method="GET", target="/", host="web.test", sni=None, session=None, **kw):
    """One request on a connection of its own; host is the name in the handshake too unless sni says another."""
    with TlsClient(port, ctx, host=sni or host, session=session) as c:
        c.send(build(method, target, host=host, **kw))
        return c.response(method)


__all__ = ["SLOW", "Authority", "MemoryTls", "Pair", "TlsClient", "fetch_tls", "openssl", "socket"]
