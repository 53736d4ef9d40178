// A piece of a recording on its way from the source into a screen of the stage.

export class Load {
  to = -Infinity; // The stage has its events up to this time.
  fed = 0; // Bytes that the stage has taken.
  isComplete = false;
  isBroken = false;
  isShown = false;
  stop = new AbortController();
  #sent = 0;
  #parts = [];
  #behind = {};
  #ontaken = () => {};

  constructor(source, index, number) {
    Object.assign(this, { source, index, number, piece: source.pieces[index] });
    this.renew();
  }

  /** Goes on behind what has come: after a failure, or (`{from}`) where a recording has grown. */
  renew(behind = this.#behind) {
    this.#behind = behind;
    this.isBroken = this.isComplete = false;
    this.chunks = this.source.chunks(this.piece, behind, this.stop.signal);
  }

  /** Hands the next chunk to the stage; resolves once the stage has taken it. */
  async step(stage) {
    const { value, done } = await this.chunks.next();
    const size = value?.buffer.byteLength ?? 0;
    if (size && !this.stop.signal.aborted) {
      this.#sent += size;
      if (value.cursor) this.#behind = { cursor: value.cursor };
      const taken = new Promise((resolve) => {
        this.#ontaken = resolve;
        this.stop.signal.addEventListener('abort', resolve);
      });
      const { buffer, isLast } = value;
      stage.send({ type: 'feed', piece: this.number, buffer, isLast }, [buffer]);
      await taken;
    }
    this.isComplete = done || value.isLast;
  }

  onfed(last, bytes) {
    if (last > this.to) this.to = last;
    this.fed += bytes;
    this.#parts.push({ last: this.to, bytes });
    if (this.fed >= this.#sent) this.#ontaken();
  }

  /** How many bytes it holds of what comes after a time. */
  bytesBehind(t) {
    return this.#parts.reduce((sum, { last, bytes }) => sum + (last > t ? bytes : 0), 0);
  }
}
