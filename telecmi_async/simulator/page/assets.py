"""What the page loads besides itself: style, script and picture."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.simulator.page.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASSETS", "Asset"]

# A page that looks at itself again each second, and changes what has changed: whoever reads,
# marks or writes something is not disturbed. Without it all works but that.
_SCRIPT: Final = """\
"use strict";
(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");
  let paused = false;

  const say = (words, kind) => {
    if (state.textContent !== words) state.textContent = words;
    state.className = kind;
  };

  const dress = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  // What has an id stays the same thing wherever it moves: a focused button is never
  // suddenly another row's.
  const fill = (old, fresh) => {
    const kept = new Set([...fresh.children].map((child) => child.id));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      while (at && at.id && !kept.has(at.id)) {
        const next = at.nextSibling;
        at.remove();
        at = next;
      }
      if (at && (at.id || "") === (child.id || "")) {
        const next = at.nextSibling;
        change(at, child);
        at = next;
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // What was typed is no attribute: it stays.
  const change = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
    } else if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      dress(old, fresh);
      fill(old, fresh);
    }
  };

  const look = async () => {
    try {
      const signal = AbortSignal.timeout(5000);
      const answer = await fetch(location.href, { cache: "no-store", signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (paused) return;
      if (!fresh) throw new Error("another program answers");
      change(main, fresh);
      say("Live", "live");
    } catch {
      say("Not connected", "lost");
    }
  };

  const again = async () => {
    if (!paused && !document.hidden) await look();
    setTimeout(again, 1000);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    say(paused ? "Paused" : "Live", paused ? "" : "live");
  });
  say("Live", "live");
  setTimeout(again, 1000);
})();
"""

# A handset, hung up.
_ICON: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">\
<rect width="32" height="32" rx="8" fill="#0a625d"/>\
<path d="M5 19c0-9 22-9 22 0v2c0 1-1 2-2 2h-3c-1 0-2-1-2-2v-3c-3-1-5-1-8 0v3c0 1-1 2-2 2H7\
c-1 0-2-1-2-2z" fill="#fff"/></svg>
"""


@frozen
class Asset:
    """A file that the page loads.

    Args:
        kind: Its content type.
        body: What is in it.
        tag: Its entity tag.
        address: Where it is: another one once it is changed.
    """

    kind: str
    body: bytes
    tag: str
    address: str


def _asset(name: str, kind: str, text: str) -> Asset:
    body = text.encode()
    version = blake2b(body, digest_size=8).hexdigest()
    return Asset(kind, body, f'"{version}"', f"{name}?v={version}")


#: By their paths.
ASSETS: Final[Mapping[str, Asset]] = {
    "/style.css": _asset("style.css", "text/css; charset=utf-8", STYLE),
    "/script.js": _asset("script.js", "text/javascript; charset=utf-8", _SCRIPT),
    "/icon.svg": _asset("icon.svg", "image/svg+xml; charset=utf-8", _ICON),
}
