// Watches a recording.

import { el } from './dom.js';

export async function show({ main, route }) {
  main.replaceChildren(el('p', {}, route.parts.join(' ')));
}
