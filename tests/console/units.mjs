// Runs modules of the console for tests, without a browser: reads one JSON command a line, writes one answer a line.

import { createInterface } from 'node:readline';

import { Api } from '../../assets/console/api.js';
import { ComposedSource } from '../../assets/console/composed.js';
import { changed, isNarrowed, parameters, parts } from '../../assets/console/filters.js';
import { Listing } from '../../assets/console/listing.js';
import { LiveSource } from '../../assets/console/live.js';
import { liveStep } from '../../assets/console/live_edge.js';
import { Pieces } from '../../assets/console/pieces.js';
import { current, href } from '../../assets/console/route.js';
import { SseParser } from '../../assets/console/sse.js';

const NEVER = new AbortController().signal;

async function eventsOf(chunks) {
  let text = '';
  for await (const { buffer } of chunks) text += new TextDecoder().decode(buffer);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

const sources = {
  live: (api, { id }) => new LiveSource({ api, id }),
  composed: (api, { params }) => new ComposedSource({ api, params }),
};
let source = null;
const taken = [];

async function takeAll(watched) {
  for (let number = 0; source === watched; number += 1) {
    while (number >= watched.pieces.length) await new Promise((resolve) => (watched.onchange = resolve));
    for await (const { buffer } of watched.chunks(watched.pieces[number], undefined, NEVER)) {
      const lines = new TextDecoder().decode(buffer).split('\n').filter(Boolean);
      taken.push(...lines.map((line) => ({ ...JSON.parse(line), piece: number })));
    }
  }
}

// The recordings of a made-up server, the newest first, while somebody lists them: `{arrive: n}`, `{erase: [place, n]}`.
function worldOf(size) {
  let next = size;
  const ids = Array.from({ length: size }, (_, place) => size - place);
  return {
    ids,
    change({ arrive = 0, erase: [place, number] = [0, 0] }) {
      for (let left = arrive; left > 0; left -= 1) ids.unshift((next += 1));
      if (ids.length) ids.splice(place % ids.length, number);
    },
  };
}

const commands = {
  /** A query once it has been an address, and what it means. */
  query({ pairs, now }) {
    globalThis.location = { hash: href('list', [], new URLSearchParams(pairs)) };
    const { view, parts: rest, query } = current();
    const chips = parts(query).map(({ said, without }) => [said, [...without]]);
    return {
      view,
      rest,
      pairs: [...query],
      asked: parameters(query, now),
      isNarrowed: isNarrowed(query),
      chips,
    };
  },
  changed: ({ pairs, name, value }) => [...changed(new URLSearchParams(pairs), name, value)],
  /** Lists a world to its end, changed by one of `changes` before each question. */
  async listing({ size, changes, isNewestFirst }) {
    const world = worldOf(size);
    const told = [];
    let number = 0;
    const ask = async ({ limit, offset }) => {
      const page = world.ids.slice(offset, offset + limit).map((id) => ({ recordingId: id, timestamp: id }));
      world.change(changes[number] ?? {});
      number += 1;
      return page;
    };
    const listing = new Listing(ask, isNewestFirst);
    while (!listing.isComplete) told.push(...(await listing.more()).map(({ recordingId }) => recordingId));
    const { added } = await listing.news();
    return {
      told,
      items: listing.items.map(({ recordingId }) => recordingId),
      left: world.ids,
      asked: number,
      added,
    };
  },
  sse({ parts }) {
    const parser = new SseParser();
    const messages = parts.flatMap((part) => [...parser.feed(Buffer.from(part, 'base64'))]);
    return { messages, lastId: parser.lastId };
  },
  async pieces({ lines, options }) {
    const source = new Pieces(options);
    for (const line of lines) source.take(line);
    source.end();
    const events = [];
    for (const piece of source.pieces) events.push(await eventsOf(source.chunks(piece)));
    const again = options.keeps && events.length > 0 ? await eventsOf(source.chunks(source.pieces[0])) : null;
    return { pieces: source.pieces, events, again, heldLength: source.heldLength };
  },
  /** What the steps do to a clock that runs from one event to the next. */
  step: ({ state }) => liveStep(state),
  /** Opens a source of a daemon and takes all that it gives. */
  async open({ kind, url, token, ...rest }) {
    taken.length = 0;
    source = sources[kind](new Api({ base: url, query: { token } }), rest);
    await source.load(NEVER);
    takeAll(source);
  },
  taken: () => taken,
  about: () => {
    const { standing, pieces, first, last, problem } = source;
    return { standing, pieces, first, last, problem: problem && { status: problem.status, code: problem.code } };
  },
  close() {
    source.close();
    source = null;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[command.do](command)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.status ?? ''} ${error.code ?? ''} ${error.stack}` }));
  }
}
process.exit(0);
