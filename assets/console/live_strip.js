// Who is on the site right now, whatever the list is narrowed to.

import { el } from './dom.js';
import { clock } from './format.js';
import { poll } from './poll.js';
import { addressOf, place, whoIs } from './recording_row.js';
import { text } from './text.js';

const SHOWN = 12;
const EVERY_MS = 5000;

/** Makes the strip, which is out of sight while nobody is there. Returns `{node, close}`. */
export function liveStrip(api, tenant) {
  const node = el('section', { class: 'live-strip', hidden: true, 'aria-label': text.list.liveNow });
  let drawn = '';
  const look = async (signal) => {
    const { recordings } = await api.json('/recordings', { params: { live: true, limit: SHOWN + 1 }, signal });
    const shown = recordings.slice(0, SHOWN);
    node.hidden = !shown.length;
    // Links stay as they are while somebody may be on the way to one.
    const ids = shown.map(({ recordingId, url }) => recordingId + url).join();
    if (ids !== drawn) draw(shown, recordings.length > SHOWN);
    drawn = ids;
    for (const [at, { timestamp }] of shown.entries())
      node.querySelectorAll('time')[at].textContent = text.list.since(clock(Date.now() - timestamp));
  };
  const draw = (shown, areMore) => {
    const heading = el('h2', {}, el('i', { class: 'dot' }), text.list.nowLive(`${shown.length}${areMore ? '+' : ''}`));
    const card = (item) => {
      const lines = [
        el('b', {}, whoIs(item) ?? text.list.visitor),
        item.url && place(item.url),
        el('time', { class: 'quiet' }),
      ];
      return el('a', { class: 'card', href: addressOf(item, tenant) }, ...lines);
    };
    node.replaceChildren(heading, el('div', {}, shown.map(card)));
  };
  return { node, close: poll(look, EVERY_MS) };
}
