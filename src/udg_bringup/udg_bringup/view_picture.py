"""A screenshot of the view's page, by a headless browser: `udg view-picture OUT.png`."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from udg_bringup.graph import DEFAULT_PORT
from udg_bringup.view.panel import RESET, STOP
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, user_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE_MS = 120_000  # without a GPU, on a busy machine
WIDTH_PX, HEIGHT_PX = 1280, 800
COUNTED_S = 3.0
COUNT_FRAMES = """(wanted_ms) => new Promise(resolve => {
    let count = 0; const began = performance.now();
    const over = () => performance.now() - began > wanted_ms;
    const frame = () => over() ? resolve(count) : (count++, requestAnimationFrame(frame));
    requestAnimationFrame(frame);
})"""


class PictureError(UdgError):
    """There is no browser, or no page."""


def browser_path() -> str:
    """The installed browser. Raises PictureError."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise PictureError(f"no browser; valid: one of {', '.join(BROWSERS)} (apt-get install chromium)")


class OpenedPage(NamedTuple):
    """A page of playwright's, and the errors on its console so far."""

    page: Any
    errors: list[str]


def _sandbox() -> list[str]:
    """Chromium has none for root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


@contextmanager
def opened_page(address: str, waits_for: str = STOP) -> Iterator[OpenedPage]:
    """The page at an address, in a browser without a window, once a text is on it. Raises PictureError."""
    path = browser_path()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise PictureError("playwright is not installed: pip install -c constraints.txt playwright") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*SOFTWARE_GL, *_sandbox()])
        try:
            page: Any = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
            page.set_default_timeout(PATIENCE_MS)
            errors: list[str] = []
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(address)
            if waits_for:
                page.get_by_text(waits_for).first.wait_for()
            yield OpenedPage(page, errors)
        except Error as error:
            raise PictureError(f"{address}: {str(error).splitlines()[0]}") from error
        finally:
            browser.close()


def click(page: Any, label: str) -> None:  # noqa: ANN401 - playwright's page
    """Press a button of the panel."""
    page.get_by_role("button", name=label, exact=True).click()


def fill(page: Any, label: str, text: str) -> None:  # noqa: ANN401
    """Write into a field of the panel; viser does not connect a field with its label."""
    field = page.locator(f"xpath=//*[normalize-space(text())='{label}']/following::input[1]")
    field.fill(text)
    field.press("Enter")


def main() -> None:
    """Take a picture of a running view's page."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=user_path, help="picture to write (PNG)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"of the page (default: {DEFAULT_PORT})")
    parser.add_argument("--reset", default="", help="start the simulated trial of this object first")
    parser.add_argument("--wait", type=float, default=8.0, help="delay before the picture is taken [s] (default: 8)")
    options = parser.parse_args()
    with opened_page(f"http://127.0.0.1:{options.port}") as (page, errors):
        if options.reset:
            fill(page, "Object", options.reset)
            click(page, RESET)
        page.wait_for_timeout(1e3 * options.wait)
        rate_hz = page.evaluate(COUNT_FRAMES, 1e3 * COUNTED_S) / COUNTED_S
        for button in page.locator(".mantine-Notification-closeButton").all():
            button.click()
        page.wait_for_timeout(1e3)
        with atomic_path(Path(options.out)) as path:
            path.write_bytes(page.screenshot(type="png"))
    if errors:
        raise PictureError(f"the page's console has errors: {errors[0]}")
    print(f"{options.out}; the browser drew {rate_hz:.1f} pictures a second")


if __name__ == "__main__":
    main()
