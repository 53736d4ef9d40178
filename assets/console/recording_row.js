// One recording in the list: what a person decides by whether to watch it.

import { el, svg } from './dom.js';
import { ago, count, duration, moment } from './format.js';
import { href } from './route.js';
import { text } from './text.js';

const words = text.list;
const [WIDTH, HEIGHT] = [128, 24];

/** The columns: how a cell is filled. */
const CELLS = {
  began: (item, tenant) => [
    el('a', { class: 'whole-row', href: addressOf(item, tenant), title: moment(item.timestamp) }, ago(item.timestamp)),
    item.live && el('span', { class: 'badge is-live' }, el('i', { class: 'dot' }), words.live),
  ],
  who: (item) => whoIs(item) ?? '–',
  page: (item) => known(item, item.url, place),
  duration: (item) => known(item, item.duration, duration),
  active: (item) => known(item, item.activeTime, duration),
  activity: (item) => known(item, item.activity, spark),
  clicks: (item) => known(item, item.clicks, count),
  errors: (item) => known(item, item.errors, (errors) => (errors ? el('b', { class: 'wrong' }, count(errors)) : '0')),
};

/** Where one watches a recording. */
export const addressOf = ({ recordingId, live }, tenant) => href(live ? 'live' : 'watch', [tenant, recordingId]);

/** Whose visit it was, as far as the site says. The recorder's own id comes as a cookie, name and all. */
export const whoIs = ({ metadata: { userId, email, visitor } }) => userId ?? email ?? visitor?.replace(/^.*=/, '');

/** An address as people know it: host and path, the host quiet. */
export function place(url) {
  const { host, pathname } = URL.canParse(url) ? new URL(url) : { host: '', pathname: url };
  return el('span', { title: url }, el('span', { class: 'quiet' }, host), pathname);
}

// Clicks are counted together with all else: where they are known, what is missing never comes.
function known(item, value, told) {
  if (value !== null && value !== '') return told(value);
  const isToCome = item.clicks === null;
  return el('span', { class: 'quiet', title: isToCome ? words.notYet : words.none }, isToCome ? '…' : '–');
}

// How busy it was from its beginning to its end, a byte a slot. To a screen reader the active time says as much.
function spark(base64) {
  const levels = [...atob(base64)].map((letter) => letter.charCodeAt(0));
  const wide = WIDTH / levels.length;
  // Three events are much more than none, and two hundred hardly more than a hundred.
  const scale = HEIGHT / Math.log2(2 + Math.max(6, ...levels));
  const high = (level) => (level ? Math.log2(level + 2) * scale : 1);
  const bar = (level, place) => `M${place * wide} ${HEIGHT}v${-high(level)}h${wide * 0.8}V${HEIGHT}z`;
  const box = { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' };
  return svg('svg', box, svg('path', { d: levels.map(bar).join('') }));
}

/** The row. `cols` are the metadata keys that the person wants to see. */
export function recordingRow(item, tenant, cols) {
  const cells = Object.entries(CELLS).map(([name, fill]) => el('td', { class: name }, fill(item, tenant)));
  return el(
    'tr',
    { 'data-id': item.recordingId },
    cells,
    ...cols.map((key) => el('td', {}, String(item.metadata[key] ?? '–'))),
  );
}

/** The row above all. */
export function headRow(sort, cols) {
  const sorted = { duration: 'duration', active: 'active', errors: 'errors', bytes: '' }[sort] ?? 'began';
  const cell = (name) =>
    el('th', { scope: 'col', class: name, 'aria-sort': name === sorted && 'descending' }, words.columns[name]);
  return el('tr', {}, Object.keys(CELLS).map(cell), ...cols.map((key) => el('th', { scope: 'col' }, key)));
}
