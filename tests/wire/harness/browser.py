"""A headless Chromium, driven over its debugging pipe: messages are JSON with a NUL behind each, so no library is needed."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

from .net import SLOW

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    return next((p for p in map(shutil.which, NAMES) if p), None)


class Browser:
    """One page. `complaints` collects what the page threw and what its policy refused."""

    def __init__(self, folder, width=1280, height=1400, dark=False):
        to_child, self.out = os.pipe()
        self.inp, from_child = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--no-first-run",
                 "--disable-dev-shm-usage", "--user-data-dir=" + str(folder), "--window-size=%d,%d" % (width, height)]

        def place():  # the browser reads descriptor 3 and writes 4
            a, b = os.dup(to_child), os.dup(from_child)
            a, b = os.dup2(a, 20), os.dup2(b, 21)
            os.dup2(a, 3, inheritable=True)
            os.dup2(b, 4, inheritable=True)

        self.process = subprocess.Popen([find_browser(), *flags, "about:blank"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=place, close_fds=False)
        os.close(to_child)
        os.close(from_child)
        self.data, self.number, self.complaints, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.ask(domain + ".enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        if dark:
            self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def read(self, seconds):
        end = time.monotonic() + seconds * SLOW
        while b"\0" not in self.data:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.inp], [], [], left)[0], "the browser does not answer"
            more = os.read(self.inp, 1 << 20)
            assert more, "the browser ended"
            self.data += more
        one, _, self.data = self.data.partition(b"\0")
        return json.loads(one)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        while True:
            answer = self.read(30)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.note(answer)

    def note(self, event):
        kind, params = event.get("method", ""), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def open(self, url):
        self.ask("Page.navigate", url=url)

    def value(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self.session = None
        try:
            self.ask("Browser.close")
            self.process.wait(5 * SLOW)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.inp)
        os.close(self.out)
