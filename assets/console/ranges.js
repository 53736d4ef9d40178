// A stored recording as a source: first what happened in it, then the events of one page after the other.

import { received, retrying } from './api.js';

// The first bytes hold the snapshot that the first frame needs.
const FIRST_BYTES = 1 << 20;
const BYTES = 2 << 20;
const REFRESH_MS = 10_000;

export class RangesSource {
  isLive = false;
  isGrowing = false;
  first = 0;
  last = 0;
  pieces = [];
  activity = null;
  facts = null;
  onchange = () => {};
  #api;
  #path;
  #salvage;
  #timer = 0;

  /** `isSalvaged`: of a damaged recording, what is intact. */
  constructor({ api, id, isSalvaged = false }) {
    this.#api = api;
    this.#path = `/recordings/${encodeURIComponent(id)}`;
    this.#salvage = isSalvaged || null;
  }

  async load(signal) {
    const params = { salvage: this.#salvage };
    const { pages, activity, ...facts } = await retrying(
      () => this.#api.json(`${this.#path}/pages`, { params, signal }),
      {
        signal,
      },
    );
    this.facts = facts;
    this.isGrowing = facts.live;
    this.first = facts.first ?? 0;
    this.last = facts.last ?? 0;
    // Without a snapshot nothing can be shown, but what happened can be told.
    const whole = { from: this.first, to: this.last, snapshot: null, kind: 'page', url: '', bytes: facts.bytes };
    this.pieces = pages.length || !facts.events ? pages : [whole];
    const levels = activity && Uint8Array.from(atob(activity.levels), (letter) => letter.charCodeAt(0));
    this.activity = activity && { from: activity.from, slotMs: activity.slotMs, levels };
  }

  /** The watcher is near the end of a recording that goes on: looks in a while whether there is more. */
  refresh() {
    if (!this.isGrowing || this.#timer) return;
    this.#timer = setTimeout(async () => {
      this.#timer = 0;
      const { last } = this;
      // What can't be had now is asked for again the next time.
      await this.load().catch(() => {});
      if (this.last > last) this.onchange();
      else this.refresh();
    }, REFRESH_MS);
  }

  /** Events of a piece: from its beginning, behind a chunk that has come (`{cursor}`), or behind a time (`{from}`). */
  async *chunks(piece, { cursor = null, from = piece.from } = {}, signal) {
    const to = this.pieces.find((other) => other.from > piece.from)?.from ?? null;
    if (to !== null && from >= to) return;
    let maxBytes = cursor ? BYTES : FIRST_BYTES;
    do {
      const page = await retrying(() => this.#page({ from, to, maxBytes, cursor, salvage: this.#salvage }, signal), {
        signal,
      });
      cursor = page.cursor;
      maxBytes = BYTES;
      yield { ...page, isLast: !cursor };
    } while (cursor);
  }

  async #page(params, signal) {
    const asked = { params, signal, accept: 'application/x-ndjson' };
    const response = await this.#api.response(`${this.#path}/events`, asked);
    const next = /[?&]cursor=([^&>]+)/.exec(response.headers.get('Link') ?? '');
    return { buffer: await received(response.arrayBuffer()), cursor: next && decodeURIComponent(next[1]) };
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = -1;
  }
}
