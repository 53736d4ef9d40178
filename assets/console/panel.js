// The list of what happened, beside the player: as many rows as there are, few of them in the document.

import { el } from './dom.js';
import { bytes, clock } from './format.js';
import { text } from './text.js';

const ROWS_MAX = 5000;
const ROW_PX = 34; // As in panel.css.
const SHOWN = 200;
const LEAD_MS = 1000;
const SMALL_BYTES = 8_000_000;

export function makePanel({ player, source }) {
  const hidden = new Set();
  const nodes = new WeakMap();
  const pageRows = new WeakMap();
  let all = [];
  let rows = [];
  let shownFrom = 0;
  let now = -1;
  let follows = true; // Unless the person looks elsewhere in the list.
  let hasAsked = false;

  const kinds = el('div', { class: 'panel-kinds', role: 'group', 'aria-label': text.panel.kinds });
  const search = el('input', {
    type: 'search',
    'aria-label': text.panel.search,
    placeholder: text.panel.search,
    oninput: filter,
  });
  const list = el('ol');
  const leave = () => (follows = false);
  const views = Object.fromEntries(
    ['wheel', 'touchmove', 'keydown', 'pointerdown'].map((name) => [`on${name}`, leave]),
  );
  const role = source.isLive ? 'log' : 'group';
  const scroller = el(
    'div',
    { class: 'panel-rows', role, 'aria-label': text.panel.events, onscroll: look, ...views },
    list,
  );
  const rest = el('p', { class: 'quiet panel-rest' });
  const node = el('section', { class: 'panel', 'aria-label': text.panel.events }, kinds, search, scroller, rest);

  const rowOfPage = (piece) => {
    if (!pageRows.has(piece)) pageRows.set(piece, { t: piece.from, kind: 'page', text: piece.url });
    return pageRows.get(piece);
  };

  function read() {
    const pages = source.pieces.filter(({ kind, url }) => kind === 'page' && url).map(rowOfPage);
    const told = player.state.rows.filter(({ kind }) => kind !== 'page');
    all = [...pages, ...told].sort((one, other) => one.t - other.t);
    all = source.isLive ? all.slice(-ROWS_MAX) : all.slice(0, ROWS_MAX);
    const counts = Object.keys(text.panel.kind).map((kind) => [kind, all.filter((row) => row.kind === kind).length]);
    const focused = kinds.querySelector(':focus')?.dataset.kind;
    kinds.replaceChildren(...counts.filter(([, number]) => number > 0).map(kindButton));
    kinds.querySelector(`[data-kind='${focused}']`)?.focus();
    filter();
  }

  function kindButton([kind, number]) {
    const press = () => {
      if (!hidden.delete(kind)) hidden.add(kind);
      read();
    };
    const pressed = String(!hidden.has(kind));
    const properties = { type: 'button', 'aria-pressed': pressed, 'data-kind': kind, onclick: press };
    return el('button', properties, text.panel.kind[kind](number));
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    const has = (row) => !words || `${row.text} ${row.detail ?? ''}`.toLowerCase().includes(words);
    rows = all.filter((row) => !hidden.has(row.kind) && has(row));
    scroller.classList.toggle('is-empty', rows.length === 0);
    draw();
    mark();
  }

  function draw() {
    const focused = document.activeElement;
    const first = Math.floor(scroller.scrollTop / ROW_PX) - SHOWN / 4;
    shownFrom = Math.max(0, Math.min(first, rows.length - SHOWN));
    const shown = rows.slice(shownFrom, shownFrom + SHOWN);
    list.style.paddingTop = `${shownFrom * ROW_PX}px`;
    list.style.paddingBottom = `${(rows.length - shownFrom - shown.length) * ROW_PX}px`;
    list.replaceChildren(...shown.map((row, at) => nodeOf(row, shownFrom + at)));
    if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
  }

  function nodeOf(row, at) {
    if (!nodes.has(row)) nodes.set(row, made(row));
    const item = nodes.get(row);
    item.setAttribute('aria-setsize', rows.length);
    item.setAttribute('aria-posinset', at + 1);
    return item;
  }

  function made({ t, kind, text: words, detail }) {
    const seek = () => {
      follows = true;
      player.seek(Math.max(source.first, t - LEAD_MS));
    };
    const label = el('span', { class: 'panel-kind' }, text.panel.one[kind]);
    const said = el('span', { class: 'panel-text', title: words }, words, detail && el('small', {}, ` ${detail}`));
    const button = el(
      'button',
      { type: 'button', class: 'plain', onclick: seek },
      el('time', {}, clock(t - source.first)),
      label,
      said,
    );
    return el('li', { class: `is-${kind}` }, button);
  }

  // Marks the row that has just happened, and keeps it in view.
  function mark() {
    const { t } = player.state;
    now = rows.findLastIndex((row) => row.t <= t);
    for (const old of list.querySelectorAll('[aria-current]')) old.removeAttribute('aria-current');
    nodes.get(rows[now])?.firstChild.setAttribute('aria-current', 'true');
    if (follows && now >= 0 && !isInView()) scroller.scrollTop = (now + 0.5) * ROW_PX - scroller.clientHeight / 2;
  }

  function isInView() {
    const top = now * ROW_PX;
    return top >= scroller.scrollTop && top + ROW_PX <= scroller.scrollTop + scroller.clientHeight;
  }

  function look() {
    if (isInView()) follows = true;
    const top = Math.floor(scroller.scrollTop / ROW_PX);
    const bottom = Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW_PX);
    if (top < shownFrom || bottom > Math.min(shownFrom + SHOWN, rows.length)) draw();
    mark();
  }

  // Tells how much was read for this list, and reads the rest where that is little, or is asked for.
  function tellRest() {
    const size = source.facts?.bytes ?? 0;
    const { bytesRead = size, isShown } = player.state;
    const left = size - bytesRead;
    const readRest = () => {
      hasAsked = true;
      player.readAll();
      tellRest();
    };
    if (left > 0 && size <= SMALL_BYTES && isShown && !hasAsked) return readRest();
    const isCut = all.length === ROWS_MAX && (source.isLive ? text.panel.cutBefore : text.panel.cut)(ROWS_MAX);
    const button = el('button', { type: 'button', onclick: readRest }, text.panel.readRest(bytes(left)));
    const isLeft = left > 0 && player.readAll && !hasAsked;
    rest.hidden = !isLeft && !isCut;
    if (!rest.querySelector(':focus'))
      rest.replaceChildren(...(isLeft ? [text.panel.part, ' ', button] : [isCut || '']));
  }

  let waiting = 0;
  const onrows = () => (waiting ||= setTimeout(() => ((waiting = 0), read(), tellRest()), 250));
  let pieces = 0;
  const onchange = () => {
    if (pieces !== source.pieces.length) onrows();
    pieces = source.pieces.length;
    mark();
    tellRest();
  };
  player.addEventListener('rows', onrows);
  player.addEventListener('change', onchange);
  read();
  const close = () => {
    clearTimeout(waiting);
    player.removeEventListener('rows', onrows);
    player.removeEventListener('change', onchange);
  };
  return { node, close };
}
