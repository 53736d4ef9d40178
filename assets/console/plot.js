// Draws a figure over time, with a marker that mouse and arrow keys move.

import { el, svg } from './dom.js';
import { timeOfDay } from './format.js';
import { text } from './text.js';

const WIDTH = 300;
const HEIGHT = 60;

// The least of 1, 2, 5, 10, … that is not below a value: where an axis may end.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

/** Makes a plot. `reads` makes words of a value. Returns `{node, draw}`; `draw({at, values, bound})` shows a curve. */
export function makePlot({ label, reads }) {
  const [area, line, bound, marker] = ['area', 'line', 'bound', 'marker'].map((name) => svg('path', { class: name }));
  const shape = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  shape.append(area, line, bound, marker);
  const [top, begin, end] = ['top', 'begin', 'end'].map((name) => el('span', { class: name, 'aria-hidden': 'true' }));
  const node = el('div', { class: 'plot', role: 'slider', tabindex: 0, 'aria-valuemin': 0 }, shape, top, begin, end);
  let shown = { at: [], values: [] };
  let marked = null;

  const x = (index) => (WIDTH * (shown.at[index] - shown.at[0])) / (shown.at.at(-1) - shown.at[0] || 1);

  function mark(index) {
    const { at, values } = shown;
    marked = index;
    const now = index ?? at.length - 1;
    const said = `${timeOfDay(at[now])}: ${reads(values[now])}`;
    node.setAttribute('aria-valuenow', now);
    node.setAttribute('aria-valuetext', said);
    marker.setAttribute('d', index === null ? '' : `M${x(index)},0V${HEIGHT}`);
    end.textContent = index === null ? text.server.now : said;
  }

  function draw({ at, values, bound: limit = 0 }) {
    node.hidden = at.length < 2;
    if (node.hidden) return;
    shown = { at, values };
    const most = Math.max(...values);
    // A bound far above the curve would press it flat.
    const isNear = limit > 0 && limit < 2 * most;
    const height = roundUp(isNear ? Math.max(most, limit) : most);
    const y = (value) => (HEIGHT * (1 - value / height)).toFixed(1);
    const path = values.map((value, index) => `${index ? 'L' : 'M'}${x(index).toFixed(1)},${y(value)}`).join('');
    line.setAttribute('d', path);
    area.setAttribute('d', `${path}V${HEIGHT}H0Z`);
    bound.setAttribute('d', isNear ? `M0,${y(limit)}H${WIDTH}` : '');
    top.textContent = reads(height);
    begin.textContent = timeOfDay(at[0]);
    node.setAttribute('aria-valuemax', at.length - 1);
    node.setAttribute(
      'aria-label',
      text.server.curve(label, timeOfDay(at[0]), reads(Math.min(...values)), reads(most)),
    );
    mark(marked === null ? null : Math.min(marked, at.length - 1));
  }

  node.addEventListener('pointermove', (event) => {
    const { left, width } = node.getBoundingClientRect();
    const place = Math.max(0, Math.min(1, (event.clientX - left) / width)) * WIDTH;
    mark(
      shown.at.reduce((best, _, index) => (Math.abs(x(index) - place) < Math.abs(x(best) - place) ? index : best), 0),
    );
  });
  for (const name of ['pointerleave', 'blur']) node.addEventListener(name, () => mark(null));
  node.addEventListener('keydown', (event) => {
    const last = shown.at.length - 1;
    const from = marked ?? last;
    const to = {
      ArrowLeft: from - 1,
      ArrowDown: from - 1,
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      Home: 0,
      End: last,
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    mark(Math.max(0, Math.min(last, to[event.key])));
  });
  return { node, draw };
}
