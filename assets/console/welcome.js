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

/** The text to paste. */
export function snippet(server, publicApiKey, extras) {
  const options = { publicApiKey, checkoutEveryNms: 300_000, ...extras };
  return `<script src="${server}/record.js" autostart async>\n${JSON.stringify(options, null, 2)}\n</script>`;
}

/** Makes the guide for a tenant. Returns `{node, close}`. */
export function welcome({ session, tenant, title }) {
  const api = session.apiOf(tenant);
  const [pasted, made] = [el('code'), el('div')];
  const site = el('input', { type: 'url', id: 'site', placeholder: words.someSite });
  const arrived = el('p', { role: 'status' });
  const extras = {};
  let [key, newest, opening] = [words.somePublicKey];

  const draw = () => (pasted.textContent = snippet(location.origin, key, extras));
  const tell = (node, look, shape, ...said) => {
    node.className = `card actions ${look}`;
    node.replaceChildren(icon(shape), el('span', {}, ...said));
  };
  const copy = () =>
    navigator.clipboard.writeText(pasted.textContent).then(
      () => notice(words.copied),
      () => getSelection().selectAllChildren(pasted), // Where the browser refuses, the person copies it himself.
    );
  const makeKey = async (event) => {
    event.preventDefault();
    try {
      const origin = site.value ? new URL(site.value).origin : null;
      ({ key } = await api.json('/keys', { method: 'POST', body: { origin } }));
      tell(made, 'good', 'done', words.keyMade);
      draw();
    } catch (problem) {
      made.replaceChildren(problemView(problem));
    }
  };
  const extra = (name) => {
    const toggle = ({ target: { checked } }) => ((extras[name] = checked || undefined), draw());
    return el(
      'p',
      {},
      el('label', {}, el('input', { type: 'checkbox', onchange: toggle }), el('span', {}, prose(words[name]))),
    );
  };
  const keyForm = el(
    'form',
    { class: 'actions', onsubmit: makeKey },
    site,
    el('button', { class: 'primary' }, words.makeKey),
  );
  const steps = [
    session.isOperator
      ? [
          words.getKey,
          el('label', { for: 'site' }, words.site),
          keyForm,
          el('p', { class: 'quiet' }, words.siteHint),
          made,
        ]
      : [
          words.getKey,
          el('p', {}, prose(words.askForKey)),
          el('pre', {}, `rrd keys create --tenant ${tenant} --scope ingest`),
        ],
    [words.paste, el('pre', { tabindex: 0 }, pasted), el('button', { onclick: copy }, icon('copy'), words.copy)],
    [words.check, arrived],
  ];
  steps[1].push(extra('inlineImages'), extra('collectFonts'));
  const list = el('ol', {}, ...steps.map(([name, ...content]) => el('li', {}, el('h3', {}, name), ...content)));
  const node = el(
    'section',
    { class: 'guide card' },
    el('h2', {}, title),
    list,
    el('p', { class: 'quiet' }, prose(words.more)),
  );
  draw();
  tell(arrived, 'quiet', 'live', words.waiting);

  const look = async (signal) => {
    const { recordings } = await api.json('/recordings', { params: { summary: true, limit: 1 }, signal });
    newest ??= recordings[0]?.recordingId ?? '';
    if (!recordings.length || recordings[0].recordingId === newest)
      return tell(arrived, 'quiet', 'live', words.waiting);
    const address = addressOf(recordings[0], tenant);
    tell(arrived, 'good', 'done', words.found, ' ', el('a', { href: address }, words.watch));
    arrived.scrollIntoView({ block: 'nearest' });
    opening = setTimeout(go, OPENS_AFTER_MS, address);
    stop();
  };
  const stop = poll(look, EVERY_MS, () => tell(arrived, 'bad', 'warning', words.away));
  return { node, close: () => (stop(), clearTimeout(opening)) };
}

export async function show({ main, route, session }) {
  const [tenant] = route.parts;
  // Anyone can send a link, and what is shown here is pasted into a shell.
  if (!session.can(tenant, 'read')) return go(href('list'));
  const { node, close } = welcome({ session, tenant, title: words.threeSteps });
  main.replaceChildren(el('h1', {}, words.title), node, el('a', { href: href('list') }, words.back));
  return close;
}
