// One PromQL expression as a chart.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { queryRange } from "./api.js";
import { RANGES, usePolled } from "./state.js";

export const DEFAULT_EXPR = 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[1m]))';
const SERIES_MAX = 30;
const COLOURS = ["#4a7fb5", "#e08a1e", "#4f9d69", "#c0504d", "#8064a2", "#2aa5a5", "#b5a642", "#d1689b"];

function label(metric) {
  const { __name__: name = "", ...rest } = metric;
  const pairs = Object.entries(rest).map(([key, value]) => `${key}="${value}"`).join(", ");
  return name + (pairs ? `{${pairs}}` : "") || "value";
}

function columns(result) {
  const stamps = [...new Set(result.flatMap((series) => series.values.map(([time]) => time)))].sort((a, b) => a - b);
  const position = new Map(stamps.map((time, index) => [time, index]));
  const rows = result.map((series) => {
    const row = new Array(stamps.length).fill(null);
    for (const [time, value] of series.values) row[position.get(time)] = Number(value);
    return row;
  });
  return [stamps, ...rows];
}

export function Chart({ view, change }) {
  const expr = view.expr || DEFAULT_EXPR;
  const [typed, setTyped] = useState(expr);
  const place = useRef(null);
  useEffect(() => setTyped(expr), [expr]);
  const { data, error } = usePolled(async () => {
    const end = Math.floor(Date.now() / 1000);
    const range = RANGES[view.range] ?? 900;
    return queryRange(expr, end - range, end, Math.max(5, Math.round(range / 200)));
  }, [expr, view.range], 10000);
  useEffect(() => {
    if (!place.current || !data?.length) return undefined;
    const shown = data.slice(0, SERIES_MAX);
    const ink = getComputedStyle(document.body).color;
    const clock = (_, splits) => splits.map((s) => new Date(s * 1000).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit" }));
    const axis = { stroke: ink, grid: { stroke: "#8884", width: 1 }, ticks: { stroke: "#8884" } };
    const series = shown.map(({ metric }, i) => ({ label: label(metric), stroke: COLOURS[i % COLOURS.length], width: 1.5 }));
    const size = { width: place.current.clientWidth, height: 260 };
    const plot = new uPlot({ ...size, series: [{}, ...series], axes: [{ ...axis, values: clock }, { ...axis, size: 70 }] }, columns(shown), place.current);
    return () => plot.destroy();
  }, [data]);
  const submit = (event) => { event.preventDefault(); change({ expr: typed.trim() === DEFAULT_EXPR ? "" : typed.trim() }); };
  return html`
    <section data-testid="chart">
      <h2>Metric ${data && html`<span class="dim">${data.length > SERIES_MAX ? `${SERIES_MAX} of ${data.length} series` : `${data.length} series`}</span>`}</h2>
      <form onSubmit=${submit}>
        <input class="wide" aria-label="PromQL expression" data-testid="expr" value=${typed} onInput=${(e) => setTyped(e.target.value)} spellcheck="false" />
        <button>Show</button>
      </form>
      ${error && html`<p class="error" role="alert">${error}</p>`}
      ${data && !data.length && html`<p class="dim">No samples in this range yet: the first arrive a few seconds after the start.</p>`}
      <div class="chart" ref=${place}></div>
    </section>`;
}
