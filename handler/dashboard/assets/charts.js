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
  const marks = document.getElementById("charts-marks");
  const lateAfter = 300; // ms; a shorter wait is not told, because the text shifts the charts
  const patience = 30000; // ms
  const lengths = { quarter: 900, hour: 3600, six: 21600, day: 86400, week: 604800 };
  const whole = document.getElementById("charts-whole");
  const log = document.getElementById("charts-log");
  let span = "hour";
  let zoom = null; // the begin and end that the reader has chosen by dragging, in seconds
  let data = null; // what was read last; it stays when a server is away
  let unzoomed = null; // what was read last of the whole range
  let readAt = null;
  let shown = ""; // the query of data
  let fault = ""; // says that the last reading failed; "" if it did not
  let latest = 0; // counts the readings
  let left = false; // the reader leaves the page, and the browser ends all readings
  let drawn = [];

  // The same forms as on the rest of the page: 12,500; 45/s; 21 min 15 s.
  const known = (write) => (value) => (value === null || value === undefined ? "–" : write(value));
  const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const rate = known((value) => {
    if (value === 0) return "0/s";
    if (value < 0.1) return (value * 60).toFixed(1) + "/min";
    return (value < 10 ? value.toFixed(1) : grouped.format(value)) + "/s";
  });
  const two = (value, unit, large, small) => {
    const rest = Math.floor((value % unit[0]) / unit[1]);
    return Math.floor(value / unit[0]) + " " + large + (rest ? " " + rest + " " + small : "");
  };
  const duration = known((value) => {
    if (value === 0) return "0";
    if (value < 0.001) return "under 1 ms";
    if (value < 1) return Math.round(value * 1000) + " ms";
    if (value < 10) return +value.toFixed(1) + " s";
    if (value < 60) return Math.floor(value) + " s";
    if (value < 3600) return two(value, [60, 1], "min", "s");
    if (value < 86400) return two(value, [3600, 60], "h", "min");
    return two(value, [86400, 3600], "d", "h");
  });
  // The ticks of an axis have one form. durationTicks chooses it by the largest tick.
  const plain = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
  const rateTicks = () => (value) => plain.format(value) + "/s";
  const durationTicks = (largest) => {
    if (largest >= 60) return duration;
    return (value) => (largest < 1 ? plain.format(value * 1000) + " ms" : plain.format(value) + " s");
  };
  const countTicks = () => (value) => (Number.isInteger(value) ? grouped.format(value) : "");
  const clock = (seconds, options) => new Date(seconds * 1000).toLocaleString("en-GB", { hourCycle: "h23", timeZone: window.outboxdClock.zone(), ...options });
  const tally = known(grouped.format); // without a unit, so that it fits a telephone
  const hours = { hour: "2-digit", minute: "2-digit" };
  const days = { day: "numeric", month: "short" };

  function colours() {
    return window.outboxdTheme.isDark()
      ? { text: "#9aa7b9", line: "#303b4b", blue: "#93a8ff", green: "#5fce8b", amber: "#f0b354", red: "#ff8f86" }
      : { text: "#566376", line: "#d5dbe5", blue: "#3350c8", green: "#17703a", amber: "#8a5300", red: "#b3261e" };
  }

  // axisSize is the width of an axis, in pixels: the longest label must not be cut. uPlot asks again until the size stays.
  function axisSize(chart, labels, axis, cycle) {
    const { gap, font, _size } = chart.axes[axis];
    if (cycle > 1) {
      return _size;
    }
    chart.ctx.font = font[0];
    const widest = Math.max(0, ...(labels || []).map((label) => chart.ctx.measureText(label).width));
    return Math.max(64, Math.ceil(widest / devicePixelRatio) + gap + 1);
  }

  function draw() {
    drawn.forEach((chart) => chart.destroy());
    drawn = [];
    if (!data || data.at.length === 0) {
      return;
    }
    const c = colours();
    const charts = [
      ["chart-rates", rate, rateTicks, [["emitted", c.amber, [4, 4]], ["enqueued", c.blue], ["confirmed", c.green], ["died", c.red]]],
      ["chart-delay", duration, durationTicks, [["p50", c.blue], ["p99", c.amber]]],
      ["chart-backlog", tally, countTicks, [["pending", c.blue], ["held", c.amber], ["in Redis", c.green, [4, 4], "queued"]]],
    ];
    const end = Date.now() / 1000;
    const range = zoom || [end - lengths[span], end];
    const moment = range[1] - range[0] > 86400 ? { ...days, ...hours } : { ...hours, second: "2-digit" };
    const logs = log.getAttribute("aria-pressed") === "true";
    const last = data.at.findLastIndex((at) => at <= range[1]);
    // On request the axis is logarithmic above 0.1, so that 45/s can be seen beside 4,000/s; zero stays zero.
    const y = { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1], ...(logs ? { distr: 4, asinh: 0.1 } : {}) };
    for (const [id, write, ticks, lines] of charts) {
      const place = document.getElementById(id);
      const axis = { stroke: c.text, grid: { stroke: c.line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
      const options = {
        width: place.clientWidth,
        height: 128,
        cursor: { drag: { x: true, y: false, setScale: false }, sync: { key: "charts", setSeries: false } },
        scales: { x: { range }, y },
        axes: [
          { ...axis, size: 24, space: 60, values: (_, at) => at.map((s) => clock(s, range[1] - range[0] > 172800 ? days : hours)) },
          { ...axis, size: axisSize, values: (_, at) => at.map((v) => (v === null ? "" : ticks(Math.max(...at))(v))) },
        ],
        series: [
          // Without a pointer over the chart the legend reads the last measurement, which may be old.
          { label: "at", value: (_, s) => (s ? clock(s, moment) : "–") },
          ...lines.map(([name, stroke, dash]) => ({ label: name, stroke, dash, width: 1.75, points: { show: data.at.length < 3 }, value: (_, v) => write(v) })),
        ],
        hooks: {
          draw: [(chart) => drawMarks(chart, c)],
          setSelect: [choose],
          setCursor: [(chart) => chart.cursor.idx === null && last >= 0 && chart.setLegend({ idx: last }, false)],
        },
      };
      const chart = new uPlot(options, [data.at, ...lines.map(([name, , , column]) => data[column || name])], place);
      if (last >= 0) {
        chart.setLegend({ idx: last }, false);
      }
      drawn.push(chart);
    }
  }

  // choose shows the time over which the reader has dragged the pointer, in all charts.
  function choose(chart) {
    const { left, width } = chart.select;
    if (width < 8) {
      return;
    }
    zoom = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    whole.hidden = false;
    // Do not draw yet: uPlot is about to set the same selection in the other charts.
    requestAnimationFrame(draw);
    load(); // samples of this time may be finer
  }

  function unzoom() {
    zoom = null;
    data = unzoomed;
    whole.hidden = true;
    tell(false);
  }

  // query returns which samples to read.
  function query() {
    return "?window=" + span + (zoom ? "&from=" + Math.floor(zoom[0]) + "&until=" + Math.ceil(zoom[1]) : "");
  }

  // drawMarks draws a line where something happened that explains a bend.
  function drawMarks(chart, c) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.setLineDash([3, 3]);
    ctx.strokeStyle = c.text;
    for (const mark of data.marks) {
      const x = Math.round(chart.valToPos(mark.at, "x", true));
      if (x >= bbox.left && x <= bbox.left + bbox.width) {
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
    }
    ctx.restore();
  }

  function tellMarks() {
    marks.replaceChildren();
    marks.hidden = !data || data.marks.length === 0;
    for (const mark of data ? data.marks : []) {
      const item = document.createElement("li");
      item.textContent = clock(mark.at, { ...days, ...hours }) + ": " + mark.what;
      marks.append(item);
    }
  }

  // tell says why a chart is empty, or why it shows something other than what the reader chose.
  function tell(loading) {
    const empty = !data || data.at.length === 0;
    if (loading) {
      none.textContent = "Loading …";
    } else if (fault) {
      none.textContent = fault + (data ? " The charts show what was read at " + clock(readAt, hours) + "." : "");
    } else if (empty) {
      none.textContent = zoom ? "No data for this time." : "No data yet for this time. A relay takes a sample every ten seconds.";
    }
    none.hidden = !loading && !fault && !empty;
  }

  async function load() {
    if (document.hidden && data) {
      return;
    }
    const asked = query();
    const reading = ++latest;
    const late = setTimeout(() => asked === query() && asked !== shown && !fault && tell(true), lateAfter);
    let read = null;
    try {
      const response = await fetch(section.dataset.history + asked, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(patience) });
      if (response.ok) {
        read = await response.json();
      }
    } catch { /* told below */ }
    clearTimeout(late);
    if (asked !== query()) {
      return; // another range was chosen meanwhile
    }
    if (!read && (left || reading !== latest)) {
      return; // the reader leaves the page, or a later reading will say whether the fault lasts
    }
    fault = read ? "" : "The history cannot be read at the moment.";
    if (read) {
      data = read;
      shown = asked;
      readAt = Date.now() / 1000;
      if (!zoom) {
        unzoomed = read;
      }
      draw();
      tellMarks();
    }
    tell(false);
    section.dataset.drawn = data ? String(data.at.length) : "none";
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      span = button.dataset.window;
      unzoom();
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
  whole.addEventListener("click", () => {
    unzoom();
    draw();
  });
  log.addEventListener("click", () => {
    log.setAttribute("aria-pressed", String(log.getAttribute("aria-pressed") !== "true"));
    draw();
  });
  document.addEventListener("outboxd:theme", draw);
  document.getElementById("clock")?.addEventListener("click", () => {
    draw();
    tellMarks();
  });
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(draw, 150);
  });
  document.addEventListener("visibilitychange", load);
  addEventListener("beforeunload", () => {
    left = true;
  });
  addEventListener("pageshow", () => {
    left = false; // the browser shows the page again from its memory
  });
  setInterval(load, 10000);
  load();
})();
