// The source of a whole visit: all its recordings, one page view after the other, read once from beginning to end.

import { Problem, received, retrying } from './api.js';
import { Pieces } from './pieces.js';

const HELD_LENGTH_MAX = 64 << 20;

export class ComposedSource extends Pieces {
  isLive = false;

  /** 'loading', 'whole', 'cut' (more than is held at once: its beginning can be played), 'broken' (see `problem`). */
  standing = 'loading';
  #api;
  #params;

  /** `params`: what the recordings have in common, such as `{'meta[sessionId]': '…'}`. */
  constructor({ api, params }) {
    super({ keeps: true });
    this.#api = api;
    this.#params = params;
  }

  /** Resolves once the first page can be shown, or there is none. Throws `Problem`. */
  async load() {
    const asked = { params: this.#params, accept: 'application/x-ndjson', signal: this.stop.signal };
    const response = await retrying(() => this.#api.response('/replay', asked), { signal: this.stop.signal });
    this.#read(response.body.getReader());
    while (this.pieces.length === 0 && this.standing === 'loading') await this.changed();
    if (this.pieces.length === 0) throw this.problem ?? new Problem(404);
  }

  async #read(reader) {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for (let isDone = false; !isDone && this.heldLength <= HELD_LENGTH_MAX; this.tell()) {
        const { done, value } = await received(reader.read());
        isDone = done;
        const lines = (done ? `${rest}\n` : decoder.decode(value, { stream: true })).split('\n');
        if (!done) lines[0] = rest + lines[0];
        rest = lines.pop();
        for (const line of lines) if (line) this.take(line);
        if (done) this.standing = 'whole';
      }
      if (this.standing === 'loading') this.standing = 'cut';
      await reader.cancel();
    } catch (problem) {
      if (this.stop.signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      Object.assign(this, { problem, standing: 'broken' });
    }
    this.end();
    this.tell();
  }
}
