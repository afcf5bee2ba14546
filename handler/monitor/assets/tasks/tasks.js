// Runs at the end of Asynqmon's page, before Asynqmon. It tells Asynqmon the path of the page, which begins with
// the prefix of a proxy if there is one. It marks the page as dark while Asynqmon's settings choose dark colours,
// so that tasks.css gives the page the dashboard's dark colours.
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
