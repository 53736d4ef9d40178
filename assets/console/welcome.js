// The way to a first recording: what to paste into a site, and whether anything has arrived.

import { el, icon, prose } from './dom.js';
import { notice, problemView } from './notice.js';
import { poll } from './poll.js';
import { addressOf } from './recording_row.js';
import { go, href } from './route.js';
import { text } from './text.js';

const words = text.welcome;
const EVERY_MS = 2000;
const OPENS_AFTER_MS = 2500;
const ICONS = { waiting: 'live', away: 'warning', found: 'done', keyMade: 'done' };

/** The text to paste. */
export function snippet(server, key, extras) {
  const options = {
    publicApiKey: key,
    checkoutEveryNms: 300_000,
    ...Object.fromEntries(extras.map((name) => [name, true])),
  };
  return `<script src="${server}/record.js" autostart async>\n${JSON.stringify(options, null, 2)}\n</script>`;
}

function tell(node, state, ...more) {
  node.dataset.state = state;
  node.replaceChildren(icon(ICONS[state]), el('span', {}, words[state], ...more));
}

/** Makes the guide for a tenant. Returns `{node, close}`. */
export function welcome({ session, tenant, title }) {
  let key = words.somePublicKey;
  const api = session.apiOf(tenant);
  const pasted = el('code');
  const draw = () => {
    const chosen = [...node.querySelectorAll('[name]:checked')].map(({ name }) => name);
    pasted.textContent = snippet(location.origin, key, chosen);
  };
  const copy = () =>
    navigator.clipboard.writeText(pasted.textContent).then(
      () => notice(words.copied),
      () => getSelection().selectAllChildren(pasted), // Without https the person copies it himself.
    );
  const made = el('div', {});
  const makeKey = async (event) => {
    event.preventDefault();
    try {
      const origin = site.value ? new URL(site.value).origin : null;
      ({ key } = await api.json('/keys', { method: 'POST', body: { origin } }));
      made.replaceChildren(el('p', { class: 'state' }));
      tell(made.firstChild, 'keyMade');
      draw();
    } catch (problem) {
      made.replaceChildren(problemView(problem));
    }
  };
  const site = el('input', { type: 'url', id: 'site', placeholder: 'https://shop.example' });
  const keyForm = [
    el('label', { for: 'site' }, words.site),
    el('form', { class: 'actions', onsubmit: makeKey }, site, el('button', { class: 'primary' }, words.makeKey)),
    el('p', { class: 'quiet' }, words.siteHint),
    made,
  ];
  const askForKey = [
    el('p', {}, prose(words.askForKey)),
    el('pre', {}, `rrd keys create --tenant ${tenant} --scope ingest`),
  ];
  const extra = (name) =>
    el(
      'p',
      {},
      el('label', {}, el('input', { type: 'checkbox', name, onchange: draw }), el('span', {}, prose(words[name]))),
    );
  const arrived = el('p', { class: 'state', role: 'status' });
  const copyButton = el('button', { type: 'button', onclick: copy }, icon('copy'), words.copy);
  const steps = [
    [words.getKey, session.isOperator ? keyForm : askForKey],
    [words.paste, el('pre', { tabindex: 0 }, pasted), copyButton, extra('inlineImages'), extra('collectFonts')],
    [words.check, arrived],
  ];
  const list = el('ol', {}, ...steps.map(([name, ...content]) => el('li', {}, el('h3', {}, name), ...content)));
  const node = el(
    'section',
    { class: 'guide card' },
    el('h2', {}, title),
    list,
    el('p', { class: 'quiet' }, prose(words.more)),
  );
  draw();
  tell(arrived, 'waiting');

  let newest, opening;
  const look = async (signal) => {
    const { recordings } = await api.json('/recordings', { params: { summary: true, limit: 1 }, signal });
    newest ??= recordings[0]?.recordingId ?? '';
    if (!recordings.length || recordings[0].recordingId === newest) return tell(arrived, 'waiting');
    const address = addressOf(recordings[0], tenant);
    tell(arrived, 'found', ' ', el('a', { href: address }, words.watch));
    opening = setTimeout(go, OPENS_AFTER_MS, address);
    stop();
  };
  const stop = poll(look, EVERY_MS, () => tell(arrived, 'away'));
  return { node, close: () => (stop(), clearTimeout(opening)) };
}

export async function show({ main, route, session }) {
  const { node, close } = welcome({ session, tenant: route.parts[0], title: words.threeSteps });
  main.replaceChildren(el('h1', {}, words.title), node, el('a', { href: href('list') }, words.back));
  return close;
}
