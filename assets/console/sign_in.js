// Signs in: by a key, or by the one-time address that the server printed.

import { el } from './dom.js';
import { go, href } from './route.js';

export async function show({ main, route, session }) {
  const wanted = () => {
    const address = sessionStorage.getItem('rrd-wanted');
    sessionStorage.removeItem('rrd-wanted');
    go(address ?? href('list'));
  };
  if (route.parts[0]) {
    // Out of the history first: the address works once, and nobody should come back to it.
    history.replaceState(null, '', href('sign-in'));
    await session.signIn({ signIn: route.parts[0] });
    return wanted();
  }
  const field = el('input', { type: 'password', id: 'key', autocomplete: 'off', required: true });
  const form = el('form', {}, el('label', { for: 'key' }, 'Key'), field, el('button', { class: 'primary' }, 'Sign in'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    await session.signIn({ key: field.value });
    wanted();
  });
  main.replaceChildren(el('section', { class: 'card' }, form));
}
