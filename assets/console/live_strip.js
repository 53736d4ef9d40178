// Who is on the site right now, whatever the list is narrowed to.

import { el } from './dom.js';
import { clock } from './format.js';
import { poll } from './poll.js';
import { addressOf, place } from './recording_row.js';
import { text } from './text.js';

const SHOWN = 12;
const EVERY_MS = 5000;

/** Makes the strip, which is not to be seen while nobody is there. Returns `{node, close}`. */
export function liveStrip(api, tenant) {
  const heading = el('h2', {}, el('span', { class: 'dot' }), el('span', {}));
  const cards = el('ul', {});
  const node = el('section', { class: 'live-strip', hidden: true, 'aria-label': text.list.liveNow }, heading, cards);
  const made = new Map();

  const close = poll(async (signal) => {
    const params = { live: true, limit: SHOWN + 1 };
    const { recordings } = await api.json('/recordings', { params, signal });
    node.hidden = recordings.length === 0;
    const number = recordings.length > SHOWN ? `${SHOWN}+` : recordings.length;
    heading.lastChild.textContent = text.list.nowLive(number);
    const shown = recordings.slice(0, SHOWN);
    for (const [id, card] of made) if (!shown.some(({ recordingId }) => recordingId === id)) card.remove();
    for (const [id, card] of made) if (!card.isConnected && node.isConnected) made.delete(id);
    for (const item of shown) {
      const card = made.get(item.recordingId) ?? el('li', {}, el('a', { href: addressOf(item, tenant) }));
      made.set(item.recordingId, card);
      const who = text.list.who(item.metadata) ?? text.list.visitor;
      const since = clock(Date.now() - item.timestamp);
      card.firstChild.replaceChildren(el('b', {}, who), item.url ? place(item.url) : '', el('span', { class: 'quiet' }, since));
      if (!card.isConnected) cards.append(card);
    }
  }, EVERY_MS);
  return { node, close };
}
