// Hands a recording out as a file: its events, or a page that replays them anywhere.

import { received } from './api.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { clock } from './format.js';
import { problemNote } from './notice.js';
import { text } from './text.js';

const words = text.downloads;
// As far apart as the recorder's snapshots are, so that a part begins with one.
const AROUND_MS = 300_000;

/** Reads 3:12 or 1:02:03 as ms; NaN where it is none. */
export function parseClock(said) {
  if (!/^\d+(:[0-5]?\d){1,2}$/.test(said.trim())) return NaN;
  return said.split(':').reduce((total, part) => total * 60 + Number(part), 0) * 1000;
}

/**
 * Offers the files, by a session's `api` or a shared link's. `first` and `last` are the recording's, ms; `t` is where
 * the person is, ms since `first`; with `salvage` what is damaged is left out.
 */
export function openDownloads({ api, id, first, last, t = 0, salvage = false }) {
  const path = `/recordings/${encodeURIComponent(id)}`;
  const ending = new AbortController();
  const choice = (part, label) => {
    const input = el('input', { type: 'radio', name: 'part', checked: !part, onchange: () => draw() });
    return [input, el('label', {}, input, label)];
  };
  const [whole, wholeLabel] = choice(false, words.whole(clock(last - first)));
  const [part, partLabel] = choice(true, words.part);
  const field = (label, ms) =>
    el('input', { 'aria-label': label, value: clock(ms), size: 8, oninput: () => ((part.checked = true), draw()) });
  const from = field(words.from, Math.max(0, t - AROUND_MS));
  const to = field(words.to, Math.min(last - first, t + AROUND_MS));
  const files = ['ndjson', 'json'].map((form) => [form, el('a', { class: 'button', download: '' }, words.files[form])]);
  const page = el('button', { type: 'button', class: 'primary', onclick: () => savePage() }, words.page);
  const said = el('div', { role: 'status' });

  function params() {
    const chosen = part.checked && { from: first + parseClock(from.value), to: first + parseClock(to.value) + 1000 };
    return { ...chosen, salvage: salvage || null };
  }

  function draw() {
    const isGood = whole.checked || parseClock(from.value) <= parseClock(to.value);
    for (const input of [from, to]) input.toggleAttribute('aria-invalid', !isGood);
    page.disabled = !isGood;
    for (const [form, link] of files) {
      if (isGood) link.href = api.url(`${path}/events`, { form, ...params() });
      else link.removeAttribute('href');
    }
    said.replaceChildren(isGood ? '' : words.badPart);
  }

  // Fetched by the page, which can say what is wrong; the server bounds its size.
  async function savePage() {
    page.disabled = true;
    said.replaceChildren(words.preparing);
    try {
      const options = { params: params(), accept: 'text/html', signal: ending.signal };
      const url = URL.createObjectURL(await received((await api.response(`${path}/export.html`, options)).blob()));
      el('a', { href: url, download: `recording-${id}.html` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      said.replaceChildren(words.saved);
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      const isLarge = problem.code === 'export_too_large';
      if (isLarge && whole.checked) part.checked = true;
      said.replaceChildren(isLarge ? el('p', { class: 'told', role: 'alert' }, words.tooLarge) : problemNote(problem));
      if (isLarge) from.focus();
    }
    page.disabled = false;
  }

  const body = [
    el(
      'fieldset',
      {},
      el('legend', {}, words.which),
      wholeLabel,
      el('div', { class: 'fields' }, partLabel, from, words.until, to),
    ),
    el('p', {}, words.pageIs),
    el('p', { class: 'actions' }, page),
    el('p', {}, words.filesAre),
    el('p', { class: 'actions' }, ...files.map(([, link]) => link)),
    said,
  ];
  openDialog({ title: words.title, body, onclose: () => ending.abort() });
  draw();
}
