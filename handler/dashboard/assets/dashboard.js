// What every page does: times are sent in UTC and shown as the reader's clock
// has them, and a page that is kept up to date says whether it still is.
(function () {
  "use strict";
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
  function localise(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (!Number.isNaN(at.valueOf())) {
        element.title = element.dateTime;
        element.textContent = format.format(at);
      }
    }
  }
  localise(document);
  document.addEventListener("htmx:afterSwap", (event) => localise(event.target));

  // A stream that the browser cuts when the page is left would be reported as lost. htmx writes the event that it gets of
  // an ended stream to the console, as an error; the page says so itself, and the next stream is under way.
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
