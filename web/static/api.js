// Answers of the query service. Every failure is an Error whose message is meant for the person at the page.

async function getJson(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== "" && v !== undefined && v !== null));
  let answer;
  try {
    answer = await fetch(query.size ? `${path}?${query}` : path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Error("The query service does not answer. Is `heliograph up` still running?");
  }
  if (answer.status === 401) throw new Error("The session has ended: open the link that `heliograph up` prints.");
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || body.errors?.[0]?.msg || `The query service answered ${answer.status}.`);
  return body;
}

export const queryRange = (query, start, end, step) =>
  getJson("prometheus/api/v1/query_range", { query, start, end, step }).then((body) => body.data.result);

export const logs = (params) => getJson("api/logs", params);

export const services = () => getJson("jaeger/api/services").then((body) => body.data);

export const traces = (params) => getJson("jaeger/api/traces", params).then((body) => body.data);

export const trace = (id) => getJson(`jaeger/api/traces/${encodeURIComponent(id)}`).then((body) => body.data[0]);
