// Times are sent in UTC and shown as the reader's clock has them.
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
})();
