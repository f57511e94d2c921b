"""A headless Chromium that reaches this machine alone, spoken to over a pipe in its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ has the methods and events.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--window-size=1400,900",
    "--remote-debugging-pipe",
]
TIMEOUT = 60.0


def chromium_path() -> str:
    """Where Chromium is. Without one the test is skipped, except in CI, where it fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "No Chromium is installed (on Debian: apt install chromium)."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return path


class NotEvaluated(AssertionError):
    """A JavaScript expression threw, or the page was left while it was evaluated."""


class Tab:
    """One page and everything that it asked the network for.

    :ivar responses: status by URL, of what was answered
    :ivar failures: what was not answered, and why
    :ivar complaints: uncaught exceptions, and what the browser logged as an error, such as what the policy forbids
    """

    def __init__(self, requests_end: int, events_end: int) -> None:
        self._requests_end = requests_end
        self._events_end = events_end
        self._session: str | None = None
        self._sent = 0
        self._received = b""
        self._urls: dict[str, str] = {}
        self.responses: list[tuple[str, int]] = []
        self.failures: list[str] = []
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression evaluates to in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise NotEvaluated(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until a JavaScript expression is true; of a page that is not there yet it may ask for anything."""
        deadline = time.monotonic() + TIMEOUT
        fault: NotEvaluated | None = None
        while True:
            try:
                if self.value(expression):
                    return
                fault = None
            except NotEvaluated as error:
                fault = error
            assert time.monotonic() < deadline, (expression, fault, self.failures, self.complaints, self.text())
            time.sleep(0.1)

    def text(self) -> str:
        return self.value("document.body ? document.body.innerText : ''")

    def click(self, selector: str) -> None:
        """The middle of the first element that matches and can be seen."""
        box = self.value(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(element => element.getBoundingClientRect())"
            ".filter(({x, y, width, height}) => x >= 0 && y >= 0 && width && height)"
            ".map(({x, y, width, height}) => ({x: x + width / 2, y: y + height / 2}))[0]"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)

    def type(self, text: str) -> None:
        """Into whatever has the focus, at once, as if pasted."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """A key, by its name and its Windows code: ``("Tab", 9)``, ``("Enter", 13)``."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def look_like(self, *, width: int, height: int, dark: bool = False) -> None:
        """A screen of this size, of someone who likes pages dark or light."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def run_before_each_page(self, script: str) -> None:
        """JavaScript that runs in each page that is opened from now on, before its own."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def set_cookie(self, name: str, value: str, url: str) -> None:
        """A cookie that no script can read, for the site of ``url``."""
        self._call("Network.setCookie", name=name, value=value, url=url, httpOnly=True)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._requests_end, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT
        while True:
            received = self._receive(deadline)
            if received.get("id") == self._sent:
                if method == "Runtime.evaluate" and "error" in received:
                    raise NotEvaluated(received["error"])
                assert "error" not in received, (method, received["error"])
                return received["result"]
            self._note(received.get("method"), received.get("params", {}))

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            readable, _, _ = select.select([self._events_end], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, "Chromium does not answer."
            received = os.read(self._events_end, 1 << 20)
            assert received, "Chromium has ended."
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _note(self, event: str | None, parameters: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self._urls[parameters["requestId"]] = parameters["request"]["url"]
            case "Network.responseReceived":
                response = parameters["response"]
                self.responses.append((response["url"], response["status"]))
            case "Network.loadingFailed":
                url = self._urls.get(parameters["requestId"], "(unknown)")
                self.failures.append(f"{url}: {parameters['errorText']} {parameters.get('blockedReason', '')}")
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
            case _:
                pass


@contextmanager
def browser_tab(directory: Path) -> Iterator[Tab]:
    """A fresh Chromium with its profile and its log in ``directory``."""
    path = chromium_path()
    requests_read, requests_write = os.pipe()
    events_read, events_write = os.pipe()
    # Chromium reads requests from descriptor 3 and writes answers to 4.
    redirected = ["bash", "-c", f'exec "$@" 3<&{requests_read} 4>&{events_write}', "bash"]
    with (directory / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*redirected, path, *FLAGS, f"--user-data-dir={directory / 'profile'}"],
            env={**os.environ, "HOME": str(directory)},
            pass_fds=(requests_read, events_write),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    os.close(requests_read)
    os.close(events_write)
    try:
        yield Tab(requests_write, events_read)
    finally:
        # Chromium ends when its pipe does.
        os.close(requests_write)
        os.close(events_read)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
