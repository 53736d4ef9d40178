// The source of a recording as it grows: one stream, which is resumed where it was cut off.

import { isPassing, pause, Problem, received } from './api.js';
import { Offset } from './live_edge.js';
import { Pieces } from './pieces.js';
import { SseParser } from './sse.js';

// Later than any visitor's clock: the history begins with the newest page.
const NEWEST = 8.64e15;
const WAITS_MS = [500, 1000, 2000, 5000];
const HELD_LENGTH_MAX = 16 << 20;
const PATIENCE_MS = 10_000;

export class LiveSource extends Pieces {
  isLive = true;

  /** 'waiting' for a snapshot, 'live', 'idle', 'away' (it is tried again), or 'closed', 'erased', 'refused' for good. */
  standing = 'waiting';
  #lastId = '';
  #offset = new Offset();
  #api;
  #path;

  constructor({ api, id }) {
    super({ patienceMs: PATIENCE_MS });
    this.#api = api;
    this.#path = `/recordings/${encodeURIComponent(id)}/events`;
  }

  /** The time to show now. */
  get target() {
    return this.#offset.target;
  }

  /** Resolves once a page can be shown, or there is none yet. Throws `Problem`. */
  async load() {
    this.#run(await this.#open());
    while (!this.pieces.length && !this.#lastId && this.standing === 'waiting') await this.changed();
  }

  #open() {
    const start = this.#lastId ? { after: this.#lastId } : { at: NEWEST };
    const asked = { params: { follow: true, ...start }, accept: 'text/event-stream', signal: this.stop.signal };
    return this.#api.response(this.#path, asked);
  }

  async #run(opened) {
    for (let response = opened, tried = 0; ; tried += 1, response = null) {
      try {
        response ??= await this.#open();
        tried = 0;
        if (await this.#follow(response)) return;
      } catch (problem) {
        if (this.stop.signal.aborted) return;
        if (!(problem instanceof Problem)) throw problem;
        if (!isPassing(problem)) return this.#end(problem.code === 'recording_erased' ? 'erased' : 'refused', problem);
      }
      this.#stand('away');
      await pause(WAITS_MS[Math.min(tried, WAITS_MS.length - 1)], this.stop.signal).catch(() => {});
      if (this.stop.signal.aborted) return;
    }
  }

  /** Reads a stream to its end. Returns whether nothing comes any more. Throws `Problem` where it is cut off. */
  async #follow(response) {
    if (response.status === 204) return this.#end('closed');
    const parser = new SseParser();
    const reader = response.body.getReader();
    this.#stand(this.pieces.length > 0 ? 'live' : 'waiting');
    for (;;) {
      const { done, value } = await received(reader.read());
      if (done) return false;
      for (const { kind, data } of parser.feed(value)) {
        const reason = kind === 'end' ? JSON.parse(data[0]).reason : '';
        if (reason === 'closed' || reason === 'erased') return this.#end(reason);
        if (kind === 'message') for (const line of data) this.take(line);
        if (kind === 'message') this.#offset.take(this.last);
        if (this.pieces.length > 0 && kind === 'message') this.#stand('live');
        if (this.pieces.length > 0 && reason === 'idle') this.#stand('idle');
      }
      this.#lastId = parser.lastId || this.#lastId;
      this.tell();
      // Who takes nothing is told to come back by the server, which keeps all meanwhile.
      while (this.heldLength > HELD_LENGTH_MAX) await this.changed();
    }
  }

  #end(standing, problem = null) {
    this.problem = problem;
    this.end();
    this.#stand(standing);
    return true;
  }

  #stand(standing) {
    this.standing = standing;
    this.tell();
  }
}
