// Finds stretches without any input, by what happened in each slot of a recording.

const IDLE_MS = 5_000;
const LEAD_MS = 1_000;
const found = new WeakMap();

/** Times without input, each up to a little before the next: [[from, to], …]. The same array each time. */
export function idleStretches({ activity, last }) {
  if (!activity) return [];
  if (!found.has(activity)) found.set(activity, [...stretches(activity, last)]);
  return found.get(activity);
}

function* stretches({ from, slotMs, levels }, last) {
  for (let slot = 0, start = 0; slot <= levels.length; slot += 1) {
    if (levels[slot] === 0) continue;
    const [begin, end] = [from + start * slotMs, Math.min(from + slot * slotMs, last)];
    if (end - begin >= IDLE_MS) yield [begin, end - LEAD_MS];
    start = slot + 1;
  }
}
