// What every page does: times are sent in UTC and shown as the reader's clock has
// them, or in UTC; the title and the icon of the tab show the state; findings fold on
// narrow screens; and a page that is kept up to date says whether it still is.
(function () {
  "use strict";
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };

  // Times.
  let utc = stored("outboxd-clock") === "utc";
  const clock = document.getElementById("clock");
  const parts = (at, zone) => {
    const found = {};
    const format = new Intl.DateTimeFormat("en-GB", {
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
      hourCycle: "h23", timeZoneName: "short", timeZone: zone,
    });
    for (const { type, value } of format.formatToParts(at)) found[type] = value;
    return found;
  };
  function written(at, precise, zoned) {
    const p = parts(at, utc ? "UTC" : undefined);
    const text = `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}`;
    return text + (precise ? "." + String(at.getMilliseconds()).padStart(3, "0") : "") + (precise || zoned ? " " + p.timeZoneName : "");
  }
  function localise(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (!Number.isNaN(at.valueOf())) {
        element.title = element.dateTime;
        element.textContent = written(at, element.dataset.precise !== undefined, element.dataset.zone !== undefined);
      }
    }
  }
  function tellClock() {
    if (clock) {
      clock.textContent = "Times: " + (utc ? "UTC" : "local, " + parts(new Date()).timeZoneName);
    }
    localise(document);
  }
  clock?.addEventListener("click", () => {
    utc = !utc;
    try {
      localStorage.setItem("outboxd-clock", utc ? "utc" : "local");
    } catch { /* it holds for this page */ }
    tellClock();
  });
  tellClock();
  window.outboxdClock = { zone: () => (utc ? "UTC" : undefined) };

  // Light and dark.
  const theme = document.getElementById("theme");
  const tellTheme = () => {
    if (theme) {
      theme.textContent = { system: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" }[window.outboxdTheme.choice()];
    }
  };
  theme?.addEventListener("click", () => window.outboxdTheme.next());
  document.addEventListener("outboxd:theme", tellTheme);
  tellTheme();

  // The tab.
  const icon = document.getElementById("icon");
  const title = document.documentElement.dataset.title;
  function tellTab() {
    const verdict = document.querySelector(".verdict");
    if (verdict && icon && title) {
      icon.href = icon.dataset[verdict.dataset.level];
      document.title = (verdict.dataset.alarm ? verdict.dataset.alarm + " · " : "") + title;
    }
  }

  // Findings. What the reader opened or closed stays so when the page is kept up to date.
  const narrow = matchMedia("(max-width: 60rem)");
  const touched = new Map();
  function fold() {
    for (const finding of document.querySelectorAll("details.finding")) {
      const code = finding.closest("[data-code]").dataset.code;
      finding.open = touched.has(code) ? touched.get(code) : !narrow.matches;
    }
  }
  document.addEventListener("click", (event) => {
    const finding = event.target.closest("details.finding > summary")?.parentElement;
    if (finding) {
      touched.set(finding.closest("[data-code]").dataset.code, !finding.open);
    }
  });
  narrow.addEventListener("change", fold);

  // Choosing in a table.
  function choose() {
    for (const all of document.querySelectorAll("input[data-all]")) {
      const boxes = [...document.querySelectorAll(`input[name="${all.dataset.all}"]`)];
      const told = document.getElementById("chosen");
      const tell = () => {
        const n = boxes.filter((box) => box.checked).length;
        all.checked = n > 0 && n === boxes.length;
        all.indeterminate = n > 0 && n < boxes.length;
        if (told) told.textContent = n === 0 ? "nothing chosen" : n + " of the " + boxes.length + " on this page chosen";
        for (const button of document.querySelectorAll("button[data-needs-choice]")) button.disabled = n === 0 || button.dataset.refused !== undefined;
      };
      all.addEventListener("change", () => {
        for (const box of boxes) box.checked = all.checked;
        tell();
      });
      for (const box of boxes) box.addEventListener("change", tell);
      tell();
    }
  }
  // A payload that is too large is not sent: the server reads only the headers of a very large
  // body, and a browser may then show a lost connection instead of the server's answer.
  const encoder = new TextEncoder();
  for (const field of document.querySelectorAll("[data-most]")) {
    field.addEventListener("input", () => {
      const bytes = field.files ? (field.files[0]?.size ?? 0) : encoder.encode(field.value).length;
      const number = (n) => Number(n).toLocaleString("en-US");
      field.setCustomValidity(bytes > field.dataset.most ? `This has ${number(bytes)} bytes. The outbox takes payloads of up to ${number(field.dataset.most)} bytes.` : "");
    });
  }

  // A part of a page that still changes is read again, without losing what the reader has opened or marked.
  function refresh(part) {
    let known = null; // as the server sent it
    const timer = setInterval(async () => {
      if (document.hidden || !getSelection().isCollapsed || part.contains(document.activeElement)) {
        return;
      }
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!answer.ok) {
          throw new Error(String(answer.status));
        }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById(part.id);
        if (!fresh) {
          throw new Error("another page");
        }
        if (fresh.innerHTML !== known) {
          known = fresh.innerHTML;
          const open = [...part.querySelectorAll("details")].map((details) => details.open);
          part.replaceChildren(...fresh.childNodes);
          part.querySelectorAll("details").forEach((details, i) => (details.open = open[i] ?? details.open));
          const heading = page.querySelector("main h1");
          if (heading) document.querySelector("main h1").replaceChildren(...heading.childNodes);
          localise(part);
        }
        say("The page keeps itself up to date.", "live");
        if (fresh.dataset.refresh === undefined) {
          clearInterval(timer);
          say("The event has ended.", "ended");
        }
      } catch {
        say("The connection is lost; the page is old. It tries again.", "lost");
      }
    }, 3000);
  }
  const changing = document.querySelector("[data-refresh]");
  if (changing) refresh(changing);

  choose();
  fold();
  tellTab();
  document.addEventListener("htmx:afterSwap", (event) => {
    localise(event.target);
    fold();
    tellTab();
  });

  // Close the stream when the reader leaves the page: otherwise the page would say that the connection is lost. Call
  // htmx's onerror without the event: otherwise htmx would write the event to the console as an error. The page itself
  // says that the connection is lost, and the next stream opens by itself.
  htmx.createEventSource = (url) => {
    const source = new EventSource(url);
    Object.defineProperty(source, "onerror", { set: (ended) => source.addEventListener("error", () => ended()) });
    addEventListener("beforeunload", () => source.close());
    return source;
  };

  const live = document.getElementById("live");
  function say(text, state) {
    if (live && live.dataset.state !== state) {
      live.dataset.state = state;
      live.textContent = text;
    }
  }
  document.addEventListener("htmx:sseOpen", () => say("The page keeps itself up to date.", "live"));
  document.addEventListener("htmx:sseError", () => say("The connection is lost; the figures are old. The page tries again.", "lost"));
})();
