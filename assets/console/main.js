// Starts the console: who is signed in, and which view the address asks for.

import { Api } from './api.js';
import { el } from './dom.js';
import { notice, problemView } from './notice.js';
import { current, go, href, onRoute } from './route.js';
import { session } from './session.js';
import { openAddKey } from './sign_in.js';
import { text } from './text.js';

// Views without a session: a shared recording brings its own right.
const OPEN = new Set(['shared', 'sign-in']);
const VIEWS = {
  list: () => import('./list.js'),
  watch: () => import('./watch.js'),
  live: () => import('./watch.js'),
  visit: () => import('./watch.js'),
  shared: () => import('./watch.js'),
  box: () => import('./box.js'),
  welcome: () => import('./welcome.js'),
  'sign-in': () => import('./sign_in.js'),
};

let main = document.getElementById('main');
const header = document.getElementById('header');
let shown = { key: '', leave: null };

function drawHeader(view) {
  const link = (name, to = href(name)) =>
    el('a', { href: to, 'aria-current': view === name && 'page' }, text.titles[name]);
  const button = (onclick, words) => el('button', { class: 'plain', onclick }, words);
  const out = async () => {
    await session.signOut().catch((problem) => notice(text.problem(problem).title));
    go(href('sign-in'));
  };
  header.replaceChildren(el('a', { class: 'brand', href: href('list') }, 'rrd'));
  if (!session.isSignedIn || view === 'shared') return;
  header.append(
    el('nav', { 'aria-label': text.sections }, link('list'), link('box'), link('api', '/console/api')),
    button(() => openAddKey({ session, onsignedin: start }), text.addKey),
    button(out, text.signOut),
  );
}

async function show(route) {
  const known = VIEWS[route.view] ? route : { ...route, view: 'list' };
  if (!OPEN.has(known.view) && !session.isSignedIn) {
    sessionStorage.setItem('rrd-wanted', location.hash);
    return go(href('sign-in'));
  }
  // The same view of the same thing changes by itself what its query says.
  const key = [known.view, ...known.parts].join('/');
  if (key === shown.key && shown.leave?.update) return shown.leave.update(known);
  shown.leave?.();
  shown = { key, leave: null };
  drawHeader(known.view);
  document.title = `${text.titles[known.view]} · rrd`;
  scrollTo(0, 0);
  // A view that comes too late, since the person has gone on, fills a place that nobody sees.
  const place = el('main', { id: 'main', tabindex: -1, 'data-view': known.view });
  place.append(el('p', { class: 'loading' }, text.loading));
  main.replaceWith(place);
  main = place;
  const made = shown;
  try {
    const { show: showView } = await VIEWS[known.view]();
    const api = known.view === 'shared' ? new Api({ base: '', query: signature(known.query) }) : null;
    const leave = await showView({ main: place, route: known, session, api });
    if (shown !== made) return leave?.();
    shown.leave = leave;
    focusHeading();
  } catch (problem) {
    if (problem.name === 'AbortError') return;
    console.error(problem);
    if (problem.status === 401 && !OPEN.has(known.view)) await session.load().catch(() => {});
    if (shown === made && !session.isSignedIn && !OPEN.has(known.view)) return show(known);
    if (shown === made) main.replaceChildren(problemView(problem, { retry: start }));
  }
}

// Who listens to the page hears where he is now; who has gone on to a field by himself stays there.
function focusHeading() {
  const heading = main.querySelector('h1') ?? main;
  if (document.activeElement !== document.body) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

const signature = (query) =>
  Object.fromEntries(['signature', 'expires', 'keyId'].map((name) => [name, query.get(name) ?? '']));

async function start() {
  shown.leave?.();
  shown = { key: '', leave: null };
  try {
    await session.load();
  } catch (problem) {
    return main.replaceChildren(problemView(problem, { retry: start }));
  }
  await show(current());
}

history.scrollRestoration = 'manual';
onRoute(show);
start();
