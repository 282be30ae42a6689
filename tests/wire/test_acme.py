"""ACME made easy: HTTP-01 challenges (RFC 8555 8.3) from a folder or routed to the client's own server, with conf/acme.cfg as it
stands there; and a renewed certificate is what clients get from then on."""

import os
import re
import ssl
import socket
import subprocess

import pytest

from harness.door import COXSWAIN, ROOT, Door, cluster, route
from harness.net import SLOW, Client, build, fetch, free_port, poll

CHALLENGE = "/.well-known/acme-challenge/"
TOKEN = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
PROOF = TOKEN + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"


@pytest.fixture
def webroot(tmp_path):
    folder = tmp_path / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    for part in (tmp_path, tmp_path / "acme", tmp_path / "acme" / ".well-known", folder):
        os.chmod(part, 0o755)
    return tmp_path / "acme"


@pytest.fixture
def door(make_door, origin, webroot):
    return make_door(
        clusters=[{"name": "acme", "protocol": "files", "files": {"root": str(webroot), "index": ""}}, cluster("app", origin.address)],
        routes=[route("*", "acme", "/.well-known/acme-challenge"), route("*", "app"), route("shop.test", "app")],
    )


def put(webroot, token=TOKEN, proof=PROOF):
    (webroot / ".well-known" / "acme-challenge" / token).write_text(proof)


def test_challenge_is_served_from_the_folder(door, origin, webroot):
    """As an authority asks: plain HTTP, whatever the host; the file is not there before and not after."""
    assert fetch(door.port, target=CHALLENGE + TOKEN).status == 404
    put(webroot)
    for host in ("www.example.test", "other.test", "127.0.0.1"):
        r = fetch(door.port, target=CHALLENGE + TOKEN, host=host)
        assert r.status == 200 and r.body.decode() == PROOF
    os.unlink(webroot / ".well-known" / "acme-challenge" / TOKEN)
    assert fetch(door.port, target=CHALLENGE + TOKEN).status == 404
    assert origin.bytes == b""


def test_challenge_with_http_1_0_and_head(door, webroot):
    put(webroot)
    with Client(door.port) as c:
        c.send(("GET %s%s HTTP/1.0\r\nHost: www.example.test\r\n\r\n" % (CHALLENGE, TOKEN)).encode())
        assert c.response().body.decode() == PROOF
    with Client(door.port) as c:
        c.send(build("HEAD", CHALLENGE + TOKEN))
        assert c.response("HEAD").get("content-length") == str(len(PROOF))


def test_everything_else_is_the_applications(door, origin, webroot):
    put(webroot)
    for target in ("/", "/.well-known/security.txt", "/.well-known/acme-challenges/x"):
        assert fetch(door.port, target=target).body == b"ok"
    assert [r.target for r in origin.wait(3)] == ["/", "/.well-known/security.txt", "/.well-known/acme-challenges/x"]


@pytest.mark.parametrize("target", ["", "..", "../../secret", "%2e%2e/%2e%2e/secret", "..%2f..%2fsecret", ".hidden", "x/../../../secret"])
def test_nothing_beyond_the_folder(door, origin, webroot, target):
    (webroot / "secret").write_text("no")
    (webroot / ".well-known" / "acme-challenge" / ".hidden").write_text("no")
    r = fetch(door.port, target=CHALLENGE + target)
    assert r.body != b"no" and (r.status in (400, 403, 404) or r.body == b"ok")


def test_a_host_of_its_own_needs_the_line_again(door, origin, webroot):
    """What conf/acme.cfg says about hosts: the most exact host decides first."""
    put(webroot)
    assert fetch(door.port, target=CHALLENGE + TOKEN, host="shop.test").body == b"ok"
    door.config["routes"].append(route("shop.test", "acme", "/.well-known/acme-challenge"))
    assert door.reload().returncode == 0
    assert fetch(door.port, target=CHALLENGE + TOKEN, host="shop.test").body.decode() == PROOF


def test_challenge_routed_to_the_clients_own_server(make_door, make_origin, origin):
    own = make_origin()
    door = make_door(clusters=[cluster("acme", own.address), cluster("app", origin.address)],
                     routes=[route("*", "acme", "/.well-known/acme-challenge"), route("*", "app")])
    assert fetch(door.port, target=CHALLENGE + TOKEN).status == 200
    assert own.one().target == CHALLENGE + TOKEN and origin.bytes == b""
    own.stop()
    assert fetch(door.port, target=CHALLENGE + TOKEN).status == 502  # nobody asks now
    assert fetch(door.port, target="/").status == 200


# ---- renewal ----

def make_pair(folder, serial, host="www.example.test"):
    cert, key = str(folder / "fullchain.pem"), str(folder / "privkey.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7",
                    "-set_serial", str(serial), "-subj", "/CN=" + host, "-addext", "subjectAltName=DNS:" + host, "-keyout", key + ".new",
                    "-out", cert + ".new"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.replace(key + ".new", key)
    os.replace(cert + ".new", cert)
    return cert, key


def serial_of(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW) as s, context.wrap_socket(s, server_hostname="www.example.test") as t:
        text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-serial"], input=t.getpeercert(True), stdout=subprocess.PIPE, check=True).stdout
    return int(text.decode().strip().split("=")[1], 16)


@pytest.mark.parametrize("hook", [False, True], ids=["by-itself", "by-hook"])
def test_renewed_certificate_is_picked_up(make_door, origin, webroot, tmp_path, hook):
    """The whole round: a challenge over port 80, new files in place of the old ones, perhaps the hook, the new certificate; a
    client that was connected all the time notices nothing."""
    cert, key = make_pair(tmp_path, 1)
    door = make_door(
        listeners={"web": {}, "tls": {"tls": {"certificates": [{"cert": cert, "key": key}]}}},
        clusters=[{"name": "acme", "protocol": "files", "files": {"root": str(webroot), "index": ""}}, cluster("app", origin.address)],
        routes=[route("*", "acme", "/.well-known/acme-challenge"), route("*", "app")],
    )
    assert serial_of(door.ports["tls"]) == 1
    with Client(door.ports["web"]) as kept:
        kept.send(build())
        assert kept.response().status == 200
        put(webroot)
        assert fetch(door.ports["web"], target=CHALLENGE + TOKEN).body.decode() == PROOF
        make_pair(tmp_path, 2)
        if hook:
            assert door.ctl("reload").returncode == 0
            door.accept_restart()
        poll(lambda: serial_of(door.ports["tls"]) == 2, 20, "the new certificate")
        kept.send(build())
        assert kept.response().status == 200


# ---- the example ----

def test_example_config_is_right(tmp_path, webroot):
    """conf/acme.cfg with folders of ours: accepted, and it says what this page tests."""
    with open(os.path.join(ROOT, "conf", "acme.cfg")) as f:
        text = f.read()
    make_pair(tmp_path, 1)
    text = text.replace("/etc/letsencrypt/live/www.example.com", str(tmp_path)).replace("/var/lib/coxswain/acme", str(webroot))
    text = re.sub(r':(80|443)"', lambda m: ':%d"' % free_port(), text)
    file = tmp_path / "acme.cfg"
    file.write_text(text)
    done = subprocess.run([COXSWAIN, "-t", "-c", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert done.returncode == 0, done.stdout.decode()
    assert 'path = "/.well-known/acme-challenge"' in text
