// Cuts a stream of events into pieces that can each be shown by itself, and holds them until they are taken.

const META = 4;
const SNAPSHOT = 2;
const CHUNK_LENGTH = 240_000;
const PIECES_MAX = 1000; // As many as the server tells of a stored recording; more would keep this page busy.

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
  stop = new AbortController();
  #next = null;
  #wake = () => {};
  #changed = null;

  /** `keeps`: pieces can be read again. `patienceMs`: how long, by events' times, a Meta event waits for its snapshot. */
  constructor({ keeps = false, patienceMs = Infinity } = {}) {
    Object.assign(this, { keeps, patienceMs });
    this.tell();
  }

  get first() {
    return this.pieces[0]?.from ?? 0;
  }

  close() {
    this.stop.abort();
  }

  /** Takes in one event as text. */
  take(line) {
    const { type: said, timestamp, data, recordingId } = JSON.parse(line);
    const current = this.pieces.at(-1);
    // Beyond, the newest piece takes all that comes.
    const type = this.pieces.length < PIECES_MAX ? said : null;
    if ((type === META && this.#next?.hasMeta) || timestamp > this.#next?.from + this.patienceMs) {
      // No snapshot came: these events are the running piece's, if there is one.
      current?.lines.push(...this.#next.lines);
      this.#next = null;
    }
    // What comes before the first piece may tell of it, as custom events do.
    const begins = type === META || type === SNAPSHOT || !current;
    if (begins) this.#next ??= { from: timestamp, to: timestamp, url: current?.url ?? '', lines: [], snapshotAt: 0 };
    const piece = this.#next ?? current;
    const { lines } = piece;
    const snapshotAt = lines.length + 1;
    if (type === META)
      Object.assign(piece, {
        from: timestamp,
        url: typeof data?.href === 'string' ? data.href : '',
        hasMeta: true,
        snapshotAt,
      });
    lines.splice(type === SNAPSHOT ? piece.snapshotAt : lines.length, 0, line);
    piece.to = Math.max(piece.to, timestamp);
    this.heldLength += line.length;
    if (current) this.last = Math.max(this.last, timestamp);
    if (type !== SNAPSHOT) return;
    const isSame = current?.url === piece.url && current.recordingId === recordingId;
    this.end();
    this.last = Math.max(this.last, piece.to);
    this.pieces.push(Object.assign(piece, { snapshot: timestamp, recordingId, kind: isSame ? 'checkpoint' : 'page' }));
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
  async changed(signal = this.stop.signal) {
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
      let text = '';
      for (; at < piece.lines.length && text.length < CHUNK_LENGTH; at += 1) text += `${piece.lines[at]}\n`;
      if (!this.keeps && text) {
        this.heldLength -= text.length - at;
        piece.lines.splice(0, at);
        at = 0;
        this.tell();
      }
      isLast = Boolean(piece.isOver) && at === piece.lines.length;
      if (!text && !isLast) await this.changed(signal);
      else yield { buffer: new TextEncoder().encode(text).buffer, isLast };
    }
  }
}
