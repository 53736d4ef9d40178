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
export function openDownloads({ api, id, first, last, t = 0, salvage = null }) {
  const path = `/recordings/${encodeURIComponent(id)}`;
  const ending = new AbortController();
  const whole = [clock(0), clock(last - first)];
  const [from, to] = whole.map((value) => el('input', { value, size: 8, oninput: () => draw() }));
  const files = ['ndjson', 'json'].map((form) =>
    el('a', { class: 'button', download: '', 'data-form': form }, words[form]),
  );
  const page = el('button', { type: 'button', class: 'primary', onclick: () => savePage() }, words.page);
  const said = el('div', { role: 'status' });

  function params() {
    if (from.value === whole[0] && to.value === whole[1]) return { salvage };
    return { from: first + parseClock(from.value), to: first + parseClock(to.value) + 1000, salvage };
  }

  function draw() {
    const isGood = parseClock(from.value) <= parseClock(to.value);
    for (const input of [from, to]) input.toggleAttribute('aria-invalid', !isGood);
    page.disabled = !isGood;
    for (const link of files) {
      if (isGood) link.href = api.url(`${path}/events`, { form: link.dataset.form, ...params() });
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
      if (problem.code === 'export_too_large') {
        from.value = clock(Math.max(0, t - AROUND_MS));
        to.value = clock(Math.min(last - first, t + AROUND_MS));
        draw();
        from.focus();
      }
      said.replaceChildren(problemNote(problem));
    }
    page.disabled = false;
  }

  const body = [
    el('p', { class: 'actions' }, el('label', {}, words.from, from), el('label', {}, words.to, to)),
    el('p', {}, words.pageIs),
    el('p', { class: 'actions' }, page),
    el('p', {}, words.filesAre),
    el('p', { class: 'actions' }, ...files),
    said,
  ];
  openDialog({ title: words.title, body, onclose: () => ending.abort() });
  draw();
  page.focus();
}
