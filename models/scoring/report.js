"use strict";
// Draws the charts of a report from the figures in #figures, in the colours of the page's style sheet.
(async () => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plain = document.getElementById("plotly").textContent.trim();
  const bytes = Uint8Array.from(atob(plain), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const style = () => getComputedStyle(document.documentElement);
  const ink = (name) => style().getPropertyValue(name).trim();
  const color = (number) => ink(`--c${number % 8}`);
  const symbols = ["circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross", "triangle-down"];
  const symbol = (number) => symbols[number % 8];
  const errors = (one, tint) => ({
    type: "data", symmetric: false, array: one.y.map((y, i) => one.high[i] - y), arrayminus: one.y.map((y, i) => y - one.low[i]),
    color: tint, thickness: 1.5, width: 4,
  });
  const axis = (title, more) => ({
    title: { text: title, standoff: 10, font: { size: 12 } }, gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), ticks: "", automargin: true,
    ...more,
  });
  const decades = (values) => Math.log10(Math.max(...values) / Math.min(...values));
  const log = (title, values) => axis(title, {
    type: "log", dtick: decades(values) > (narrow() ? 1.2 : 2.5) ? 1 : "D2", exponentformat: "none", tickformat: "~r",
  });
  function narrow() { return matchMedia("(max-width: 40rem)").matches; }

  const against = (one, hover, right) => ({
    x: [one.x], y: one.y, name: one.name, mode: "markers", cliponaxis: false,
    marker: { color: color(one.color), size: 11, symbol: symbol(one.color), opacity: 0.9 },
    error_y: errors(one, color(one.color)),
    error_x: right ? { type: "data", symmetric: false, array: [right - one.x], arrayminus: [0], color: color(one.color), thickness: 1, width: 3 } : undefined,
    hovertemplate: `<b>${one.name}</b><br>%{y:.1f} % (${one.low[0].toFixed(1)} to ${one.high[0].toFixed(1)})<br>${hover}<extra></extra>`,
  });
  const reach = (points) => points.flatMap((one) => [one.x, one.right || one.x]);
  const span = (points) => [Math.log10(Math.min(...reach(points))) - 0.3, Math.log10(Math.max(...reach(points))) + 0.3];
  const plots = {
    latency: () => ({
      data: figures.latency.map((one) => against(one, `half within ${one.x.toPrecision(3)} ms, 99 % within ${one.right.toPrecision(3)} ms`, one.right)),
      layout: { xaxis: { ...log("ms", reach(figures.latency)), range: span(figures.latency) }, yaxis: axis("accuracy, %") },
    }),
    cost: () => ({
      data: figures.cost.map((one) => against(one, `${one.x.toPrecision(3)} USD per 1,000`)),
      layout: { xaxis: { ...log("USD per 1,000 images", reach(figures.cost)), range: span(figures.cost) }, yaxis: axis("accuracy, %") },
    }),
    calibration: () => ({
      data: [
        { x: [0, 100], y: [0, 100], mode: "lines", line: { color: ink("--soft"), dash: "dot", width: 1 }, hoverinfo: "skip" },
        ...figures.calibration.map((one) => ({
          x: one.x, y: one.y, name: one.name, mode: "lines+markers", line: { color: color(one.color), width: 2 },
          marker: { symbol: symbol(one.color), size: one.images.map((n) => 5 + 9 * Math.sqrt(n / Math.max(...one.images))) },
          error_y: { ...errors(one, `${color(one.color)}66`), thickness: 1, width: 0 }, customdata: one.images,
          hovertemplate: `<b>${one.name}</b><br>says %{x:.0f} %, is right in %{y:.0f} %<br>%{customdata:,} images<extra></extra>`,
        })),
      ],
      layout: { xaxis: axis("says, %", { range: [0, 102] }), yaxis: axis("is right, %", { range: [0, 102] }) },
    }),
    distribution: () => ({
      data: figures.distribution.map((one) => ({
        x: one.x, y: one.x.map((_, i) => i), name: one.name, mode: "lines", line: { color: color(one.color), width: 2 },
        hovertemplate: `<b>${one.name}</b><br>%{y} % within %{x:.3~g} ms<extra></extra>`,
      })),
      layout: { xaxis: log("ms", figures.distribution.flatMap((one) => one.x)), yaxis: axis("answered within, %", { range: [0, 101] }) },
    }),
  };

  const draw = (printing) => {
    const size = printing ? { width: 310, height: 230 } : { height: 320 };  // a page is laid out after the script was asked
    for (const [id, plot] of Object.entries(plots)) {
      const place = document.getElementById(id);
      if (!place) continue;
      const { data, layout } = plot();
      Plotly.react(place, data, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", ...size, margin: { l: 50, r: 20, t: 16, b: 48 },
        font: { family: style().fontFamily, size: printing ? 9 : narrow() ? 12 : 13, color: ink("--ink") },
        hoverlabel: { bgcolor: ink("--card"), bordercolor: ink("--line"), font: { color: ink("--ink") } },
        dragmode: false, showlegend: false, ...layout,
      }, { displayModeBar: false, responsive: !printing });
    }
  };
  const paper = (printing) => {
    document.documentElement.classList.toggle("paper", printing);
    if (printing) for (const one of document.querySelectorAll("details:not(.pictures)")) one.open = true;
    draw(printing);
  };
  draw(false);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  document.documentElement.classList.add("drawn");
})();
