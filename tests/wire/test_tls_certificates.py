"""Which certificate is shown to whom, tickets over reloads and upgrades, files that change, and clients' certificates."""

import base64
import hashlib
import os
import re
import ssl
import subprocess
import time

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, Client, build, fetch, poll
from harness.tls import Authority, TlsClient, fetch_tls, openssl


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """Signs the certificates of clients."""
    return Authority(tmp_path_factory.mktemp("users"), name="Users")


@pytest.fixture(scope="module")
def sites(ca):
    return {
        "first": ca.issue("first.test", "127.0.0.1"),
        "second": ca.issue("second.test", "also.test"),
        "wild": ca.issue("*.wild.test"),
        "rsa": ca.issue("both.test", kind="rsa"),
        "ec": ca.issue("both.test"),
        "named": ca.issue("other.test"),
    }


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, sites):
    certificates = [sites[n].config() for n in ("first", "second", "wild", "rsa", "ec")]
    certificates.append(sites["named"].config(hosts=["Named.test"]))
    d = Door(
        tmp_path_factory.mktemp("sites"),
        listeners={"web": {"tls": {"certificates": certificates}},
                   "strict": {"tls": {"certificates": certificates, "strict_sni": True}}},
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


def shown(port, ca, name, **kw):
    """The certificate that a client of this name gets, whether it would believe it or not."""
    ctx = ca.client_context(**kw)
    ctx.check_hostname = False
    with TlsClient(port, ctx, host=name) as c:
        return c.peer


@pytest.mark.parametrize("name, site", [
    ("first.test", "first"), ("second.test", "second"), ("ALSO.test", "second"), ("a.wild.test", "wild"),
    ("named.test", "named"), ("other.test", "first"), ("a.b.wild.test", "first"), ("wild.test", "first"),
    ("unknown.test", "first"), (None, "first"),
])
def test_sni(door, ca, sites, name, site):
    assert shown(door.port, ca, name) == sites[site].der


def test_rsa_and_ecdsa_side_by_side(door, ca, sites):
    assert shown(door.port, ca, "both.test") == sites["ec"].der
    assert shown(door.port, ca, "both.test", version="1.2", ciphers="ECDHE+aRSA") == sites["rsa"].der
    assert shown(door.port, ca, "both.test", version="1.2", ciphers="ECDHE+aECDSA") == sites["ec"].der


def test_strict_sni(door, ca, sites):
    port = door.ports["strict"]
    assert shown(port, ca, "second.test") == sites["second"].der
    for name in ("unknown.test", None):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            shown(port, ca, name)


def test_malformed_names_are_refused(door, ca):
    """The rules of DNS, and one name alone (RFC 6066 3)."""
    for name in (b"a\0b.test", b"", b"a" * 256, b"*.wild.test", b"two words"):
        entry = b"\0" + len(name).to_bytes(2, "big") + name
        ext = len(entry).to_bytes(2, "big") + entry
        with Client(door.port) as c:
            c.send(hello(b"\0\0" + len(ext).to_bytes(2, "big") + ext))
            data = c.rest()
        assert data[:1] == b"\x15", (name, data)  # an alert and nothing else


def hello(extensions):
    """A client hello of TLS 1.2 with these extensions."""
    ciphers = bytes.fromhex("c02bc02fc02cc030")
    more = bytes.fromhex("000a00040002001d" "000b00020100" "000d000a0008040308040401" "0503")
    body = b"\3\3" + b"r" * 32 + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    body += len(more + extensions).to_bytes(2, "big") + more + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


# tickets


def resume(port, ctx, host="web.test", **kw):
    """(session to come back with, whether this one was)"""
    with TlsClient(port, ctx, host=host, **kw) as c:
        c.send(build(host=host))
        assert c.response().status == 200
        return c.sock.session, c.sock.session_reused


@pytest.fixture
def ticket_door(make_door, origin, ca):
    def make(tls=None, **kw):
        return make_door(listeners={"web": {"tls": {"certificates": [ca.issue("web.test").config()], **(tls or {})}}},
                         clusters=[cluster("web", origin.address)], routes=[route("*", "web")], **kw)

    return make


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tickets_are_good_at_every_worker(ticket_door, ca, version):
    door = ticket_door()
    ctx = ca.client_context(version=version)
    session, reused = resume(door.port, ctx)
    assert not reused
    for _ in range(12):  # of two workers
        session, reused = resume(door.port, ctx, session=session)
        assert reused


@pytest.mark.guard(60)
def test_tickets_are_good_after_a_reload_and_an_upgrade(ticket_door, ca):
    door = ticket_door()
    ctx = ca.client_context()
    session, _ = resume(door.port, ctx)
    assert door.reload().returncode == 0
    session, reused = resume(door.port, ctx, session=session)
    assert reused
    assert door.ctl("upgrade", timeout=20).returncode == 0
    door.accept_restart()
    _, reused = resume(door.port, ctx, session=session)
    assert reused


def test_a_ticket_of_tls13_that_came_back_brings_another(ticket_door, ca):
    """Clients use each once: without another one they would be out of tickets soon."""
    door = ticket_door()
    ctx = ca.client_context(version="1.3")
    session, _ = resume(door.port, ctx)
    another, reused = resume(door.port, ctx, session=session)
    assert reused and another != session
    _, reused = resume(door.port, ctx, session=another)
    assert reused


def test_tickets_are_renewed_when_they_are_aged(ticket_door, ca):
    """For clients that use one again and again: another comes when half of its time is over."""
    ctx = ca.client_context(version="1.3")
    young = ticket_door(tls={"ticket_renewal": "aged"})
    session, _ = resume(young.port, ctx)
    for _ in range(3):
        again, reused = resume(young.port, ctx, session=session)
        assert reused and again == session
    old = ticket_door(tls={"ticket_renewal": "aged"}, ticket_rotation="4s")
    session, _ = resume(old.port, ctx)

    def is_renewed():
        again, reused = resume(old.port, ctx, session=session)
        assert reused, "it was not renewed while it was good"
        return again != session

    poll(is_renewed, 8, "another ticket")


def test_ticket_keys_rotate(ticket_door, ca):
    """A ticket outlives one rotation and not two or three."""
    door = ticket_door(ticket_rotation="1s")
    ctx = ca.client_context(version="1.2")
    session, _ = resume(door.port, ctx)
    time.sleep(3.2)
    _, reused = resume(door.port, ctx, session=session)
    assert not reused


def test_no_tickets(make_door, origin, ca):
    door = make_door(listeners={"web": {"tls": {"certificates": [ca.issue("web.test").config()], "tickets": 0}}},
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    for version in ("1.2", "1.3"):
        ctx = ca.client_context(version=version)
        session, _ = resume(door.port, ctx)
        _, reused = resume(door.port, ctx, session=session)
        assert not reused


# files that change


@pytest.fixture
def changing(make_door, origin, ca):
    """A door whose certificate is about to be replaced, looked at often."""
    pair = ca.issue("web.test")
    door = make_door(listeners={"web": {"tls": {"certificates": [pair.config()]}}}, tls_check_interval="50ms",
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    return door, pair


def test_renewed_files_are_taken_up(changing, ca, origin):
    door, pair = changing
    ctx = ca.client_context()
    with TlsClient(door.port, ctx) as old:
        fresh = ca.issue("web.test")
        pair.replace(fresh)
        poll(lambda: shown(door.port, ca, "web.test") == fresh.der, 10, "the renewed certificate")
        old.send(build())
        assert old.response().status == 200  # connections go on
    assert all(shown(door.port, ca, "web.test") == fresh.der for _ in range(8))


def test_a_broken_pair_keeps_the_old_one_and_says_so(changing, ca):
    door, pair = changing
    before = pair.der
    with open(pair.key, "w") as f:
        f.write("no key at all\n")
    poll(lambda: "former certificates stay in use" in door.log(), 10, "a line in the log")
    assert pair.key in door.log()
    assert shown(door.port, ca, "web.test") == before
    fresh = ca.issue("web.test")
    pair.replace(fresh)
    poll(lambda: shown(door.port, ca, "web.test") == fresh.der, 10, "the repaired pair")


def test_a_key_of_another_certificate(changing, ca):
    door, pair = changing
    before = pair.der
    with open(ca.issue("web.test").key) as f, open(pair.key + ".new", "w") as to:
        to.write(f.read())
    os.replace(pair.key + ".new", pair.key)
    poll(lambda: "does not belong to the certificate" in door.log(), 10, "a line in the log")
    assert shown(door.port, ca, "web.test") == before


def test_a_missing_file_changes_nothing(changing, ca):
    door, pair = changing
    os.rename(pair.cert, pair.cert + ".away")
    poll(lambda: "the former ones stay in use" in door.log(), 10, "a line in the log")
    with open(pair.cert + ".away") as f:
        before = ssl.PEM_cert_to_DER_cert(f.read())
    assert shown(door.port, ca, "web.test") == before


def refused(door):
    with pytest.raises(AssertionError):
        door.start()
    door.process.wait(5)
    code, log = door.process.returncode, door.log()
    Door.living.remove(door) if door in Door.living else None
    door.process = None
    return code, log


def test_config_errors_are_all_said(make_door, ca):
    a, b = ca.issue("a.test"), ca.issue("b.test")
    code, log = refused(make_door(start=False, listeners={
        "one": {"tls": {"certificates": [{"cert": a.cert, "key": b.key}, {"cert": "/not/there.pem"}]}},
    }))
    assert code == 2 and "/not/there.pem" in log and re.search(r"coxswain\.cfg:\d+: cannot read", log)
    code, log = refused(make_door(start=False, listeners={
        "one": {"tls": {"certificates": [{"cert": a.cert, "key": b.key}, {"cert": b.key}]}},
        "two": {"tls": {"certificates": [a.config()], "ciphers": "NONSENSE"}},
    }))
    assert code == 2 and "does not belong" in log and "no certificate" in log and "ciphers" in log
    code, log = refused(make_door(start=False, listeners={
        "one": {"tls": {"certificates": [a.config(client_auth={"mode": "required"})], "min_version": "1.3",
                        "max_version": "1.2", "alpn": ["spdy"]}},
        "two": {"tls": {"certificates": []}},
    }))
    assert code == 2
    for text in ("client_auth needs a ca", "min_version is above", "spdy", "tls of a listener needs certificates"):
        assert text in log, log


# stapling


def ocsp_answer(ca, pair, serial, to):
    index = to.with_suffix(".index")
    index.write_text("V\t%sZ\t\t%X\tunknown\t/CN=web.test\n" % (time.strftime("%y%m%d%H%M%S", time.gmtime(time.time() + 86400)), serial))
    openssl("ocsp", "-index", str(index), "-rsigner", ca.cert, "-rkey", ca.pair.key, "-CA", ca.cert, "-issuer", ca.cert,
            "-cert", pair.cert, "-respout", str(to) + ".new", "-ndays", "1")
    os.replace(str(to) + ".new", to)
    return to


def test_ocsp_answer_is_stapled(make_door, origin, ca, tmp_path):
    pair = ca.issue("web.test", serial=4242)
    answer = ocsp_answer(ca, pair, 4242, tmp_path / "answer.der")
    door = make_door(listeners={"web": {"tls": {"certificates": [pair.config(ocsp=str(answer))]}}},
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    for version in ("-tls1_2", "-tls1_3"):
        out = s_client(door.port, "-status", "-servername", "web.test", version)
        assert "OCSP Response Status: successful" in out and "Cert Status: good" in out
    with open(pair.cert) as f:
        text = f.read()
    answer.write_text(text)  # no OCSP answer
    code, log = refused(make_door(start=False, listeners={"web": {"tls": {"certificates": [pair.config(ocsp=str(answer))]}}}))
    assert code == 2 and "no good OCSP answer" in log


def test_ocsp_answer_for_another_certificate(make_door, origin, ca, tmp_path):
    """An error at start. When a pair is renewed before its answer is, the new pair is shown and nothing is stapled."""
    pair, fresh = ca.issue("web.test", serial=0x5151), ca.issue("web.test", serial=0x6262)
    answer = ocsp_answer(ca, pair, 0x5151, tmp_path / "answer.der")
    code, log = refused(make_door(start=False, listeners={"web": {"tls": {"certificates": [fresh.config(ocsp=str(answer))]}}}))
    assert code == 2 and "OCSP answer for another certificate" in log
    door = make_door(listeners={"web": {"tls": {"certificates": [pair.config(ocsp=str(answer))]}}}, tls_check_interval="50ms",
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])

    def stapled():
        out = s_client(door.port, "-status", "-servername", "web.test", "-tls1_3")
        return "6262" if "Serial Number: 6262" in out else "5151" if "Serial Number: 5151" in out else None

    assert stapled() == "5151"
    pair.replace(fresh)
    poll(lambda: shown(door.port, ca, "web.test") == fresh.der, 10, "the renewed certificate")
    assert stapled() is None and "OCSP answer for another certificate" in door.log()
    ocsp_answer(ca, fresh, 0x6262, answer)
    poll(lambda: stapled() == "6262", 10, "the renewed answer")


def s_client(port, *args, say=b"", seconds=10.0):
    """What openssl s_client prints; `say` goes to its input, line by line, then it is closed."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, *args], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = p.communicate(say, timeout=seconds * SLOW)
    except subprocess.TimeoutExpired:
        p.kill()
        out, _ = p.communicate()
        raise AssertionError("s_client still runs; it said %r" % out[-500:])
    return out.decode("utf-8", "replace")


def talk(port, lines, *args):
    """Types lines into s_client, a little apart as it wants them, and says whether the peer hung up on it."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, *args], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for line in lines:
            try:
                p.stdin.write(line)
                p.stdin.flush()
            except BrokenPipeError:
                break
            try:
                p.wait(0.05)  # s_client takes what it finds in its input as one command
                return True
            except subprocess.TimeoutExpired:
                pass
        try:
            p.wait(1.0 * SLOW)
            return True
        except subprocess.TimeoutExpired:
            return False
    finally:
        p.kill()
        p.wait()


def test_H33_key_updates_are_bounded(make_door, origin, ca):
    door = make_door(listeners={"web": {"tls": {"certificates": [ca.issue("web.test").config()], "max_key_updates": 3}}},
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    assert not talk(door.port, [b"K\n"] * 3, "-tls1_3")
    assert talk(door.port, [b"K\n"] * 60, "-tls1_3")


def test_H33_renegotiation_ends_the_connection(door):
    assert not talk(door.port, [], "-tls1_2")
    assert talk(door.port, [b"R\n"], "-tls1_2")


# clients' certificates


@pytest.fixture(scope="module")
def alice(users):
    return users.issue(name='Alice "A", Öl')


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, origin, ca, users):
    """One listener with a site that demands certificates beside one that does not, one that asks, and a plain one."""
    need = {"mode": "required", "ca": users.cert}
    d = Door(
        tmp_path_factory.mktemp("mutual"),
        listeners={
            "mixed": {"tls": {"certificates": [ca.issue("open.test").config(),
                                               ca.issue("closed.test").config(client_auth=need),
                                               ca.issue("*.wild.test").config(client_auth=need),
                                               ca.issue("*.free.wild.test").config(client_auth={"mode": "off"})]}},
            "asking": {"tls": {"certificates": [ca.issue("open.test").config()],
                               "client_auth": {"mode": "optional", "ca": users.cert}}},
            "plain": {},
            "trusting": {"trusted": ["127.0.0.0/8"]},
        },
        client_cert_fields={"cert": "Client-Cert", "serial": ""},
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


def test_required(mutual, origin, ca, users, alice):
    port = mutual.ports["mixed"]
    assert fetch_tls(port, ca.client_context(alice), host="closed.test").status == 200
    r = origin.one()
    assert r.get("x-client-cert-verify") == "SUCCESS"
    assert r.get("x-client-cert-subject") == 'CN=Alice \\"A\\"\\, \\C3\\96l'
    assert r.get("x-client-cert-issuer") == "CN=Users"
    der = alice.der
    assert r.get("x-client-cert-fingerprint") == hashlib.sha256(der).hexdigest()
    assert r.get("client-cert") == ":" + base64.b64encode(der).decode() + ":"
    assert r.get("x-client-cert-serial") is None


def test_required_and_not_given(mutual, origin, ca, alice):
    stranger = ca.issue(name="stranger")
    for pair in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            fetch_tls(mutual.ports["mixed"], ca.client_context(pair, version="1.2"), host="closed.test")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            fetch_tls(mutual.ports["mixed"], ca.client_context(pair, version="1.3"), host="closed.test")
    assert not origin.requests


def test_optional(mutual, origin, ca, alice):
    port = mutual.ports["asking"]
    assert fetch_tls(port, ca.client_context(), host="open.test").status == 200
    assert origin.one().get("x-client-cert-verify") == "NONE"
    assert origin.one().get("x-client-cert-subject") is None
    with pytest.raises((ssl.SSLError, ConnectionError)):
        fetch_tls(port, ca.client_context(ca.issue(name="stranger")), host="open.test")


@pytest.mark.parametrize("name", ["mixed", "asking", "plain", "trusting"])
def test_identity_cannot_be_forged(mutual, origin, ca, name):
    forged = [("X-Client-Cert-Verify", "SUCCESS"), ("x-client_cert-SUBJECT", "CN=root"), ("Client_Cert", ":AA==:"),
              ("Client-Cert", ":AA==:"), ("X-Client-Cert-Fingerprint", "00")]
    if name in ("mixed", "asking"):
        r = fetch_tls(mutual.ports[name], ca.client_context(), host="open.test", headers=forged)
    else:
        r = fetch(mutual.ports[name], headers=forged)
    assert r.status == 200
    seen = [v for n, v in origin.one().headers if "cert" in n.lower()]
    assert seen == ([v for _, v in forged] if name == "trusting" else ["NONE"] if name == "asking" else [])


def test_identity_cannot_be_forged_in_trailers(mutual, origin, ca, alice):
    forged = [(b"X-Client-Cert-Verify", b"SUCCESS"), (b"x-client_cert-SUBJECT", b"CN=root"), (b"Client_Cert", b":AA==:"), (b"X-Sum", b"7")]
    raw = build("POST", host="open.test", headers=[("Transfer-Encoding", "chunked"), ("TE", "trailers")]) + b"0\r\n" + b"".join(
        b"%s: %s\r\n" % t for t in forged) + b"\r\n"
    with Client(mutual.ports["plain"]) as c:
        c.send(raw)
        assert c.response().status == 200
    assert origin.one().trailers == [("X-Sum", "7")]


def test_P6_host_under_another_rule_is_421(mutual, origin, ca, alice):
    """A handshake for the open site is no way into the closed one, on whatever connection."""
    port = mutual.ports["mixed"]
    for pair in (None, alice):
        r = fetch_tls(port, ca.client_context(pair), sni="open.test", host="closed.test")
        assert r.status == 421
    for host in ("CLOSED.test", "closed.test.", "closed.test:443"):
        ctx = ca.client_context()
        with TlsClient(port, ctx, host="open.test") as c:
            c.send(build(host=host))
            assert c.response().status == 421
    ctx = ca.client_context(alice)
    with TlsClient(port, ctx, host="closed.test") as c:
        c.send(build(host="open.test"))
        assert c.response().status == 421
    assert not origin.requests
    assert fetch_tls(port, ca.client_context(), sni="open.test", host="elsewhere.test").status == 200


def test_P6_a_rule_holds_for_all_names_below(mutual, origin, ca, alice):
    """Routes take "*.wild.test" for any number of labels; the certificate is for one, its client_auth is not."""
    port = mutual.ports["mixed"]
    for host in ("a.wild.test", "a.b.wild.test", "A.b.C.WILD.test.", "x.a.b.wild.test:443"):
        assert fetch_tls(port, ca.client_context(), sni="open.test", host=host).status == 421
    anyone, known = ca.client_context(), ca.client_context(alice)
    anyone.check_hostname = known.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError)):
        fetch_tls(port, anyone, host="a.b.wild.test")
    assert not origin.requests
    assert fetch_tls(port, known, host="a.b.wild.test").status == 200
    assert origin.one().get("x-client-cert-verify") == "SUCCESS"
    for host in ("wild.test", "a.free.wild.test", "a.b.free.wild.test"):
        assert fetch_tls(port, ca.client_context(), sni="open.test", host=host).status == 200


@pytest.mark.parametrize("new", [b"admin.example", b"admin\0example"], ids=["same-way", "nul"])
def test_P5_a_name_with_a_nul_is_refused(mutual, origin, ca, users, new):
    """A reader that stops at the NUL would take it for admin."""
    pair = users.issue_patched("adminXexample", b"adminXexample", new)
    ctx = ca.client_context(pair)
    if b"\0" in new:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            fetch_tls(mutual.ports["mixed"], ctx, host="closed.test")
        assert not origin.requests
    else:
        assert fetch_tls(mutual.ports["mixed"], ctx, host="closed.test").status == 200
        assert origin.one().get("x-client-cert-subject") == "CN=admin.example"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_P6_a_session_of_one_site_is_no_key_to_another(mutual, origin, ca, version):
    """Resumption must not carry a client past the certificate that the other name asks for (CVE-2025-23419)."""
    ctx = ca.client_context(version=version)
    ctx.check_hostname = False
    session, _ = resume(mutual.ports["mixed"], ctx, host="open.test")
    origin.forget()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resume(mutual.ports["mixed"], ctx, host="closed.test", session=session)
    assert not origin.requests


def test_resumed_session_keeps_its_identity(mutual, origin, ca, alice):
    ctx = ca.client_context(alice)
    session, _ = resume(mutual.ports["mixed"], ctx, host="closed.test")
    again, reused = resume(mutual.ports["mixed"], ctx, host="closed.test", session=session)
    assert reused
    assert again == session, "no further ticket: certificates are to be looked at again some day"
    assert [r.get("x-client-cert-issuer") for r in origin.requests] == ["CN=Users"] * 2


def test_revoked_certificates(make_door, origin, ca, users, tmp_path):
    """The list is looked at, and a new one is taken up."""
    good, bad = users.issue(name="good"), users.issue(name="bad", serial=777)

    def revoke(lines):
        (tmp_path / "db").write_text(lines)
        (tmp_path / "cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=1\n" % (tmp_path / "db"))
        openssl("ca", "-gencrl", "-config", str(tmp_path / "cnf"), "-cert", users.cert, "-keyfile", users.pair.key,
                "-out", str(tmp_path / "new.pem"))
        os.replace(tmp_path / "new.pem", tmp_path / "crl.pem")

    revoke("")
    door = make_door(listeners={"web": {"tls": {"certificates": [ca.issue("web.test").config()],
                                                "client_auth": {"mode": "required", "ca": users.cert, "crl": str(tmp_path / "crl.pem")}}}},
                     tls_check_interval="50ms", clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    assert fetch_tls(door.port, ca.client_context(bad)).status == 200

    def is_refused():
        try:
            fetch_tls(door.port, ca.client_context(bad))
            return False
        except (ssl.SSLError, ConnectionError):
            return True

    revoke("R\t491231235959Z\t%s\t0309\tunknown\t/CN=bad\n" % time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() - 60)))
    poll(is_refused, 10, "the revoked certificate to be refused")
    assert fetch_tls(door.port, ca.client_context(good)).status == 200


