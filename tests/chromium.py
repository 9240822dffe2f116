"""A real browser for tests: headless Chromium, driven through its debugging pipe. No port, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

TIMEOUT_S = 60
"""How long Chromium may take over one command, or a page over being drawn; far more than it needs."""


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    return next(filter(None, map(shutil.which, names)), mac if os.access(mac, os.X_OK) else None)


class Browser:
    """One Chromium process and its latest tab; `events` holds all that the tab reported since it was opened."""

    FLAGS = (
        "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync --disable-extensions "
        "--remote-debugging-pipe"
    )
    # Chromium reads commands at descriptor 3 and answers at 4; the parent's two ends lie above both.
    LAUNCH = (
        "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(c[0], c)"
    )

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self.commands = os.pipe()
        self.answers, theirs_out = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                self.LAUNCH,
                *map(str, high),
                program,
                *self.FLAGS.split(),
                f"--user-data-dir={profile}",
            ],
            pass_fds=high,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self.buffer = b""
        self.count = 0
        self.tab: str | None = None
        self.session: str | None = None
        self.events: list[dict] = []

    def close(self) -> None:
        """End Chromium."""
        try:
            self.send("Browser.close", own=False)
            self.process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def send(self, method: str, own: bool = True, **params: object) -> dict:
        """Call a DevTools method (of the open page if `own`), gathering events until its answer is there."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if own and self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                if not select.select([self.answers], [], [], TIMEOUT_S)[0]:
                    raise RuntimeError(f"Chromium did not answer {method} within {TIMEOUT_S} s")
                chunk = os.read(self.answers, 1 << 20)
                if not chunk:
                    raise RuntimeError(f"Chromium ended with status {self.process.wait()} during {method}")
                self.buffer += chunk
            line, _, self.buffer = self.buffer.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path | str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file or an address in a fresh tab and wait until its script has drawn it."""
        if self.tab:
            self.send("Target.closeTarget", own=False, targetId=self.tab)
        self.tab = self.send("Target.createTarget", own=False, url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", own=False, targetId=self.tab, flatten=True)
        self.session = attached["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        deadline = time.monotonic() + TIMEOUT_S
        while not self._drawn():
            waiting = time.monotonic() < deadline and not self.complaints()
            assert waiting, f"the page was not drawn: {self.complaints()}"
            time.sleep(0.05)

    def _drawn(self) -> bool:
        try:
            return bool(self.js("document.readyState === 'complete' && document.documentElement.dataset.ready"))
        except RuntimeError:  # between two documents there is none to ask
            return False

    def js(self, expression: str) -> object:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name: str) -> None:
        """Press and release a key by its name, e.g. `ArrowLeft`, `Enter`, `Tab`, or a letter."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9}
        codes |= {"Home": 36, "End": 35, " ": 32}
        code = codes.get(name, ord(name[0].upper()))
        typed = {"Enter": "\r", "Tab": ""}.get(name, name if len(name) == 1 else "")
        for kind in ("keyDown" if typed else "rawKeyDown", "keyUp"):
            text = {"text": typed} if typed and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text
            )

    def mouse(self, selector: str, across: float, kind: str = "mouseMoved", **params: object) -> None:
        """A mouse event at half the height and a share of the width of the first element that fits."""
        rect = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y, width, height = self.js(f"((r) => [r.x, r.y, r.width, r.height])({rect})")
        self.send("Input.dispatchMouseEvent", type=kind, x=x + across * width, y=y + height / 2, **params)

    def complaints(self) -> list[dict]:
        """Console messages, uncaught exceptions and refused loads since the page was opened."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event["params"] for event in self.events if event["method"] in names]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, `data:` apart."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in sent if not event["request"]["url"].startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def assert_silent(self, page: Path | str) -> None:
        """The page has neither complained nor asked for anything beside itself."""
        self.js("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        assert self.complaints() == []
        assert self.requests() == [page if isinstance(page, str) else page.resolve().as_uri()]
