#!/usr/bin/env python3
"""Checks of the source tree that no compiler makes. One line a check: "ok NAME", "skip NAME: why", or "FAIL NAME" with
indented findings below it. `make check` runs it; alone it works from any folder: tests/lint/lint.py [NAME...].

What needs a compiler or the built program takes it from COX_CC, COX_BUILD_DIR and COXSWAIN."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
CC = os.environ.get("COX_CC") or shutil.which("gcc") or "cc"
BUILD = os.environ.get("COX_BUILD_DIR", os.path.join(TOP, "build"))
COXSWAIN = os.environ.get("COXSWAIN", os.path.join(BUILD, "coxswain"))

# From the ground up: a folder includes itself and what stands before it.
LAYERS = ["base", "conf", "run", "net", "http", "topo", "proxy", "orch", "admin", "master"]
# Bytes on sockets and HTTP know nothing of each other; these may bring them together.
NET_AND_HTTP = {"proxy", "orch"}
# Which folders of lb/ may include whose headers.
DOORS = {"libconfig.h": {"conf"}, "event2/": {"run"}, "openssl/": {"net"}, "nghttp2/": {"http"}, "zlib.h": {"http"}, "ares.h": {"orch"}, "dlfcn.h": {"orch"},
         "jansson.h": {"admin"}, "curl/": set(), "jemalloc/": {"base"}, "cmocka.h": set()}
DOORS["crypt.h"] = {"proxy"}
BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "atoll", "atof", "strtok",
          "alloca", "tmpnam", "mktemp", "asctime", "ctime", "gmtime", "localtime"]
BANNED_OUTSIDE_TESTS = ["strncpy", "strncat", "rand", "random", "system", "popen"]
# Machine paths and notes to ourselves have no place in the tree. Spelled in pieces: this file is checked too.
WORDS = [r"(?<![\w.-])/wor" r"k/", r"\.\./shar" r"ed\b", r"/tmp/bri" r"ef", r"/ro" r"ot/", r"/ho" r"me/\w"]
UNFINISHED = [r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b", r"^\s*#\s*if\s+0\b"]
SKIPPED_FOLDERS = {".git", "m4", "build-aux", "autom4te.cache", "__pycache__", ".pytest_cache", ".hypothesis", "corpus"}
GENERATED = {"configure", "configure~", "Makefile.in", "aclocal.m4", "config.log", "config.status", "libtool", "Makefile", "LICENSE"}
LINES_MAX = 600        # of a file; the house aims at 150 to 400
FUNCTION_LINES = 45    # nine functions in ten are shorter
# Writable data that outlives a call, each with its reason.
GLOBALS = {
    "scan": "pointers to the scanner that suits the processor, set once before threads start",
    "log": "the error log's descriptor and level, set by the process before threads start",
    "tls_schedule": "that a provider is loaded once for OpenSSL's own global context",
    "crash": "what the handler of a fatal signal must find without an argument",
}


def is_build_folder(place, name):
    return (place == TOP and name.startswith(("build", "_", "coxswain-"))) or os.path.exists(
        os.path.join(place, name, "config.status"))


def walk(*folders, ends=None):
    """Paths relative to the top, sorted."""
    found = []
    for folder in folders:
        for place, names, files in os.walk(os.path.normpath(os.path.join(TOP, folder))):
            names[:] = [n for n in names if n not in SKIPPED_FOLDERS and not is_build_folder(place, n)]
            for name in files:
                if (ends is None or name.endswith(ends)) and not (place == TOP and (name in GENERATED or name == ".git")):
                    found.append(os.path.relpath(os.path.join(place, name), TOP))
    return sorted(found)


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare(text):
    """C without comments and without what stands in quotes; lines stay where they are."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()) if m.group()[0] == "/" else '""' + "\n" * m.group().count("\n"),
                     text)


def includes(path):
    for number, line in enumerate(read(path).splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        if m:
            yield number, m.group(1)


def check_layering():
    """A folder of lb/ includes only itself and those below it."""
    for path in walk("lb", ends=(".c", ".h")):
        folder = path.split("/")[1]
        for number, header in includes(path):
            other = header.split("/")[0]
            if other in LAYERS and "/" in header:
                if folder not in LAYERS or LAYERS.index(other) > LAYERS.index(folder):
                    yield f"{path}:{number}: {folder} may not include {header}"


def check_net_http_apart():
    """No folder but proxy and orch includes both net and http."""
    users = {}
    for path in walk("lb", ends=(".c", ".h")):
        folder = path.split("/")[1]
        for number, header in includes(path):
            other = header.split("/")[0]
            if other in ("net", "http"):
                users.setdefault(folder, {})[other] = f"{path}:{number}"
    users.setdefault("net", {}).setdefault("net", "lb/net")
    users.setdefault("http", {}).setdefault("http", "lb/http")
    for folder, seen in users.items():
        if len(seen) == 2 and folder not in NET_AND_HTTP:
            yield f"{folder} includes net ({seen['net']}) and http ({seen['http']})"


def check_one_door():
    """Each library is included in one folder of lb/ only."""
    for path in walk("lb", ends=(".c", ".h")):
        folder = path.split("/")[1]
        for number, header in includes(path):
            for door, allowed in DOORS.items():
                if header.startswith(door) and folder not in allowed:
                    yield f"{path}:{number}: <{header}> belongs to {' '.join(sorted(allowed)) or 'plugins and tests'}"


def check_plugins_see_only_public():
    """A plugin includes public headers, its own and plugins/common, never lb/."""
    lb = {os.path.relpath(p, "lb") for p in walk("lb", ends=".h")}
    for path in walk("plugins", ends=(".c", ".h")):
        for number, header in includes(path):
            if header in lb or header.startswith(("lb/", "../lb", "../../lb")):
                yield f"{path}:{number}: a plugin may not include {header}"


def check_public_headers_stand_alone():
    """Public headers include only each other and the C library."""
    for path in walk("include", ends=".h"):
        for number, header in includes(path):
            if "/" in header and not header.startswith(("coxswain/", "sys/")):
                yield f"{path}:{number}: {header}"


def compile_all(paths, command):
    for path in paths:
        done = subprocess.run(command + [os.path.join(TOP, path)], capture_output=True, text=True, cwd=TOP)
        if done.returncode:
            yield f"{path}: " + (done.stderr.strip().splitlines() or ["?"])[0]


def check_headers_compile_alone():
    """Every header is a translation unit of its own."""
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", "-fsyntax-only", "-x", "c"]
    # gcc says "#pragma once in main file" and clang "unused"; neither is used here.
    yield from compile_all(walk("lb", ends=".h"), CC.split() + flags + ["-Ilb", "-Iinclude"])
    yield from compile_all(walk("include", ends=".h"), CC.split() + flags + ["-Iinclude"])


def check_public_headers_are_cxx():
    """Plugins may be written in C++."""
    cxx = shutil.which("g++") or shutil.which("clang++")
    if not cxx:
        return "no C++ compiler"
    return compile_all(walk("include", ends=".h"), [cxx, "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", "-x", "c++", "-Iinclude"])


def check_banned_functions():
    """Functions that overflow, lose errors or are not safe with threads."""
    for path in walk("lb", "plugins", "include", "tests", "bench", ends=(".c", ".h")):
        banned = BANNED + ([] if path.startswith("tests/") else BANNED_OUTSIDE_TESTS)
        pattern = re.compile(r"(?<![\w.>])(" + "|".join(banned) + r")\s*\(")
        for number, line in enumerate(bare(read(path)).splitlines(), 1):
            m = pattern.search(line)
            if m:
                yield f"{path}:{number}: {m.group(1)}"


def check_no_typedef_of_structs():
    """struct and enum keep their keyword."""
    for path in walk("lb", "plugins", "include", ends=(".c", ".h")):
        for number, line in enumerate(bare(read(path)).splitlines(), 1):
            if re.match(r"\s*typedef\s+(struct|enum|union)\b(?!.*\(\*)", line):
                yield f"{path}:{number}: {line.strip()}"


def check_words():
    """No machine paths."""
    patterns = [re.compile(w) for w in WORDS]
    for path in walk("."):
        for number, line in enumerate(read(path).splitlines(), 1):
            for pattern in patterns:
                if pattern.search(line):
                    yield f"{path}:{number}: {line.strip()[:100]}"


def check_nothing_unfinished():
    """No note to come back later."""
    patterns = [re.compile(w) for w in UNFINISHED]
    for path in walk("lb", "plugins", "include", "bench", "conf", "tests", ends=(".c", ".h", ".py", ".sh", ".mk", ".php", ".cfg")):
        for number, line in enumerate(read(path).splitlines(), 1):
            for pattern in patterns:
                if pattern.search(line):
                    yield f"{path}:{number}: {line.strip()[:100]}"


def check_sources_are_listed():
    """What no fragment lists is neither built nor in the tarball."""
    listed = set()
    for path in ["Makefile.am"] + walk("lb", "plugins", "tests", "bench", ends=".mk"):
        listed.update(re.findall(r"[\w./-]+\.[ch]\b", read(path)))
    for path in walk("lb", "plugins", "tests", "bench", "include", ends=(".c", ".h")):
        if path not in listed:
            yield f"{path} is in no fragment"
    for path in sorted(listed):
        if not os.path.exists(os.path.join(TOP, path)):
            yield f"{path} is listed and not there"


def functions(path):
    """(name, first line, lines) of each function: its braces stand in the first column."""
    name, began = "", 0
    lines = bare(read(path)).splitlines()
    for number, line in enumerate(lines, 1):
        if line == "{" and number > 1:
            began = number
            for back in range(number - 2, max(-1, number - 8), -1):
                m = re.match(r"[A-Za-z].*?(\w+)\(", lines[back])
                if m:
                    name = m.group(1)
                    break
        elif line == "}" and began:
            yield name, began, number - began - 1
            began = 0


def check_function_length():
    """Nine functions in ten have fewer than 45 lines."""
    lengths = [(n, f"{path}:{at}: {name} has {n} lines") for path in walk("lb", "plugins", ends=".c")
               for name, at, n in functions(path)]
    long = sorted((x for x in lengths if x[0] > FUNCTION_LINES), reverse=True)
    if lengths and len(long) * 10 > len(lengths):
        yield f"{len(long)} of {len(lengths)} functions are longer"
        for _, text in long[:20]:
            yield text


def check_file_length():
    """No file needs a map."""
    for path in walk("lb", "plugins", "include", ends=(".c", ".h")):
        n = read(path).count("\n")
        if n > LINES_MAX:
            yield f"{path}: {n} lines"


def check_no_mutable_globals():
    """State hangs on one struct made in main; what is writable and global has a reason in GLOBALS."""
    archive = os.path.join(BUILD, "liblb.a")
    if not os.path.exists(archive) or not shutil.which("objdump"):
        return "no built liblb.a"
    out = subprocess.run(["objdump", "-t", archive], capture_output=True, text=True).stdout
    if "__asan" in out or "__tsan" in out or "__sanitizer" in out:
        return "sanitizers put data of their own there"
    found, unit = [], ""
    for line in out.splitlines():
        m = re.match(r"(\S+)\.o:\s+file format", line)
        if m:
            unit = m.group(1)
        m = re.match(r"[0-9a-f]+ .{6}O (\.data|\.bss|\.data\.[^r]\S*|\.bss\.\S+|\*COM\*)\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)", line)
        if m and unit not in GLOBALS and not re.match(r"limit_\.\d+$", m.group(2)):  # of log_limited(): one for each place
            found.append(f"{unit}.c: {m.group(2)} in {m.group(1)}")
    return found


def fresh(path, option):
    if not os.access(COXSWAIN, os.X_OK):
        return "no built program"
    out = subprocess.run([COXSWAIN, option], capture_output=True, text=True)
    if out.returncode:
        return [f"coxswain {option} ended with {out.returncode}"]
    return [] if out.stdout == read(path) else [f"{path} is stale: run \"make docs\""]


def check_reference_is_fresh():
    """conf/reference.cfg is what the program prints."""
    return fresh("conf/reference.cfg", "--reference")


def check_manual_is_fresh():
    """coxswain.cfg.5 is what the program prints."""
    return fresh("conf/man/coxswain.cfg.5", "--manual")


def check_example_configs():
    """The configs we ship pass -t."""
    if not os.access(COXSWAIN, os.X_OK):
        return "no built program"
    found = []
    env = dict(os.environ)
    env.setdefault("COXSWAIN_PLUGIN_DIR", os.path.join(BUILD, "plugins"))
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("coxswain.cfg", "quickstart.cfg", "reference.cfg", "mock.cfg"):
            text = read("conf/" + name)
            # The account of a web server is not on every build machine.
            text = re.sub(r'(?m)^(user|group)\s*=\s*"www-data";.*$', "", text) + ('\nuser = "root";\n' if os.geteuid() == 0 else "")
            path = os.path.join(scratch, name)
            with open(path, "w") as f:
                f.write(text)
            if not os.path.exists(os.path.join(scratch, "quickstart")):
                shutil.copytree(os.path.join(TOP, "conf/quickstart"), os.path.join(scratch, "quickstart"))
            done = subprocess.run([COXSWAIN, "-t", "-c", path], capture_output=True, text=True, env=env, timeout=60)
            if done.returncode:
                found += [f"{name}: {line}" for line in (done.stderr + done.stdout).strip().splitlines()[:10]]
    return found


def check_man_pages():
    """groff has nothing to say about them."""
    groff = shutil.which("groff")
    if not groff or subprocess.run([groff, "-man", "-Tutf8", "-z"], input="", text=True, capture_output=True).returncode:
        return "no groff with its man macros"
    found = []
    for path in walk("conf/man"):
        done = subprocess.run([groff, "-ww", "-z", "-man", "-Tutf8", os.path.join(TOP, path)], capture_output=True, text=True)
        found += [f"{path}: {line}" for line in done.stderr.strip().splitlines()[:5]]
    return found


def check_scripts_parse():
    """Shell, Python and PHP files are at least well formed."""
    found = []
    commands = [("quickstart", ["bash", "-n"]), (".ci/run", ["bash", "-n"]), ("autogen.sh", ["sh", "-n"]),
                ("tests/fuzz/run.sh", ["sh", "-n"]), ("conf/quickstart/php-member", ["sh", "-n"])]
    if shutil.which("php"):
        commands.append(("conf/quickstart/public/index.php", ["php", "-l"]))
    for path, command in commands:
        done = subprocess.run(command + [os.path.join(TOP, path)], capture_output=True, text=True)
        if done.returncode:
            found.append(f"{path}: {(done.stderr + done.stdout).strip()}")
    for path in walk("tests", "bench", ends=".py"):
        try:
            compile(read(path), path, "exec")
        except SyntaxError as e:
            found.append(f"{path}:{e.lineno}: {e.msg}")
    return found


def main():
    wanted = sys.argv[1:]
    failed = 0
    for function, check in sorted(globals().items()):
        if not function.startswith("check_"):
            continue
        name = function[len("check_"):].replace("_", "-")
        if wanted and name not in wanted:
            continue
        result = check()
        if isinstance(result, str):
            print(f"skip {name}: {result}")
            continue
        findings = list(result or [])
        print(f"{'FAIL' if findings else 'ok'} {name}" + (f": {check.__doc__}" if findings else ""))
        for finding in findings[:40]:
            print("  " + finding)
        if len(findings) > 40:
            print(f"  … and {len(findings) - 40} more")
        failed += bool(findings)
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
