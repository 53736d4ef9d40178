// Plays a source on a stage: decides what is loaded, what is shown, when to wait and what to skip.

import { Problem } from './api.js';
import { Load } from './load.js';

const AHEAD_MS = 30_000;
const AHEAD_BYTES = 16 << 20;
const NEXT_MS = 10_000;
const LOW_MS = 500;
const ENOUGH_MS = 2_000;
const PIECE_BYTES = 256 << 20;
const IDLE_MS = 5_000;
const LEAD_MS = 1_000;
const ROWS = 5_000;

/** Events: `change` (at most once a frame), `rows`, `skip` (detail: ms), `end`. All times are the source's. */
export class Player extends EventTarget {
  #source;
  #stage;
  #liveStep;
  #t = 0;
  #speed = 1;
  #isPlaying = false;
  #isReady = false; // The stage takes messages.
  #isPlaced = false; // The stage was told to show the present time.
  #isRunning = false; // Its clock goes.
  #isHeld = false; // Live: nothing newer to show.
  #told = { t: 0, at: 0 };
  #load = null; // The piece that is shown, or is to be shown.
  #next = null; // The one that comes then, or one that is only read.
  #loads = 0;
  #isPumping = false;
  #isClosed = false;
  #problem = null;
  #pieceBytes = PIECE_BYTES;
  #skips = false;
  #stayed = null; // An idle stretch that the person went into.
  #unread = new Set(); // Pieces to read for their rows.
  #rows = new Map(); // Of each piece, by its beginning.
  #flat = [];
  #bytesRead = new Map();
  #blocked = new Map();
  #trouble = '';
  #frame = 0;

  /** `liveStep`: how a live source keeps up (live_edge.js). */
  constructor({ source, stage, liveStep = null }) {
    super();
    this.#source = source;
    this.#stage = stage;
    this.#liveStep = liveStep;
    source.onchange = () => this.#grew();
  }

  get state() {
    const { first, last, isLive, pieces } = this.#source;
    const isShown = this.#load?.isShown ?? false;
    return {
      ...{ t: this.#t, first, last, isLive, isShown, isPlaying: this.#isPlaying, speed: this.#speed },
      isWaiting: !isShown || !this.#isPlaced || (this.#isPlaying && !this.#isRunning && !isLive),
      skipsIdle: this.#skips,
      piece: pieces[this.#pieceAt(this.#t)],
      idle: idleStretches(this.#source),
      rows: this.#flat,
      bytesRead: [...this.#bytesRead.values()].reduce((sum, bytes) => sum + bytes, 0),
      ...{ blocked: this.#blocked, trouble: this.#trouble, problem: this.#problem },
    };
  }

  /** Shows a time, or the nearest that can be shown. */
  start(t, { isPlaying = false } = {}) {
    this.#isPlaying = isPlaying;
    this.seek(t);
  }

  play() {
    this.#isPlaying = true;
    const { last, first, isLive } = this.#source;
    if (this.#t >= last && !isLive) this.#place(first);
    else this.#settle();
  }

  pause() {
    this.#isPlaying = false;
    this.#settle();
  }

  toggle() {
    return this.#isPlaying ? this.pause() : this.play();
  }

  seek(t) {
    this.#stayed = idleStretches(this.#source).find(([from, to]) => from <= t && t < to) ?? null;
    this.#place(t);
  }

  step(ms) {
    this.seek(this.#t + ms);
  }

  setSpeed(speed) {
    this.#speed = speed;
    if (this.#isReady) this.#stage.send({ type: 'speed', speed });
    this.#tell();
    this.#settle();
  }

  setSkipIdle(skips) {
    this.#skips = skips;
    this.#stayed = null;
    this.#settle();
  }

  /** Tries again what failed, or goes on with what was asked about. */
  retry() {
    if (this.#problem?.code === 'large_piece') this.#pieceBytes = Infinity;
    this.#problem = null;
    for (const load of [this.#load, this.#next]) if (load?.isBroken) load.renew();
    this.#settle();
  }

  /** Reads what was not loaded yet, for its rows. */
  readAll() {
    this.#unread = new Set(this.#source.pieces.keys());
    this.#settle();
  }

  close() {
    this.#isClosed = true;
    for (const load of [this.#load, this.#next]) load?.stop.abort();
    cancelAnimationFrame(this.#frame);
    this.#source.close();
  }

  /** Takes a message of the stage. */
  take(message) {
    if (Object.hasOwn(this.#messages, message.type) && !this.#isClosed) this.#messages[message.type](message);
  }

  #messages = {
    // The stage has been made, or made anew: it holds nothing.
    ready: () => {
      for (const load of [this.#load, this.#next]) load?.stop.abort();
      this.#load = this.#next = null;
      this.#isReady = true;
      this.#isRunning = false;
      this.#blocked.clear();
      this.#trouble = '';
      if (this.#problem?.code === 'hang') this.#problem = null;
      this.#place(this.#t);
    },
    fed: ({ piece, last, rows, bytes }) => {
      const load = [this.#load, this.#next].find((one) => one?.number === piece);
      if (!load) return;
      load.onfed(last, bytes);
      this.#keepRows(load, rows);
      this.#settle();
    },
    shown: ({ piece }) => {
      if (this.#load?.number !== piece) return;
      this.#load.isShown = true;
      this.#settle();
    },
    time: ({ t }) => this.#onTime(t),
    blocked: ({ host, count }) => {
      this.#blocked.set(host, count);
      this.#changed();
    },
    trouble: ({ kind }) => {
      this.#trouble = kind;
      this.#changed();
    },
    hang: ({ isHanging }) => {
      if (isHanging) this.#fail(new Problem(0, { code: 'hang' }));
      else if (this.#problem?.code === 'hang') this.retry();
    },
  };

  #onTime(t) {
    // What was on its way when another time was asked for says nothing.
    const passed = this.#isRunning ? (performance.now() - this.#told.at) * this.#speed : 0;
    if (!this.#isPlaced || t < this.#told.t - 50 || t > this.#told.t + passed + 1000 * this.#speed) return;
    this.#t = Math.min(t, this.#source.isLive ? t : this.#source.last);
    if (!this.#isRunning) return this.#changed();
    const idle = this.#idleAt(this.#t);
    if (idle && idle[1] - this.#t > LEAD_MS) this.dispatchEvent(new CustomEvent('skip', { detail: idle[1] - this.#t }));
    if (idle) this.#place(idle[1]);
    else if (!this.#source.isLive && this.#pieceAt(this.#t) !== this.#load.index) this.#place(this.#t);
    else this.#settle();
  }

  // Goes to a time: to its piece, which is there or is opened.
  #place(t) {
    const { pieces, last, isLive } = this.#source;
    this.#t = isLive ? last : Math.max(startOf(pieces[0]), Math.min(t, last));
    this.#isPlaced = false;
    if (!this.#isReady || !pieces.length) return this.#changed();
    const index = isLive ? pieces.length - 1 : this.#pieceAt(this.#t);
    if (this.#load?.index !== index) {
      if (this.#next?.index !== index) this.#dropNext();
      // The one that is shown stays until the stage has drawn the other.
      if (this.#load && !this.#load.isShown) this.#stage.send({ type: 'drop', piece: this.#load.number });
      this.#load?.stop.abort();
      this.#load = this.#next ?? this.#open(index);
      this.#next = null;
    }
    this.#settle();
  }

  // Tells the stage what follows from what is wanted and what is there.
  #settle() {
    const load = this.#load;
    const { isLive, last, pieces } = this.#source;
    if (!load || !this.#isReady || this.#isClosed) return this.#changed();
    if (isLive && load.isComplete && load.index < pieces.length - 1) return this.#place(last);
    if (isLive) this.#keepUp(load);
    else this.#seeEnd(load);
    const has = (ms) => load.isComplete || load.to >= this.#t + ms || load.bytesBehind(this.#t) >= AHEAD_BYTES;
    const enough = (this.#isRunning && this.#isPlaced ? LOW_MS : ENOUGH_MS) * this.#speed;
    const canShow = load.piece.snapshot !== null && has(0);
    const runs = canShow && this.#isPlaying && (isLive ? !this.#isHeld : has(enough));
    if (canShow ? !this.#isPlaced || runs !== this.#isRunning : this.#isRunning) {
      const place = { t: this.#t, speed: this.#speed };
      if (!canShow) this.#stage.send({ type: 'pause' });
      else if (!load.isShown) this.#stage.send({ type: 'show', piece: load.number, isPlaying: runs, ...place });
      else if (runs) this.#stage.send({ type: 'play', ...place });
      else this.#stage.send({ type: 'pause', ...(this.#isPlaced ? {} : place) });
      this.#isPlaced = canShow;
      this.#isRunning = runs;
      this.#tell();
    }
    this.#changed();
    this.#pump();
  }

  #keepUp(load) {
    const step = this.#liveStep({ t: this.#t, newest: load.to, isPlaying: this.#isRunning });
    if (step?.type === 'play') {
      this.#t = Math.max(step.t, startOf(load.piece));
      this.#isPlaced = false;
    }
    if (step) this.#isHeld = step.type === 'pause';
  }

  #seeEnd(load) {
    const { last, pieces } = this.#source;
    if (this.#t > last - NEXT_MS * this.#speed) this.#source.refresh?.();
    const isOver = this.#t >= last && load.isComplete && load.index === pieces.length - 1;
    if (!isOver || !this.#isPlaying || !this.#isPlaced) return;
    this.#isPlaying = false;
    this.dispatchEvent(new Event('end'));
  }

  #grew() {
    const { pieces } = this.#source;
    const load = this.#load;
    if (!load) return this.#place(this.#t);
    // A stored recording that goes on: behind what is loaded there is more, or earlier events have come late.
    if (this.#source.refresh && pieces[load.index]?.snapshot !== load.piece.snapshot) return this.#messages.ready();
    if (this.#source.refresh && load.isComplete && load.index >= pieces.length - 2)
      load.renew({ from: load.to + 0.001 });
    this.#settle();
  }

  // Loads one chunk after the other, while any is wanted.
  async #pump() {
    if (this.#isPumping) return;
    this.#isPumping = true;
    for (let load = this.#wanted(); load; load = this.#wanted()) {
      try {
        await load.step((...message) => this.#stage.send(...message));
      } catch (problem) {
        if (!load.stop.signal.aborted) {
          load.isBroken = true;
          this.#fail(problem);
        }
      }
      this.#settle();
    }
    this.#isPumping = false;
  }

  // Which piece is to be given its next chunk.
  #wanted() {
    const load = this.#load;
    if (!load || !this.#isReady || this.#isClosed || this.#problem) return null;
    const visits = [...this.#visits(AHEAD_MS * this.#speed)];
    const other = visits.find(({ index }) => index !== load.index);
    const until = visits.findLast(({ index }) => index === load.index)?.to ?? this.#t;
    if (!load.isComplete && load.to <= until && load.bytesBehind(this.#t) < AHEAD_BYTES) {
      if (load.fed <= this.#pieceBytes) return load;
      this.#fail(new Problem(0, { code: 'large_piece' }));
      return null;
    }
    if (!load.isShown && load.piece.snapshot !== null) return null;
    const isNear = other && other.inMs <= NEXT_MS * this.#speed;
    if (this.#next?.isComplete && !isNear) this.#dropNext();
    if (load.isComplete) this.#unread.delete(load.index);
    const index = isNear ? other.index : this.#unread.values().next().value;
    if (index === load.index) return load;
    if (this.#next?.index !== index) this.#dropNext();
    if (index === undefined) return null;
    this.#next ??= this.#open(index);
    if (this.#next.isComplete) return null;
    if (!isNear) return this.#next;
    return this.#next.to <= other.to && load.bytesBehind(this.#t) + this.#next.fed < AHEAD_BYTES ? this.#next : null;
  }

  // What is played in the next `ms`, without what is skipped, piece by piece.
  *#visits(ms) {
    const { pieces, last } = this.#source;
    const idle = this.#skips ? idleStretches(this.#source).filter((one) => one[0] !== this.#stayed?.[0]) : [];
    for (let at = this.#t, spent = 0; spent < ms && at < last;) {
      const stretch = idle.find(([, to]) => to > at);
      if (stretch && stretch[0] <= at) {
        at = stretch[1];
        continue;
      }
      const index = this.#pieceAt(at);
      const end = pieces[index + 1] ? startOf(pieces[index + 1]) : Infinity;
      const to = Math.min(end, stretch?.[0] ?? Infinity, at + ms - spent, last);
      yield { index, to, inMs: spent };
      spent += to - at;
      at = to;
    }
  }

  #open(index) {
    const load = new Load(this.#source, index, (this.#loads += 1));
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.#stage.send({ type: 'open', piece: load.number, calm });
    return load;
  }

  #dropNext() {
    if (!this.#next) return;
    this.#unread.delete(this.#next.isComplete ? this.#next.index : -1);
    this.#next.stop.abort();
    this.#stage.send({ type: 'drop', piece: this.#next.number });
    this.#next = null;
  }

  #keepRows({ piece, to, fed }, rows) {
    const known = this.#rows.get(piece.from) ?? { rows: [], to: -Infinity };
    // A piece that is loaded again tells again what is known.
    known.rows.push(...rows.filter(({ t }) => t > known.to).slice(0, ROWS - known.rows.length));
    known.to = Math.max(known.to, to);
    this.#rows.set(piece.from, known);
    this.#bytesRead.set(piece.from, Math.max(fed, this.#bytesRead.get(piece.from) ?? 0));
    if (!rows.length) return;
    let excess = [...this.#rows.values()].reduce((sum, one) => sum + one.rows.length, -ROWS);
    for (const [from, { rows: old }] of this.#rows) {
      if (excess <= 0 || from === piece.from) continue;
      excess -= old.length;
      this.#rows.delete(from);
    }
    this.#flat = [...this.#rows.values()].flatMap((one) => one.rows);
    this.dispatchEvent(new Event('rows'));
  }

  #fail(problem) {
    this.#problem = problem;
    this.#changed();
  }

  #tell() {
    this.#told = { t: this.#t, at: performance.now() };
  }

  #pieceAt(t) {
    return Math.max(
      0,
      this.#source.pieces.findLastIndex((piece) => startOf(piece) <= t),
    );
  }

  #idleAt(t) {
    if (!this.#skips) return null;
    const found = idleStretches(this.#source).find(([from, to]) => from <= t && t < to);
    return found && found[0] !== this.#stayed?.[0] ? found : null;
  }

  #changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event('change'));
    });
  }
}

const startOf = (piece) => piece?.snapshot ?? piece?.from ?? 0;

const stretches = new WeakMap();

/** Times without any input, each up to a little before the next: [[from, to], …]. */
export function idleStretches({ activity, last }) {
  if (!activity) return [];
  if (stretches.has(activity)) return stretches.get(activity);
  const { from, slotMs, levels } = activity;
  const found = [];
  for (let slot = 0; slot < levels.length; slot += 1) {
    if (levels[slot]) continue;
    const start = slot;
    while (slot < levels.length && !levels[slot]) slot += 1;
    const end = Math.min(from + slot * slotMs, last);
    if (end - (from + start * slotMs) >= IDLE_MS) found.push([from + start * slotMs, end - LEAD_MS]);
  }
  stretches.set(activity, found);
  return found;
}
