// The newest logs, filtered; a row opens to its attributes and leads to its trace.
import { html, useState } from "./vendor/htm-preact.js";
import { logs } from "./api.js";
import { RANGES, usePolled } from "./state.js";

const LEVELS = ["", "debug", "info", "warn", "error", "fatal"];
const clock = (timestamp) => {
  const time = new Date(timestamp);
  return `${time.toLocaleTimeString([], { hour12: false })}.${String(time.getMilliseconds()).padStart(3, "0")}`;
};

function Row({ record, open, toggle, change }) {
  const level = record.severity_text.toLowerCase().replace("warning", "warn").replace("critical", "fatal");
  return html`
    <tr class="row" data-testid="log-row" tabindex="0" onClick=${toggle} onKeyDown=${(e) => e.key === "Enter" && toggle()}>
      <td class="time" title=${record.timestamp}>${clock(record.timestamp)}</td>
      <td class=${`level-${level}`}>${record.severity_text}</td>
      <td>${record.service}</td>
      <td class="body">${record.body.length > 2000 && !open ? `${record.body.slice(0, 2000)}…` : record.body}</td>
    </tr>
    ${open && html`<tr><td colspan="4">
      ${record.trace_id && html`trace <button class="link" data-testid="to-trace" onClick=${() => change({ trace: record.trace_id })}>${record.trace_id}</button>`}
      <pre>${JSON.stringify({ id: record.id, timestamp: record.timestamp, attributes: record.attributes, resource: record.resource }, null, 2)}</pre>
    </td></tr>`}`;
}

export function Logs({ view, change }) {
  const [open, setOpen] = useState("");
  const { data, error } = usePolled(() => {
    const start = Date.now() / 1000 - (RANGES[view.range] ?? 900);
    return logs({ start: start.toFixed(3), service: view.service, severity: view.severity, q: view.text, limit: 50 });
  }, [view.range, view.service, view.severity, view.text], 3000);
  const field = (name) => (event) => change({ [name]: event.target.value.trim() });
  return html`
    <section data-testid="logs">
      <h2>Logs ${data && html`<span class="dim">showing ${data.records.length} of ${data.total.toLocaleString()}, newest first</span>`}</h2>
      <form onSubmit=${(event) => event.preventDefault()}>
        <input class="wide" aria-label="words, phrases or field:value" data-testid="text" placeholder='words, "a phrase", trace_id:…' value=${view.text} onChange=${field("text")} />
        <input aria-label="service" data-testid="service" placeholder="service" value=${view.service} onChange=${field("service")} />
        <select aria-label="least severity" data-testid="severity" value=${view.severity} onChange=${field("severity")}>
          ${LEVELS.map((level) => html`<option value=${level}>${level || "any level"}</option>`)}
        </select>
      </form>
      ${error && html`<p class="error" role="alert">${error}</p>`}
      ${data && !data.records.length && html`<p class="dim">No log record matches. Follow a file with <code>heliograph up --follow '/var/log/*.log'</code>, or send OTLP to port 4318.</p>`}
      ${data && data.records.length > 0 && html`<table>
        <thead><tr><th>time</th><th>level</th><th>service</th><th>message</th></tr></thead>
        <tbody>${data.records.map((record) => html`<${Row} key=${record.id} record=${record} open=${open === record.id} change=${change}
          toggle=${() => setOpen(open === record.id ? "" : record.id)} />`)}</tbody>
      </table>`}
    </section>`;
}
