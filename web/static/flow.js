// What is flowing: messages per second on the bus, items per second and lag of each store, live.
import { html, useEffect, useState } from "./vendor/htm-preact.js";

const SIGNALS = { "telemetry.metrics": "metrics", "telemetry.logs": "logs", "telemetry.traces": "traces" };
// Stores are written in cuts some seconds apart, so rates are over this long.
const WINDOW_MS = 30000;
const UNITS = { search: "documents/s", archive: "items/s", tsdb: "samples/s" };

function rate(now, before, read) {
  const seconds = (now.time_ms - before.time_ms) / 1000;
  return seconds > 0 ? Math.max(0, (read(now) - read(before)) / seconds) : 0;
}

const show = (value) => (value >= 100 ? Math.round(value).toLocaleString() : value.toFixed(1));

export function Flow() {
  const [seen, setSeen] = useState([]);
  const [lost, setLost] = useState(false);
  useEffect(() => {
    const stream = new EventSource("api/flow");
    stream.addEventListener("flow", (event) => {
      setLost(false);
      const flow = JSON.parse(event.data);
      setSeen((before) => [...before.filter((f) => flow.time_ms - f.time_ms <= WINDOW_MS), flow]);
    });
    stream.onerror = () => setLost(true);
    return () => stream.close();
  }, []);
  const now = seen[seen.length - 1];
  const before = seen.length > 1 ? seen[0] : null;
  return html`
    <section data-testid="flow">
      <h2>Flowing now ${lost && html`<span class="error">reconnecting…</span>`}</h2>
      ${!now && html`<p class="dim">Waiting for the first count…</p>`}
      ${now && html`<div class="cards">
        ${Object.entries(SIGNALS).map(([topic, name]) => html`
          <div class="card" data-testid=${`flow-${name}`}>
            <span class="dim">${name} on the bus</span>
            <b>${before ? show(rate(now, before, (f) => f.topics[topic] ?? 0)) : "…"}</b>
            <span class="dim">batches/s, ${(now.topics[topic] ?? 0).toLocaleString()} in all</span>
          </div>`)}
        ${Object.entries(now.stores).map(([name, store]) => html`
          <div class=${`card ${store.ready ? (store.lag > 100 ? "late" : "") : "down"}`} data-testid=${`store-${name}`}>
            <span class="dim">${name} store</span>
            <b>${store.ready ? (before ? show(rate(now, before, (f) => f.stores[name]?.items ?? 0)) : "…") : "down"}</b>
            <span class="dim">${UNITS[name] ?? "items/s"}, ${store.lag.toLocaleString()} batches behind</span>
          </div>`)}
      </div>`}
    </section>`;
}
