// Draws how busy a recording was, from its beginning to its end, in one small picture.

import { svg } from './dom.js';

const WIDTH = 128;
const HEIGHT = 24;

/** The levels of a base64 text, a byte a slot. */
export const levelsOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Makes the picture. It says nothing to a screen reader: the active time beside it does. */
export function spark(base64) {
  const levels = levelsOf(base64);
  const wide = WIDTH / Math.max(levels.length, 1);
  // Three events are much more than none, and two hundred hardly more than a hundred.
  const bars = [...levels].map((level, place) => {
    const high = level ? 2 + (Math.log2(level + 1) / 8) * (HEIGHT - 2) : 0;
    return high && `M${(place * wide).toFixed(2)} ${HEIGHT}v${-high.toFixed(2)}h${Math.max(wide - 0.5, 0.5).toFixed(2)}V${HEIGHT}z`;
  });
  const path = svg('path', { d: bars.filter(Boolean).join('') });
  const floor = svg('path', { class: 'floor', d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
  const box = { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' };
  return svg('svg', box, floor, path);
}
