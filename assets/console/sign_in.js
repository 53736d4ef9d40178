// Signs in: by a key, or by the one-time address that the server printed.

import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { notice } from './notice.js';
import { go, href } from './route.js';
import { text } from './text.js';

const words = text.signIn;

/** A form for a key, which is sent once and kept nowhere. `onsignedin()` hears when the server has taken it. */
export function keyForm({ session, label = words.signIn, onsignedin }) {
  const properties = { type: 'password', id: 'key', autocomplete: 'off', required: true };
  const field = el('input', { ...properties, 'aria-describedby': 'key-problem' });
  const button = el('button', { class: 'primary' }, label);
  const wrong = el('p', { class: 'wrong', id: 'key-problem', role: 'alert' });
  const say = (problem) => {
    wrong.replaceChildren(...(problem ? prose(words.problem(problem) ?? text.problem(problem).advice) : []));
    field.toggleAttribute('aria-invalid', Boolean(problem));
  };
  const wait = (seconds) => {
    button.disabled = seconds > 0;
    say(seconds > 0 ? { status: 429, retryAfterS: seconds } : null);
    if (seconds > 0 && form.isConnected) setTimeout(wait, 1000, seconds - 1);
  };
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(null);
    try {
      await session.signIn({ key: field.value.trim() });
      field.value = '';
      onsignedin();
    } catch (problem) {
      if (problem.status === 429) return wait(Math.max(problem.retryAfterS, 1));
      say(problem);
      field.select();
    }
    button.disabled = false;
  };
  const row = el('div', { class: 'actions' }, field, button);
  const form = el('form', { onsubmit: send }, el('label', { for: 'key' }, words.key), row, wrong);
  return form;
}

/** Asks for one more key: of another tenant, or with another right. */
export function openAddKey({ session, onsignedin }) {
  const done = () => (dialog.close(), notice(words.added), onsignedin());
  const form = keyForm({ session, label: words.add, onsignedin: done });
  const dialog = openDialog({ title: words.addTitle, body: [el('p', {}, words.addWhy), form] });
  form.elements.key.focus();
}

// Back to what was asked for before.
function goOn() {
  const wanted = sessionStorage.getItem('rrd-wanted');
  sessionStorage.removeItem('rrd-wanted');
  go(wanted ?? href('list'));
}

export async function show({ main, route, session }) {
  const [token] = route.parts;
  let told = null;
  if (token) {
    // Out of the history first: the address works once, and nobody should come back to it.
    history.replaceState(null, '', href('sign-in'));
    try {
      await session.signIn({ signIn: token });
      return goOn();
    } catch (problem) {
      told = problem.status === 401 ? words.usedUp : text.problem(problem);
    }
  }
  const form = keyForm({ session, onsignedin: goOn });
  const where = el(
    'details',
    {},
    el('summary', {}, words.where),
    ...words.wherever.map((line) => el('p', {}, prose(line))),
  );
  const failed =
    told && el('div', { class: 'told', role: 'alert' }, el('h2', {}, told.title), el('p', {}, prose(told.advice)));
  main.replaceChildren(el('section', { class: 'sign-in card' }, el('h1', {}, words.title), failed, form, where));
  if (!told) main.querySelector('input').focus();
}
