// Keyboard shortcuts. Those of the pages come from the navigation, where each link
// names its key.
(function () {
  "use strict";
  const help = document.getElementById("keys");
  const list = document.getElementById("keys-list");
  const links = document.querySelectorAll("nav a[data-key]");
  if (!help || links.length === 0) {
    return;
  }
  const click = (id) => () => document.getElementById(id)?.click();
  const actions = new Map([
    ["?", ["This list", () => help.showModal()]],
    ["/", ["Search", () => document.querySelector("form[role=search] input")?.focus()]],
    ["t", ["Light, dark, or as the system has it", click("theme")]],
    ["u", ["Times in UTC, or as your clock has them", click("clock")]],
  ]);
  const pages = new Map();
  for (const link of links) {
    pages.set(link.dataset.key, [link.textContent, () => link.click()]);
  }
  function row(keys, what) {
    const term = document.createElement("dt");
    for (const key of keys) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      term.append(cap, " ");
    }
    const text = document.createElement("dd");
    text.textContent = what;
    list.append(term, text);
  }
  for (const [key, [what]] of actions) row([key], what);
  for (const [key, [what]] of pages) row(["g", key], what);
  document.getElementById("keys-open")?.addEventListener("click", () => help.showModal());

  let going = 0; // when g was pressed
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.target.closest("input, select, textarea, [contenteditable]")) {
      return;
    }
    const found = Date.now() - going < 1500 ? pages.get(event.key) : actions.get(event.key);
    going = event.key === "g" ? Date.now() : 0;
    if (found) {
      event.preventDefault();
      found[1]();
    }
  });
})();
