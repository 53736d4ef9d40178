// How the server is: what hurts, in words, then each figure now and over the last day.

import { Api } from './api.js';
import { el, prose } from './dom.js';
import { ago, bytes, count, moment } from './format.js';
import { problemView } from './notice.js';
import { makePlot } from './plot.js';
import { poll } from './poll.js';
import { text } from './text.js';

const words = text.server;
const EVERY_MS = 5000;
const server = new Api({ base: '/console/api' });
const number = (value) => count(Math.round(value * 10) / 10);
const perSecond = (reads) => (value) => words.each(reads(value), words.second);
const perMinute = { reads: (value) => words.each(number(value), words.minute), times: 60 };

// Name in the answer → how a value reads, and the setting that bounds it.
const FIGURES = {
  eventsPerS: { reads: perSecond(number) },
  receivedBytesPerS: { reads: perSecond(bytes) },
  openRecordings: { reads: number, bound: 'recordingsMax' },
  sockets: { reads: number, bound: 'socketsMax' },
  watchers: { reads: number, bound: 'watchersMax' },
  storedBytes: { reads: bytes },
  backlogBytes: { reads: bytes },
  diskFreeBytes: { reads: bytes, bound: 'diskReserveBytes' },
  memoryBytes: { reads: bytes, bound: 'memoryMaxBytes' },
  duplicatesPerS: perMinute,
  quarantinedPerS: perMinute,
  refusedPerS: perMinute,
};

function figureCard(name) {
  const { reads, bound, times = 1 } = FIGURES[name];
  const { title, says } = words.figures[name];
  const [value, more] = [el('b', {}), el('span', { class: 'quiet' })];
  const plot = makePlot({ label: title, reads });
  const node = el('section', { class: 'card figure' }, el('h2', {}, title), el('p', {}, value, ' ', more), plot.node);
  const draw = ({ now, series }) => {
    value.textContent = reads(now[name] * times);
    more.textContent = says?.(now) ?? '';
    plot.draw({ at: series.at, values: series[name].map((each) => each * times), bound: now[bound] });
  };
  return { node, draw };
}

const lines = (title, said) => [el('h2', {}, title), el('ul', {}, ...said.map((line) => el('li', {}, line)))];

// Of each tenant, what everybody may know who may read it.
async function tenants(session) {
  const names = session.tenants.filter(({ rights }) => rights.includes('read')).map(({ name }) => name);
  const told = await Promise.all(names.map((name) => session.apiOf(name).json('/statistics')));
  return lines(
    words.tenants,
    names.map((name, place) => words.tenant(name, told[place])),
  );
}

export async function show({ main, session }) {
  const state = el('p', { class: 'quiet' });
  const troubles = el('div', { class: 'troubles', role: 'status' });
  const cards = Object.keys(FIGURES).map(figureCard);
  const figures = el('div', { class: 'figures' }, ...cards.map(({ node }) => node));
  const refusals = el('section', {});
  main.replaceChildren(el('h1', {}, words.title), state, troubles, figures, refusals, ...(await tenants(session)));
  let said = '';

  function draw(told) {
    state.textContent = words.state(session.version, moment(told.startedAt));
    const wrong = [
      ...told.sentences.map((sentence) => [sentence, true]),
      ...told.troubles.map(({ code, is_bad: isBad }) => [words.troubles[code](told.now), isBad]),
    ];
    // Told anew only where it has changed: a screen reader says it each time.
    if (said !== JSON.stringify(wrong)) {
      said = JSON.stringify(wrong);
      const notes = wrong.map(([line, isBad]) => el('p', { class: isBad && 'bad' }, prose(line)));
      troubles.replaceChildren(...(notes.length ? notes : [el('p', { class: 'good' }, words.allIsWell)]));
    }
    for (const card of cards) card.draw(told);
    const reasons = told.refusals.map((row) => words.refusal(row, ago(row.lastMs, told.at)));
    refusals.replaceChildren(...(reasons.length ? lines(words.refusals, reasons) : []));
  }

  const stop = poll(
    async (signal) => draw(await server.json('/box', { signal })),
    EVERY_MS,
    (problem) => {
      if ([401, 403].includes(problem.status)) stop();
      if (problem.status === 401) return main.replaceChildren(problemView(problem));
      state.textContent = problem.status === 403 ? words.notAll : text.problem(problem).title;
      for (const node of [figures, refusals, troubles]) node.hidden = problem.status === 403;
    },
  );
  return stop;
}
