// One recording in the list: what a person decides by whether to watch it.

import { el } from './dom.js';
import { ago, count, duration, moment } from './format.js';
import { href } from './route.js';
import { spark } from './spark.js';
import { text } from './text.js';

const words = text.list;

/** The columns: how a cell is filled. */
const CELLS = {
  began: (item, tenant) => [
    el('a', { class: 'cover', href: addressOf(item, tenant), title: moment(item.timestamp) }, ago(item.timestamp)),
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
