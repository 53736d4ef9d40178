// The way to a first recording: what to paste into a site, and whether anything has arrived.

import { el, icon, prose } from './dom.js';
import { notice, problemView } from './notice.js';
import { poll } from './poll.js';
import { addressOf } from './recording_row.js';
import { go, href } from './route.js';
import { text } from './text.js';

const words = text.welcome;
const PLACEHOLDER = 'public_key_rr_…';
const EVERY_MS = 2000;
const OPENS_AFTER_MS = 2500;

/** The text to paste. */
export function snippet({ server, key, extras }) {
  const options = { publicApiKey: key, checkoutEveryNms: 300_000, ...Object.fromEntries(extras.map((name) => [name, true])) };
  const json = JSON.stringify(options, null, 2).replace(/^/gm, '  ');
  return `<script src="${server}/record.js" autostart async>\n${json}\n</script>`;
}

/** Makes the guide for a tenant. Returns `{node, close}`. */
export function welcome({ session, tenant, title = words.another }) {
  let key = PLACEHOLDER;
  const api = session.apiOf(tenant);
  const pasted = el('code', {});
  const extras = ['inlineImages', 'collectFonts'].map((name) => el('input', { type: 'checkbox', name, onchange: () => draw() }));
  const draw = () => {
    const chosen = extras.filter(({ checked }) => checked).map(({ name }) => name);
    pasted.textContent = snippet({ server: location.origin, key, extras: chosen });
  };
  const copy = async () => {
    await navigator.clipboard.writeText(pasted.textContent).then(
      () => notice(words.copied),
      () => getSelection().selectAllChildren(pasted),
    );
  };
  const keyStep = session.isOperator ? keyForm() : el('p', {}, prose(words.askForKey(tenant)));
  const arrived = el('p', { class: 'arrived', role: 'status' });
  const tell = (name, ...more) => {
    arrived.dataset.state = name;
    arrived.replaceChildren(icon({ waiting: 'live', away: 'warning', found: 'done' }[name]), el('span', {}, words[name], ...more));
  };

  function keyForm() {
    const site = el('input', { type: 'url', id: 'site', placeholder: 'https://shop.example', autocomplete: 'off' });
    const problem = el('div', {});
    const form = el(
      'form',
      { class: 'key-form' },
      el('label', { for: 'site' }, words.site),
      site,
      el('button', { class: 'primary' }, words.makeKey),
      el('small', { class: 'quiet' }, words.siteHint),
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      problem.replaceChildren();
      try {
        const origin = site.value ? new URL(site.value).origin : null;
        ({ key } = await api.json('/keys', { method: 'POST', body: { origin } }));
        form.replaceWith(el('p', { class: 'arrived', 'data-state': 'found' }, icon('done'), words.keyMade(origin)));
        draw();
      } catch (failed) {
        problem.replaceChildren(problemView(failed));
      }
    });
    return el('div', {}, form, problem);
  }

  const option = (box) => el('label', { class: 'check' }, box, el('span', {}, prose(words[box.name])));
  const step = (name, ...content) => el('li', {}, el('h3', {}, words.steps[name]), ...content);
  const copyButton = el('button', { type: 'button', onclick: copy }, icon('copy'), words.copy);
  const node = el(
    'section',
    { class: 'welcome card' },
    el('h2', {}, title),
    el('p', { class: 'quiet' }, words.intro),
    el(
      'ol',
      {},
      step('key', keyStep),
      step('paste', el('div', { class: 'snippet' }, el('pre', { tabindex: 0 }, pasted), copyButton), ...extras.map(option)),
      step('check', arrived),
    ),
    el('p', { class: 'quiet' }, prose(words.more)),
  );
  draw();
  tell('waiting');

  let known, opening;
  const look = async (signal) => {
    const { recordings } = await api.json('/recordings', { params: { summary: true, limit: 1 }, signal });
    const newest = recordings[0];
    known ??= newest?.recordingId ?? '';
    if (!newest || newest.recordingId === known) return tell('waiting');
    const address = addressOf(newest, tenant);
    tell('found', ' ', el('a', { href: address }, words.watch));
    opening = setTimeout(() => go(address), OPENS_AFTER_MS);
    stop();
  };
  const stop = poll(look, EVERY_MS, () => tell('away'));
  return { node, close: () => (stop(), clearTimeout(opening)) };
}

export async function show({ main, route, session }) {
  const made = welcome({ session, tenant: route.parts[0] ?? session.tenants[0]?.name });
  main.replaceChildren(el('h1', {}, words.title), made.node, el('p', {}, el('a', { href: href('list') }, words.back)));
  return made.close;
}
