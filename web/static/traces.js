// Recent traces, and one of them as a waterfall.
import { html } from "./vendor/htm-preact.js";
import { services, trace, traces } from "./api.js";
import { RANGES, usePolled } from "./state.js";

const SERVICES_MAX = 20;
const SPANS_MAX = 500;
const took = (micros) => (micros >= 1e6 ? `${(micros / 1e6).toFixed(2)} s` : micros >= 1000 ? `${(micros / 1000).toFixed(1)} ms` : `${micros} µs`);

// Spans in the order of a tree: a parent before its children, siblings by start; spans whose parent is missing are roots.
function ordered(spans) {
  const ids = new Set(spans.map((span) => span.spanID));
  const children = new Map();
  for (const span of [...spans].sort((a, b) => a.startTime - b.startTime)) {
    const parent = span.references.find((r) => r.refType === "CHILD_OF" && ids.has(r.spanID))?.spanID ?? "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const out = [];
  const stack = [...(children.get("") ?? [])].reverse().map((span) => [span, 0]);
  const seen = new Set();
  while (stack.length) {
    const [span, depth] = stack.pop();
    if (seen.has(span.spanID)) continue;
    seen.add(span.spanID);
    out.push([span, depth]);
    for (const child of [...(children.get(span.spanID) ?? [])].reverse()) stack.push([child, depth + 1]);
  }
  return out;
}

function Waterfall({ id, change }) {
  const { data, error } = usePolled(() => trace(id), [id], 0);
  if (error) return html`<p class="error" role="alert">${error}</p>`;
  if (!data) return html`<p class="dim">Loading…</p>`;
  const start = Math.min(...data.spans.map((span) => span.startTime));
  const end = Math.max(...data.spans.map((span) => span.startTime + span.duration));
  const width = Math.max(1, end - start);
  const rows = ordered(data.spans);
  return html`
    <h2>${rows[0]?.[0].operationName} <span class="dim">${rows.length} spans, ${took(end - start)}, trace ${id}</span>
      <button onClick=${() => change({ trace: "" })}>Close</button>
      <button onClick=${() => change({ text: `trace_id:${id}`, service: "", severity: "" })}>Its logs</button></h2>
    <div class="waterfall" data-testid="waterfall">
      ${rows.slice(0, SPANS_MAX).map(([span, depth]) => {
        const failed = span.tags.some((tag) => tag.key === "error" && tag.value === true);
        const left = `${((span.startTime - start) / width) * 100}%`;
        const wide = `${(span.duration / width) * 100}%`;
        const name = `${data.processes[span.processID].serviceName}: ${span.operationName}`;
        return html`
          <span class="name" data-testid="span" title=${name} style=${{ paddingLeft: `${depth * 14}px` }}>${name}</span>
          <span class="lane"><span class=${`span ${failed ? "failed" : ""}`} style=${{ left, width: wide }}></span></span>
          <span class="took">${took(span.duration)}</span>`;
      })}
    </div>
    ${rows.length > SPANS_MAX && html`<p class="dim">showing ${SPANS_MAX} of ${rows.length} spans</p>`}`;
}

function Recent({ view, change }) {
  const { data, error } = usePolled(async () => {
    const end = Date.now() * 1000;
    const start = end - (RANGES[view.range] ?? 900) * 1e6;
    const names = view.service ? [view.service] : (await services()).slice(0, SERVICES_MAX);
    const found = await Promise.all(names.map((service) => traces({ service, start, end, limit: 10 })));
    const distinct = new Map(found.flat().map((t) => [t.traceID, t]));
    const rows = [...distinct.values()].map((t) => {
      const root = ordered(t.spans)[0][0];
      const from = Math.min(...t.spans.map((span) => span.startTime));
      const to = Math.max(...t.spans.map((span) => span.startTime + span.duration));
      return { id: t.traceID, name: root.operationName, service: t.processes[root.processID].serviceName, spans: t.spans.length, from, took: to - from };
    });
    return rows.sort((a, b) => b.from - a.from).slice(0, 15);
  }, [view.range, view.service], 5000);
  return html`
    <h2>Traces <span class="dim">newest first</span></h2>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${data && !data.length && html`<p class="dim">No trace yet: <code>heliograph up --demo</code> makes some, <code>heliograph.configure(service_name="…")</code> sends yours.</p>`}
    ${data && data.length > 0 && html`<table>
      <thead><tr><th>time</th><th>service</th><th>operation</th><th>spans</th><th>took</th></tr></thead>
      <tbody>${data.map((row) => html`<tr class="row" key=${row.id} data-testid="trace-row" tabindex="0" onClick=${() => change({ trace: row.id })} onKeyDown=${(e) => e.key === "Enter" && change({ trace: row.id })}>
        <td class="time">${new Date(row.from / 1000).toLocaleTimeString([], { hour12: false })}</td><td>${row.service}</td><td>${row.name}</td><td>${row.spans}</td><td>${took(row.took)}</td></tr>`)}</tbody>
    </table>`}`;
}

export function Traces({ view, change }) {
  return html`<section data-testid="traces">
    ${view.trace ? html`<${Waterfall} id=${view.trace} change=${change} />` : html`<${Recent} view=${view} change=${change} />`}
  </section>`;
}
