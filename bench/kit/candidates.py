"""Who takes part: coxswain, the blind relay, and its peers (those that are installed, and further ones by path)."""
import os
import re
import subprocess

from kit import proc

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = ("nginx", "haproxy", "nghttpx", "h2o")
NAMES_IN_TLS = {"ecdsa": "ecdsa.bench", "rsa": "rsa.bench"}


class Candidate:
    """One proxy process tree that can be loaded. ports: by what is spoken there, "h1", "h2c", "tls", "rsa" (TLS with an RSA
    certificate), "reused" (TLS where a ticket that comes back brings no new one). 0: does not listen in that protocol."""

    def __init__(self, name, kind, child, port, port_h2=0, log=None, port_tls=0, port_rsa=0):
        self.name, self.kind, self.child, self.port, self.log = name, kind, child, port, log
        self.ports = {"h1": port, "h2c": port_h2, "tls": port_tls, "rsa": port_rsa}

    def pids(self):
        return proc.family(self.child.pid) if self.child else []

    def forget_log(self):
        """Logs of hours of load would fill the disk; they are opened for appending, so they can be cut."""
        if self.log and os.path.exists(self.log):
            os.truncate(self.log, 0)


def version(program):
    """Of a peer: "1.22.1"."""
    for flag in ("-v", "-V"):
        try:
            out = subprocess.run([program, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        m = re.search(r"(?:nginx/|nghttp2/|[Vv]ersion |wrk )\s*v?(\d[\w.+~-]*)", out)
        if m:
            return m[1].split("+")[0]
    return "?"


def known(args, say):
    """[(name, kind, program)] in the order they are shown; what is missing is said."""
    build = os.path.abspath(args.builddir)
    found = [(name, name, os.path.join(build, "bench/load", name.split()[0])) for name in ("relay", "once", "shake", "shake -n")]
    for kind in PEERS:
        program = proc.which(kind)
        if program:
            found.append((f"{kind} {version(program)}", kind, program))
        else:
            say(f"no {kind} here, left out")
    for peer in args.peer:
        kind, _, program = peer.partition("=")
        if kind not in PEERS or not os.access(program, os.X_OK):
            say(f"--peer {peer}: KIND=PROGRAM is wanted, KIND one of {', '.join(PEERS)}; left out")
        else:
            found.append((f"{kind} {version(program)}", kind, os.path.abspath(program)))
    found.append(("coxswain", "coxswain", os.path.abspath(args.coxswain or os.path.join(build, "coxswain"))))
    if args.only:
        only = args.only.split(",")
        found = [f for f in found if f[1] in only or f[0] in only]
    return found


def fill(template, out, values):
    with open(os.path.join(HERE, "conf", template)) as f:
        text = f.read()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    missing = re.search(r"@\w+@", text)
    if missing:
        raise RuntimeError(f"{template}: nothing stands for {missing[0]}")
    with open(out, "w") as f:
        f.write(text)
    return out


class Stage:
    """Origin, php-fpm, static files, and candidates before them. variant: "" or "-minimal"."""

    def __init__(self, nursery, args, load_cores, say):
        self.nursery, self.args, self.load_cores, self.say = nursery, args, load_cores, say
        self.build = os.path.abspath(args.builddir)
        self.serial = 0
        self.root = nursery.path("root")
        os.makedirs(os.path.join(self.root, "files"))
        for name, size in (("1k", 1024), ("1m", 1 << 20)):
            with open(os.path.join(self.root, "files", name + ".bin"), "wb") as f:
                f.write(b"x" * size)
        self.origin = proc.free_port()
        nursery.spawn([os.path.join(self.build, "bench/load/origin"), str(self.origin)], load_cores)
        proc.wait_until(lambda: proc.answers(self.origin), "the origin does not answer")
        self.php_port = self.echo_port = 0

    def start_echo(self):
        """Certificates, and the server of HTTP/2 behind."""
        if self.echo_port:
            return
        for kind, name in NAMES_IN_TLS.items():
            self.make_certificate(kind, name)
        port = proc.free_port()
        self.nursery.spawn([os.path.join(self.build, "bench/load/echo"), str(port)], self.load_cores)
        proc.wait_until(lambda: proc.is_listening(port), "the echo server does not listen")
        self.echo_port = port

    def make_certificate(self, kind, name):
        base = self.nursery.path(kind)
        key = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[kind]
        subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-keyout", base + ".key", "-out", base + ".crt",
                        "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name, "-days", "30"],
                       check=True, capture_output=True)
        with open(base + ".pem", "w") as f:
            f.write(proc.text_of(base + ".crt") + proc.text_of(base + ".key"))
        for end in (".key", ".pem"):
            os.chmod(base + end, 0o644)  # some peers give up root before they read it

    def start_php(self):
        """False when there is no php-fpm."""
        if self.php_port:
            return True
        programs = [proc.which(f"php-fpm{v}") for v in ("8.4", "8.3", "8.2", "8.1", "8.0", "7.4", "")]
        program = next((p for p in programs if p), None)
        if program is None:
            self.say("no php-fpm here, FastCGI left out")
            return False
        with open(os.path.join(self.root, "index.php"), "w") as f:
            f.write('<?php echo "Hello, world!";\n')
        port = proc.free_port()
        conf = fill("php-fpm.conf", self.nursery.path("php-fpm.conf"), {"php_port": port})
        self.nursery.spawn([program, "--nodaemonize", "--allow-to-run-as-root", "--no-php-ini", "--fpm-config", conf],
                           self.load_cores)
        proc.wait_until(lambda: proc.is_listening(port), "php-fpm does not listen")
        self.php_port = port
        return True

    def values(self, name, workers, port):
        logging = self.args.log
        php = self.php_port
        log = self.nursery.path(f"{name}.log")
        return {
            "name": name, "workers": workers, "dir": self.nursery.folder, "port": port, "port_h2": proc.free_port(),
            "port_tls": proc.free_port(), "port_rsa": proc.free_port(), "port_reused": proc.free_port(), "origin": self.origin, "echo": self.echo_port,
            "ecdsa": self.nursery.path("ecdsa"), "rsa": self.nursery.path("rsa"), "root": self.root, "php_port": php or 9,
            "user": 'user = "root";' if os.geteuid() == 0 else "",
            "php": ', { name = "php"; protocol = "fastcgi"; endpoints = ( "127.0.0.1:%d" ); fastcgi = '
                   '{ document_root = "%s"; index = "index.php"; }; }' % (php, self.root) if php else "",
            "php_route": ', { host = "*"; path = "/php"; cluster = "php"; }' if php else "",
            "log_file": log}, log if logging else None

    def prepare(self, kind, variant, tag, v, log, config):
        """Writes the config; the arguments to start with."""
        if kind == "relay":
            return [str(v["port"]), str(self.origin), str(v["workers"])]
        if kind == "once":
            return [str(v["port"]), str(self.origin)]
        if kind.startswith("shake"):
            pairs = [(v[port], v[key] + ".crt", v[key] + ".key") for port, key in (("port_tls", "ecdsa"), ("port_rsa", "rsa"))]
            return kind.split()[1:] + [str(a) for pair in pairs for a in pair]
        if kind == "nginx":
            v["log"] = f"{log} combined buffer=64k flush=1s" if log else "off"
            if variant == "-tls":
                fill("nginx-tls-locations", self.nursery.path(f"{tag}-locations"), v)
        elif kind == "haproxy":
            v["log"] = "log stdout format raw local0" if log else ""
            v["log_on"] = "log global\n    option httplog" if log else ""
        elif kind == "h2o":
            v["log"] = f"access-log: {log}" if log else ""
            v["user"] = "user: root" if os.geteuid() == 0 else ""
        else:
            v["log"] = log or ("/dev/null" if kind == "nghttpx" else "off")
        end = "cfg" if kind == "coxswain" else "conf"
        conf = config or fill(f"{kind}{variant}.{end}", self.nursery.path(f"{tag}.{end}"), v)
        return {"haproxy": ["-db", "-f", conf], "nghttpx": [f"--conf={conf}"]}.get(kind, ["-c", conf])

    def start(self, name, kind, program, cores, workers=1, variant="", config=None):
        self.serial += 1
        port = proc.free_port()
        tag = f"{kind}{self.serial}"
        v, log = self.values(tag, workers, port)
        arguments = self.prepare(kind, variant, tag, v, log, config)
        child = self.nursery.spawn([program] + arguments, cores, COXSWAIN_PLUGIN_DIR=os.path.join(self.build, "plugins"))
        is_ready = proc.answers if not kind.startswith("shake") else lambda _: proc.is_listening(v["port_rsa"])
        port_h2 = 0 if kind in ("relay", "once") or variant == "-minimal" else v["port_h2"] if kind in ("nginx", "haproxy") else port
        candidate = Candidate(name, kind, child, port, port_h2, child.output if kind == "haproxy" else log)
        if variant == "-tls":
            candidate.ports |= {"tls": v["port_tls"], "rsa": v["port_tls" if kind == "nghttpx" else "port_rsa"],
                                "reused": v["port_reused" if kind == "coxswain" else "port_tls"]}
        if kind == "coxswain":
            candidate.control = self.nursery.path(f"{tag}.sock")
        try:
            proc.wait_until(lambda: child.poll() is not None or is_ready(port), f"{name} does not answer")
        except RuntimeError as e:
            self.nursery.end(child)
            raise RuntimeError(f"{e}\n{proc.text_of(child.output)[-2000:]}") from None
        if child.poll() is not None:
            raise RuntimeError(f"{name} ended at once:\n{proc.text_of(child.output)[-2000:]}")
        return candidate
