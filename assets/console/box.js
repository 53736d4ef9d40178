// How the server is: what hurts, in words, then each figure now and over the last day.

import { Api } from './api.js';
import { el, prose } from './dom.js';
import { ago, bytes, count, duration, moment } from './format.js';
import { problemView } from './notice.js';
import { makePlot } from './plot.js';
import { poll } from './poll.js';
import { text } from './text.js';

const words = text.server;
const EVERY_MS = 5000;
const server = new Api({ base: '/console/api' });
const number = (value) => count(Math.round(value * 10) / 10);
const each = (unit) => (value) => words.each(number(value), unit);
const perMinute = (value) => words.each(number(value * 60), words.minute);

// Name in the answer → how a value reads, and the setting that bounds it.
const FIGURES = {
  eventsPerS: { reads: each(words.second) },
  receivedBytesPerS: { reads: (value) => words.each(bytes(value), words.second) },
  openRecordings: { reads: number, bound: 'recordingsMax' },
  sockets: { reads: number, bound: 'socketsMax' },
  watchers: { reads: number, bound: 'watchersMax' },
  storedBytes: { reads: bytes },
  diskFreeBytes: { reads: bytes, bound: 'diskReserveBytes' },
  memoryBytes: { reads: bytes, bound: 'memoryMaxBytes' },
  backlogBytes: { reads: bytes, note: 'backlogSegments' },
  backlogAgeS: { reads: (value) => duration(value * 1000) },
  duplicatesPerS: { reads: perMinute, note: 'duplicates' },
  quarantinedPerS: { reads: perMinute, note: 'quarantined' },
  refusedPerS: { reads: perMinute, note: 'refused' },
};

function figureCard(name) {
  const { reads, bound, note } = FIGURES[name];
  const { title, says } = words.figures[name];
  const [value, more] = [el('b', {}), el('span', { class: 'quiet' })];
  const plot = makePlot({ label: title, reads });
  const node = el('section', { class: 'card figure' }, el('h2', {}, title), el('p', {}, value, ' ', more), plot.node);
  const draw = ({ now, series }) => {
    value.textContent = reads(now[name]);
    more.textContent = bound && now[bound] ? says(reads(now[bound])) : note ? says(now[note]) : (says ?? '');
    plot.draw({ at: series.at, values: series[name], bound: now[bound] });
  };
  return { node, draw };
}

// Of each tenant, what everybody may know who may read it.
async function tenantsTable(session) {
  const names = session.tenants.filter(({ rights }) => rights.includes('read')).map(({ name }) => name);
  const rows = await Promise.all(
    names.map(async (name) => {
      const told = await session.apiOf(name).json('/statistics');
      return [name, count(told.totalRecordings), count(told.recordingsThisMonth), bytes(told.totalStorageBytes)];
    }),
  );
  return table(words.tenants, words.tenantColumns, rows);
}

function table(caption, columns, rows) {
  const line = (cells, tag) => el('tr', {}, ...cells.map((cell) => el(tag, {}, cell)));
  return el(
    'table',
    {},
    el('caption', {}, caption),
    el('thead', {}, line(columns, 'th')),
    el('tbody', {}, ...rows.map((row) => line(row, 'td'))),
  );
}

export async function show({ main, session }) {
  const state = el('p', { class: 'quiet' });
  const troubles = el('ul', { class: 'troubles', role: 'status' });
  const cards = Object.keys(FIGURES).map(figureCard);
  const figures = el('div', { class: 'figures' }, ...cards.map(({ node }) => node));
  const refusals = el('div', { class: 'scroll' });
  const tenants = el('div', { class: 'scroll' }, await tenantsTable(session));
  main.replaceChildren(el('h1', {}, words.title), state, troubles, figures, refusals, tenants);
  let said = '';

  function draw(told) {
    state.textContent = words.state(session.version, moment(told.startedAt));
    const lines = [
      ...told.sentences.map((sentence) => [sentence, true]),
      ...told.troubles.map(({ code, is_bad: isBad }) => [words.troubles[code](told.now), isBad]),
    ];
    // Told anew only where it has changed: a screen reader says it each time.
    if (said !== JSON.stringify(lines)) {
      said = JSON.stringify(lines);
      const items = lines.map(([line, isBad]) => el('li', { class: isBad && 'is-bad' }, prose(line)));
      troubles.replaceChildren(...(items.length ? items : [el('li', { class: 'is-good' }, words.allIsWell)]));
    }
    for (const card of cards) card.draw(told);
    const rows = told.refusals.map((row) => [row.code, String(row.status), count(row.count), ago(row.lastMs, told.at)]);
    refusals.replaceChildren(rows.length ? table(words.refusals, words.refusalColumns, rows) : '');
  }

  const stop = poll(
    async (signal) => draw(await server.json('/box', { signal })),
    EVERY_MS,
    (problem) => {
      if (problem.status === 403) {
        stop();
        for (const node of [figures, refusals, troubles]) node.hidden = true;
        state.textContent = words.notAll;
      } else if (problem.status === 401) main.replaceChildren(problemView(problem));
      else state.textContent = text.problem(problem).title;
    },
  );
  return stop;
}
