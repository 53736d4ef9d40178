// Draws how busy a recording was, from its beginning to its end, in one small picture.

import { svg } from './dom.js';

const WIDTH = 128;
const HEIGHT = 24;

/** Makes the picture of a base64 text, a byte a slot. A screen reader passes it over: the active time says as much. */
export function spark(base64) {
  const levels = [...atob(base64)].map((letter) => letter.charCodeAt(0));
  const wide = WIDTH / levels.length;
  // Three events are much more than none, and two hundred hardly more than a hundred.
  const scale = HEIGHT / Math.log2(2 + Math.max(6, ...levels));
  const high = (level) => (level ? Math.log2(level + 2) * scale : 1);
  const bar = (level, place) => `M${place * wide} ${HEIGHT}v${-high(level)}h${wide * 0.8}V${HEIGHT}z`;
  const box = { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' };
  return svg('svg', box, svg('path', { d: levels.map(bar).join('') }));
}
