// The list of what happened, beside the player: thousands of rows, of which the document holds some.

import { path } from './bar.js';
import { el } from './dom.js';
import { bytes, clock } from './format.js';
import { text } from './text.js';

const ROWS_MAX = 5000; // The player keeps no more.
const ROW_PX = 34; // As in panel.css.
const SHOWN = 200;
const LEAD_MS = 1000;
const SMALL_BYTES = 8_000_000;

const timeOf = ({ t, from }) => t ?? from;

export function makePanel({ player, source }) {
  const hidden = new Set();
  const nodes = new WeakMap();
  let all = []; // Pages as the source has them, and what the stage tells.
  let rows = []; // Those that are asked for.
  let top = 0; // The first that is in the document.
  let follows = true; // Unless the person looks elsewhere in the list.
  let timer = 0;

  const kinds = Object.keys(text.panel.kind).map((kind) => {
    const press = () => {
      if (!hidden.delete(kind)) hidden.add(kind);
      read();
    };
    return el('button', { type: 'button', 'data-kind': kind, onclick: press });
  });
  const search = el('input', { type: 'search', 'aria-label': text.panel.search, placeholder: text.panel.search });
  const list = el('ol');
  const said = { role: source.isLive ? 'log' : 'group', 'aria-label': text.panel.events, tabindex: 0 };
  const scroller = el('div', { class: 'panel-rows', ...said, onscroll: () => (draw(), mark()) }, list);
  const rest = el('button', { type: 'button', hidden: true, onclick: () => readRest() });
  const group = el('div', { class: 'actions', role: 'group', 'aria-label': text.panel.kinds }, kinds);
  const node = el('section', { class: 'panel', 'aria-label': text.panel.events }, group, search, scroller, rest);
  search.addEventListener('input', read);
  for (const name of ['wheel', 'touchmove', 'keydown', 'pointerdown']) {
    scroller.addEventListener(name, () => (follows = false), { passive: true });
  }

  function read() {
    const pages = source.pieces.filter(({ kind, url }) => kind === 'page' && url);
    all = [...pages, ...player.state.rows.filter(({ kind }) => kind !== 'page')];
    all.sort((one, other) => timeOf(one) - timeOf(other));
    for (const button of kinds) {
      const { kind } = button.dataset;
      const number = all.filter((row) => row.kind === kind).length;
      button.textContent = `${text.panel.kind[kind]} ${number}`;
      button.hidden = number === 0;
      button.setAttribute('aria-pressed', String(!hidden.has(kind)));
    }
    const words = search.value.trim().toLowerCase();
    const isWanted = (row) => `${row.text ?? row.url} ${row.detail ?? ''}`.toLowerCase().includes(words);
    rows = all.filter((row) => !hidden.has(row.kind) && isWanted(row));
    top = -1;
    draw();
    mark();
  }

  // Puts those rows into the document that are in view, and as many around them.
  function draw() {
    const first = Math.floor(scroller.scrollTop / ROW_PX);
    if (top >= 0 && first >= top && first < top + SHOWN / 2) return;
    top = Math.max(0, Math.min(first - SHOWN / 4, rows.length - SHOWN));
    const shown = rows.slice(top, top + SHOWN);
    const focused = document.activeElement;
    list.style.paddingTop = `${top * ROW_PX}px`;
    list.style.paddingBottom = `${(rows.length - top - shown.length) * ROW_PX}px`;
    list.replaceChildren(...shown.map((row, at) => nodeOf(row, top + at)));
    if (all.length > rows.length && !rows.length) list.append(el('li', { class: 'quiet' }, text.panel.none));
    if (list.contains(focused)) focused.focus({ preventScroll: true });
  }

  function nodeOf(row, at) {
    if (!nodes.has(row)) nodes.set(row, el('li', {}, buttonOf(row)));
    const item = nodes.get(row);
    item.setAttribute('aria-setsize', rows.length);
    item.setAttribute('aria-posinset', at + 1);
    return item;
  }

  function buttonOf(row) {
    const seek = () => {
      follows = true;
      player.seek(Math.max(source.first, timeOf(row) - LEAD_MS));
    };
    const words = row.url ? path(row.url) : [row.text, row.detail].filter(Boolean).join(' · ');
    const kind = el('span', { class: row.kind === 'error' ? 'badge is-bad' : 'quiet' }, text.panel.kind[row.kind]);
    const time = el('time', { class: 'quiet' }, clock(timeOf(row) - source.first));
    return el(
      'button',
      { type: 'button', class: 'plain', onclick: seek },
      time,
      kind,
      el('span', { title: row.url ?? words }, words),
    );
  }

  // Marks the row that has just happened, and keeps it in view.
  function mark() {
    const { t, bytesRead, isWaiting } = player.state;
    const now = rows.findLastIndex((row) => timeOf(row) <= t);
    const marked = nodes.get(rows[now])?.firstChild;
    for (const old of list.querySelectorAll('[aria-current]')) if (old !== marked) old.removeAttribute('aria-current');
    marked?.setAttribute('aria-current', 'true');
    const above = scroller.scrollTop - now * ROW_PX;
    const isInView = above <= 0 && above >= ROW_PX - scroller.clientHeight;
    follows ||= isInView;
    if (now >= 0 && !isInView && follows) scroller.scrollTop = (now + 0.5) * ROW_PX - scroller.clientHeight / 2;
    const left = (source.facts?.bytes ?? 0) - bytesRead;
    rest.textContent = text.panel.rest(bytes(Math.max(left, 0)), ROWS_MAX);
    rest.hidden = rest.disabled || left <= 0;
    if (!rest.hidden && !isWaiting && source.facts.bytes <= SMALL_BYTES) readRest();
  }

  function readRest() {
    rest.disabled = rest.hidden = true;
    player.readAll();
  }

  const later = () => (timer ||= setTimeout(() => ((timer = 0), read()), 250));
  player.addEventListener('rows', later);
  player.addEventListener('change', mark);
  read();
  return { node, close: () => clearTimeout(timer) };
}
