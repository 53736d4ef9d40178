// Plays recordings for the console, which sends them as messages. This document has no key and no network, and tells
// the console nothing of a recording but times, sizes, hosts, and rows of plain text.

import { Screen } from './screen.js';

const TASK_LENGTH = 240_000;
const TICK_MS = 100;
const HOSTS_MAX = 50;
const URLS_MAX = 1000;
const HOST = /^[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*$/;

const consoleOrigin = document.querySelector('meta[name="rrd-console"]').content || location.origin;
const tell = (message) => parent.postMessage(message, consoleOrigin);

const screens = new Map();
const blocked = new Map();
let wanted = null; // The piece to show, and
let shown = null; // the one that is shown.
let room = null;

// Time goes on evenly from `t` since the moment `from` while it plays, whether or not anything happens.
const clock = {
  t: 0,
  from: 0,
  speed: 1,
  isPlaying: false,
  now() {
    return this.t + (this.isPlaying ? (performance.now() - this.from) * this.speed : 0);
  },
  set({ t = this.now(), isPlaying = this.isPlaying, speed = this.speed }) {
    Object.assign(this, { t, isPlaying, speed, from: performance.now() });
  },
};

/** Sets the clock, and the shown replayer by it. */
function setTime(given) {
  const screen = screens.get(shown);
  // The replayer may be ahead by less than a frame; back from there it would build the page anew.
  if (given.t === undefined) given.t = Math.max(clock.now(), Math.min(screen?.lastCast ?? 0, clock.now() + TICK_MS));
  given.t = Math.ceil(given.t); // Events stand at whole milliseconds: what is told is what is shown.
  clock.set(given);
  screen?.set(clock.t, clock.isPlaying, clock.speed);
  clock.set({ t: given.t });
  tellTime();
}

function tellTime() {
  if (shown !== null) tell({ type: 'time', t: clock.now(), isPlaying: clock.isPlaying });
}

setInterval(() => {
  if (shown === null || !clock.isPlaying) return;
  screens.get(shown).follow(clock.now());
  tellTime();
}, TICK_MS);

const painted = () =>
  new Promise((resolve) => {
    setTimeout(resolve, 300); // A hidden tab draws no frames.
    requestAnimationFrame(() => requestAnimationFrame(resolve));
  });

/** Shows the piece that is wanted as soon as it can be: below the other, until it is drawn. */
async function raise() {
  const { piece, t, isPlaying, speed } = wanted;
  const screen = screens.get(piece);
  if (!screen?.replayer) return;
  if (shown !== null && shown !== piece) screens.get(shown)?.freeze();
  shown = piece;
  screen.layer.classList.remove('is-hidden');
  screen.now = () => clock.now() + 0.5;
  setTime({ t, isPlaying, speed });
  fit();
  const others = [...screens.keys()].filter((one) => one !== piece);
  await painted();
  if (wanted?.piece !== piece) return;
  for (const other of others) drop(other);
  tell({ type: 'shown', piece });
  tellTime();
}

function fit() {
  const screen = screens.get(shown);
  if (!screen) return;
  screen.fit(room ?? { width: innerWidth, height: innerHeight });
  tell({ type: 'size', width: screen.size.width, height: screen.size.height });
}
addEventListener('resize', fit);

function drop(piece) {
  screens.get(piece)?.destroy();
  screens.delete(piece);
  if (shown === piece) shown = null;
  if (wanted?.piece === piece) wanted = null;
}

function open(piece, isCalm) {
  drop(piece);
  // Two at most: the one that is shown, and the one that comes next.
  for (const other of [...screens.keys()]) if (other !== shown) drop(other);
  const screen = new Screen({
    isCalm,
    tell: (kind, text) => tell({ type: 'trouble', piece, kind, text: text.slice(0, 200) }),
    onsize: () => piece === shown && fit(),
    onbegin: () => wanted?.piece === piece && raise(),
    onblocked,
  });
  screens.set(piece, screen);
}

/** Counts what the policy held back, by hosts that a person may choose to trust. */
function onblocked({ blockedURI }) {
  const { protocol, hostname } = URL.parse(blockedURI) ?? {};
  if (protocol !== 'https:' || hostname === location.hostname || !HOST.test(hostname)) return;
  const urls = blocked.get(hostname) ?? new Set();
  if (urls.has(blockedURI) || urls.size >= URLS_MAX || (!urls.size && blocked.size >= HOSTS_MAX)) return;
  blocked.set(hostname, urls.add(blockedURI));
  tell({ type: 'blocked', host: hostname, count: urls.size });
}

const { port1, port2 } = new MessageChannel();
const tasks = [];
port1.onmessage = () => tasks.shift()();

/** Lets the browser draw, and messages through. */
const nextTask = () => new Promise((resolve) => (tasks.push(resolve), port2.postMessage(0)));

async function feed({ piece, buffer, isLast }) {
  const text = new TextDecoder().decode(buffer);
  const rows = [];
  let [first, last, count, unread] = [Infinity, -Infinity, 0, 0];
  for (let from = 0; from < text.length;) {
    const screen = screens.get(piece);
    if (!screen) return;
    for (const stop = from + TASK_LENGTH; from < Math.min(stop, text.length);) {
      const end = text.indexOf('\n', from);
      const line = text.slice(from, end < 0 ? undefined : end);
      from = end < 0 ? text.length : end + 1;
      if (!line) continue;
      try {
        const { t, row } = screen.take(line);
        if (row) rows.push(row);
        count += 1;
        first = Math.min(first, t ?? first);
        last = Math.max(last, t ?? last);
      } catch {
        unread += 1;
      }
    }
    await nextTask();
    if (piece === shown && screen.needsSync) screen.set(clock.now(), clock.isPlaying);
  }
  const screen = screens.get(piece);
  if (!screen) return;
  if (unread) tell({ type: 'trouble', piece, kind: 'unread', text: String(unread) });
  if (isLast && !screen.replayer) tell({ type: 'trouble', piece, kind: 'no-snapshot', text: '' });
  tell({ type: 'fed', piece, first, last, count, rows, bytes: buffer.byteLength });
}

let feeding = Promise.resolve();
const messages = {
  open: ({ piece, calm }) => open(piece, calm),
  feed: (message) => (feeding = feeding.then(() => feed(message)).catch((error) => console.error(error))),
  show: (message) => ((wanted = message), raise()),
  play: ({ t, speed }) => setTime({ t, speed, isPlaying: true }),
  pause: ({ t }) => setTime({ t, isPlaying: false }),
  speed: ({ speed }) => setTime({ speed }),
  drop: ({ piece }) => drop(piece),
  fit: ({ width, height }) => ((room = { width, height }), fit()),
  ping: ({ n }) => tell({ type: 'pong', n }),
};

addEventListener('message', ({ source, origin, data }) => {
  if (source !== parent || origin !== consoleOrigin || !Object.hasOwn(messages, data?.type)) return;
  messages[data.type](data);
});

tell({ type: 'ready' });
