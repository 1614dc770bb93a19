"use strict";
// Plotly's figures in the colours of the page, which a reader switches between light and dark.
(() => {
  const root = document.documentElement;

  function paint() {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--pst-color-text-base").trim();
    const line = style.getPropertyValue("--pst-color-border").trim();
    const card = style.getPropertyValue("--pst-color-surface").trim();
    const clear = "rgba(0,0,0,0)";
    for (const figure of document.querySelectorAll(".js-plotly-plot")) {
      const colors = {
        paper_bgcolor: clear,
        plot_bgcolor: clear,
        "font.color": ink,
        "legend.bgcolor": clear,
        "hoverlabel.bgcolor": card,
        "hoverlabel.bordercolor": line,
        "hoverlabel.font.color": ink,
        "modebar.bgcolor": clear,
      };
      for (const key of Object.keys(figure.layout)) {
        if (/^[xy]axis\d*$/.test(key)) {
          for (const part of ["gridcolor", "linecolor", "zerolinecolor"]) colors[`${key}.${part}`] = line;
        }
      }
      (figure.layout.annotations || []).forEach((note, i) => {
        if (note.bgcolor) colors[`annotations[${i}].bgcolor`] = card;
      });
      Plotly.relayout(figure, colors);
      figure.data.forEach((trace, i) => {
        if (trace.type === "heatmap") Plotly.restyle(figure, { "textfont.color": ink }, [i]);
      });
    }
  }

  document.addEventListener("DOMContentLoaded", paint);
  new MutationObserver(paint).observe(root, { attributeFilter: ["data-theme"] });
})();
