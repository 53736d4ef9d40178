// What is known of a recording beside its events: numbers, ids, metadata.

import { el } from './dom.js';
import { bytes, count, duration, moment } from './format.js';
import { notice } from './notice.js';
import { href } from './route.js';
import { text } from './text.js';

// What recordings of one visit, or of one person, have in common.
const GROUPS = ['sessionId', 'visitor', 'userId'];

/** `tenant` is null where there is no session: a shared link is for one recording. */
export function makeDetails({ api, tenant, id, source }) {
  const node = el('section', { class: 'details', 'aria-label': text.details.title });
  const stop = new AbortController();
  const path = `/recordings/${encodeURIComponent(id)}`;

  async function fill() {
    const params = { shape: 'list' };
    const [metadata, facts] = await Promise.all([
      api.json(path, { params, signal: stop.signal }),
      source.facts ?? api.json(`${path}/pages`, { signal: stop.signal }).catch(() => null),
    ]);
    const groups = metadata.filter(({ key }) => tenant !== null && GROUPS.includes(key));
    node.replaceChildren(
      el('h3', {}, text.details.title),
      facts ? numbers(facts) : '',
      el('p', {}, el('code', {}, id), ' ', copyButton(id)),
      el('p', { class: 'actions' }, groups.map(groupLink)),
      el('h3', {}, text.details.metadata),
      metadata.length ? table(metadata) : el('p', { class: 'quiet' }, text.details.noMetadata),
    );
  }

  const groupLink = ({ key, value }) =>
    el('a', { class: 'button', href: href('visit', [tenant], { [`meta[${key}]`]: value }) }, text.details.whole[key]);

  fill().catch((problem) => {
    if (problem.name === 'AbortError') return;
    const { title, advice } = text.problem(problem);
    node.replaceChildren(el('p', { class: 'quiet' }, `${title}. ${advice}`));
  });
  return { node, close: () => stop.abort() };
}

function numbers(facts) {
  const known = Object.entries(text.details.facts).filter(
    ([name]) => facts[name] !== null && facts[name] !== undefined,
  );
  const shown = { first: moment, last: moment, activeMs: duration, bytes };
  const row = ([name, title]) => el('div', {}, el('dt', {}, title), el('dd', {}, (shown[name] ?? count)(facts[name])));
  return el('dl', {}, known.map(row));
}

function table(metadata) {
  const { key, value, changed } = text.details.columns;
  const head = el(
    'tr',
    {},
    [key, value, changed].map((title) => el('th', { scope: 'col' }, title)),
  );
  const row = (one) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, one.key),
      el('td', {}, one.value),
      el('td', {}, text.details.change(moment(one.timestamp), one.version)),
    );
  return el('div', { class: 'scrolls' }, el('table', {}, el('thead', {}, head), el('tbody', {}, metadata.map(row))));
}

function copyButton(id) {
  const copy = () =>
    navigator.clipboard.writeText(id).then(
      () => notice(text.details.copied),
      () => notice(text.details.notCopied),
    );
  return el('button', { type: 'button', onclick: copy }, text.details.copy);
}
