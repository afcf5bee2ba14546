// Chooses light or dark before the page is drawn: as the system has it, or as the
// reader chose with the button in the foot of the page.
(function () {
  "use strict";
  const key = "outboxd-theme";
  const choices = ["system", "light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  let choice = "system";
  try {
    choice = choices.includes(localStorage.getItem(key)) ? localStorage.getItem(key) : "system";
  } catch { /* a browser that stores nothing follows the system */ }

  function apply() {
    document.documentElement.dataset.theme = choice;
    document.dispatchEvent(new Event("outboxd:theme"));
  }
  window.outboxdTheme = {
    isDark: () => choice === "dark" || (choice === "system" && system.matches),
    choice: () => choice,
    next: () => {
      choice = choices[(choices.indexOf(choice) + 1) % choices.length];
      try {
        localStorage.setItem(key, choice);
      } catch { /* it holds for this page */ }
      apply();
    },
  };
  system.addEventListener("change", apply);
  apply();
})();
