// Signs in: by a key, or by the one-time address that the server printed.

import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { notice } from './notice.js';
import { go, href } from './route.js';
import { text } from './text.js';

const words = text.signIn;

/** A form for a key, which is sent once and kept nowhere. `onsignedin()` hears when the server has taken it. */
export function keyForm({ session, label = words.signIn, onsignedin }) {
  const field = el('input', { type: 'password', id: 'key', autocomplete: 'off', required: true });
  field.setAttribute('aria-describedby', 'key-problem');
  const button = el('button', { class: 'primary' }, label);
  const wrong = el('p', { class: 'wrong', id: 'key-problem', role: 'alert' });
  const say = (problem) => {
    wrong.replaceChildren(...(problem ? prose(words.problem(problem) ?? text.problem(problem).advice) : []));
    field.toggleAttribute('aria-invalid', Boolean(problem));
  };
  const wait = (seconds) => {
    button.disabled = seconds > 0;
    say(seconds > 0 ? { status: 429, retryAfterS: seconds } : null);
    if (seconds > 0 && wrong.isConnected) setTimeout(wait, 1000, seconds - 1);
  };
  const send = async (event) => {
    event.preventDefault();
    wait(0);
    try {
      await session.signIn({ key: field.value.trim() });
      field.value = '';
      onsignedin();
    } catch (problem) {
      if (problem.status === 429) return wait(Math.max(problem.retryAfterS, 1));
      say(problem);
      field.select();
    }
  };
  const form = el('form', { class: 'actions', onsubmit: send }, field, button);
  return el('div', {}, el('label', { for: 'key' }, words.key), form, wrong);
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
  go(wanted ?? href('list'));
}

export async function show({ main, route, session }) {
  const [token] = route.parts;
  let failed = null;
  if (token) {
    // Out of the history first: the address works once, and nobody should come back to it.
    history.replaceState(null, '', href('sign-in'));
    try {
      await session.signIn({ signIn: token });
      return goOn();
    } catch (problem) {
      const { title, advice } = problem.status === 401 ? words.usedUp : text.problem(problem);
      failed = el('div', { role: 'alert' }, el('b', { class: 'bad' }, title), el('p', {}, prose(advice)));
    }
  }
  const where = [el('summary', {}, words.where), ...words.wherever.map((line) => el('p', {}, prose(line)))];
  const form = keyForm({ session, onsignedin: goOn });
  main.replaceChildren(
    el('section', { class: 'sign-in card' }, el('h1', {}, words.title), failed, form, el('details', {}, ...where)),
  );
  if (!failed) main.querySelector('input').focus();
}
