// The bar: what happened over the whole recording, where the player is, and how to go elsewhere.

import { el, svg } from './dom.js';
import { clock, duration } from './format.js';
import { text } from './text.js';

const WIDTH = 1000;
const HEIGHT = 24;
const SCRUB_MS = 150;

/** Makes the bar of a player: `{node, update(state)}`. */
export function makeBar({ player, source }) {
  const input = el('input', { type: 'range', class: 'seek', min: 0, step: 1, 'aria-label': text.player.position });
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const bubble = el('span', { class: 'bubble', 'aria-hidden': 'true', hidden: true });
  const node = el('div', { class: 'bar' }, drawing, input, bubble);
  let drawn = '';
  let scrub = 0;

  const pageAt = (t) => source.pieces.findLast((piece) => piece.from <= t)?.url;
  const length = () => Math.max(source.last - source.first, 1);

  function point(ms) {
    const place = path(pageAt(source.first + ms));
    bubble.replaceChildren(el('b', {}, clock(ms)), place ? ` ${place}` : '');
    bubble.hidden = false;
    const share = ms / length();
    bubble.style.left = `${share * 100}%`;
    bubble.style.translate = `${-share * 100}%`;
  }

  node.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = node.getBoundingClientRect();
    point(Math.min(1, Math.max(0, (clientX - left) / width)) * length());
  });
  node.addEventListener('pointerleave', () => (bubble.hidden = true));
  input.addEventListener('input', () => {
    point(Number(input.value));
    clearTimeout(scrub);
    scrub = setTimeout(() => {
      scrub = 0;
      bubble.hidden = !node.matches(':hover');
      player.seek(source.first + Number(input.value));
    }, SCRUB_MS);
  });

  function update({ t, first, last, idle }) {
    const state = `${first} ${last} ${source.pieces.length}`;
    if (state !== drawn) drawing.replaceChildren(...shapes(source, idle));
    drawn = state;
    if (scrub) return;
    input.max = length();
    // Where nothing can be shown there is no moment yet.
    const at = Math.max(0, t - first);
    input.value = at;
    input.setAttribute('aria-valuetext', text.player.at(duration(at), duration(last - first), path(pageAt(t))));
  }
  return { node, update };
}

/** What tells a page from others of its site. */
export function path(url) {
  if (!URL.canParse(url)) return url ?? '';
  const { pathname, search, hash } = new URL(url);
  return pathname + search + hash;
}

// In one path each: the input over time, idle stretches, pages, pages with errors.
function shapes({ activity, pieces, first, last }, idle) {
  const x = (t) => Math.round(((t - first) / Math.max(last - first, 1)) * WIDTH * 10) / 10;
  const across = (spans, y) => spans.map(([from, to]) => `M${x(from)} ${y}H${x(to)}`).join('');
  const { from = 0, slotMs = 1, levels = [] } = activity ?? {};
  const most = Math.log2(2 + Math.max(0, ...levels));
  const top = (level) => (HEIGHT - (Math.log2(1 + level) / most) * (HEIGHT - 4)).toFixed(1);
  const heat = Array.from(levels, (level, slot) => `H${x(from + slot * slotMs)}V${top(level)}`).join('');
  const pages = pieces.filter(({ kind }) => kind === 'page').map((page) => `M${x(page.from)} 0V${HEIGHT}`);
  const errors = pieces.filter((piece) => piece.errors > 0).map((piece) => [piece.from, piece.to]);
  const line = (d, color, width, more) =>
    svg('path', {
      d,
      stroke: `var(--${color})`,
      'stroke-width': width,
      'vector-effect': 'non-scaling-stroke',
      ...more,
    });
  return [
    svg('path', { d: heat && `M0 ${HEIGHT}${heat}H${WIDTH}V${HEIGHT}Z`, fill: 'var(--accent)', opacity: 0.5 }),
    line(across(idle, HEIGHT / 2), 'edge', 8, { 'stroke-dasharray': '1 4' }),
    line(pages.join(''), 'ink', 1.5),
    line(across(errors, 2), 'bad', 4),
  ];
}
