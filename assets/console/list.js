// The list of recordings: found by what happened in them, without an end.

import { el, icon } from './dom.js';
import { isNarrowed, makeChips, makeFilters, parameters, passesOverNew } from './filters.js';
import { Listing } from './listing.js';
import { liveStrip } from './live_strip.js';
import { problemView } from './notice.js';
import { poll } from './poll.js';
import { addressOf, headRow, recordingRow } from './recording_row.js';
import { go, href } from './route.js';
import { text } from './text.js';
import { welcome } from './welcome.js';

const words = text.list;
const NEWS_EVERY_MS = 10_000;
const BY_ITSELF_MAX = 1000; // Beyond so many rows the next page comes by the button alone.

// What was shown last: a person who comes back from a recording finds it as it was.
let last = null;

/** The addresses of the recordings before and after one in the list that was shown last; null where there is none. */
export async function neighbours(id) {
  const { listing, tenant } = last ?? { listing: { items: [] } };
  const place = listing.items.findIndex(({ recordingId }) => recordingId === id);
  if (place >= 0 && place === listing.items.length - 1) await listing.more().catch(() => []);
  const address = (at) => (place >= 0 && listing.items[at] ? addressOf(listing.items[at], tenant) : null);
  return { previous: address(place - 1), next: address(place + 1) };
}

/** Says that a recording was erased: no list shows it any more. */
export const forget = (id) => last?.listing.forget(id);

export async function show({ main, route, session }) {
  const tenants = session.tenants.filter(({ rights }) => rights.includes('read')).map(({ name }) => name);
  if (!tenants.length) return main.replaceChildren(el('h1', {}, words.noTenant), words.noTenantAdvice);

  let query, tenant, api, strip, guide, endNews, asking;
  const change = (made) => go(href('list', [], made));
  const filters = makeFilters(change);
  const narrow = el('details', {}, el('summary', {}, text.filters.title), filters.node);
  narrow.open = innerWidth >= 700;
  const which = el('select', { onchange: () => change({ tenant: which.value }) });
  which.append(...tenants.map((name) => el('option', {}, name)));
  const another = el('a', { class: 'button' }, icon('add'), words.another);
  const live = el('div');
  const chips = el('div', { class: 'chips actions' });
  const hint = el('p', { class: 'quiet' }, words.onlyFinished);
  const fresh = el('button', { class: 'fresh', onclick: () => (scrollTo(0, 0), load(true)) });
  const [head, rows] = [el('thead'), el('tbody')];
  const table = el('table', {}, el('caption', { class: 'visually-hidden' }, words.title), head, rows);
  const results = el('section', { class: 'results card', tabindex: 0, 'aria-label': words.title }, table);
  const more = el('button', { onclick: () => next() }, words.more);
  const below = el('div', { class: 'below actions', role: 'status' });
  const found = el('div', {}, narrow, chips, hint, fresh, results, below);
  const makeRow = (item) => recordingRow(item, tenant, query.getAll('cols'));
  const inSight = ([entry]) => entry.isIntersecting && !more.disabled && rows.rows.length < BY_ITSELF_MAX && next();
  const observer = new IntersectionObserver(inSight, { rootMargin: '0px 0px 800px' });

  function draw(items) {
    const { isComplete, items: all } = last.listing;
    rows.append(...items.map(makeRow));
    below.replaceChildren(words.shown(all.length, isComplete), isComplete ? '' : more);
    observer.unobserve(more); // Observed anew, it is told of again where it is still in sight.
    observer.observe(more);
    if (!all.length) drawEmpty();
  }

  function drawEmpty() {
    results.hidden = true;
    if (isNarrowed(query)) {
      const all = el('button', { onclick: () => change({ tenant: query.get('tenant') }) }, words.showAll);
      const advice = el('p', {}, passesOverNew(query) ? words.nothingFinished : words.nothingAdvice);
      return below.replaceChildren(el('section', { class: 'nothing' }, el('h2', {}, words.nothing), advice, all));
    }
    found.hidden = another.hidden = true;
    guide = welcome({ session, tenant, title: words.empty });
    found.after(guide.node);
  }

  function fail(problem, again) {
    if (problem.status === undefined) throw problem;
    if (problem.status === 401) return location.reload(); // The page then asks for a key, and comes back.
    below.replaceChildren(filters.mark(problem) ? words.seeField : problemView(problem, { retry: again }));
  }

  async function next() {
    const { listing } = last;
    more.disabled = true;
    try {
      const added = await listing.more(asking.signal);
      if (listing === last.listing) draw(added);
    } catch (problem) {
      if (problem.name !== 'AbortError') fail(problem, next);
    }
    more.disabled = false;
  }

  async function load(isAnew) {
    leave();
    const { signal } = (asking = new AbortController());
    const [mine, asked] = [api, parameters(query, Date.now())];
    const ask = async (page, whose) =>
      (await mine.json('/recordings', { params: { ...asked, ...page }, signal: whose })).recordings;
    const key = JSON.stringify([tenant, parameters(query, 0)]);
    const isBack = !isAnew && last?.key === key && last.listing.items.length > 0;
    if (!isBack) last = { key, tenant, listing: new Listing(ask, !query.get('sort')), scrolled: 0 };
    const { listing, scrolled } = last;
    fresh.hidden = true;
    results.setAttribute('aria-busy', 'true');
    try {
      if (!isBack) await listing.more(signal);
      if (signal.aborted) return;
      filters.mark(null);
      guide?.node.remove();
      found.hidden = results.hidden = another.hidden = false;
      head.replaceChildren(headRow(query.get('sort'), query.getAll('cols')));
      rows.replaceChildren();
      draw(listing.items);
      if (isBack) scrollTo(0, scrolled);
      endNews = poll(news, NEWS_EVERY_MS, undefined, isBack ? 0 : NEWS_EVERY_MS);
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      results.hidden = true;
      fail(problem, () => load(true));
    }
    results.removeAttribute('aria-busy');
  }

  async function news(signal) {
    const { added, changed } = await last.listing.news(signal);
    for (const item of changed) {
      const row = rows.querySelector(`[data-id="${CSS.escape(item.recordingId)}"]`);
      if (row && !row.contains(document.activeElement)) row.replaceWith(makeRow(item));
    }
    fresh.hidden = !added || !rows.firstChild;
    fresh.textContent = words.fresh(added);
  }

  function update(now) {
    ({ query } = now);
    const before = tenant;
    tenant = tenants.includes(query.get('tenant')) ? query.get('tenant') : tenants[0];
    api = session.apiOf(tenant);
    which.value = tenant;
    another.href = href('welcome', [tenant]);
    filters.sync(query, api);
    chips.replaceChildren(...makeChips(query, change));
    hint.hidden = !passesOverNew(query);
    if (tenant !== before) {
      strip?.close();
      strip = liveStrip(api, tenant);
      live.replaceChildren(strip.node);
    }
    return load(false);
  }

  // Ends what goes on for the rows that are shown.
  function leave() {
    asking?.abort();
    endNews?.();
    guide?.close();
  }

  const choice = tenants.length > 1 && el('label', {}, words.tenant, which);
  main.replaceChildren(el('div', { class: 'title actions' }, el('h1', {}, words.title), choice, another), live, found);
  await update(route);
  const leaveAll = () => {
    last.scrolled = scrollY;
    leave();
    strip.close();
    observer.disconnect();
  };
  return Object.assign(leaveAll, { update });
}
