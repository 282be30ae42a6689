"""The admin listener: metrics, JSON API, live page; the probes of a listener; coxctl top and its completion."""

import json
import os
import pty
import re
import shutil
import socket
import stat
import subprocess

import pytest

from harness.browser import Browser, find_browser
from harness.door import COXCTL, COXSWAIN, ROOT, Door, cluster, route
from harness.net import SLOW, Client, build, fetch, free_port, poll

TOKEN = "correct-horse-battery-staple"
LOCAL = "127.0.0.1"


class Admin:
    """Asks the admin listener of a door."""

    def __init__(self, door, port, token=None):
        self.door, self.port, self.token = door, port, token

    def ask(self, target, method="GET", headers=(), host=LOCAL, **kw):
        headers = list(headers) + ([("Authorization", "Bearer " + self.token)] if self.token else [])
        return fetch(self.port, method, target, headers=headers, host=host, **kw)

    def json(self, target, **kw):
        r = self.ask(target, **kw)
        assert r.get("content-type") == "application/json", r
        return json.loads(r.body)

    def change(self, verb, name, headers=(("X-Coxswain", "1"),)):
        return self.ask("/v1/" + verb, "POST", headers, body=json.dumps({"id": name}).encode())

    def metrics(self):
        r = self.ask("/metrics")
        assert r.status == 200 and r.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        return r.body.decode("ascii")

    def values(self):
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in self.metrics().splitlines() if line[0] != "#"}


@pytest.fixture
def make_admin(make_door, origin, origin2, tmp_path):
    def make(token=None, start=True, **config):
        port = free_port()
        admin = {"address": "%s:%d" % (LOCAL, port)}
        if token:
            path = tmp_path / "token"
            path.write_text(token + "\n")
            path.chmod(0o600)
            admin["token_file"] = str(path)
        config.setdefault("clusters", [cluster("web", origin.address, origin2.address), cluster("spare", origin2.address)])
        config.setdefault("routes", [route("*", "web"), route("spare.test", "spare", "/x")])
        return Admin(make_door(start=start, admin=admin, **config), port, token)

    return make


# ---- metrics ----

def samples(text):
    """The format by its rules: every sample has a family, families are not mixed, no series twice. Returns them."""
    kinds, seen, family, closed = {}, set(), None, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert re.fullmatch(r"# HELP [a-z_:][a-z0-9_:]* .+", line), line
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and name not in closed, line
            closed.add(family)
            family = name
            kinds[name] = kind
        else:
            m = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? (\S+)', line)
            assert m, line
            base = re.sub(r"_(bucket|sum|count)$", "", m.group(1)) if kinds[family] == "histogram" else m.group(1)
            assert base == family, line
            assert line.rsplit(" ", 1)[0] not in seen, line
            seen.add(line.rsplit(" ", 1)[0])
            assert (kinds[family] == "counter") == m.group(1).endswith("_total") or kinds[family] == "histogram", line
            float(m.group(5))
    return kinds


def test_metrics_are_well_formed(make_admin):
    a = make_admin()
    for i in range(3):
        assert fetch(a.door.port).status == 200
    text = a.metrics()
    kinds = samples(text)
    assert kinds["coxswain_cluster_request_duration_seconds"] == "histogram"
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_metrics_count_requests(make_admin):
    a = make_admin()
    for i in range(7):
        assert fetch(a.door.port).status == 200
    assert fetch(a.door.port, target="/", host="spare.test").status == 200  # no route for "/" there: the default
    v = poll(lambda: [v for v in [a.values()] if v['coxswain_cluster_requests_total{cluster="web",class="2xx"}'] == 8][:1], 5, "eight requests")[0]
    assert v['coxswain_cluster_arrivals_total{cluster="web"}'] == 8
    assert v['coxswain_cluster_request_duration_seconds_count{cluster="web"}'] == 8
    assert v['coxswain_cluster_request_duration_seconds_bucket{cluster="web",le="+Inf"}'] == 8
    assert v['coxswain_cluster_request_duration_seconds_sum{cluster="web"}'] > 0
    assert sum(n for k, n in v.items() if k.startswith('coxswain_endpoint_requests_total{cluster="web"')) == 8
    assert v['coxswain_cluster_in_flight_seconds_total{cluster="web",state="serving"}'] > 0
    assert all(n == 0 for k, n in v.items() if k.startswith("coxswain_cluster_in_flight{"))
    edges = [n for k, n in v.items() if k.startswith('coxswain_cluster_request_duration_seconds_bucket{cluster="web"')]
    assert len(edges) > 10 and edges == sorted(edges)


def test_counters_survive_a_reload(make_admin):
    a = make_admin()
    for i in range(5):
        fetch(a.door.port)
    before = a.values()
    assert a.door.reload().returncode == 0
    for i in range(10):  # while the old generation leaves and is folded into the totals
        after = a.values()
        for k, v in before.items():
            if "_total" in k and k.startswith(("coxswain_cluster", "coxswain_endpoint")):
                assert v <= after[k] <= v + 5, k
        before = after
    assert sum(v for k, v in after.items() if k.startswith('coxswain_cluster_requests_total{cluster="web"')) == 5


# ---- JSON ----

SCHEMA = json.load(open(os.path.join(ROOT, "conf/api.json")))


def valid(x, rule, where="$"):
    """As much of JSON Schema as conf/api.json uses."""
    if "$ref" in rule:
        return valid(x, SCHEMA["$defs"][rule["$ref"].rsplit("/", 1)[1]], where)
    names = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    assert not kinds or any(isinstance(x, names[k]) and (k == "boolean" or not isinstance(x, bool)) for k in kinds), (where, x, kinds)
    assert x in rule.get("enum", [x]), (where, x)
    assert x == rule.get("const", x), (where, x)
    if isinstance(x, (int, float)) and "minimum" in rule:
        assert x >= rule["minimum"], (where, x)
    if isinstance(x, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties", True)
        assert not set(rule.get("required", [])) - set(x), (where, "lacks", set(rule["required"]) - set(x))
        assert isinstance(others, dict) or not set(x) - set(known), (where, "not in the schema", set(x) - set(known))
        for k, v in x.items():
            valid(v, known.get(k, others), where + "." + k)
    if isinstance(x, list):
        for i, v in enumerate(x):
            valid(v, rule["prefixItems"][i] if "prefixItems" in rule else rule["items"], "%s[%d]" % (where, i))


@pytest.mark.parametrize("name", ["status", "topology", "members", "events", "scale"])
def test_answers_keep_the_schema(make_admin, name):
    a = make_admin(plugins=[])
    fetch(a.door.port)
    valid(a.json("/v1/" + name), {"$ref": "#/$defs/" + name})
    assert a.ask("/v1/" + name, "HEAD").status == 200


def test_status_says_what_happened(make_admin):
    a = make_admin()
    for i in range(4):
        fetch(a.door.port)
    s = poll(lambda: [s for s in [a.json("/v1/status")] if {c["id"]: c for c in s["clusters"]}["web"]["completed"] == 4][:1], 5, "four")[0]
    web = {c["id"]: c for c in s["clusters"]}["web"]
    assert web["status"]["2xx"] == 4 and sum(n for _, n in web["histogram"]) == 4
    assert sum(e["requests"] for e in web["endpoints"]) == 4
    assert [g["state"] for g in s["generations"]] == ["serving"]
    t = a.json("/v1/topology")
    assert {(r["host"], r["path"], r["cluster"]) for r in t["routes"]} == {("*", "/", "web"), ("spare.test", "/x", "spare")}
    assert s["sequence"] == t["sequence"]


def test_errors_keep_the_schema(make_admin):
    a = make_admin()
    for r, status in ((a.ask("/nothing"), 404), (a.ask("/v1/status", "POST", body=b""), 405), (a.ask("/v1/drain"), 405)):
        assert r.status == status
        valid(json.loads(r.body), {"$ref": "#/$defs/error"})


# ---- who may what (P7) ----

def test_P7_no_get_changes_state(make_admin, origin):
    a = make_admin()
    for target in ("/v1/drain", "/v1/drain?id=" + origin.address, "/v1/undrain"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            r = a.ask(target, method, [("X-Coxswain", "1")])
            assert r.status == 405 and r.get("allow") == "POST"
    assert not any(e["drained"] for c in a.json("/v1/status")["clusters"] for e in c["endpoints"])


def test_P7_a_foreign_page_cannot_post(make_admin, origin):
    a = make_admin()
    assert a.change("drain", origin.address, headers=[("Origin", "http://evil.test"), ("Content-Type", "text/plain")]).status == 403
    r = a.ask("/v1/drain", "OPTIONS", [("Origin", "http://evil.test"), ("Access-Control-Request-Headers", "x-coxswain")])
    assert r.status == 405 and not [n for n, _ in r.headers if n.lower().startswith("access-control")]
    assert not any(e["drained"] for c in a.json("/v1/status")["clusters"] for e in c["endpoints"])


def test_drain_and_undrain(make_admin, origin):
    a = make_admin()

    def web():
        return {e["id"]: e for c in a.json("/v1/status")["clusters"] if c["id"] == "web" for e in c["endpoints"]}[origin.address]

    assert a.change("drain", origin.address).status == 200
    poll(lambda: web()["service"] == "draining" and web()["drained"], 5, "draining")
    events = a.json("/v1/events")["events"]
    assert any(e["subject"] == "web " + origin.address and "draining" in e["text"] for e in events), events
    assert a.change("undrain", origin.address).status == 200
    poll(lambda: web()["service"] == "on", 5, "serving again")
    r = a.change("drain", "nobody")
    assert r.status == 409 and "nobody" in json.loads(r.body)["error"]["message"]
    for body in (b"", b"{", b"[]", b'{"id": 5}', b'{"id": "a b"}', b'{"id": "a\\nstop"}', b'{"id": ""}'):
        assert a.ask("/v1/drain", "POST", [("X-Coxswain", "1")], body=body).status == 400, body


def test_P7_names_that_point_here_are_refused(make_admin):
    a = make_admin()
    for host in ("evil.test", "127.0.0.1.evil.test:80", "localhost.evil.test"):
        assert a.ask("/v1/status", host=host).status == 421
    for host in ("localhost", "localhost:%d" % a.port, "127.0.0.1:%d" % a.port, "[::1]:80"):
        assert a.ask("/v1/status", host=host).status == 200


def test_P7_token(make_admin):
    a = make_admin(token=TOKEN)
    assert a.ask("/v1/status", host="ops.example.com").status == 200
    assert a.ask("/metrics").status == 200
    for token in (None, TOKEN[:-1], TOKEN + "x", "x" * len(TOKEN), " "):
        b = Admin(a.door, a.port, token)
        r = b.ask("/v1/status")
        assert r.status == 401 and r.get("www-authenticate").startswith("Bearer"), token
        assert b.ask("/metrics").status == 401
        assert b.change("drain", "x").status == 401
        assert b.ask("/").status == 200  # holds nothing but itself
    assert TOKEN not in a.door.log()


def check_config(door):
    door.write()
    return subprocess.run([COXSWAIN, "-t", "-c", door.file], capture_output=True, text=True)


def test_P7_config_must_be_safe(make_door, tmp_path):
    short = tmp_path / "short"
    short.write_text("secret\n")
    for admin, what in (({"address": "0.0.0.0:9090"}, "token_file"), ({"address": "[::]:9090"}, "token_file"),
                        ({"address": "10.0.0.1:9090"}, "token_file"), ({"token_file": str(short)}, "without an address"),
                        ({"address": "127.0.0.1:9090", "token_file": str(short)}, "at least"),
                        ({"address": "127.0.0.1:9090", "token_file": str(tmp_path / "none")}, "none"), ({"address": "here"}, "address")):
        done = check_config(make_door(start=False, admin=admin))
        assert done.returncode == 2, (admin, done)
        assert what in done.stderr + done.stdout or what == "at least", (admin, done.stderr)
    door = make_door(start=False)
    door.config["admin"] = {"address": door.config["listeners"][0]["address"]}
    assert check_config(door).returncode == 2


def test_P7_socket_file_is_its_owners(make_door, tmp_path):
    path = str(tmp_path / "a.sock")
    make_door(admin={"address": "unix:" + path})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(build("GET", "/v1/status", headers=[("Connection", "close")]))
        data = b""
        while True:
            more = s.recv(65536)
            if not more:
                break
            data += more
    assert data.startswith(b"HTTP/1.1 200 ")


# ---- limits ----

def test_requests_beyond_the_limits(make_admin):
    a = make_admin()
    with Client(a.port) as c:
        c.send(b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert c.response().status == 414 and c.closed()
    with Client(a.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
        assert c.response().status == 431 and c.closed()
    assert a.ask("/v1/drain", "POST", [("X-Coxswain", "1")], body=b"x" * 4097).status == 413
    assert a.ask("/v1/drain", "POST", [("X-Coxswain", "1")], body=b"x" * 4096).status == 400
    for raw, status in ((b"POST /v1/drain HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411), (b"nonsense\r\n\r\n", 400),
                        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400)):
        with Client(a.port) as c:
            c.send(raw)
            assert c.response().status == status and c.closed(), raw


def test_keep_alive_and_pipelining(make_admin):
    a = make_admin()
    with Client(a.port) as c:
        c.send(build("GET", "/v1/members", host=LOCAL) * 40 + build("HEAD", "/metrics", host=LOCAL) + build("GET", "/nothing", host=LOCAL))
        for i in range(40):
            assert c.response().status == 200
        assert c.response("HEAD").status == 200
        assert c.response().status == 404


def test_idle_connections_make_room(make_admin):
    a = make_admin()
    idle = [Client(a.port) for i in range(70)]
    try:
        assert a.ask("/v1/status").status == 200
        poll(lambda: idle[0].closed(0.1), 5, "the oldest idle connection closed")
    finally:
        for c in idle:
            c.close()


@pytest.mark.guard(40)
def test_half_a_head_is_not_waited_for(make_admin):
    a = make_admin()
    with Client(a.port, timeout=20) as c:
        c.send(b"GET / HTTP/1.1\r\nHost:")
        assert c.closed(15)


# ---- life ----

def test_connections_wait_for_a_new_orchestrator(make_admin):
    a = make_admin()
    fetch(a.door.port)
    a.door.kill("orchestrator")
    assert a.ask("/v1/status").status == 200  # sent while there is none, or to the next one
    assert sum(v for k, v in a.values().items() if k.startswith("coxswain_cluster_arrivals_total")) == 1


def test_reload_moves_the_listener(make_admin):
    a = make_admin()
    old, a.port = a.port, free_port()
    a.door.config["admin"]["address"] = "%s:%d" % (LOCAL, a.port)
    assert a.door.reload().returncode == 0
    assert a.ask("/v1/status").status == 200
    with pytest.raises(OSError):
        fetch(old)
    del a.door.config["admin"]
    assert a.door.reload().returncode == 0
    with pytest.raises(OSError):
        fetch(a.port)


def test_upgrade_keeps_the_listener(make_admin):
    a = make_admin()
    assert a.door.ctl("upgrade", timeout=30).returncode == 0
    a.door.accept_restart()
    assert a.ask("/v1/status").status == 200


# ---- probes of a listener ----

def test_probes_are_answered_by_the_proxy(make_door, origin):
    d = make_door(listeners={"web": {"probes": True}, "plain": {}}, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    for target in ("/healthz", "/readyz", "//healthz"):
        r = fetch(d.ports["web"], target=target)
        assert r.status == 200 and r.body == b"ok\n"
        assert fetch(d.ports["web"], "HEAD", target).status == 200
    assert not origin.requests and d.cluster("web")["requests"] == 0
    assert fetch(d.ports["plain"], target="/healthz").status == 200 and len(origin.requests) == 1
    assert fetch(d.ports["web"], "POST", "/healthz", body=b"x").status == 200 and len(origin.requests) == 2  # the application's


def test_readyz_fails_first(make_door, origin):
    d = make_door(listeners={"web": {"probes": True}}, clusters=[cluster("web", origin.address)], routes=[route("*", "web")], shutdown_delay="2s")
    assert d.reload().returncode == 0
    assert fetch(d.port, target="/readyz").status == 200
    d.process.terminate()
    poll(lambda: fetch(d.port, target="/readyz").status == 503, 1.8, "not ready")
    assert fetch(d.port).status == 200 and fetch(d.port, target="/healthz").status == 200
    assert d.process.wait(10 * SLOW) == 0
    Door.living.remove(d)


# ---- the live page ----

def test_page_is_self_contained(make_admin):
    a = make_admin()
    one, two = a.ask("/"), a.ask("/")
    policy = one.get("content-security-policy")
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy).group(1)
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    page = one.body.decode()
    assert page.count('nonce="%s"' % nonce) == 2 and "@NONCE@" not in page
    assert nonce not in two.get("content-security-policy"), "a nonce is used once"
    assert not re.search(r"\son[a-z]+\s*=|style=|innerHTML|outerHTML|document\.write|insertAdjacent|eval\(|javascript:", page)
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:,)", page)
    assert [u for u in re.findall(r"https?://[^\"' ]+", page) if u != "http://www.w3.org/2000/svg"] == []


@pytest.mark.guard(90)
@pytest.mark.skipif(not find_browser(), reason="no Chromium")
def test_page_in_a_browser(make_admin, origin, tmp_path):
    evil = "/<img/src=x/onerror=document.title='pwned'>"
    a = make_admin(token=TOKEN, routes=[route("*", "web"), route("evil.test", "spare", evil)])
    browser = Browser(tmp_path / "profile", 390, 1500, dark=True)
    try:
        browser.open("http://127.0.0.1:%d/" % a.port)
        poll(lambda: browser.value("document.getElementById('token')?.classList.contains('shown')"), 10, "asks for the token")
        browser.complaints.clear()  # the 401 itself
        browser.value("document.getElementById('secret').value = %s; document.getElementById('use').click()" % json.dumps(TOKEN))
        poll(lambda: fetch(a.door.port).status and int(browser.value("document.body.dataset.turns || '0'")) >= 3, 20, "live numbers")
        text = browser.value("document.body.innerText")
        assert "web" in text and origin.address in text and "first topology" in text
        assert "r=document.title='pwned'>" in browser.value("document.getElementById('picture').textContent")
        assert browser.value("document.title") == "coxswain" and browser.value("document.images.length") == 0
        assert browser.value("document.querySelectorAll('#clusters .card').length") == 2
        assert browser.value("document.querySelectorAll('#clusters path.l').length") > 4
        assert browser.value("document.documentElement.scrollWidth") <= 390, "wider than a phone"
        # Two clicks drain an endpoint.
        button = "[...document.querySelectorAll('#endpoints tr')].find(r => r.innerText.includes(%s)).querySelector('button')" % json.dumps(origin.address)
        browser.value(button + ".click()")
        browser.value(button + ".click()")
        poll(lambda: "undrain" in browser.value(button + ".textContent"), 10, "drained")
        assert [c for c in browser.complaints if "401" not in c] == []
        browser.picture(str(tmp_path / "page.png"))
    finally:
        browser.close()


# ---- coxctl ----

def test_top_without_a_terminal(make_admin):
    a = make_admin()
    out = a.door.ctl("top").stdout.decode()
    assert "REQ/S" in out and "web" in out and "\x1b" not in out
    assert a.door.ctl("-s", "/nowhere/c.sock", "top", check=False).returncode == 2


def test_top_in_a_terminal(make_admin):
    a = make_admin()
    master, slave = pty.openpty()
    process = subprocess.Popen([COXCTL, "-s", a.door.control, "top"], stdin=slave, stdout=slave, stderr=slave, env=dict(a.door.environment(), TERM="xterm"))
    os.close(slave)
    out = b""
    while out.count(b"REQ/S") < 4:  # two headings each: the second refresh
        out += os.read(master, 65536)
    os.write(master, b"q")
    while True:
        try:
            more = os.read(master, 65536)
        except OSError:
            break
        if not more:
            break
        out += more
    assert process.wait(5) == 0
    os.close(master)
    assert out.startswith(b"\x1b[?1049h") and out.rstrip().endswith(b"\x1b[?1049l")


def complete(line, folder):
    script = ('source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; read -ra COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=(""); '
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _coxctl; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", os.path.join(ROOT, "conf/coxctl.bash-completion"), line], capture_output=True, text=True,
                          env=dict(os.environ, PATH=folder + ":" + os.environ["PATH"]))
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_completion(make_admin, origin, tmp_path):
    a = make_admin()
    folder = str(tmp_path / "bin")
    os.makedirs(folder)
    os.symlink(COXCTL, os.path.join(folder, "coxctl"))
    assert complete("coxctl t", folder) == ["topology", "top"]
    assert "--socket" in complete("coxctl --s", folder)
    assert origin.address in complete("coxctl -s %s drain " % a.door.control, folder)
