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
  const card = (item) => {
    const lines = [el('b', {}, whoIs(item) ?? text.list.visitor), item.url && place(item.url), el('time', {})];
    return el('a', { class: 'card', href: addressOf(item, tenant) }, ...lines);
  };
  const look = async (signal) => {
    const { recordings } = await api.json('/recordings', { params: { live: true, limit: SHOWN + 1 }, signal });
    const shown = recordings.slice(0, SHOWN);
    const ids = shown.map(({ recordingId, url }) => recordingId + url).join();
    // Links stay as they are while somebody may be on the way to one.
    if (ids !== drawn) {
      const number = `${shown.length}${recordings.length > SHOWN ? '+' : ''}`;
      const heading = el('h3', {}, el('i', { class: 'dot' }), text.list.nowLive(number));
      node.replaceChildren(heading, el('div', {}, shown.map(card)));
    }
    drawn = ids;
    node.hidden = !shown.length;
    const times = node.querySelectorAll('time');
    shown.forEach(({ timestamp }, at) => (times[at].textContent = text.list.since(clock(Date.now() - timestamp))));
  };
  return { node, close: poll(look, EVERY_MS) };
}
