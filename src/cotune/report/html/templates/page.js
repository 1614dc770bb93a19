"use strict";
(() => {
  const { charts, trials } = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)").matches;
  let printing = false;

  // A point carries its trial's number; the text is put in here, once a trial and not once a point.
  for (const figure of Object.values(charts)) {
    for (const trace of figure.data) {
      if (trace.meta === "trial" && Array.isArray(trace.customdata)) {
        trace.customdata = trace.customdata.map((number) =>
          number === null ? "" : trials[number] || "<b>trial " + number + "</b>");
      }
    }
  }

  // Cells are translucent, so their counts have the page's text colour.
  function data(figure) {
    const ink = dark.matches && !printing ? "#e7ebf1" : "#1d2430";
    for (const trace of figure.data) if (trace.type === "heatmap") trace.textfont = { color: ink };
    return figure.data;
  }

  function themed(figure) {
    const night = dark.matches && !printing;
    const ink = night ? "#d5dbe5" : "#2b3442";
    const grid = night ? "#2d3642" : "#e6e9ef";
    const card = night ? "#1a2029" : "#ffffff";
    const layout = structuredClone(figure.layout);
    const parallel = (layout.annotations || []).length > 0;
    Object.assign(layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
      margin: { l: 8, r: 12, t: figure.data.length > 1 ? 30 : 10, b: 8 },
      hovermode: "closest",
      hoverlabel: { bgcolor: card, bordercolor: grid, font: { color: ink, size: 12 }, align: "left" },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "#8d96a5", activecolor: "#3f7fe0" },
    });
    if (touch) layout.dragmode = false;
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        layout[key] = Object.assign(
          { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true }, layout[key]);
      }
    }
    for (const note of layout.annotations || []) {
      note.font = { ...note.font, color: ink };
      note.bgcolor = night ? "rgba(26,32,41,0.75)" : "rgba(255,255,255,0.75)";
    }
    for (const shape of layout.shapes || []) shape.line = { ...shape.line, color: night ? "#5b6675" : "#aab2bf" };
    if (parallel) layout.margin = { l: 46, r: 20, t: 12, b: 30 };
    return layout;
  }

  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage", "resetScale2d"]],
    // plotly.js would offer to upload the chart; nothing leaves this page.
    showSendToCloud: false,
    plotlyServerURL: "",
  };

  const drawn = [];
  function draw(name) {
    const place = document.getElementById("chart-" + name);
    drawn.push(name);
    return Plotly.react(place, data(charts[name]), themed(charts[name]), config);
  }

  function redraw() {
    for (const name of drawn) {
      const place = document.getElementById("chart-" + name);
      const layout = themed(charts[name]);
      // Paper is about 700 CSS pixels wide, and is not laid out yet when the browser asks.
      if (printing) {
        layout.width = place.closest(".slices") ? 220 : place.closest(".pair") ? 335 : 690;
        layout.height = place.clientHeight;
        layout.autosize = false;
      }
      Plotly.react(place, data(charts[name]), layout, config);
      if (!printing) Plotly.Plots.resize(place);
    }
  }

  // One chart at a time, from top to bottom, so that the page can be scrolled meanwhile.
  const waiting = Object.keys(charts).filter((name) => document.getElementById("chart-" + name));
  function next() {
    const name = waiting.shift();
    if (name === undefined) {
      document.documentElement.dataset.drawn = String(drawn.length);
      return;
    }
    draw(name);
    setTimeout(next, 0);
  }
  next();

  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => { printing = true; while (waiting.length) draw(waiting.shift()); redraw(); });
  window.addEventListener("afterprint", () => { printing = false; redraw(); });
})();
