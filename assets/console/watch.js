// Opens what is watched: a recording, a live one, a whole visit, or one that was shared.

import { ComposedSource } from './composed.js';
import { el } from './dom.js';
import { LiveSource } from './live.js';
import { problemView } from './notice.js';
import { RangesSource } from './ranges.js';
import { StageLink } from './stage_link.js';
import { text } from './text.js';
import { intactLink, makeTheatre } from './theatre.js';

const stored = ({ api, id, query }) => new RangesSource({ api, id, isSalvaged: query.has('intact') });
const metadata = (query) => Object.fromEntries([...query].filter(([name]) => name.startsWith('meta[')));
const SOURCES = {
  watch: stored,
  shared: stored,
  live: ({ api, id }) => new LiveSource({ api, id }),
  visit: ({ api, query }) => new ComposedSource({ api, params: metadata(query) }),
};

export async function show({ main, route, session, api }) {
  const room = el('div', { class: 'room' });
  const stand = el('section', { class: 'player', 'aria-label': text.watch.replay }, room);
  const side = el('aside', { class: 'side' });
  main.replaceChildren(el('p', { class: 'loading' }, text.loading), el('div', { class: 'watch' }, stand, side));
  // The stage gets ready while the server is asked.
  const stage = new StageLink({ parent: room, onmessage: () => {} });
  try {
    const found = await open(route, session, api);
    main.firstChild.remove();
    const theatre = makeTheatre({ ...found, route, session, stage, stand, room, side });
    return Object.assign(theatre.close, { update: theatre.update });
  } catch (problem) {
    stage.close();
    if (problem.code !== 'recording_damaged') throw problem;
    main.replaceChildren(problemView(problem, { actions: [intactLink(route)] }));
    return () => {};
  }
}

// The source of a route, loaded. Throws `Problem`.
async function open(route, session, shared) {
  const { view, parts, query } = route;
  const id = view === 'shared' ? parts[0] : parts[1];
  // Whose it is may be unknown: who has only its id asks each tenant.
  const tenants = parts[0] === '-' ? session.tenants.map(({ name }) => name) : parts.slice(0, 1);
  for (const [index, tenant] of tenants.entries()) {
    const api = shared ?? session.apiOf(tenant);
    const source = SOURCES[view]({ api, id, query });
    try {
      await source.load();
      return { source, api, id, tenant: shared ? null : tenant };
    } catch (problem) {
      source.close();
      if (problem.status !== 404 || index === tenants.length - 1) throw problem;
    }
  }
}
