// Makes a link to one recording that is good for a while; its right stands behind the `#`, which no server sees.

import { copyButton } from './copy.js';
import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { clock, moment } from './format.js';
import { problemNote } from './notice.js';
import { href } from './route.js';
import { text } from './text.js';

const words = text.share;
const LIFETIMES_S = { hour: 3600, day: 86_400, week: 604_800, month: 2_592_000 };

/** Asks for how long, and makes the link. `t`: where the person is, ms since the recording's beginning. */
export function openShare({ api, id, t = 0 }) {
  let query = null;
  const lifetime = el('select', { id: 'share-lifetime', onchange: () => told(null) });
  lifetime.append(...Object.keys(LIFETIMES_S).map((name) => el('option', { value: name }, words.lifetimes[name])));
  lifetime.value = 'week';
  const atMoment = el('input', { type: 'checkbox', checked: t >= 1000, onchange: () => told(query) });
  const link = el('input', { readonly: true, 'aria-label': words.link, onfocus: () => link.select() });
  const until = el('p', { class: 'quiet' });
  const result = el('div', { role: 'status' });
  const make = el('button', { type: 'button', class: 'primary', onclick: () => ask() }, words.make);

  function told(answer) {
    query = answer;
    if (!query) return result.replaceChildren();
    const signature = Object.fromEntries(new URLSearchParams(query));
    const place = href('shared', [id], { ...signature, t: atMoment.checked ? Math.round(t) : null });
    link.value = `${location.origin}${location.pathname}${place}`;
    until.replaceChildren(...prose(words.until(moment(signature.expires * 1000), signature.keyId)));
    if (!link.isConnected) result.replaceChildren(el('p', { class: 'actions' }, link, copyButton(link)), until);
  }

  async function ask() {
    make.disabled = true;
    try {
      const body = { expiresInS: LIFETIMES_S[lifetime.value] };
      told((await api.json(`/recordings/${encodeURIComponent(id)}/share`, { method: 'POST', body })).query);
      link.focus();
    } catch (problem) {
      told(null);
      result.replaceChildren(problemNote(problem));
    }
    make.disabled = false;
  }

  const body = [
    el('p', {}, words.what),
    el('p', { class: 'actions' }, el('label', { for: 'share-lifetime' }, words.lifetime), lifetime, make),
    t > 0 && el('p', {}, el('label', {}, atMoment, words.atMoment(clock(t)))),
    result,
  ];
  openDialog({ title: words.title, body });
  lifetime.focus();
}
