// How a live view keeps close behind the visitor, and never runs ahead of what is there.

const BEHIND_MS = 800;
const DRIFT_MS = 500;
const OFFSETS = 10;

/** How far this clock is from the visitor's, as the quickest of the last arrivals tells. */
export class Offset {
  #seen = [];

  /** Something has arrived that happened at `timestamp`. */
  take(timestamp) {
    this.#seen = [...this.#seen.slice(1 - OFFSETS), performance.now() - timestamp];
  }

  /** The time to show now: so far behind that what is on its way mostly comes in time. */
  get target() {
    return performance.now() - Math.min(...this.#seen) - BEHIND_MS;
  }
}

/** What the clock does next. `newest`: the time of the newest event at hand. To jump forward is cheap. */
export function liveStep({ t, newest, target, isPlaying }) {
  const wanted = Math.min(target, newest);
  if (wanted > t + (isPlaying ? DRIFT_MS : 0)) return { type: 'play', t: wanted };
  if (isPlaying && t >= newest) return { type: 'pause', t: newest };
  if (!isPlaying && t < newest) return { type: 'play', t };
  return null;
}
