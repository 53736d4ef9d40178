// Puts stage, controls and panels together, and says what stands in the way.

import { makeBar } from './bar.js';
import { makeControls, SPEEDS } from './controls.js';
import { el, icon } from './dom.js';
import { clock, duration, moment } from './format.js';
import { listenToKeys, openKeysHelp } from './keys.js';
import { neighbours } from './list.js';
import { liveStep } from './live_edge.js';
import { notice, problemView } from './notice.js';
import { Player } from './player.js';
import { current, go, href, replaceQuery } from './route.js';
import { text } from './text.js';

const words = text.watch;
const { makePanel } = await import('./panel.js').catch(() => ({}));
const { makeDetails } = await import('./details.js').catch(() => ({}));
const mayAsk = document.querySelector('meta[name="rrd-assets"]').content === 'ask';
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const kept = (name, otherwise) => JSON.parse(localStorage.getItem(`rrd-${name}`) ?? JSON.stringify(otherwise));
const keep = (name, value) => localStorage.setItem(`rrd-${name}`, JSON.stringify(value));

/** Fills the stand and the side; returns `{update(route), close()}`. */
export function makeTheatre({ source, api, id, tenant, route, session, stage, stand, room, side }) {
  const { view } = route;
  const player = new Player({ source, stage, liveStep });
  const acts = actsOf({ player, source, api, id, tenant, view, stand });
  const bar = makeBar({ player, source });
  const controls = makeControls({ player, source, acts });
  const notes = el('div', { class: 'notes', role: 'status' });
  const cover = el('div', { class: 'cover', hidden: true });
  room.append(cover);
  stand.append(notes, bar.node, controls.node);
  const panel = makePanel?.({ player, source });
  const details = id && makeDetails?.({ api, tenant, id, source, session });
  side.append(...sideOf({ player, source, api, id, tenant, session, panel, details }));
  const stopKeys = listenToKeys(acts);

  // Hosts whose pictures and styles the person has asked for.
  const trusted = new Set();
  const trust = (host) => {
    trusted.add(host);
    if (source.isLive) dispatchEvent(new HashChangeEvent('hashchange'));
    else stage.reload({ assets: [...trusted] });
  };
  const drawNotes = whenChanged((told) => notes.replaceChildren(...told.map((words) => el('p', {}, words))));
  const drawHosts = whenChanged((hosts) =>
    hostNotes.replaceChildren(...hosts.map(([host, count]) => hostNote(host, count, trust))),
  );
  const drawCover = whenChanged(([problem]) => {
    cover.hidden = !problem;
    cover.replaceChildren(problem ? coverOf(problem, { player, stage, route }) : '');
  });
  const hostNotes = el('div', { class: 'notes' });
  notes.after(hostNotes);

  function draw() {
    const { state } = player;
    bar.update(state);
    controls.update(state);
    drawNotes(notesOf(state, source, route));
    drawHosts([...state.blocked]);
    drawCover([state.problem ?? source.problem]);
    // What is erased is not to be seen any longer.
    room.classList.toggle('is-gone', [404, 410].includes(state.problem?.status) || source.standing === 'erased');
  }
  player.addEventListener('change', draw);
  player.addEventListener('skip', ({ detail }) => notice(words.skipped(duration(detail))));

  stage.onmessage = (message) => player.take(message);
  stage.onready = () => player.take({ type: 'ready' });
  stage.onhang = (isHanging) => player.take({ type: 'hang', isHanging });
  const t = route.query.get('t');
  player.setSpeed(view === 'live' ? 1 : kept('speed', 1));
  player.setSkipIdle(kept('skip', true) && view !== 'shared');
  const isPlaying = view === 'live' || (t === null && !calm.matches);
  player.start(source.first + Number(t), { isPlaying });
  if (stage.isReady) stage.onready();

  return {
    update({ query }) {
      if (query.has('t')) player.seek(source.first + Number(query.get('t')));
    },
    close() {
      stopKeys();
      for (const part of [panel, details, player, stage]) part?.close();
    },
  };
}

// Calls `draw` with a list when it says something else than before.
function whenChanged(draw) {
  let before = '[]';
  return (list) => {
    const now = JSON.stringify(list);
    if (now !== before) draw(list);
    before = now;
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
    const { t } = player.state;
    const { first } = await api.json(`/recordings/${encodeURIComponent(id)}/pages`);
    go(href('watch', [tenant, id], { t: Math.max(0, Math.round(t + ms - first)) }));
  };
  const acts = {
    toggle: () => (source.isLive ? toStored(0) : player.toggle()),
    step: (ms) => (source.isLive ? toStored(ms) : player.step(ms)),
    page(by) {
      const { t } = player.state;
      const pages = source.pieces.filter(({ kind, snapshot }) => kind === 'page' && snapshot !== null);
      // A moment into a page, back means the one before.
      const at = pages.findLastIndex(({ snapshot }) => snapshot <= t - (by < 0 ? 1000 : 0));
      const page = pages[by < 0 ? at : at + 1];
      if (page) player.seek(page.snapshot);
    },
    setSpeed(speed) {
      player.setSpeed(speed);
      keep('speed', speed);
    },
    speed: (by) => acts.setSpeed(SPEEDS[SPEEDS.indexOf(player.state.speed) + by] ?? player.state.speed),
    setSkipIdle(skips) {
      player.setSkipIdle(skips);
      keep('skip', skips);
    },
    full: () => (document.fullscreenElement ? document.exitFullscreen() : stand.requestFullscreen()),
    async link() {
      const { t, first } = player.state;
      const query = new URLSearchParams(current().query);
      query.set('t', Math.round(t - first));
      replaceQuery(query);
      const isCopied = await navigator.clipboard.writeText(location.href).then(
        () => true,
        () => false,
      );
      notice((isCopied ? words.copied : words.inAddress)(clock(t - first)));
    },
    help: openKeysHelp,
  };
  if (view === 'watch') Object.assign(acts, { previous: toNeighbour('previous'), next: toNeighbour('next') });
  if (view === 'watch' && source.isGrowing) acts.goLive = () => go(href('live', [tenant, id]));
  if (view === 'live') acts.goLive = () => {};
  return acts;
}

function sideOf({ player, source, api, id, tenant, session, panel, details }) {
  const moments = () => {
    const { t, first, last } = player.state;
    return { t: t - first, first, last };
  };
  const button = (name, act) => el('button', { type: 'button', class: 'plain', onclick: act }, icon(name), words[name]);
  const actions = el(
    'div',
    { class: 'actions' },
    tenant &&
      id &&
      button('share', async () => (await import('./share.js')).openShare({ api, tenant, id, ...moments() })),
    id && button('download', async () => (await import('./downloads.js')).openDownloads({ api, id, ...moments() })),
    tenant &&
      id &&
      button('erase', async () => {
        const onerased = () => go(href('list', [], { tenant }));
        (await import('./erase.js')).openErase({ session, tenant, id, onerased, ongone: () => player.close() });
      }),
  );
  const tabs = [
    ['events', panel],
    ['details', details],
  ].filter(([, part]) => part);
  const choose = (chosen) => {
    for (const [name, part, tab] of tabs) {
      part.node.hidden = name !== chosen;
      tab.setAttribute('aria-pressed', String(name === chosen));
    }
    keep('tab', chosen);
  };
  for (const entry of tabs)
    entry.push(el('button', { type: 'button', class: 'plain', onclick: () => choose(entry[0]) }, words[entry[0]]));
  choose(tabs.some(([name]) => name === kept('tab', 'events')) ? kept('tab', 'events') : 'events');
  return [
    el('h1', {}, source.first ? moment(source.first) : words.visit),
    actions,
    el(
      'div',
      { class: 'tabs' },
      tabs.map(([, , tab]) => tab),
    ),
    ...tabs.map(([, part]) => part.node),
  ];
}

// What the person is to know about what is shown.
function notesOf({ trouble, first, last }, source, { query }) {
  const { pieces, facts, standing } = source;
  const begins = pieces[0]?.snapshot;
  return [
    standing && text.live.standing[standing],
    !standing && !pieces.length && words.empty,
    pieces.length > 0 && begins === null && (source.isGrowing ? words.noSnapshotYet : words.noSnapshot),
    begins - first > 1000 && last > first && words.beginsLater(duration(begins - first)),
    facts?.pagesCut > 0 && words.pagesCut(facts.pagesCut),
    query.has('intact') && words.onlyIntact,
    words.trouble[trouble],
  ].filter(Boolean);
}

function hostNote(host, count, trust) {
  const words_ = words.blocked(count, host);
  return el('p', {}, words_, mayAsk && el('button', { type: 'button', onclick: () => trust(host) }, words.loadThem));
}

// In place of the replay: what happened, and the ways on.
function coverOf(problem, { player, stage, route }) {
  const button = (label, act) => el('button', { type: 'button', onclick: act }, label);
  const signIn = () => {
    sessionStorage.setItem('rrd-wanted', location.hash);
    go(href('sign-in'));
  };
  const actions = {
    large_piece: [button(words.goOn, () => player.retry())],
    hang: [button(words.dropFrame, () => stage.reload())],
    recording_damaged: [intactLink(route)],
  }[problem.code];
  const isOver = [401, 404, 410].includes(problem.status);
  const retry = actions || isOver ? undefined : () => player.retry();
  const ways = problem.status === 401 && route.view !== 'shared' ? [button(words.signIn, signIn)] : [];
  return problemView(problem, { retry, actions: [...(actions ?? []), ...ways] });
}

/** Leads to the same view, with what is intact of a damaged recording. */
export function intactLink({ view, parts, query }) {
  const asked = new URLSearchParams(query);
  asked.set('intact', 1);
  return el('a', { class: 'button', href: href(view, parts, asked) }, words.intact);
}
