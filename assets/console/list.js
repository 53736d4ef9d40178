// The list of recordings: found by what happened in them, newest first, without end.

import { el, icon } from './dom.js';
import { format, makeChips, makeFilters, parameters, parse, passesOverNew } from './filters.js';
import { Listing } from './listing.js';
import { liveStrip } from './live_strip.js';
import { problemView } from './notice.js';
import { poll } from './poll.js';
import { addressOf, COLUMNS, recordingRow } from './recording_row.js';
import { go, href } from './route.js';
import { text } from './text.js';
import { welcome } from './welcome.js';

const words = text.list;
const NEWS_EVERY_MS = 10_000;
const COLUMNS_MAX = 100;
// Beyond so many rows the next page comes by the button alone.
const BY_ITSELF_MAX = 1000;
const SORTED = { newest: 'started', active: 'active', duration: 'duration', errors: 'errors' };

// What was shown last: a person who comes back from a recording finds it as it was.
let last = null;

/** The addresses of the recordings before and after one in the list that was shown last; null where there is none. */
export async function neighbours(id) {
  if (!last) return { previous: null, next: null };
  const { listing, tenant } = last;
  const place = listing.items.findIndex(({ recordingId }) => recordingId === id);
  if (place >= 0 && place === listing.items.length - 1) await listing.more().catch(() => []);
  const address = (item) => (place >= 0 && item ? addressOf(item, tenant) : null);
  return { previous: address(listing.items[place - 1]), next: address(listing.items[place + 1]) };
}

/** Says that a recording was erased: no list shows it any more. */
export const forget = (id) => last?.listing.forget(id);

export async function show({ main, route, session }) {
  const tenants = session.tenants.filter(({ rights }) => rights.includes('read')).map(({ name }) => name);
  if (!tenants.length) {
    const add = el('p', {}, words.noTenantAdvice);
    main.replaceChildren(el('section', { class: 'problem' }, el('h1', {}, words.noTenant), add));
    return () => {};
  }

  let state, tenant, api, strip, guide, stopNews, asking;
  const change = (changed) => go(href('list', [], format(changed)));
  const filters = makeFilters(change);
  const which = el('select', { onchange: () => change({ ...parse(new URLSearchParams()), tenant: which.value }) });
  which.append(...tenants.map((name) => el('option', {}, name)));
  const another = el('a', { class: 'button' }, icon('add'), words.another);
  const columns = el('div', { class: 'menu' });
  const columnsMenu = el('details', { class: 'columns', ontoggle: () => columnsMenu.open && askForColumns() }, el('summary', { class: 'button' }, words.columnsMenu), columns);
  const live = el('div', {});
  const chips = el('div', { class: 'chips' });
  const hint = el('p', { class: 'quiet' }, words.onlyFinished);
  const fresh = el('button', { type: 'button', class: 'fresh', hidden: true, onclick: () => (load(true), scrollTo(0, 0)) });
  const head = el('tr', {});
  const rows = el('tbody', {});
  const table = el('table', {}, el('caption', { class: 'visually-hidden' }, words.title), el('thead', {}, head), rows);
  const more = el('button', { type: 'button', onclick: () => next() }, words.more);
  const status = el('p', { class: 'quiet', role: 'status' });
  const below = el('div', { class: 'below' });
  const results = el('section', { class: 'results', 'aria-label': words.title }, table, below);
  const narrow = el('details', { class: 'narrow' }, el('summary', { class: 'button' }, text.filters.title), filters.node);
  narrow.open = matchMedia('(width >= 700px)').matches;

  const drawHead = () => {
    const names = Object.keys(COLUMNS);
    names.splice(2, 0, ...state.cols.map((key) => `meta ${key}`));
    const cell = (name) => {
      const [, key] = /^meta (.*)$/s.exec(name) ?? [];
      const isSorted = SORTED[state.sort] === name;
      return el('th', { scope: 'col', class: key ? 'meta' : name, 'aria-sort': isSorted ? 'descending' : null }, key ?? words.columns[name]);
    };
    head.replaceChildren(...names.map(cell));
  };
  const drawRows = (items) => rows.append(...items.map((item) => recordingRow(item, tenant, state.cols)));
  const drawEnd = () => {
    const { listing } = last;
    more.hidden = listing.isComplete;
    status.textContent = words.shown(listing.items.length, listing.isComplete);
    below.replaceChildren(more, status);
    seen.unobserve(more); // Observed anew, it is told of again where it is still in sight.
    seen.observe(more);
  };

  async function askForColumns() {
    const { keys } = await api.json('/metaKeys', { params: { limit: COLUMNS_MAX } }).catch(() => ({ keys: [] }));
    const box = (key) => {
      const toggle = ({ target }) => change({ ...state, cols: target.checked ? [...state.cols, key] : state.cols.filter((col) => col !== key) });
      return el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: state.cols.includes(key), onchange: toggle }), key);
    };
    columns.replaceChildren(...[...new Set([...state.cols, ...keys])].map(box));
    if (!columns.firstChild) columns.append(el('p', { class: 'quiet' }, words.noColumns));
  }

  // What stands where nothing was found.
  function drawEmpty() {
    const isNarrowed = format({ ...state, tenant: '', cols: [], sort: 'newest' }).size > 0;
    results.hidden = !isNarrowed;
    narrow.hidden = columnsMenu.hidden = !isNarrowed;
    if (!isNarrowed) {
      guide = welcome({ session, tenant, title: words.empty });
      return results.after(guide.node);
    }
    const all = { ...parse(new URLSearchParams()), tenant: state.tenant, cols: state.cols };
    const clear = el('button', { type: 'button', onclick: () => change(all) }, words.showAll);
    below.replaceChildren(el('div', { class: 'nothing' }, el('h2', {}, words.nothing), el('p', {}, passesOverNew(state) ? words.nothingFinished : words.nothingAdvice), clear));
  }

  function drawProblem(problem, again) {
    if (problem.name === 'AbortError') return;
    if (problem.status === undefined) throw problem;
    if (filters.mark(problem)) return below.replaceChildren(el('p', { class: 'nothing', role: 'alert' }, words.seeField));
    below.replaceChildren(problemView(problem, { retry: again }));
  }

  async function next() {
    const { listing } = last;
    more.disabled = true;
    try {
      drawRows(await listing.more(asking.signal));
      if (listing === last.listing) drawEnd();
    } catch (problem) {
      drawProblem(problem, next);
    } finally {
      more.disabled = false;
    }
  }

  async function load(isAnew) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    stopNews?.();
    guide?.close();
    guide?.node.remove();
    guide = null;
    fresh.hidden = true;
    const key = `${tenant} ${format({ ...state, cols: [] })}`;
    const mine = api;
    const asked = parameters(state, Date.now());
    const ask = async (page, whose) => (await mine.json('/recordings', { params: { ...asked, ...page }, signal: whose })).recordings;
    const isBack = !isAnew && last?.key === key && last.listing.items.length > 0;
    if (!isBack) last = { key, tenant, listing: new Listing(ask), scrolled: 0 };
    const { listing } = last;
    results.setAttribute('aria-busy', 'true');
    try {
      if (!isBack) await listing.more(signal);
      if (signal.aborted) return;
      filters.mark(null);
      results.hidden = narrow.hidden = columnsMenu.hidden = false;
      drawHead();
      rows.replaceChildren();
      drawRows(listing.items);
      if (listing.items.length) drawEnd();
      else drawEmpty();
      if (isBack) scrollTo(0, last.scrolled);
      stopNews = poll(news, NEWS_EVERY_MS);
    } catch (problem) {
      if (problem.name !== 'AbortError') rows.replaceChildren();
      drawProblem(problem, () => load(true));
    } finally {
      if (!signal.aborted) results.removeAttribute('aria-busy');
    }
  }

  async function news(signal) {
    const { listing } = last;
    const { added, changed } = await listing.news(signal);
    for (const item of changed) {
      const row = rows.querySelector(`[data-id="${CSS.escape(item.recordingId)}"]`);
      if (row && !row.contains(document.activeElement)) row.replaceWith(recordingRow(item, tenant, state.cols));
    }
    fresh.hidden = added === 0 || listing.items.length === 0;
    fresh.textContent = words.fresh(added);
  }

  const seen = new IntersectionObserver(
    ([entry]) => entry.isIntersecting && !more.disabled && last.listing.items.length < BY_ITSELF_MAX && next(),
    { rootMargin: '0px 0px 800px' },
  );

  function update({ query }) {
    state = parse(query);
    const before = tenant;
    tenant = tenants.includes(state.tenant) ? state.tenant : tenants[0];
    api = session.apiOf(tenant);
    which.value = tenant;
    another.href = href('welcome', [tenant]);
    filters.sync(state, api);
    chips.replaceChildren(...makeChips(state, change));
    hint.hidden = !passesOverNew(state) && state.sort === 'newest';
    if (tenant !== before) {
      strip?.close();
      strip = liveStrip(api, tenant);
      live.replaceChildren(strip.node);
    }
    return load(false);
  }

  main.replaceChildren(
    el('div', { class: 'title' }, el('h1', {}, words.title), tenants.length > 1 && el('label', {}, words.tenant, which), el('span', { class: 'room' }), another),
    live,
    el('div', { class: 'tools' }, narrow, columnsMenu),
    chips,
    hint,
    fresh,
    results,
  );
  await update(route);
  const leave = () => {
    if (last) last.scrolled = scrollY;
    asking.abort();
    for (const end of [stopNews, strip?.close, guide?.close]) end?.();
    seen.disconnect();
  };
  return Object.assign(leave, { update });
}
