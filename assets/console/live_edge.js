// How a live view keeps close behind the visitor, and never runs ahead.

const BEHIND_MS = 800;
const BEHIND_MAX_MS = 1500;

/**
 * What the clock of a live view does next. `t`: the time shown, `newest`: that of the newest event at hand. Jumping
 * forward is cheap: the replayer does at once what lies between.
 */
export function liveStep({ t, newest, isPlaying }) {
  const lag = newest - t;
  if (lag > BEHIND_MAX_MS) return { type: 'play', t: newest - BEHIND_MS };
  if (isPlaying && lag <= 0) return { type: 'pause', t: newest };
  if (!isPlaying && lag > 0) return { type: 'play', t };
  return null;
}

/** Where the live view of a piece begins: `last` is the time of the newest event at hand. */
export const liveStart = (piece, last) => Math.max(piece.snapshot, last - BEHIND_MS);
