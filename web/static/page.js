// The page: what is flowing, a metric, the newest logs, the traces.
import { html, render } from "./vendor/htm-preact.js";
import { Chart } from "./chart.js";
import { Flow } from "./flow.js";
import { Logs } from "./logs.js";
import { RANGES, useView } from "./state.js";
import { Traces } from "./traces.js";

function Page() {
  const [view, change] = useView();
  return html`
    <header>
      <img src="icon.svg" alt="" />
      <h1>Heliograph</h1>
      <span class="spacer"></span>
      <label class="dim">last <select aria-label="time range" data-testid="range" value=${view.range} onChange=${(e) => change({ range: e.target.value })}>
        ${Object.keys(RANGES).map((range) => html`<option value=${range}>${range}</option>`)}
      </select></label>
    </header>
    <${Flow} />
    <${Chart} view=${view} change=${change} />
    <${Traces} view=${view} change=${change} />
    <${Logs} view=${view} change=${change} />`;
}

addEventListener("DOMContentLoaded", () => render(html`<${Page} />`, document.getElementById("page")));
