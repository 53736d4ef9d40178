// Cuts a stream of events into pieces that can each be shown by itself, and holds them until they are taken.

const META = 4;
const SNAPSHOT = 2;
const PART_CHARACTERS = 240_000;

const encoder = new TextEncoder();

/**
 * A piece begins at a Meta event and its full snapshot. The snapshot may arrive after younger events: a large event
 * goes its own way. It is put where it belongs, and the piece is known once it is there.
 */
export class Pieces {
  all = [];
  heldBytes = 0;
  first = Infinity;
  last = -Infinity;
  #held = []; // of each piece: {lines, size, parts, isOver}
  #next = null;
  #keeps;
  #patienceMs;
  #wake = () => {};
  #changed = new Promise((resolve) => (this.#wake = resolve));

  /** `keeps`: pieces can be read again. `patienceMs`: how long, by events' times, a Meta waits for its snapshot. */
  constructor({ keeps = false, patienceMs = Infinity } = {}) {
    this.#keeps = keeps;
    this.#patienceMs = patienceMs;
  }

  /** Takes in one event as text. */
  take(line) {
    const { type, timestamp, data } = JSON.parse(line);
    this.first = Math.min(this.first, timestamp);
    this.last = Math.max(this.last, timestamp);
    if (type === META && this.#next?.meta !== undefined) this.#giveUp();
    // What comes before the first of all may tell of it, as custom events do.
    if (type === META || type === SNAPSHOT || this.all.length === 0)
      this.#next ??= { from: timestamp, to: timestamp, lines: [] };
    const next = this.#next;
    if (!next) return this.#add(this.#held.length - 1, line, timestamp);
    next.to = Math.max(next.to, timestamp);
    if (type === META) Object.assign(next, { from: timestamp, meta: next.lines.length, url: String(data?.href ?? '') });
    if (type === SNAPSHOT) return this.#begin(next, line, timestamp);
    next.lines.push(line);
    if (timestamp > next.from + this.#patienceMs) this.#giveUp();
  }

  /** A Meta whose snapshot never came: its events are the running piece's. */
  #giveUp() {
    for (const line of this.#next.lines) this.#add(this.#held.length - 1, line, this.#next.to);
    this.#next = null;
  }

  #begin({ from, to, meta = -1, url, lines }, snapshot, timestamp) {
    this.#next = null;
    this.end();
    const before = this.all.at(-1);
    const kind = !before || (url !== undefined && url !== before.url) ? 'page' : 'checkpoint';
    const counts = { clicks: 0, inputs: 0, errors: 0, activeMs: 0, bytes: 0 };
    this.all.push({ ...counts, from, to, url: url ?? before?.url ?? '', kind, snapshot: timestamp });
    this.#held.push({ lines: [], size: 0, parts: [], isOver: false });
    lines.splice(meta + 1, 0, snapshot);
    for (const line of lines) this.#add(this.all.length - 1, line, to);
    // Who falls behind by more than a piece goes on with a newer one.
    if (!this.#keeps) for (const held of this.#held.slice(0, -2)) this.#forget(held);
  }

  #add(number, line, timestamp) {
    if (number < 0) return; // Nothing can be shown before the first snapshot.
    const held = this.#held[number];
    const piece = this.all[number];
    held.lines.push(line);
    held.size += line.length;
    piece.bytes += line.length;
    piece.to = Math.max(piece.to, timestamp);
    this.heldBytes += line.length;
    if (held.size >= PART_CHARACTERS) this.#seal(held);
    this.#tell();
  }

  #seal(held) {
    const part = encoder.encode(`${held.lines.join('\n')}\n`);
    this.heldBytes += part.byteLength - held.size;
    held.parts.push(part);
    Object.assign(held, { lines: [], size: 0 });
  }

  #forget(held, from = 0, to = held.parts.length) {
    for (let at = from; at < to; at += 1) {
      this.heldBytes -= held.parts[at]?.byteLength ?? 0;
      held.parts[at] = null;
    }
  }

  /** Says that the newest piece gets no more events. */
  end() {
    const held = this.#held.at(-1);
    if (held?.lines.length > 0) this.#seal(held);
    if (held) held.isOver = true;
    this.#tell();
  }

  #tell() {
    this.#wake();
    this.#changed = new Promise((resolve) => (this.#wake = resolve));
  }

  /** Resolves when something has come, was taken, or `signal` says so. */
  async changed(signal) {
    signal?.throwIfAborted();
    const stop = () => this.#tell();
    signal?.addEventListener('abort', stop);
    await this.#changed;
    signal?.removeEventListener('abort', stop);
    signal?.throwIfAborted();
  }

  /** Yields a piece's events, `{buffer, isLast}`, and waits for those that are to come. */
  async *chunks(piece, signal) {
    const held = this.#held[this.all.indexOf(piece)];
    for (let at = 0; ;) {
      if (at === held.parts.length && held.lines.length > 0) this.#seal(held);
      const isLast = held.isOver && at >= held.parts.length - 1;
      if (at < held.parts.length || isLast) {
        const part = held.parts[at] ?? new Uint8Array();
        if (!this.#keeps) this.#forget(held, at, at + 1);
        this.#tell();
        at += 1;
        yield { buffer: (this.#keeps ? part.slice() : part).buffer, isLast };
        if (isLast) return;
      } else await this.changed(signal);
    }
  }
}
