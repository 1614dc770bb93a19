"use strict";
// Plotly's figures in the colours and the width of the page.
(() => {
  const root = document.documentElement;
  const clear = "rgba(0,0,0,0)";

  function say(text, name) {
    const paragraph = document.createElement("p");
    paragraph.className = name;
    paragraph.textContent = text.replace(/<[^>]*>/g, "");
    return paragraph;
  }

  // Once: titles and notes become text, which wraps, and legends leave the width to the chart.
  function arrange(figure) {
    const { annotations = [], images, title = {} } = figure.layout;
    const [text, note] = (title.text || "").split("<br>");
    const axes = Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key));
    if (text) figure.parentElement.before(say(text, "figure-title"));
    if (note) figure.parentElement.after(say(note, "figure-note"));
    const layout = { "title.text": "", "margin.t": 30 };
    if (!images) layout.autosize = true;
    const { width, height } = figure.layout;
    const room = figure.parentElement.clientWidth;
    if (images && width > room) {
      Object.assign(layout, { width: room, height: (height * room) / width });
      figure.parentElement.style.height = `${layout.height}px`;
    }
    for (const axis of axes) layout[`${axis}.zeroline`] = false;
    if (axes.length > 2) {
      figure.style.minWidth = "600px"; // slices, three in a row
    } else if (!images) {
      const parallel = annotations.length > 1; // coordinates: a label at each tick
      if (parallel) figure.style.minWidth = `${annotations.length * 20}px`;
      const legend = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", bgcolor: clear };
      Object.assign(layout, { legend, "margin.l": parallel ? 46 : 10, "margin.r": 15, "margin.b": 10 });
      for (const axis of axes) layout[`${axis}.automargin`] = true;
    }
    Plotly.relayout(figure, layout);
  }

  function paint(figure) {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--pst-color-text-base").trim();
    const line = style.getPropertyValue("--pst-color-border").trim();
    const card = style.getPropertyValue("--pst-color-surface").trim();
    const layout = {
      paper_bgcolor: clear,
      plot_bgcolor: clear,
      "font.color": ink,
      "hoverlabel.bgcolor": card,
      "hoverlabel.bordercolor": line,
      "hoverlabel.font.color": ink,
      "modebar.bgcolor": clear,
    };
    for (const key of Object.keys(figure.layout)) {
      if (/^[xy]axis\d*$/.test(key)) Object.assign(layout, { [`${key}.gridcolor`]: line, [`${key}.linecolor`]: line });
    }
    (figure.layout.annotations || []).forEach((note, i) => {
      layout[`annotations[${i}].font.color`] = ink;
      if (note.bgcolor) layout[`annotations[${i}].bgcolor`] = card;
    });
    for (const trace of figure.data) if (trace.type === "heatmap") trace.textfont = { color: ink };
    Plotly.relayout(figure, layout);
    Plotly.redraw(figure);
  }

  const each = (change) => document.querySelectorAll(".js-plotly-plot").forEach(change);
  // After everything has its place: figures are first drawn while the page is still read.
  window.addEventListener("load", () => {
    each(arrange);
    each(paint);
    each((figure) => Plotly.Plots.resize(figure));
    new MutationObserver(() => each(paint)).observe(root, { attributeFilter: ["data-theme"] });
  });
})();
