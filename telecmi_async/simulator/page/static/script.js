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
