// What the page shows lives in the URL, so that a link is a view.
import { useCallback, useEffect, useState } from "./vendor/htm-preact.js";

export const RANGES = { "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400 };
const DEFAULTS = { range: "15m", expr: "", service: "", severity: "", text: "", trace: "" };

function read() {
  const params = new URLSearchParams(location.search);
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, value]) => [key, params.get(key) ?? value]));
}

export function useView() {
  const [view, setView] = useState(read);
  useEffect(() => {
    const back = () => setView(read());
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const change = useCallback((patch) => {
    setView((before) => {
      const after = { ...before, ...patch };
      const params = new URLSearchParams(Object.entries(after).filter(([key, value]) => value !== DEFAULTS[key]));
      history.pushState(null, "", params.size ? `?${params}` : location.pathname);
      return after;
    });
  }, []);
  return [view, change];
}

// Calls load() now, whenever `keys` change, and every `everyMs`; keeps the last good answer beside the newest error.
export function usePolled(load, keys, everyMs) {
  const [answer, setAnswer] = useState({ data: null, error: null });
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const turn = async () => {
      try {
        const data = await load();
        if (!gone) setAnswer({ data, error: null });
      } catch (error) {
        if (!gone) setAnswer((before) => ({ ...before, error: error.message }));
      }
      if (!gone && everyMs) timer = setTimeout(turn, everyMs);
    };
    turn();
    return () => { gone = true; clearTimeout(timer); };
  }, keys);
  return answer;
}
