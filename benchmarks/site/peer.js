// The same rows as the board's, each library as its documentation says for many rows: scattergl, and a table whose
// height is fixed so that only the rows in sight are made.
const shape = { on: "circle", unclear: "diamond", dominated: "triangle-down" };
const chart = () => {
  const rows = window.grid ? window.grid.getData("active") : window.rows;
  return [{
    type: "scattergl", mode: "markers", x: rows.map((row) => row.energy), y: rows.map((row) => row.quality),
    text: rows.map((row) => row.label), marker: { symbol: rows.map((row) => shape[row.frontier] || "x"), size: 6 },
  }];
};
const layout = { xaxis: { type: "log", title: { text: "Wh per 1,000 answers" } }, yaxis: { title: { text: "Quality" } } };
const columns = ["rank", "label", "rate", "energy", "quality", "frontier", "params", "memory_mb", "precision", "licence"];
Plotly.newPlot("chart", chart(), layout);
window.grid = new Tabulator("#table", {
  data: window.rows, height: 600, renderVertical: "virtual", layout: "fitDataFill",
  columns: columns.map((field) => ({ title: field, field })),
});
window.grid.on("tableBuilt", () => (window.built = true));
window.grid.on("dataFiltered", () => setTimeout(() => Plotly.react("chart", chart(), layout)));
