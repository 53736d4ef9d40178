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
  const placeOf = () => (last?.listing.items ?? []).findIndex(({ recordingId }) => recordingId === id);
  if (placeOf() < 0) return { previous: null, next: null };
  const { listing, tenant } = last;
  if (placeOf() === listing.items.length - 1) await listing.more().catch(() => []);
  const address = (item) => (item ? addressOf(item, tenant) : null);
  return { previous: address(listing.items[placeOf() - 1]), next: address(listing.items[placeOf() + 1]) };
}

/** Says that a recording was erased: no list shows it any more. */
export const forget = (id) => last?.listing.forget(id);

export async function show({ main, route, session }) {
  const tenants = session.tenants.filter(({ rights }) => rights.includes('read')).map(({ name }) => name);
  if (!tenants.length) {
    main.replaceChildren(el('section', { class: 'problem' }, el('h1', {}, words.noTenant), words.noTenantAdvice));
    return () => {};
  }
  let query, tenant, api, strip, guide, endNews, asking;
  const change = (made) => go(href('list', [], made));
  const filters = makeFilters(change);
  const which = el(
    'select',
    { onchange: () => change({ tenant: which.value }) },
    ...tenants.map((name) => el('option', {}, name)),
  );
  const another = el('a', { class: 'button' }, icon('add'), words.another);
  const narrow = el('details', {}, el('summary', { class: 'button' }, text.filters.title), filters.node);
  narrow.open = matchMedia('(width >= 700px)').matches;
  const live = el('div');
  const chips = el('div', { class: 'actions chips' });
  const hint = el('p', { class: 'quiet' }, words.onlyFinished);
  const showNew = () => (scrollTo(0, 0), load(true));
  const fresh = el('button', { type: 'button', class: 'fresh', hidden: true, onclick: showNew });
  const head = el('thead');
  const rows = el('tbody');
  const more = el('button', { type: 'button', onclick: () => next() }, words.more);
  const below = el('div', { class: 'below', role: 'status' });
  const table = el('table', {}, el('caption', { class: 'visually-hidden' }, words.title), head, rows);
  const results = el('section', { class: 'results card', tabindex: 0, 'aria-label': words.title }, table);
  const found = el('div', {}, narrow, chips, hint, fresh, results, below);
  const makeRow = (item) => recordingRow(item, tenant, query.getAll('cols'));

  const inSight = ([entry]) => entry.isIntersecting && !more.disabled && rows.rows.length < BY_ITSELF_MAX && next();
  const observer = new IntersectionObserver(inSight, { rootMargin: '0px 0px 800px' });

  function draw(items) {
    rows.append(...items.map(makeRow));
    const { isComplete, items: all } = last.listing;
    if (!all.length) return drawEmpty();
    below.replaceChildren(words.shown(all.length, isComplete), isComplete ? '' : more);
    observer.unobserve(more); // Observed anew, it is told of again where it is still in sight.
    observer.observe(more);
  }

  function drawEmpty() {
    results.hidden = true;
    if (isNarrowed(query)) {
      const all = el(
        'button',
        { type: 'button', onclick: () => change({ tenant: query.get('tenant') }) },
        words.showAll,
      );
      const advice = el('p', {}, passesOverNew(query) ? words.nothingFinished : words.nothingAdvice);
      return below.replaceChildren(el('section', { class: 'nothing' }, el('h2', {}, words.nothing), advice, all));
    }
    found.hidden = another.hidden = true;
    guide = welcome({ session, tenant, title: words.empty });
    found.after(guide.node);
  }

  function fail(problem, again) {
    if (problem.name === 'AbortError') return;
    if (problem.status === undefined) throw problem;
    below.replaceChildren(filters.mark(problem) ? words.seeField : problemView(problem, { retry: again }));
  }

  async function next() {
    const { listing } = last;
    more.disabled = true;
    try {
      const added = await listing.more(asking.signal);
      if (listing === last.listing) draw(added);
    } catch (problem) {
      fail(problem, next);
    } finally {
      more.disabled = false;
    }
  }

  async function load(isAnew) {
    asking?.abort();
    endNews?.();
    const { signal } = (asking = new AbortController());
    const [mine, asked] = [api, parameters(query, Date.now())];
    const ask = async (page, whose) =>
      (await mine.json('/recordings', { params: { ...asked, ...page }, signal: whose })).recordings;
    const key = JSON.stringify([tenant, { ...asked, from: query.get('from') ?? query.get('since') }]);
    const isBack = !isAnew && last?.key === key && last.listing.items.length > 0;
    if (!isBack) last = { key, tenant, listing: new Listing(ask), scrolled: 0 };
    const { listing, scrolled } = last;
    results.setAttribute('aria-busy', 'true');
    try {
      if (!isBack) await listing.more(signal);
      if (signal.aborted) return;
      closeGuide();
      filters.mark(null);
      found.hidden = results.hidden = another.hidden = false;
      fresh.hidden = true;
      head.replaceChildren(headRow(query.get('sort'), query.getAll('cols')));
      rows.replaceChildren();
      draw(listing.items);
      if (isBack) scrollTo(0, scrolled);
      endNews = poll(news, NEWS_EVERY_MS);
    } catch (problem) {
      if (!signal.aborted) results.hidden = true;
      fail(problem, () => load(true));
    }
    if (!signal.aborted) results.removeAttribute('aria-busy');
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

  function closeGuide() {
    guide?.close();
    guide?.node.remove();
    guide = null;
  }

  function update(changed) {
    ({ query } = changed);
    const asked = query.get('tenant');
    const isOther = tenant !== (tenant = tenants.includes(asked) ? asked : tenants[0]);
    api = session.apiOf(tenant);
    which.value = tenant;
    another.href = href('welcome', [tenant]);
    filters.sync(query, api);
    chips.replaceChildren(...makeChips(query, change));
    hint.hidden = !passesOverNew(query);
    if (isOther) {
      strip?.close();
      strip = liveStrip(api, tenant);
      live.replaceChildren(strip.node);
    }
    return load(false);
  }

  const choice = tenants.length > 1 && el('label', {}, words.tenant, which);
  main.replaceChildren(el('div', { class: 'title actions' }, el('h1', {}, words.title), choice, another), live, found);
  await update(route);
  const leave = () => {
    last.scrolled = scrollY;
    asking.abort();
    endNews?.();
    strip.close();
    closeGuide();
    observer.disconnect();
  };
  return Object.assign(leave, { update });
}
