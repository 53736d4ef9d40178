// Asks again and again, as long as somebody looks.

import { pause, Problem } from './api.js';

const LONGEST_MS = 60_000;

/**
 * Calls `work(signal)` after `firstMs` and then `everyMs` after each answer: not while the page is hidden, less often
 * while the server is away. Returns a function that ends it. `onproblem` hears of each failure.
 */
export function poll(work, everyMs, onproblem = () => {}, firstMs = 0) {
  const ended = new AbortController();
  const { signal } = ended;
  const run = async () => {
    await pause(firstMs, signal);
    for (let failures = 0; ; await pause(Math.min(everyMs * 2 ** failures, LONGEST_MS), signal)) {
      while (document.hidden)
        await new Promise((seen) => document.addEventListener('visibilitychange', seen, { once: true }));
      try {
        if (!signal.aborted) await work(signal);
        failures = 0;
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        failures += 1;
        onproblem(problem);
      }
    }
  };
  run().catch((error) => signal.aborted || console.error(error));
  return () => ended.abort();
}
