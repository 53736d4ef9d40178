// Signs in: by a key, or by the one-time address that the server printed.

import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { notice } from './notice.js';
import { go, href } from './route.js';
import { text } from './text.js';

const words = text.signIn;

/** A form for a key, which is sent once and kept nowhere. `onsignedin()` hears when the server took it. */
export function keyForm({ session, label = words.signIn, onsignedin }) {
  const field = el('input', {
    type: 'password',
    id: 'key',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    'aria-describedby': 'key-problem',
  });
  const button = el('button', { class: 'primary' }, label);
  const wrong = el('p', { class: 'wrong', id: 'key-problem', role: 'alert', hidden: true });
  const form = el('form', { class: 'key-form' }, el('label', { for: 'key' }, words.key), field, button, wrong);
  const say = (problem) => {
    wrong.hidden = !problem;
    wrong.replaceChildren(...(problem ? prose(words.problem(problem) ?? text.problem(problem).advice) : []));
    field.toggleAttribute('aria-invalid', Boolean(problem));
  };
  const hold = (seconds, problem) => {
    button.disabled = seconds > 0 && form.isConnected;
    if (!button.disabled) return say(null);
    say({ ...problem, status: problem.status, retryAfterS: seconds });
    setTimeout(hold, 1000, seconds - 1, problem);
  };
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(null);
    try {
      await session.signIn({ key: field.value.trim() });
      field.value = '';
      onsignedin();
    } catch (problem) {
      say(problem);
      if (problem.status === 429) return hold(Math.max(problem.retryAfterS, 1), problem);
      field.select();
    }
    button.disabled = false;
  });
  return form;
}

/** Asks for one more key: of another tenant, or with another right. */
export function openAddKey({ session, onsignedin }) {
  const done = () => (dialog.close(), notice(words.added), onsignedin());
  const form = keyForm({ session, label: words.add, onsignedin: done });
  const dialog = openDialog({ title: words.addTitle, body: [el('p', {}, words.addWhy), form] });
  form.querySelector('input').focus();
}

// Back to what was asked for before.
function goOn() {
  const wanted = sessionStorage.getItem('rrd-wanted');
  sessionStorage.removeItem('rrd-wanted');
  go(wanted && !wanted.startsWith(href('sign-in')) ? wanted : href('list'));
}

export async function show({ main, route, session }) {
  let failed = null;
  const [token] = route.parts;
  if (token) {
    // Out of the history first: the address works once, and nobody should come back to it.
    history.replaceState(null, '', href('sign-in'));
    try {
      await session.signIn({ signIn: token });
      return goOn();
    } catch (problem) {
      failed = problem;
    }
  }
  const told =
    failed && [401, 403].includes(failed.status)
      ? { title: words.usedUp, advice: words.usedUpAdvice }
      : failed && text.problem(failed);
  main.replaceChildren(
    el(
      'section',
      { class: 'sign-in card' },
      el('h1', {}, words.title),
      told && el('div', { class: 'told', role: 'alert' }, el('b', {}, told.title), el('p', {}, prose(told.advice))),
      keyForm({ session, onsignedin: goOn }),
      el('details', {}, el('summary', {}, words.where), ...words.wherever.map((line) => el('p', {}, prose(line)))),
    ),
  );
  if (!told) main.querySelector('input').focus();
}
