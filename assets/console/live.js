// The source of a recording as it grows: one stream, which is resumed where it was cut off.

import { isPassing, pause, Problem, received } from './api.js';
import { Pieces } from './pieces.js';
import { SseParser } from './sse.js';

// Later than any visitor's clock: the history begins with the newest page.
const NEWEST = 8.64e15;
const WAITS_MS = [500, 1000, 2000, 5000];
const HELD_BYTES_MAX = 16 << 20;
const PATIENCE_MS = 10_000;

export class LiveSource {
  isLive = true;
  activity = null;
  problem = null;
  onchange = () => {};

  /** 'waiting' for a snapshot, 'live', 'idle', 'away' (it is tried again), or 'closed', 'erased', 'refused' for good. */
  standing = 'waiting';

  #pieces = new Pieces({ patienceMs: PATIENCE_MS });
  #stop = new AbortController();
  #lastId = '';
  #api;
  #path;

  constructor({ api, id }) {
    this.#api = api;
    this.#path = `/recordings/${encodeURIComponent(id)}/events`;
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

  /** Resolves once the stream is open. Throws `Problem`. */
  async load(signal) {
    signal?.addEventListener('abort', () => this.close(), { once: true });
    this.#run(await this.#open());
  }

  chunks(piece, _behind, signal) {
    return this.#pieces.chunks(piece, signal);
  }

  close() {
    this.#stop.abort();
  }

  #open() {
    const start = this.#lastId ? { after: this.#lastId } : { at: NEWEST };
    const params = { follow: true, ...start };
    return this.#api.response(this.#path, { params, accept: 'text/event-stream', signal: this.#stop.signal });
  }

  async #run(opened) {
    let response = opened;
    for (let tried = 0; ; tried += 1) {
      try {
        response ??= await this.#open();
        tried = 0;
        if (await this.#follow(response)) return;
      } catch (problem) {
        if (this.#stop.signal.aborted) return;
        if (!(problem instanceof Problem)) throw problem;
        if (!isPassing(problem)) return this.#end(problem.code === 'recording_erased' ? 'erased' : 'refused', problem);
      }
      response = null;
      this.#tell('away');
      await pause(WAITS_MS[Math.min(tried, WAITS_MS.length - 1)], this.#stop.signal).catch(() => {});
      if (this.#stop.signal.aborted) return;
    }
  }

  /** Reads a stream to its end. Returns whether nothing comes any more. Throws `Problem` where it is cut off. */
  async #follow(response) {
    if (response.status === 204) return this.#end('closed');
    const parser = new SseParser();
    const reader = response.body.getReader();
    if (this.pieces.length > 0) this.#tell('live');
    for (;;) {
      const { done, value } = await received(reader.read());
      if (done) return false;
      for (const { kind, data } of parser.feed(value)) {
        if (kind === 'message') this.#take(data);
        else if (kind === 'end' && this.#hear(JSON.parse(data[0]).reason)) return true;
      }
      this.#lastId = parser.lastId || this.#lastId;
      // Who takes nothing is told to come back by the server, which keeps all meanwhile.
      while (this.#pieces.heldBytes > HELD_BYTES_MAX) await this.#pieces.changed(this.#stop.signal);
    }
  }

  #take(lines) {
    for (const line of lines) this.#pieces.take(line);
    this.#tell(this.pieces.length > 0 ? 'live' : 'waiting');
  }

  #hear(reason) {
    if (reason === 'idle' && this.standing === 'live') this.#tell('idle');
    return (reason === 'closed' || reason === 'erased') && this.#end(reason);
  }

  #end(standing, problem = null) {
    this.problem = problem;
    this.#pieces.end();
    this.#tell(standing);
    return true;
  }

  #tell(standing) {
    this.standing = standing;
    this.onchange();
  }
}
