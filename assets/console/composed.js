// The source of a whole visit: all its recordings, one page view after the other, read once from beginning to end.

import { Problem, received, retrying } from './api.js';
import { Pieces } from './pieces.js';

const HELD_BYTES_MAX = 64 << 20;

export class ComposedSource {
  isLive = false;
  activity = null;
  problem = null;
  onchange = () => {};

  /** 'loading', 'whole', 'cut' (more than is held at once: its beginning can be played), 'broken' (see `problem`). */
  standing = 'loading';

  #pieces = new Pieces({ keeps: true });
  #stop = new AbortController();
  #api;
  #params;

  /** `params`: what the recordings have in common, such as `{'meta[sessionId]': '…'}`. */
  constructor({ api, params }) {
    this.#api = api;
    this.#params = params;
  }

  get pieces() {
    return this.#pieces.all;
  }

  get first() {
    return this.#pieces.first;
  }

  get last() {
    return this.#pieces.last;
  }

  /** Resolves once the first page can be shown, or there is none. Throws `Problem`. */
  async load(signal) {
    signal?.addEventListener('abort', () => this.close(), { once: true });
    const options = { params: this.#params, accept: 'application/x-ndjson', signal: this.#stop.signal };
    const response = await retrying(() => this.#api.response('/replay', options), { signal: this.#stop.signal });
    const reading = this.#read(response.body.getReader());
    while (this.pieces.length === 0 && this.standing === 'loading') await this.#pieces.changed(signal);
    if (this.standing === 'broken' && this.pieces.length === 0) throw this.problem;
    return void reading;
  }

  chunks(piece, _behind, signal) {
    return this.#pieces.chunks(piece, signal);
  }

  close() {
    this.#stop.abort();
  }

  async #read(reader) {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for (;;) {
        const { done, value } = await received(reader.read());
        const lines = decoder.decode(value, { stream: !done }).split('\n');
        lines[0] = rest + lines[0];
        rest = lines.pop();
        for (const line of lines) if (line) this.#pieces.take(line);
        if (done) return this.#end('whole');
        if (this.#pieces.heldBytes > HELD_BYTES_MAX) {
          this.close();
          return this.#end('cut');
        }
        this.onchange();
      }
    } catch (problem) {
      if (this.#stop.signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      this.problem = problem;
      this.#end('broken');
    }
  }

  #end(standing) {
    this.standing = standing;
    this.#pieces.end();
    this.onchange();
  }
}
