// Cuts a stream of events into pieces that can each be shown by itself, and holds them until they are taken.

const META = 4;
const SNAPSHOT = 2;
const CHUNK_LENGTH = 240_000;

/**
 * What sources that stream have in common. A piece begins at a Meta event and its full snapshot. The snapshot may
 * come after younger events, as large events go their own way; the piece is there once it has come.
 */
export class Pieces {
  pieces = [];
  last = 0;
  heldLength = 0;
  activity = null;
  problem = null;
  onchange = () => {};
  #next = null;
  #keeps;
  #patienceMs;
  #stop = new AbortController();
  #wake = () => {};
  #changed = null;

  /** `keeps`: pieces can be read again. `patienceMs`: how long, by events' times, a Meta event waits for its snapshot. */
  constructor({ keeps = false, patienceMs = Infinity } = {}) {
    this.#keeps = keeps;
    this.#patienceMs = patienceMs;
    this.tell();
  }

  get first() {
    return this.pieces[0]?.from ?? 0;
  }

  get signal() {
    return this.#stop.signal;
  }

  close() {
    this.#stop.abort();
  }

  /** Takes in one event as text. */
  take(line) {
    const { type, timestamp, data, recordingId } = JSON.parse(line);
    const current = this.pieces.at(-1);
    const isLate = timestamp > this.#next?.from + this.#patienceMs;
    if (isLate || (type === META && this.#next?.hasMeta)) {
      // No snapshot came: these events are the running piece's, if there is one.
      current?.lines.push(...this.#next.lines);
      this.#next = null;
    }
    // What comes before the first piece may tell of it, as custom events do.
    if (type === META || type === SNAPSHOT || !current) {
      this.#next ??= {
        from: timestamp,
        to: timestamp,
        url: current?.url ?? '',
        kind: 'checkpoint',
        bytes: 0,
        lines: [],
      };
    }
    const piece = this.#next ?? current;
    if (type === META) Object.assign(piece, { from: timestamp, url: String(data?.href ?? ''), hasMeta: true });
    if (type === META) piece.snapshotAt = piece.lines.length + 1;
    piece.lines.splice(type === SNAPSHOT && this.#next ? (piece.snapshotAt ?? 0) : piece.lines.length, 0, line);
    piece.to = Math.max(piece.to, timestamp);
    piece.bytes += line.length;
    this.heldLength += line.length;
    if (current) this.last = Math.max(this.last, timestamp);
    if (type !== SNAPSHOT) return;
    const isSame = current?.url === piece.url && current.recordingId === recordingId;
    this.end();
    this.last = Math.max(this.last, piece.to);
    this.pieces.push(Object.assign(piece, { snapshot: timestamp, kind: isSame ? 'checkpoint' : 'page', recordingId }));
    this.#next = null;
  }

  /** Says that the newest piece gets no more events. */
  end() {
    if (this.pieces.length > 0) this.pieces.at(-1).isOver = true;
  }

  /** Says that something has come, or has been taken. */
  tell() {
    this.#wake();
    this.#changed = new Promise((resolve) => (this.#wake = resolve));
    this.onchange();
  }

  /** Resolves at the next `tell`; throws `AbortError` if `signal` is aborted. */
  async changed(signal = this.signal) {
    signal.throwIfAborted();
    const stop = () => this.#wake();
    signal.addEventListener('abort', stop);
    await this.#changed;
    signal.removeEventListener('abort', stop);
    signal.throwIfAborted();
  }

  /** Yields a piece's events, `{buffer, isLast}`, and waits for those that are to come. */
  async *chunks(piece, _behind, signal) {
    for (let at = 0, isLast = false; !isLast;) {
      const lines = [];
      for (let length = 0; at < piece.lines.length && length < CHUNK_LENGTH; at += 1) {
        length += lines[lines.push(piece.lines[at]) - 1].length;
      }
      if (!this.#keeps && lines.length > 0) {
        for (const line of piece.lines.splice(0, at)) this.heldLength -= line.length;
        at = 0;
        this.tell();
      }
      isLast = Boolean(piece.isOver) && at === piece.lines.length;
      if (lines.length === 0 && !isLast) await this.changed(signal);
      else yield { buffer: new TextEncoder().encode(lines.map((line) => `${line}\n`).join('')).buffer, isLast };
    }
  }
}
