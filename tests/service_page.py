#!/usr/bin/env python3
"""The page of `dfengine serve` in a real browser: chooses, drops and pastes pictures, reads the answers, asks for a
heat map, uses the keyboard and a key, at 1280 and 390 pixels, light and dark. Fails on console messages, on
requests to other hosts, and on anything wider than the window.

Usage: tests/service_page.py PROGRAM [FOLDER]
  PROGRAM  the dfengine to test
  FOLDER   where the screenshots stay (WIDTH-THEME.png); default: nowhere
Exit codes: 0 sound, 1 a fault, 77 Chromium, or the service in this build, is missing.
"""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


class Browser:
    """Chromium's DevTools over a pipe: messages end with a zero byte."""

    def __init__(self, program, profile):
        into, self.out = os.pipe()
        self.inp, out = os.pipe()

        def connect():
            # First out of the way of 3 and 4, which the browser reads and writes.
            a, b = os.dup(into), os.dup(out)
            high_a, high_b = os.dup2(a, 60), os.dup2(b, 61)
            os.dup2(high_a, 3)
            os.dup2(high_b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(into)
        os.close(out)
        self.rest, self.count, self.events, self.session = b"", 0, [], None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(domain + ".enable")

    def read(self):
        while b"\0" not in self.rest:
            part = os.read(self.inp, 1 << 20)
            if not part:
                sys.exit("service page: the browser ended")
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.count:
                if "error" in answer:
                    sys.exit(f"service page: {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"service page: {expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, what, seconds=60):
        until = time.time() + seconds
        while time.time() < until:
            if self.value(expression):
                return
            time.sleep(0.05)
        sys.exit(f"service page: {what} did not come: {self.value('document.body.innerText')}")

    def open(self, url, width, theme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                  mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && !!document.getElementById('files')", "the page")

    def key(self, name, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, code=name,
                      **({"text": "\r"} if name == "Enter" and kind == "keyDown" else {}))

    def close(self):
        self.process.terminate()
        self.process.wait()


class Service:
    def __init__(self, program, model, *more):
        self.process = subprocess.Popen([program, "serve", "--model", model, "--port", "0", "--threads", "2", *more],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        self.url = re.search(r"http://\S+", line).group() + "/"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            sys.exit("service page: the service did not end well")


def check(condition, what):
    if not condition:
        sys.exit(f"service page: {what}")


def expected_answers(program, model, files):
    def ask(*options):
        text = subprocess.run([program, "predict", "--model", model, "--format", "json", *options, *files], check=True,
                              capture_output=True, text=True).stdout
        return json.loads(text)["results"]
    # With --stability the verdict is what the changes leave of it, and the page shows both.
    return {os.path.basename(plain["path"]): {**tried, **plain}
            for plain, tried in zip(ask(), ask("--stability"))}


def shown(browser):
    """The cards, the newest first."""
    return browser.value("""[...document.querySelectorAll('.answer')].map((card) => ({
      name: card.querySelector('h2').textContent,
      verdict: card.querySelector('.verdict')?.textContent,
      error: card.querySelector('.error')?.textContent,
      text: card.innerText}))""")


def cards(browser, count):
    browser.wait(f"document.querySelectorAll('.answer').length === {count}", f"{count} answers")
    return shown(browser)


def choose(browser, files):
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=files)


def drop(browser, files):
    data = {"items": [], "files": files, "dragOperationsMask": 1}
    place = json.loads(browser.value("(() => { const r = document.getElementById('drop').getBoundingClientRect();"
                                     "return JSON.stringify({x: r.x + r.width / 2, y: r.y + r.height / 2}) })()"))
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.call("Input.dispatchDragEvent", type=kind, data=data, **place)


def paste(browser, file):
    with open(file, "rb") as stream:
        content = base64.b64encode(stream.read()).decode()
    browser.value(f"""(() => {{
      const bytes = Uint8Array.from(atob('{content}'), (c) => c.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], 'pasted.jpg', {{type: 'image/jpeg'}}));
      document.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: data}}));
    }})()""")


def check_card(card, answer):
    check(card["verdict"] == answer["verdict"], f"the page says {card['verdict']}, predict {answer['verdict']}")
    percent = f"{100 * answer['prob_fake']:.1f} %"
    check(percent in card["text"], f"{percent} is missing in: {card['text']}")
    check("The line is at" in card["text"], f"the threshold is missing in: {card['text']}")
    found = re.search("(Stable|Not stable): .*[(](.*) to (.*)[)]", card["text"])
    check(found, f"the stability is missing in: {card['text']}")
    ends = tuple(f"{100 * answer[end]:.1f} %" for end in ("prob_low", "prob_high"))
    check(found.groups()[1:] == ends, f"the page says {found.groups()}, predict --stability {ends}")


def check_layout(browser, width):
    wide = browser.value("""[...document.querySelectorAll('body *')].filter((e) => {
      const r = e.getBoundingClientRect(); return r.width > 0 && (r.right > innerWidth + 1 || r.left < -1);
    }).map((e) => e.outerHTML.slice(0, 80))""")
    check(not wide, f"wider than {width} pixels: {wide}")
    unlabelled = browser.value("[...document.querySelectorAll('img')].filter((e) => !e.alt || !e.naturalWidth).length")
    check(unlabelled == 0, "a picture without a text, or that did not load")


def look(browser, url, width, theme, files, answers, folder):
    browser.open(url, width, theme)
    choose(browser, files[:1])
    check_card(cards(browser, 1)[0], answers[os.path.basename(files[0])])
    drop(browser, files[1:3])
    for card in cards(browser, 3)[:2]:
        check_card(card, answers[card["name"]])
    paste(browser, files[3])
    check_card(cards(browser, 4)[0], answers[os.path.basename(files[3])])
    choose(browser, [__file__])
    card = cards(browser, 5)[0]
    check(card.get("error") and not card.get("verdict"), f"a text was answered: {card['text']}")
    # By keyboard: to the newest picture's button, and press it.
    browser.value("document.getElementById('files').focus()")
    for _ in range(9):
        browser.key("Tab", 9)
        if browser.value("document.activeElement.tagName") == "BUTTON":
            break
    check(browser.value("document.activeElement.textContent") == "Heat map", "the keyboard finds no button")
    browser.key("Enter", 13)
    browser.wait("document.querySelectorAll('img.heat').length === 1", "the heat map")
    browser.wait("[...document.images].every((i) => i.complete && i.naturalWidth > 0)", "all pictures")
    check_layout(browser, width)
    if folder:
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")["data"]
        with open(os.path.join(folder, f"{width}-{theme}.png"), "wb") as stream:
            stream.write(base64.b64decode(shot))


def check_events(browser, url, allowed=()):
    for event in browser.events:
        method, params = event.get("method"), event.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            sys.exit(f"service page: on the console: {params}")
        if method == "Log.entryAdded" and not any(a in params["entry"]["text"] for a in allowed):
            sys.exit(f"service page: in the browser's log: {params['entry']}")
        if method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith((url, "blob:" + url, "data:", "about:")):
                sys.exit(f"service page: asks for {address}")
    browser.events.clear()


def main(program, folder=None):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    commands = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    if not chromium or not re.search(r"^ +serve ", commands, re.M):
        print("skip: no Chromium here, or no service in this build")
        return 77
    if folder:
        os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([program, "synth", "--output", f"{work}/set", "--count", "40", "--seed", "3"], **quiet)
        subprocess.run([program, "train", "--data", f"{work}/set", "--output", f"{work}/run", "--width", "0.1",
                        "--img-size", "96", "--epochs", "1", "--batch-size", "16", "--threads", "1"], **quiet)
        model = f"{work}/run/best.safetensors"
        files = sorted(os.path.join(at, name) for at, _, names in os.walk(f"{work}/set/train") for name in names)[:4]
        answers = expected_answers(program, model, files)
        browser = Browser(chromium, f"{work}/profile")
        service = Service(program, model)
        # A text among the pictures is answered with 422, which the browser notes by itself.
        for width in (1280, 390):
            for theme in ("light", "dark"):
                look(browser, service.url, width, theme, files, answers, folder)
                check_events(browser, service.url, allowed=["422"])
        service.stop()
        with open(f"{work}/keys", "w", encoding="utf-8") as stream:
            stream.write("open sesame\n")
        service = Service(program, model, "--api-key-file", f"{work}/keys")
        browser.open(service.url, 1280, "light")
        choose(browser, files[:1])
        browser.wait("!document.getElementById('key-form').hidden", "the field for the key")
        browser.call("Input.insertText", text="open sesame")
        browser.key("Enter", 13)
        check_card(cards(browser, 1)[0], answers[os.path.basename(files[0])])
        check_events(browser, service.url, allowed=["401"])
        browser.close()
        service.stop()
    print("service page: pictures chosen, dropped and pasted are answered as predict does, at 1280 and 390 pixels, "
          "light and dark, by keyboard and with a key; nothing on the console, nothing from elsewhere")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
