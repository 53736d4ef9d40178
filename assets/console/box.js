// How the server is.

import { el } from './dom.js';

export async function show({ main }) {
  main.replaceChildren(el('p', {}, 'box'));
}
