// Watches a recording, a live one, a whole visit, or one that was shared: puts stage, controls and panels together.

import { makeBar } from './bar.js';
import { ComposedSource } from './composed.js';
import { makeControls, SPEEDS } from './controls.js';
import { makeDetails } from './details.js';
import { el, icon } from './dom.js';
import { clock, duration, moment } from './format.js';
import { listenToKeys, openKeysHelp } from './keys.js';
import { neighbours } from './list.js';
import { LiveSource } from './live.js';
import { notice, problemView } from './notice.js';
import { makePanel } from './panel.js';
import { Player } from './player.js';
import { RangesSource } from './ranges.js';
import { current, go, href, replaceQuery } from './route.js';
import { StageLink, stageOrigin } from './stage_link.js';
import { text } from './text.js';

const words = text.watch;
const mayAsk = document.querySelector('meta[name="rrd-assets"]').content === 'ask';
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const kept = (name, otherwise) => JSON.parse(localStorage.getItem(`rrd-${name}`) ?? JSON.stringify(otherwise));
const keep = (name, value) => localStorage.setItem(`rrd-${name}`, JSON.stringify(value));
const button = (label, onclick, properties = {}, ...children) =>
  el('button', { type: 'button', onclick, ...properties }, ...children, label);

const metadata = (query) => Object.fromEntries([...query].filter(([name]) => name.startsWith('meta[')));
const SOURCES = {
  watch: ({ api, id, query }) => new RangesSource({ api, id, isSalvaged: query.has('intact') }),
  shared: (asked) => SOURCES.watch(asked),
  live: ({ api, id }) => new LiveSource({ api, id }),
  visit: ({ api, query }) => new ComposedSource({ api, params: metadata(query) }),
};

export async function show({ main, route, session, api }) {
  const room = el('div', { class: 'room' });
  const stand = el('section', { class: 'player', 'aria-label': words.replay }, room);
  const side = el('aside', { class: 'side' });
  main.replaceChildren(el('p', { class: 'loading' }, text.loading), el('div', { class: 'watch' }, stand, side));
  // The stage gets ready while the server is asked.
  const stage = new StageLink({ parent: room, onmessage: () => {} });
  try {
    const found = await open(route, session, api);
    main.firstChild.remove();
    const { close, update } = watch({ ...found, route, session, stage, stand, room, side });
    return Object.assign(close, { update });
  } catch (problem) {
    stage.close();
    if (problem.code !== 'recording_damaged') throw problem;
    main.replaceChildren(problemView(problem, { actions: [intactLink(route)] }));
    return () => {};
  }
}

// The source of a route, loaded. Throws `Problem`.
async function open({ view, parts, query }, session, shared) {
  const id = view === 'shared' ? parts[0] : parts[1];
  const readable = session.tenants.filter(({ rights }) => rights.includes('read'));
  // Whose it is may be unknown: who has only its id asks each tenant.
  const tenants = parts[0] === '-' ? readable.map(({ name }) => name) : [parts[0] ?? ''];
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

function watch({ source, api, id, tenant, route, session, stage, stand, room, side }) {
  const { view, query } = route;
  const player = new Player({ source, stage });
  const acts = actsOf({ player, source, api, id, tenant, view, stand });
  const bar = makeBar({ player, source });
  const controls = makeControls({ player, source, acts });
  const notes = el('div', { class: 'notes', role: 'status' });
  const cover = el('div', { class: 'cover', hidden: true });
  room.append(cover);
  stand.append(notes, bar.node, controls.node);
  const panel = makePanel({ player, source });
  const details = id && makeDetails({ api, tenant, id, source, session });
  side.append(
    el('h1', {}, source.first ? moment(source.first) : text.titles[view]),
    id ? actionsOf({ player, api, id, tenant, session, query }) : '',
    details ? el('details', {}, el('summary', {}, words.details), details.node) : '',
    panel.node,
  );
  const stopKeys = listenToKeys(acts);
  const trusted = new Set();
  // A live source gives each event once, so it begins anew with all else.
  const reload = () => (source.isLive ? location.reload() : stage.reload({ assets: [...trusted] }));

  let told = '';
  function draw() {
    const { state } = player;
    bar.update(state);
    controls.update(state);
    const problem = state.problem ?? source.problem ?? null;
    const sentences = notesOf(state, source, query);
    const now = JSON.stringify([sentences, [...state.blocked], problem]);
    if (now === told) return;
    told = now;
    const hosts = [...state.blocked].map(([host, count]) =>
      el(
        'p',
        {},
        words.blocked(count, host),
        mayAsk && !source.isLive && button(words.loadThem, () => reload(trusted.add(host))),
      ),
    );
    notes.replaceChildren(...sentences.map((sentence) => el('p', {}, sentence)), ...hosts);
    cover.hidden = !problem;
    cover.replaceChildren(problem ? coverOf(problem, { player, reload, route }) : '');
    // What is erased is not to be seen any longer.
    room.classList.toggle('is-gone', [404, 410].includes(problem?.status) || source.standing === 'erased');
  }
  player.addEventListener('change', draw);
  player.addEventListener('skip', ({ detail }) => notice(words.skipped(duration(detail))));

  if (session.isOperator && stageOrigin === location.origin && !kept('told-placement', false)) {
    keep('told-placement', true);
    notice(words.sameOrigin);
  }
  player.setSpeed(view === 'live' ? 1 : kept('speed', 1));
  player.setSkipIdle(kept('skip', true) && view !== 'shared');
  const isPlaying = view === 'live' || (!query.has('t') && !calm.matches);
  if (query.has('t')) player.seek(source.first + (Number(query.get('t')) || 0));
  player.play(isPlaying);
  stage.onmessage = (message) => player.take(message);
  stage.onhang = (isHanging) => player.hang(isHanging);
  stage.onready = () => player.begin();
  if (stage.isReady) player.begin();

  return {
    update({ query: changed }) {
      if (changed.has('intact') !== query.has('intact')) location.reload();
      else if (changed.has('t')) player.seek(source.first + (Number(changed.get('t')) || 0));
    },
    close() {
      stopKeys();
      for (const part of [panel, details, player, stage]) part?.close();
    },
  };
}

function actsOf({ player, source, api, id, tenant, view, stand }) {
  const toNeighbour = (name) => async () => {
    const address = (await neighbours(id))[name];
    if (address) go(address);
    else notice(words.noNeighbour);
  };
  // What is live can't be stopped; the recording as it is stored can.
  const toStored = async (ms) => {
    const { first } = await api.json(`/recordings/${encodeURIComponent(id)}/pages`);
    go(href('watch', [tenant, id], { t: Math.max(0, Math.round(player.state.t + ms - first)) }));
  };
  const acts = {
    toggle: () => (source.isLive ? toStored(0) : player.toggle()),
    step: (ms) => (source.isLive ? toStored(ms) : player.step(ms)),
    page(by) {
      // A moment into a page, back means the one before.
      const t = player.state.t - (by < 0 ? 1000 : 0);
      const pages = source.pieces.filter(({ kind }) => kind === 'page');
      const page = pages[pages.findLastIndex(({ snapshot }) => snapshot <= t) + Math.max(by, 0)];
      if (page) player.seek(page.snapshot);
    },
    setSpeed: (speed) => (player.setSpeed(speed), keep('speed', speed)),
    speed: (by) => acts.setSpeed(SPEEDS[SPEEDS.indexOf(player.state.speed) + by] ?? player.state.speed),
    setSkipIdle: (skips) => (player.setSkipIdle(skips), keep('skip', skips)),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : stand.requestFullscreen()),
    async link() {
      const { t, first } = player.state;
      const query = new URLSearchParams(current().query);
      query.set('t', Math.round(t - first));
      replaceQuery(query);
      const tell = (told) => () => notice(told(clock(t - first)));
      await navigator.clipboard.writeText(location.href).then(tell(words.copied), tell(words.inAddress));
    },
    help: openKeysHelp,
  };
  if (view === 'watch') Object.assign(acts, { previous: toNeighbour('previous'), next: toNeighbour('next') });
  if (view === 'watch' && source.isGrowing) acts.goLive = () => go(href('live', [tenant, id]));
  return acts;
}

function actionsOf({ player, api, id, tenant, session, query }) {
  const salvage = query.has('intact') || null;
  const moments = () => ({
    t: player.state.t - player.state.first,
    first: player.state.first,
    last: player.state.last,
  });
  const acts = {
    share: async () => (await import('./share.js')).openShare({ api, tenant, id, ...moments() }),
    download: async () => (await import('./downloads.js')).openDownloads({ api, id, salvage, ...moments() }),
    erase: async () => (await import('./erase.js')).openErase({ session, tenant, id, ongone: () => player.close() }),
  };
  const names = tenant ? ['share', 'download', 'erase'] : ['download'];
  return el('div', { class: 'actions' }, ...names.map((name) => button(words[name], acts[name], {}, icon(name))));
}

// What the person is to know about what is shown.
function notesOf({ trouble, first }, { pieces, facts, standing, isGrowing }, query) {
  const begins = pieces[0]?.snapshot;
  return [
    text.standing[standing],
    facts && !pieces.length && words.empty,
    begins === null && (isGrowing ? words.noSnapshotYet : words.noSnapshot),
    facts && begins - first > 1000 && words.beginsLater(duration(begins - first)),
    facts?.pagesCut > 0 && words.pagesCut(facts.pagesCut),
    query.has('intact') && words.onlyIntact,
    begins !== null && words.trouble[trouble],
  ].filter(Boolean);
}

// In place of the replay: what happened, and the ways on.
function coverOf(problem, { player, reload, route }) {
  const signIn = () => {
    sessionStorage.setItem('rrd-wanted', location.hash);
    go(href('sign-in'));
  };
  const ways = {
    large_piece: () => button(words.goOn, () => player.retry()),
    hang: () => button(words.dropFrame, reload),
    recording_damaged: () => intactLink(route),
    401: () => route.view !== 'shared' && button(words.signIn, signIn),
    404: () => null,
  };
  const way = ways[problem.code] ?? ways[problem.status];
  return problemView(problem, way ? { actions: [way()].filter(Boolean) } : { retry: () => player.retry() });
}

// The same view, with what is intact of a damaged recording.
function intactLink({ view, parts, query }) {
  const asked = new URLSearchParams(query);
  asked.set('intact', 1);
  return el('a', { class: 'button', href: href(view, parts, asked) }, words.intact);
}
