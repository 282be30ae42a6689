"""A grammar of HTTP/1 framing mutations: requests that are right but for one to four things.

make(rng, name) gives the bytes of one connection: a few requests, of which some are bent. Every target begins with
/NAME/, so whoever sees a request knows where it came from; what stands in bodies looks like a request to /NAME/smuggled
and must never be taken for one."""

HOST = b"web.test"
METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"]
ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b" \r\n", b"\t\r\n", b"\0\r\n", b"\x0b\r\n", b"\r\n ", b"\r\n\t", b"\n\n", b""]
BLANKS = [b"", b"  ", b"\t", b" \t", b"\x0b", b"\x0c", b"\r", b"\xa0", b"\0", b"\x85"]
LENGTHS = [b"+%d", b"-%d", b"0x%x", b"%d ", b" %d", b"%d,%d", b"%d, %d", b"%d;", b"0%d", b"%d.0", b"%de0", b"\t%d", b"%d_0", b"\"%d\"", b"",
           b"18446744073709551616", b"9223372036854775808", b"99999999999999999999999", b"%d\x00", b"%d\x0b", b"\xef\xbc\x91", b"0", b"1", b"00000000%d"]
CODINGS = [b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"chunked ", b"\tchunked", b"chunked\t", b"\x0bchunked", b"chunked\x0b", b"chunked,", b",chunked",
           b"chunked, chunked", b"identity", b"identity, chunked", b"chunked, identity", b"gzip, chunked", b"chunked;q=1", b"xchunked", b"chunkedx", b"\"chunked\"",
           b"chunked\r\n", b"chun\rked", b"", b"chunk", b"gzip", b"chunked\0", b"deflate,chunked", b"chunked; foo", b"'chunked'", b"chunKed"]
SIZES = [b"%x ", b" %x", b"+%x", b"-%x", b"0x%x", b"%x;", b"%x;a=b", b"%x;a=\"b;c\"", b"%x;a=\"", b"%x;\r", b"%x;a\nb", b"%x\t", b"0%x", b"%016x", b"%017x",
         b"00000000000000000000000%x", b"%xg", b"%x_", b"%x,", b"ffffffffffffffff", b"fffffffffffffffff", b"10000000000000000", b"7fffffffffffffff", b"", b"%x;;", b"%x ;a=b",
         b"%x; a = b", b"%x;\x00", b"%X", b"%x\x0b", b"%x;" + b"e" * 5000, b"zz", b"%x\r", b"%x;a=\"\r\n\""]
NAMES = [b"%s ", b" %s", b"%s\t", b"\t%s", b"%s\x0b", b"%s\0", b"%s\r", b"\x00%s", b"%s_", b"(%s)", b"%s:", b":%s", b"%s\x80", b"\"%s\"", b"%s\xa0", b"%s\n", b"@%s", b"%s\x7f", b"%s,", b"%s=", b"{%s}"]
VALUES = [b"a\rb", b"a\nb", b"a\0b", b"a\x01b", b"a\x7fb", b"a\x80b", b"", b" ", b"\t", b"a\r\n b", b"a\r\n\tb", b"a" * 9000, b"\xff\xfe", b"a\x0bb", b"a\x1fb"]
HOSTS = [b"", b"web.test,evil.test", b"web.test:80", b"web.test:x", b"web.test:", b"web.test:99999", b"user@web.test", b"web.test/x", b"web test", b"web.test#", b"web.test\\x",
         b"[::1]", b"[::1", b"WEB.TEST", b"web.test.", b"\xc3\xa9.test", b"web.test?x", b"%77eb.test", b"<web.test>"]
VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/2.0", b"HTTP/11", b"http/1.1", b"HTTP/1.1 ", b"HTTP /1.1", b"HTTP/1,1", b"HTTP/01.1", b"", b"HTTP/1.", b"HTTPS/1.1", b"HTTP/1.1x", b"HTTP/+1.1"]
TARGETS = [b"*", b"", b"%s#f", b"%s\x00", b"%s\x80", b"%s%%00", b"http://web.test%s", b"http://evil.test%s", b"//web.test%s", b"%s/../x", b"%s\\x", b"%s x", b"%s\tx", b"web.test:80", b"HTTP://WEB.TEST%s",
           b"%s?a=b#c", b"%s?\x7f", b"http:%s", b"http://user@web.test%s", b"%s%%2e%%2e/x", b"%s;p", b"%s\"x", b"%s<x>", b"%s|x", b"%s^x"]


class Request:
    def __init__(self, rng, name, number):
        self.rng, self.name = rng, name
        self.method, self.path = rng.choice(METHODS), b"/%s/%d" % (name, number)
        self.target, self.version, self.gaps, self.line_end = self.path, b"HTTP/1.1", [b" ", b" "], b"\r\n"
        self.before = b""
        self.fields = [[b"Host", b": ", HOST, b"\r\n"]]
        self.head_end = b"\r\n"
        self.framing = rng.choice(["none", "none", "length", "length", "chunked", "chunked"])
        self.payload = self.make_payload()
        self.chunks, self.trailers, self.last = [], [], [b"0", b"\r\n", b"\r\n"]
        if self.framing == "length":
            self.fields.append([b"Content-Length", b": ", b"%d" % len(self.payload), b"\r\n"])
        elif self.framing == "chunked":
            self.fields.append([b"Transfer-Encoding", b": ", b"chunked", b"\r\n"])
            self.make_chunks()
        else:
            self.payload = b""
        for _ in range(rng.randrange(3)):
            self.add_field(b"X-%d" % rng.randrange(100), b"v%d" % rng.randrange(100))

    def make_payload(self):
        evil = b"GET /%s/smuggled HTTP/1.1\r\nHost: web.test\r\n\r\n" % self.name
        return self.rng.choice([b"", b"x", b"hello", evil, b"0\r\n\r\n" + evil, b"x" * self.rng.randrange(300), b"\r\n" + evil])

    def make_chunks(self):
        rest = self.payload
        while rest:
            n = self.rng.randrange(1, len(rest) + 1)
            self.chunks.append([b"%x" % n, b"\r\n", rest[:n], b"\r\n"])
            rest = rest[n:]

    def add_field(self, name, value):
        self.fields.insert(self.rng.randrange(len(self.fields) + 1), [name, b": ", value, b"\r\n"])

    def field(self, name=None):
        """One of the fields, as a list to change."""
        found = [f for f in self.fields if name is None or f[0].lower() == name]
        return self.rng.choice(found) if found else self.rng.choice(self.fields) if self.fields else [b"", b"", b"", b""]

    def bytes(self):
        out = self.before + self.method + self.gaps[0] + self.target + self.gaps[1] + self.version + self.line_end
        out += b"".join(b"".join(f) for f in self.fields) + self.head_end
        if self.framing == "chunked":
            out += b"".join(b"".join(c) for c in self.chunks)
            return out + self.last[0] + self.last[1] + b"".join(b"".join(t) for t in self.trailers) + self.last[2]
        return out + self.payload


def fill(rng, form, n):
    return form % ((n,) * form.count(b"%")) if b"%" in form else form


def second_length(rng, r):
    n = len(r.payload)
    r.add_field(rng.choice([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]), b"%d" % rng.choice([n, n + 1, max(0, n - 1), 0]))


def odd_length(rng, r):
    f = r.field(b"content-length")
    f[0], f[2] = rng.choice([b"Content-Length", b"content-length"]), fill(rng, rng.choice(LENGTHS), len(r.payload))


def wrong_length(rng, r):
    r.field(b"content-length")[2] = b"%d" % max(0, len(r.payload) + rng.choice([-5, -1, 1, 5, 50]))


def second_coding(rng, r):
    r.add_field(rng.choice([b"Transfer-Encoding", b"transfer-encoding", b"Transfer_Encoding", b"TRANSFER-ENCODING", b"Transfer-Encoding-X"]), rng.choice(CODINGS))


def odd_coding(rng, r):
    f = r.field(b"transfer-encoding")
    f[0], f[2] = b"Transfer-Encoding", rng.choice(CODINGS)


def odd_chunk_size(rng, r):
    if r.chunks:
        c = rng.choice(r.chunks)
        c[0] = fill(rng, rng.choice(SIZES), len(c[2]))
    else:
        r.last[0] = fill(rng, rng.choice(SIZES), 0)


def wrong_chunk_size(rng, r):
    if r.chunks:
        c = rng.choice(r.chunks)
        c[0] = b"%x" % max(0, len(c[2]) + rng.choice([-2, -1, 1, 2, 16]))


def chunk_end(rng, r):
    if r.chunks and rng.random() < 0.8:
        rng.choice(r.chunks)[rng.choice([1, 3])] = rng.choice(ENDS)
    else:
        r.last[rng.choice([1, 2])] = rng.choice(ENDS)


def last_chunk(rng, r):
    r.last[0] = rng.choice([b"00", b"0;a", b"0 ", b" 0", b"000000000000000000000", b"0x0", b"", b"-0", b"+0", b"0;a=\"b\"", b"0\t"])


def trailer(rng, r):
    name = rng.choice([b"X-T", b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization", b"", b"X T", b"X-T ", b"Connection"])
    r.trailers.append([name, rng.choice([b": ", b":", b"", b" : "]), rng.choice([b"v", b"5", b"chunked"] + VALUES), rng.choice([b"\r\n"] * 3 + ENDS)])


def line_end(rng, r):
    which = rng.random()
    if which < 0.3:
        r.line_end = rng.choice(ENDS)
    elif which < 0.8:
        r.field()[3] = rng.choice(ENDS)
    else:
        r.head_end = rng.choice(ENDS)


def blank(rng, r):
    f = r.field()
    f[1] = rng.choice([b":", b" :", b"\t:", b" : ", b"", b"::", b":\t", b":" + rng.choice(BLANKS), rng.choice(BLANKS) + b":"])


def field_name(rng, r):
    f = r.field()
    form = rng.choice(NAMES)
    f[0] = form % f[0] if rng.random() < 0.8 else rng.choice([f[0].upper(), f[0].lower(), f[0].swapcase(), b"", f[0].replace(b"-", b"_")])


def field_value(rng, r):
    r.add_field(b"X-V", rng.choice(VALUES))


def fold(rng, r):
    f = r.field()
    cut = rng.randrange(len(f[2]) + 1)
    f[2] = f[2][:cut] + rng.choice([b"\r\n ", b"\r\n\t", b"\n ", b"\r\n  \t"]) + f[2][cut:]


def host(rng, r):
    which = rng.random()
    if which < 0.2:
        r.fields = [f for f in r.fields if f[0] != b"Host"]
    elif which < 0.4:
        r.add_field(rng.choice([b"Host", b"host"]), rng.choice([HOST, b"evil.test"]))
    else:
        r.field(b"host")[2] = rng.choice(HOSTS)


def request_line(rng, r):
    which = rng.random()
    if which < 0.3:
        r.gaps[rng.randrange(2)] = rng.choice(BLANKS)
    elif which < 0.6:
        r.version = rng.choice(VERSIONS)
    elif which < 0.9:
        form = rng.choice(TARGETS)
        r.target = form.replace(b"%s", r.path).replace(b"%%", b"%")
    else:
        r.method = rng.choice([b"get", b"G ET", b"GE\tT", b"", b"GET\0", b"(GET)", b"CONNECT", b"TRACE", b"PRI", b"GETX", b"\xffGET", b"M-SEARCH"])


def before(rng, r):
    r.before = rng.choice([b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\0", b"\r", b"\t", b"\r\n \r\n", b"\xef\xbb\xbf", b"0\r\n\r\n"])


def hop_by_hop(rng, r):
    r.add_field(b"Connection", rng.choice([b"close", b"keep-alive", b"Content-Length", b"Transfer-Encoding", b"Host", b"close, TE", b"X-Forwarded-For", b"keep-alive, close", b",", b""]))


def expectation(rng, r):
    r.add_field(b"Expect", rng.choice([b"100-continue", b"100-Continue", b"x 100-continue", b"100-continue, x", b"y"]))


def old_version(rng, r):
    r.version = b"HTTP/1.0"
    r.add_field(b"Connection", b"keep-alive")


def flip(rng, r):
    """One byte of the head becomes another."""
    f = r.field()
    part = rng.randrange(4)
    if f[part]:
        at = rng.randrange(len(f[part]))
        f[part] = f[part][:at] + bytes([rng.randrange(256)]) + f[part][at + 1:]


def many(rng, r):
    for i in range(rng.choice([50, 99, 150])):
        r.fields.append([b"X-M%d" % i, b": ", b"m", b"\r\n"])


FRAMING = [second_length, odd_length, wrong_length, second_coding, odd_coding, odd_chunk_size, wrong_chunk_size, chunk_end, last_chunk, trailer]
HEADS = [line_end, blank, field_name, field_value, fold, host, request_line, before, hop_by_hop, expectation, old_version, flip, many]


def make(rng, name):
    """The bytes of one connection, and the names of what was done to them."""
    requests = [Request(rng, name, i) for i in range(rng.choice([1, 2, 2, 3]))]
    done = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 4])):
        change = rng.choice(FRAMING * 2 + HEADS)
        change(rng, rng.choice(requests))
        done.append(change.__name__)
    data = b"".join(r.bytes() for r in requests)
    if rng.random() < 0.05:
        data = data[:rng.randrange(len(data) + 1)]
    return data, done
