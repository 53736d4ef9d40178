// One recording in the list: what a person decides by whether to watch it.

import { el } from './dom.js';
import { ago, count, duration, moment } from './format.js';
import { href } from './route.js';
import { spark } from './spark.js';
import { text } from './text.js';

const words = text.list;

/** The columns: for each its name, and how its cell is filled. */
export const COLUMNS = {
  started: (item, tenant) => [
    el('a', { class: 'cover', href: addressOf(item, tenant) }, el('time', { title: moment(item.timestamp) }, ago(item.timestamp))),
    item.live && liveBadge(),
  ],
  page: (item) => (item.url ? place(item.url) : unknown(item)),
  duration: (item) => known(item, item.duration, duration),
  active: (item) => known(item, item.activeTime, duration),
  activity: (item) => (item.activity ? spark(item.activity) : unknown(item)),
  clicks: (item) => known(item, item.clicks, count),
  errors: (item) => (item.errors ? el('span', { class: 'badge is-bad' }, count(item.errors)) : known(item, item.errors, count)),
};

export const liveBadge = () => el('span', { class: 'badge is-live' }, el('span', { class: 'dot' }), words.live);

/** Where one watches a recording. */
export const addressOf = ({ recordingId, live }, tenant) => href(live ? 'live' : 'watch', [tenant, recordingId]);

/** An address as people know it: host and path, the host quiet. */
export function place(url) {
  const { host, pathname } = URL.canParse(url) ? new URL(url) : { host: '', pathname: url };
  return el('span', { class: 'place', title: url }, el('span', { class: 'quiet' }, host), decoded(pathname));
}

function decoded(path) {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

const known = (item, value, told) => (value === null ? unknown(item) : told(value));

// Clicks are counted with all else that happened: where they are known, what is missing never comes.
const unknown = ({ clicks }) =>
  clicks === null ? el('span', { class: 'quiet', title: words.notYet }, '…') : el('span', { class: 'quiet', title: words.none }, '–');

/** The row. `cols` are the metadata keys that the person wants to see. */
export function recordingRow(item, tenant, cols) {
  const cells = Object.entries(COLUMNS).map(([name, fill]) => [name, words.columns[name], fill(item, tenant)]);
  const ofMetadata = cols.map((key) => {
    const value = item.metadata[key];
    return ['meta', key, value === undefined ? el('span', { class: 'quiet' }, '–') : el('span', { title: value }, String(value))];
  });
  cells.splice(2, 0, ...ofMetadata);
  const made = cells.map(([name, label, content]) => el('td', { class: name, 'data-label': label }, content));
  return el('tr', { 'data-id': item.recordingId }, ...made);
}
