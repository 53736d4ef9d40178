// Draws a figure over time. A slider that lies on the curve, unseen, reads it out to mouse, keys and screen readers.

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
  const paths = ['area', 'line', 'bound', 'marker'].map((name) => svg('path', { class: name }));
  const [area, line, limit, marker] = paths;
  const shape = svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...paths,
  );
  const slider = el('input', { type: 'range', 'aria-label': label, oninput: () => mark() });
  const [top, begin, end] = ['top', 'begin', 'end'].map((name) => el('span', { class: name, 'aria-hidden': 'true' }));
  const node = el('div', { class: 'plot' }, shape, slider, top, begin, end);
  let shown;

  function mark() {
    const isNow = slider.value === slider.max;
    const said = `${timeOfDay(shown.at[slider.value])}: ${reads(shown.values[slider.value])}`;
    slider.setAttribute('aria-valuetext', said);
    marker.setAttribute('d', isNow ? '' : `M${(WIDTH * slider.value) / slider.max},0V${HEIGHT}`);
    end.textContent = isNow ? text.server.now : said;
  }

  function draw({ at, values, bound = 0 }) {
    node.hidden = at.length < 2;
    if (node.hidden) return;
    const wasAt = shown && slider.value !== slider.max ? slider.value : at.length - 1;
    shown = { at, values };
    slider.max = at.length - 1;
    slider.value = wasAt;
    const most = Math.max(...values);
    // A bound far above the curve would press it flat.
    const isNear = bound > 0 && bound < 2 * most;
    const height = roundUp(isNear ? Math.max(most, bound) : most);
    const y = (value) => (HEIGHT * (1 - value / height)).toFixed(1);
    const points = values.map((value, index) => `${((WIDTH * index) / slider.max).toFixed(1)},${y(value)}`);
    line.setAttribute('d', `M${points.join('L')}`);
    area.setAttribute('d', `M${points.join('L')}V${HEIGHT}H0Z`);
    limit.setAttribute('d', isNear ? `M0,${y(bound)}H${WIDTH}` : '');
    top.textContent = reads(height);
    begin.textContent = timeOfDay(at[0]);
    slider.setAttribute(
      'aria-label',
      text.server.curve(label, timeOfDay(at[0]), reads(Math.min(...values)), reads(most)),
    );
    mark();
  }

  const point = (place) => ((slider.value = slider.max * place), mark());
  slider.addEventListener('pointermove', ({ offsetX }) => point(offsetX / slider.clientWidth));
  for (const name of ['pointerleave', 'blur']) slider.addEventListener(name, () => point(1));
  return { node, draw };
}
