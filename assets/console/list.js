// The list of recordings.

import { el } from './dom.js';
import { href } from './route.js';

export async function show({ main, session }) {
  const rows = [];
  for (const { name } of session.tenants) {
    const { recordings } = await session.apiOf(name).json('/recordings', { params: { summary: true } });
    for (const { recordingId } of recordings) {
      rows.push(el('li', {}, el('a', { href: href('watch', [name, recordingId]) }, recordingId)));
    }
  }
  main.replaceChildren(el('ul', {}, rows));
}
