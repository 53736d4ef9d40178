// What is known of a recording beside its events: numbers, its id, metadata.

import { el } from './dom.js';
import { bytes, count, duration, moment } from './format.js';
import { notice } from './notice.js';
import { href } from './route.js';
import { text } from './text.js';

const words = text.details;
const AS = { first: moment, last: moment, activeMs: duration, bytes };

/** `tenant` is null where there is no session: a shared link is for one recording. */
export function makeDetails({ api, tenant, id, source }) {
  const node = el('section', { class: 'details' });
  const stop = new AbortController();
  const path = `/recordings/${encodeURIComponent(id)}`;

  async function fill() {
    const { signal } = stop;
    const metadata = await api.json(path, { params: { shape: 'list' }, signal });
    const facts = source.facts ?? (await api.json(`${path}/pages`, { signal }));
    const copy = () => navigator.clipboard.writeText(id).then(() => notice(words.copied));
    // What recordings of one visit, or of one person, have in common.
    const groups = metadata.filter(({ key }) => tenant !== null && Object.hasOwn(words.whole, key));
    const known = Object.entries(words.facts).filter(([name]) => (facts[name] ?? null) !== null);
    node.replaceChildren(
      ...groups.map(({ key, value }) =>
        el('a', { class: 'button', href: href('visit', [tenant], { [`meta[${key}]`]: value }) }, words.whole[key]),
      ),
      listOf(known.map(([name, title]) => [title, (AS[name] ?? count)(facts[name])])),
      el('p', {}, el('code', {}, id), ' ', el('button', { type: 'button', onclick: copy }, words.copy)),
      el('h3', {}, words.metadata),
      metadata.length ? listOf(metadata.map(entryOf)) : el('p', { class: 'quiet' }, words.none),
    );
  }

  fill().catch((problem) => {
    if (problem.name !== 'AbortError') node.replaceChildren(el('p', { class: 'quiet' }, text.problem(problem).title));
  });
  return { node, close: () => stop.abort() };
}

const listOf = (entries) =>
  el(
    'dl',
    {},
    entries.flatMap(([title, ...values]) => [el('dt', {}, title), el('dd', {}, values)]),
  );

const entryOf = ({ key, value, timestamp, version }) => [
  key,
  value,
  el('small', { class: 'quiet' }, ` ${words.change(moment(timestamp), version)}`),
];
