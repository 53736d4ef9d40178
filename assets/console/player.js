// Plays a source on a stage: decides what is loaded, what is shown, when to wait and what to skip.

import { Problem } from './api.js';
import { idleStretches } from './idle.js';
import { liveStep } from './live_edge.js';
import { Load } from './load.js';

const AHEAD_MS = 30_000;
const AHEAD_BYTES = 16 << 20;
const NEXT_MS = 10_000;
const LOW_MS = 500;
const ENOUGH_MS = 2_000;
const PIECE_BYTES = 256 << 20;
const ROWS = 5_000;

const startOf = (piece) => piece?.snapshot ?? piece?.from ?? 0;

/** Events: `change` (at most once a frame), `rows`, `skip` (detail: ms), `end`. All times are the source's. */
export class Player extends EventTarget {
  #source;
  #stage;
  #t = 0;
  #speed = 1;
  #wants = { play: false, skip: false };
  #isReady = false; // The stage takes messages.
  #isPlaced = false; // The stage was told to show the present time.
  #isRunning = false; // Its clock goes.
  #isHeld = false; // Live: there is nothing newer to show.
  #told = { t: 0, at: 0 };
  #load = null; // The piece that is shown, or is to be shown.
  #next = null; // The one that comes then, or one that is only read.
  #failed = -1; // A piece that could not be loaded ahead.
  #loads = 0;
  #isPumping = false;
  #isClosed = false;
  #problem = null;
  #pieceBytes = PIECE_BYTES;
  #stayed = null; // An idle stretch that the person went into.
  #unread = new Set(); // Pieces to read for their rows.
  #rows = [];
  #read = new Map(); // How far each piece has been read, by its beginning.
  #bytesRead = 0;
  #blocked = new Map();
  #trouble = '';
  #frame = 0;

  constructor({ source, stage }) {
    super();
    this.#source = source;
    this.#stage = stage;
    source.onchange = () => this.#grew();
  }

  get state() {
    const { first, last, isLive, pieces } = this.#source;
    const isPlaying = this.#wants.play;
    const piece = pieces[this.#pieceAt(this.#t)];
    return {
      ...{ t: this.#t, first, last, isLive, isPlaying, speed: this.#speed, skipsIdle: this.#wants.skip },
      isWaiting: piece?.snapshot !== null && (!this.#isPlaced || (isPlaying && !this.#isRunning && !isLive)),
      piece,
      idle: idleStretches(this.#source),
      ...{ rows: this.#rows, bytesRead: this.#bytesRead, blocked: this.#blocked },
      ...{ trouble: this.#trouble, problem: this.#problem },
    };
  }

  play(isPlaying = true) {
    this.#wants.play = isPlaying;
    const { last, first, isLive } = this.#source;
    if (isPlaying && this.#t >= last && !isLive) this.#place(first);
    else this.#settle();
  }

  toggle() {
    this.play(!this.#wants.play);
  }

  /** Shows a time, or the nearest that can be shown. */
  seek(t) {
    this.#stayed = idleStretches(this.#source).find(([from, to]) => from <= t && t < to);
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
    this.#wants.skip = skips;
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

  /** The stage has been made, or made anew: it holds nothing. */
  begin() {
    for (const load of [this.#load, this.#next]) load?.stop.abort();
    this.#load = this.#next = null;
    this.#isReady = true;
    this.#isRunning = false;
    this.#blocked.clear();
    this.#trouble = '';
    if (this.#problem?.code === 'hang') this.#problem = null;
    this.#place(this.#t);
  }

  hang(isHanging) {
    if (this.#problem?.code === 'hang') this.retry();
    if (isHanging) this.#problem = new Problem(0, { code: 'hang' });
    this.#settle();
  }

  /** Takes a message of the stage. */
  take(message) {
    if (this.#isClosed) return;
    if (message.type === 'fed') this.#onFed(message);
    else if (message.type === 'time') this.#onTime(message.t);
    else if (message.type === 'shown' && message.piece === this.#load?.number) this.#load.isShown = true;
    else if (message.type === 'blocked') this.#blocked.set(message.host, message.count);
    else if (message.type === 'trouble') this.#onTrouble(message);
    this.#settle();
  }

  #onTrouble({ kind, piece }) {
    this.#trouble = kind;
    const after = this.#source.pieces[this.#load?.index + 1];
    // A page that can't be shown doesn't end the replay.
    if (kind === 'no-snapshot' && piece === this.#load?.number && this.#wants.play && after) this.#place(after.from);
  }

  #onFed({ piece, last, rows, bytes }) {
    const load = [this.#load, this.#next].find((one) => one?.number === piece);
    if (!load) return;
    const { from } = load.piece;
    // A piece that is loaded again tells again what is known.
    const known = this.#read.get(from) ?? -Infinity;
    if (last > known) {
      this.#read.set(from, last);
      this.#bytesRead += bytes;
      this.#rows = this.#rows.concat(rows.filter(({ t }) => t > known)).slice(-ROWS);
      this.dispatchEvent(new Event('rows'));
    }
    load.onfed(last, bytes);
  }

  #onTime(t) {
    // What was on its way when another time was asked for says nothing.
    const passed = this.#isRunning ? (performance.now() - this.#told.at) * this.#speed : 0;
    if (!this.#isPlaced || t < this.#told.t - 50 || t > this.#told.t + passed + 1000 * this.#speed) return;
    const { isLive, last } = this.#source;
    this.#t = isLive ? t : Math.min(t, last);
    if (!this.#isRunning || isLive) return;
    const idle = this.#skippedAt(this.#t);
    if (idle?.[1] - this.#t > ENOUGH_MS) this.dispatchEvent(new CustomEvent('skip', { detail: idle[1] - this.#t }));
    if (idle) this.#place(idle[1]);
    else if (this.#pieceAt(this.#t) !== this.#load.index) this.#place(this.#t);
  }

  // Goes to a time: to its piece, which is there or is opened.
  #place(t) {
    const { pieces, last, isLive } = this.#source;
    const index = isLive ? pieces.length - 1 : this.#pieceAt(t);
    this.#t = isLive ? last : Math.max(startOf(pieces[index]), Math.min(t, last));
    this.#isPlaced = false;
    this.#failed = -1;
    if (this.#isReady && pieces.length && this.#load?.index !== index) {
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
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event('change'));
    });
    if (!load || this.#isClosed) return;
    if (isLive && load.isComplete && load.index < pieces.length - 1) return this.#place(last);
    if (isLive) this.#keepUp(load);
    else this.#seeEnd(load);
    const has = (ms) => load.isComplete || load.to >= this.#t + ms || load.bytesBehind(this.#t) >= AHEAD_BYTES;
    const enough = (this.#isRunning && this.#isPlaced ? LOW_MS : ENOUGH_MS) * this.#speed;
    const canShow = load.piece.snapshot !== null && has(0);
    const runs = canShow && this.#wants.play && (isLive ? !this.#isHeld : has(enough));
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
    this.#pump();
  }

  #keepUp(load) {
    const { target } = this.#source;
    const step = liveStep({ t: this.#t, newest: load.to, target, isPlaying: this.#isRunning });
    if (step) this.#isHeld = step.type === 'pause';
    if (step?.type !== 'play') return;
    this.#t = Math.max(step.t, startOf(load.piece));
    this.#isPlaced = false;
  }

  #seeEnd(load) {
    const { last, pieces } = this.#source;
    if (this.#t > last - NEXT_MS * this.#speed) this.#source.refresh?.();
    const isOver = this.#t >= last && load.isComplete && load.index === pieces.length - 1;
    if (!isOver || !this.#wants.play || !this.#isPlaced) return;
    this.#wants.play = false;
    this.dispatchEvent(new Event('end'));
  }

  #grew() {
    const { pieces, refresh } = this.#source;
    const load = this.#load;
    if (!load) return this.#place(this.#t);
    // A stored recording that goes on: earlier events have come late, or there is more behind what is loaded.
    if (refresh && pieces[load.index]?.snapshot !== load.piece.snapshot) return this.begin();
    if (refresh && load.isComplete && load.index >= pieces.length - 2) load.renew({ from: load.to + 0.001 });
    this.#settle();
  }

  // Loads one chunk after the other, while any is wanted.
  async #pump() {
    if (this.#isPumping) return;
    this.#isPumping = true;
    for (let load = this.#wanted(); load; load = this.#wanted()) {
      try {
        await load.step(this.#stage);
      } catch (problem) {
        load.isBroken = true;
        if (load === this.#load) this.#problem = problem;
        else if (!load.stop.signal.aborted) this.#giveUp(load);
      }
      this.#settle();
    }
    this.#isPumping = false;
  }

  // The piece that is to get its next chunk.
  #wanted() {
    const load = this.#load;
    if (!load || this.#isClosed || this.#problem) return null;
    const held = load.bytesBehind(this.#t);
    if (!load.isComplete && load.to <= this.#t + AHEAD_MS * this.#speed && held < AHEAD_BYTES) {
      if (load.fed <= this.#pieceBytes) return load;
      this.#problem = new Problem(0, { code: 'large_piece' });
      return null;
    }
    if (!load.isShown && load.piece.snapshot !== null) return null;
    if (load.isComplete) this.#unread.delete(load.index);
    if (this.#next?.isComplete) this.#unread.delete(this.#next.index);
    const following = this.#following(load);
    const unread = this.#unread.values().next().value;
    // A stopped player has the time to read first.
    const index = this.#wants.play ? (following ?? unread) : (unread ?? following);
    if (index === load.index) return load.isComplete ? null : load;
    if (this.#next?.index !== index) this.#dropNext();
    if (index === undefined) return null;
    const next = (this.#next ??= this.#open(index));
    const isMore = next.to <= startOf(next.piece) + AHEAD_MS * this.#speed && held + next.fed < AHEAD_BYTES;
    return !next.isComplete && (isMore || index !== following) ? next : null;
  }

  // The piece that is shown when the present one is over, if that is soon.
  #following({ index }) {
    const { pieces } = this.#source;
    if (!pieces[index + 1] || this.#failed > index) return undefined;
    const end = pieces[index + 1].from;
    const [from, to] = this.#skippedAt(end) ?? [end, end];
    return from - this.#t <= NEXT_MS * this.#speed ? this.#pieceAt(to) : undefined;
  }

  #open(index) {
    const load = new Load(this.#source, index, (this.#loads += 1));
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.#stage.send({ type: 'open', piece: load.number, calm });
    return load;
  }

  #dropNext() {
    if (!this.#next) return;
    this.#next.stop.abort();
    this.#stage.send({ type: 'drop', piece: this.#next.number });
    this.#next = null;
  }

  // What can't be had yet is a problem as soon as it is to be shown.
  #giveUp({ index }) {
    this.#failed = index;
    this.#unread.clear();
    this.#dropNext();
  }

  #tell() {
    this.#told = { t: this.#t, at: performance.now() };
  }

  #pieceAt(t) {
    return Math.max(
      this.#source.pieces.findLastIndex(({ from }) => from <= t),
      0,
    );
  }

  #skippedAt(t) {
    const idle = this.#wants.skip && idleStretches(this.#source).find(([from, to]) => from <= t && t < to);
    return idle && idle !== this.#stayed ? idle : null;
  }
}
