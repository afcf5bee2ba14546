// The charts of the overview. They are drawn anew when a new sample is due, and
// not while nobody sees the page.
(function () {
  "use strict";
  const section = document.getElementById("charts");
  if (!section) {
    return;
  }
  const none = document.getElementById("charts-none");
  const table = document.getElementById("charts-table");
  const buttons = section.querySelectorAll("button[data-window]");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let span = "hour";
  let data = null;
  let drawn = [];

  const short = (value) => {
    if (value === null || value === undefined) {
      return "–";
    }
    const size = Math.abs(value);
    if (size >= 1e6) return +(value / 1e6).toPrecision(3) + " M";
    if (size >= 1e4) return +(value / 1e3).toPrecision(3) + " k";
    return String(+value.toPrecision(3));
  };
  const seconds = (value) => {
    if (value === null || value === undefined) {
      return "–";
    }
    if (value === 0) return "0";
    if (value < 1) return +(value * 1000).toPrecision(3) + " ms";
    if (value < 120) return +value.toPrecision(3) + " s";
    if (value < 7200) return +(value / 60).toPrecision(3) + " min";
    return +(value / 3600).toPrecision(3) + " h";
  };

  function colours() {
    return dark.matches
      ? { text: "#9aa7b9", line: "#303b4b", blue: "#93a8ff", green: "#5fce8b", amber: "#f0b354", red: "#ff8f86" }
      : { text: "#566376", line: "#d5dbe5", blue: "#3350c8", green: "#17703a", amber: "#8a5300", red: "#b3261e" };
  }

  function draw() {
    drawn.forEach((chart) => chart.destroy());
    drawn = [];
    const empty = !data || data.at.length === 0;
    none.hidden = !empty;
    if (empty) {
      return;
    }
    const c = colours();
    const charts = [
      ["chart-rates", short, [["emitted", c.amber, [4, 4]], ["enqueued", c.blue], ["confirmed", c.green], ["died", c.red]]],
      ["chart-delay", seconds, [["p50", c.blue], ["p99", c.amber]]],
      ["chart-backlog", short, [["pending", c.blue], ["held", c.amber], ["in Redis", c.green, [4, 4], "queued"]]],
    ];
    const end = Date.now() / 1000;
    const begin = end - (span === "hour" ? 3600 : 86400);
    for (const [id, write, lines] of charts) {
      const place = document.getElementById(id);
      const axis = { stroke: c.text, grid: { stroke: c.line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
      const options = {
        width: place.clientWidth,
        height: 128,
        cursor: { drag: { x: false, y: false }, sync: { key: "charts" } },
        scales: { x: { range: [begin, end] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, size: 24, space: 60, values: (_, at) => at.map((s) => new Date(s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })) },
          { ...axis, size: 52, values: (_, values) => values.map(write) },
        ],
        series: [
          { value: (_, s) => (s ? new Date(s * 1000).toLocaleTimeString() : "–") },
          ...lines.map(([name, stroke, dash]) => ({ label: name, stroke, dash, width: 1.75, points: { show: data.at.length < 3 }, value: (_, v) => write(v) })),
        ],
      };
      drawn.push(new uPlot(options, [data.at, ...lines.map(([name, , , column]) => data[column || name])], place));
    }
  }

  async function load() {
    if (document.hidden) {
      return;
    }
    try {
      const response = await fetch(section.dataset.history + "?window=" + span, { headers: { Accept: "application/json" } });
      if (!response.ok) {
        throw new Error(String(response.status));
      }
      data = await response.json();
      none.textContent = "Nothing was measured in this time. A relay measures every ten seconds.";
    } catch {
      data = null;
      none.textContent = "The history cannot be read at the moment.";
    }
    draw();
    section.dataset.drawn = data ? String(data.at.length) : "none";
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      span = button.dataset.window;
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      table.setAttribute("hx-get", section.dataset.history + "/table?window=" + span);
      htmx.process(table);
      if (table.closest("details").open) {
        htmx.trigger(table, "window-changed");
      }
      load();
    });
  }
  dark.addEventListener("change", draw);
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(draw, 150);
  });
  document.addEventListener("visibilitychange", load);
  setInterval(load, 10000);
  load();
})();
