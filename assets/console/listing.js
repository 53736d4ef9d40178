// The recordings of one question, page by page, while others come and go in front of them.

const PAGE = 50;
// A page begins at the last recordings of the one before: so one sees whether the list has moved meanwhile.
const OVERLAP = 5;
const TRIES_MAX = 200;

export class Listing {
  items = [];
  isComplete = false;
  #offset = 0;
  #asking = null;

  /** `ask(params, signal)` resolves to the items of one page. */
  constructor(ask, isNewestFirst) {
    Object.assign(this, { ask, isNewestFirst });
  }

  /** Resolves to the items that the next page adds, in order and each once. Throws `Problem`. */
  more(signal) {
    this.#asking ??= this.#more(signal).finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #more(signal) {
    const known = new Set(this.items.map(({ recordingId }) => recordingId));
    for (let tried = 1; !this.isComplete; tried += 1) {
      const offset = Math.max(0, this.#offset - OVERLAP);
      const page = await this.ask({ limit: PAGE, offset }, signal);
      const lastKnown = page.findLastIndex(({ recordingId }) => known.has(recordingId));
      this.#offset = offset + page.length;
      if (lastKnown < 0 && offset > 0 && tried < TRIES_MAX) {
        // So many came that the page begins too early, or so many were erased that it begins too late.
        const isEarly = this.isNewestFirst && page.at(-1)?.timestamp > this.items.at(-1)?.timestamp;
        if (!isEarly) this.#offset = Math.max(0, offset - PAGE + OVERLAP);
        continue;
      }
      this.isComplete = page.length < PAGE;
      const added = page.slice(lastKnown + 1);
      this.items.push(...added);
      if (added.length) return added;
    }
    return [];
  }

  /** Asks for the first page again: resolves to how many are new in it, and to those of which more is known now. */
  async news(signal) {
    const page = await this.ask({ limit: PAGE, offset: 0 }, signal);
    const old = new Map(this.items.map((item) => [item.recordingId, item]));
    const changed = page.filter((item) => JSON.stringify(old.get(item.recordingId) ?? item) !== JSON.stringify(item));
    for (const item of changed) Object.assign(old.get(item.recordingId), item);
    return { added: page.filter(({ recordingId }) => !old.has(recordingId)).length, changed };
  }

  /** Forgets one that was erased. */
  forget(id) {
    this.items = this.items.filter(({ recordingId }) => recordingId !== id);
  }
}
