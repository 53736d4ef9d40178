// The recordings of one question, page by page, while others come and go in front of them.

const PAGE = 50;
// A page begins at the last recordings of the one before: so one sees whether the list has moved meanwhile.
const OVERLAP = 5;
const TRIES_MAX = 20;

export class Listing {
  items = [];
  isComplete = false;
  #ids = new Set();
  #offset = 0;
  #asking = null;

  /** `ask(params, signal)` resolves to the items of one page. */
  constructor(ask) {
    this.ask = ask;
  }

  /** Resolves to the items that the next page adds, in order and each once. Throws `Problem`. */
  more(signal) {
    this.#asking ??= this.#more(signal).finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #more(signal) {
    for (let tried = 1; !this.isComplete; tried += 1) {
      const offset = Math.max(0, this.#offset - OVERLAP);
      const page = await this.ask({ limit: PAGE, offset }, signal);
      const isLast = page.length < PAGE;
      const lastKnown = page.findLastIndex(({ recordingId }) => this.#ids.has(recordingId));
      if (lastKnown < 0 && offset > 0 && tried < TRIES_MAX) {
        this.#offset = Math.max(0, offset - PAGE + OVERLAP); // So many were erased that this begins too late.
        continue;
      }
      const added = page.slice(lastKnown + 1);
      this.#offset = offset + page.length;
      this.isComplete = isLast;
      if (!added.length && !isLast) continue; // So many came that all of these are known.
      this.items.push(...added);
      for (const { recordingId } of added) this.#ids.add(recordingId);
      return added;
    }
    return [];
  }

  /** Asks for the first page again: resolves to how many are new in it, and those that are told differently now. */
  async news(signal) {
    const page = await this.ask({ limit: PAGE, offset: 0 }, signal);
    const changed = [];
    for (const item of page) {
      const place = this.items.findIndex(({ recordingId }) => recordingId === item.recordingId);
      if (place < 0 || JSON.stringify(this.items[place]) === JSON.stringify(item)) continue;
      this.items[place] = item;
      changed.push(item);
    }
    return { added: page.filter(({ recordingId }) => !this.#ids.has(recordingId)).length, changed };
  }

  /** Forgets one that was erased. */
  forget(id) {
    this.items = this.items.filter(({ recordingId }) => recordingId !== id);
  }
}
