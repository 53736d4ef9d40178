// Asks again and again, as long as somebody looks.

import { Problem } from './api.js';

const LONGEST_MS = 60_000;

/**
 * Calls `work(signal)` at once and then `everyMs` after each answer, not while the page is hidden, and less often
 * while the server is away. Returns a function that ends it. `onproblem` hears of each failure.
 */
export function poll(work, everyMs, onproblem = () => {}) {
  const ended = new AbortController();
  const { signal } = ended;
  let timer, failures, isAsking;
  const ask = async () => {
    clearTimeout(timer);
    if (isAsking || signal.aborted || document.hidden) return;
    isAsking = true;
    try {
      await work(signal);
      failures = 0;
    } catch (problem) {
      if (signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      failures += 1;
      onproblem(problem);
    } finally {
      isAsking = false;
      if (!signal.aborted) timer = setTimeout(ask, Math.min(everyMs * 2 ** failures, LONGEST_MS));
    }
  };
  failures = 0;
  document.addEventListener('visibilitychange', ask, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  ask();
  return () => ended.abort();
}
