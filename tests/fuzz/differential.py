#!/usr/bin/env python3
"""Differential fuzzing of our HTTP/1 parser against others: http-parser (when it was there to be built with) and Node's.

Each gets the same streams of requests, made by grammar.py. A difference is "stricter" when we refuse what they take,
which is how it should be; everything else is a bug of ours until somebody shows that it is one of theirs, and then it stands in
KNOWN with the reason. Exit status 1 when there is one that is not known; each is printed with its bytes.

    differential.py --build DIR [--count 20000] [--seed 1]"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys

import grammar

HERE = os.path.dirname(os.path.abspath(__file__))


def peers(build):
    """Name and command of every other parser that can be asked; none when ours was not built (make check does)."""
    out = {}
    if not os.access(os.path.join(build, "tests/fuzz/differential/h1_dump"), os.X_OK):
        return out
    hp = os.path.join(build, "tests/fuzz/differential/http_parser_dump")
    if os.access(hp, os.X_OK):
        out["http-parser"] = [hp]
    if shutil.which("node"):
        out["node"] = [shutil.which("node"), "--no-deprecation", os.path.join(HERE, "differential/node_dump.js")]
    return out


def ask(command, cases):
    data = b"".join(struct.pack(">I", len(c)) + c for c in cases)
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    lines = done.stdout.decode().splitlines()
    if done.returncode or len(lines) != len(cases):
        raise RuntimeError("%s: status %s, %d of %d cases\n%s" % (command, done.returncode, len(lines), len(cases), done.stderr.decode()[-2000:]))
    return [json.loads(line) for line in lines]


def plain(text):
    return bytes.fromhex(text)


# ---- differences that are theirs ----

TAB = re.compile(rb"(?i)(transfer-encoding:[ \t]*chunked|content-length:[ \t]*[0-9]+)[ \t]*\t[ \t]*\r\n")
BLANK_IN_EXTENSION = re.compile(rb"\r\n[0-9a-fA-F]+(?:[ \t]+;|;[^\r\n]*[ \t])")


def known_of_both(ours, theirs, case, at):
    """Where RFC 9110 and 9112 are on our side, and what we send on does not have it any more."""
    why = theirs.get("why", "")
    message = ours["messages"][at] if at < len(ours["messages"]) else {}
    if why.startswith("HPE_INVALID_METHOD"):
        return "knows a list of methods, not tokens (RFC 9110 9.1)"
    if b"HTTP/1.2" in case and (why.startswith("HPE_INVALID_VERSION") or any(m["version"] == 12 for m in theirs["messages"])):
        return "a higher minor version is taken as 1.1 (RFC 9110 2.5)"
    if why.startswith(("HPE_INVALID_TRANSFER_ENCODING", "HPE_INVALID_CONTENT_LENGTH")) and TAB.search(case):
        return "a tab is optional white space, too (RFC 9110 5.6.3)"
    if any(plain(n).lower() in (b"content-length", b"transfer-encoding") for n, _ in message.get("trailers", [])):
        return "framing fields in trailers are dropped, not read (RFC 9110 6.5.1)"
    return None


def known_http_parser(ours, theirs, case, at):
    message = ours["messages"][at] if at < len(ours["messages"]) else {}
    if any(plain(n).lower().startswith(b"transfer-encoding") and len(plain(n)) > 17 for n, _ in message.get("fields", [])):
        return "takes Transfer-Encoding-X for Transfer-Encoding"
    if theirs.get("why", "").startswith("HPE_INVALID_URL"):
        return "parses the target as a URL"
    return known_of_both(ours, theirs, case, at)


def known_node(ours, theirs, case, at):
    if BLANK_IN_EXTENSION.search(case) and theirs.get("why", "").split(" ")[0] in ("HPE_STRICT", "HPE_INVALID_CHUNK_SIZE"):
        return "white space around a chunk extension (RFC 9112 7.1.1)"
    return known_of_both(ours, theirs, case, at)


KNOWN = {"http-parser": known_http_parser, "node": known_node}


# ---- comparing ----

def same_message(a, b):
    """What differs, or None."""
    for key in ("method", "target", "version", "body", "done"):
        if a[key] != b[key]:
            return "%s %r, theirs %r" % (key, a[key], b[key])
    for key in ("fields", "trailers") if a["done"] else ("fields",):  # whole trailers only
        x = [(n, plain(v).strip(b" \t")) for n, v in a.get(key, [])]
        y = [(n, plain(v).strip(b" \t")) for n, v in b.get(key, [])]
        if x != y:
            return "%s %r, theirs %r" % (key, x, y)
    return None


def compare(ours, theirs):
    """(verdict, text, number of the message): "same", "stricter" or "bug"."""
    mine, other = ours["messages"], theirs["messages"]
    for i, message in enumerate(mine):
        if i >= len(other):
            if theirs["end"] == "upgrade":
                return "same", "theirs stops at an upgrade", i
            return "bug", "we take a message that they refuse (%s %s)" % (theirs["end"], theirs.get("why")), i
        what = same_message(message, other[i])
        if not what:
            continue
        if i == len(mine) - 1 and ours["end"] == "error":
            return compare_refused(message, other[i])  # refused by us in its body
        if theirs["end"] == "upgrade" and i == len(other) - 1:
            return "same", "theirs stops at an upgrade", i
        return "bug", "message %d: %s (theirs ends with %s %s)" % (i, what, theirs["end"], theirs.get("why")), i
    if ours["end"] == "error":
        return ("same", "", 0) if theirs["end"] == "error" and len(other) <= len(mine) else ("stricter", ours["why"], len(mine))
    if len(other) > len(mine) and ours["end"] != "closed":
        return "bug", "they see a message more", len(mine)
    if ours["end"] == "more" and theirs["end"] == "error":
        return "later", "they refuse earlier what we still wait for", len(mine)
    return "same", "", 0


def compare_refused(mine, theirs):
    """A message that we refused within its body: what we passed on until then is the beginning of what they saw."""
    head = dict(mine, body=theirs["body"], trailers=theirs.get("trailers", []), done=theirs["done"])
    what = same_message(head, theirs)
    if what:
        return "bug", "before we refused it: " + what, 0
    if not theirs["body"].startswith(mine["body"]) and not mine["body"].startswith(theirs["body"]):
        return "bug", "other payload before we refused it", 0
    return "stricter", "in its body", 0


def make_cases(seed, count):
    rng = random.Random(seed)
    return [grammar.make(rng, b"m%d" % i)[0] for i in range(count)]


def run(build, cases, report=print):
    """Counts of verdicts by peer, and the list of bugs (peer, text, case)."""
    ours = ask([os.path.join(build, "tests/fuzz/differential/h1_dump")], cases)
    bugs, counts = [], {}
    for name, command in peers(build).items():
        count = counts[name] = collections.Counter()
        for case, a, b in zip(cases, ours, ask(command, cases)):
            verdict, text, at = compare(a, b)
            if verdict == "bug":
                excuse = KNOWN[name](a, b, case, at)
                if excuse:
                    verdict = "theirs: " + excuse
                else:
                    bugs.append((name, text, case, a, b))
            count[verdict] += 1
    return counts, bugs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=".")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--show", type=int, default=10, help="how many differences are printed")
    args = parser.parse_args()
    missing = {"http-parser", "node"} - set(peers(args.build))
    if missing:
        print("differential: not here: %s (libhttp-parser-dev and nodejs in Debian; make check builds the rest)" % ", ".join(sorted(missing)))
        return 2
    print("differential: %d cases, seed %d" % (args.count, args.seed))
    counts, bugs = run(args.build, make_cases(args.seed, args.count))
    for name, count in counts.items():
        print("  %s: %s" % (name, ", ".join("%d %s" % (n, v) for v, n in count.most_common())))
    for name, text, case, a, b in bugs[:args.show]:
        print("BUG against %s: %s\n  %r\n  ours   %s\n  theirs %s" % (name, text, case[:1500], json.dumps(a)[-700:], json.dumps(b)[-700:]))
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
