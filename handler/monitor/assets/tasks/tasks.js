// Runs at the end of Asynqmon's page, before Asynqmon: says where it is, below whatever a proxy puts before it, and
// keeps its colours those of the dashboard, whichever its settings choose.
(function () {
  "use strict";
  const path = "/monitoring/tasks";
  const before = location.pathname.slice(0, location.pathname.indexOf(path));
  window.FLAG_ROOT_PATH = before + path;
  document.querySelector("#outboxd a").href = before + "/";
  const icon = document.createElement("link");
  icon.rel = "icon";
  icon.href = before + path + "/favicon.ico";
  document.head.append(icon);
  new MutationObserver(() => {
    const drawer = document.querySelector("#root .MuiDrawer-paper");
    document.documentElement.classList.toggle("dark", drawer !== null && getComputedStyle(drawer).color === "rgb(255, 255, 255)");
  }).observe(document, { childList: true, subtree: true });
})();
