// One replayer for one piece of a recording, in a layer of its own.

import { Digest } from './digest.js';

const LATE_MS = 5000;
const BURST = { changes: 3, nodes: 2000, withinMs: 1000 };
const DRIFT_MS = 60;
const EVENT = { full: 2, incremental: 3, meta: 4 };
const SOURCE = { mutation: 0 };

export class Screen {
  /** `tell` takes what the console may know: a kind of trouble and a text. */
  constructor({ isCalm, tell, onsize, onbegin, onblocked }) {
    Object.assign(this, { isCalm, tell, onsize, onbegin, onblocked });
    this.clean = makeSanitizer();
    this.digest = new Digest();
    this.layer = document.createElement('div');
    this.layer.className = 'screen is-hidden';
    document.body.prepend(this.layer);
    this.replayer = null;
    this.meta = null;
    this.snapshot = 0;
    this.newest = -Infinity;
    this.lastCast = -Infinity;
    this.big = [];
    this.isBurst = false;
    this.size = { width: 1, height: 1 };
    this.speed = 1;
    this.needsSync = false;
    this.now = () => -Infinity;
  }

  /** Takes one line of the recording; returns `{t, row}`: its time, and its row for the list, if it has one. */
  take(line) {
    const event = JSON.parse(line);
    const row = this.digest.row(event);
    const clean = this.clean(event);
    if (clean) this.add(clean);
    return { t: clean?.timestamp ?? row?.t, row };
  }

  add(event) {
    if (event.type === EVENT.full) this.isBurst = false;
    if (!this.replayer) return this.begin(event);
    const isLate = event.timestamp < this.newest;
    const isMutation = event.type === EVENT.incremental && event.data.source === SOURCE.mutation;
    if (isMutation && isLate && event.timestamp < this.newest - LATE_MS) return this.tell('late', '');
    this.newest = Math.max(this.newest, event.timestamp);
    if (isMutation && this.isOfBurst(event)) return;
    const hasMoved = fromFirstPosition(event);
    const now = Math.max(this.now(), this.lastCast);
    // What comes too late is applied now: it can't go between events that have been shown.
    if (event.timestamp < (isLate || hasMoved ? now : this.lastCast)) event.timestamp = now;
    this.needsSync ||= event.timestamp < now;
    this.replayer.addEvent(event);
  }

  /** Nothing can be shown before the first snapshot; the size of its window comes before it. */
  begin(event) {
    if (event.type === EVENT.meta) this.meta = event;
    if (event.type !== EVENT.full) return;
    this.meta ??= { type: EVENT.meta, timestamp: event.timestamp, data: { href: '', width: 1024, height: 768 } };
    this.snapshot = this.newest = event.timestamp;
    this.replayer = new rrwebReplay.Replayer([this.meta, event], {
      root: this.layer,
      // A replayer that follows waits for more events; another one would stop after the last that it has.
      liveMode: true,
      mouseTail: !this.isCalm,
      triggerFocus: false,
      skipInactive: false,
      showWarning: false,
      UNSAFE_replayCanvas: false,
      plugins: [{ onBuild: (node) => node.nodeType === Node.DOCUMENT_NODE && this.watch(node) }],
    });
    const { iframe } = this.replayer;
    iframe.title = document.title;
    iframe.inert = true;
    this.replayer.on('event-cast', ({ timestamp }) => (this.lastCast = timestamp));
    this.replayer.on('resize', ({ width, height }) => {
      this.size = { width, height };
      this.onsize();
    });
    // The replayer makes a page of quirks by writing HTML, which the policy forbids; a frame starts as one.
    if (event.data.node.compatMode === 'BackCompat') {
      const page = iframe.contentDocument;
      Object.assign(page, { open: () => page.replaceChildren(), write: () => {} });
    }
    // What can't be applied is left out; the rest is still of use.
    this.guard('applyIncremental', () => {});
    this.guard('moveAndHover', () => {});
    this.guard('rebuildFullSnapshot', (error) => this.tell('broken', String(error)));
    this.onbegin();
  }

  guard(name, onerror) {
    const method = this.replayer[name].bind(this.replayer);
    this.replayer[name] = (...given) => {
      try {
        return method(...given);
      } catch (error) {
        return onerror(error);
      }
    };
  }

  /** Tables of thousands of rows, again and again, would hang the page. */
  isOfBurst(event) {
    if (!this.isBurst && event.data.adds.length >= BURST.nodes) {
      this.big = [...this.big, event.timestamp].filter((at) => at > event.timestamp - BURST.withinMs);
      this.isBurst = this.big.length >= BURST.changes;
      if (this.isBurst) this.tell('burst', '');
    }
    return this.isBurst;
  }

  /** Shows the page as it was at `t`, what happened in that millisecond included, and goes on from there. */
  set(t, isPlaying, speed = this.speed) {
    if (!this.replayer) return;
    this.needsSync = this.isBroken = false;
    const offset = Math.max(t, this.snapshot) + 0.5 - this.replayer.getMetaData().startTime;
    try {
      if (speed !== this.speed) this.replayer.setConfig({ speed });
      this.speed = speed;
      if (isPlaying && t >= this.snapshot) this.replayer.play(offset);
      else this.replayer.pause(offset);
    } catch (error) {
      this.isBroken = true;
      this.tell('broken', String(error));
    }
  }

  /** Keeps the replayer at the time of the stage's clock, whatever came between. */
  follow(t) {
    if (!this.replayer || this.isBroken || t < this.snapshot) return;
    const at = this.replayer.getMetaData().startTime + this.replayer.getCurrentTime();
    if (this.needsSync || Math.abs(at - t) > DRIFT_MS * Math.max(1, this.speed)) this.set(t, true);
  }

  watch(page) {
    page.addEventListener('securitypolicyviolation', this.onblocked);
  }

  /** Makes a page that is larger than the room as large as the room, in its middle. */
  fit(room) {
    if (!this.replayer) return;
    const { width, height } = this.size;
    const scale = Math.min(1, room.width / width, room.height / height);
    const left = (innerWidth - width * scale) / 2;
    const top = (innerHeight - height * scale) / 2;
    this.replayer.wrapper.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
  }

  freeze() {
    this.replayer?.pause();
  }

  destroy() {
    try {
      this.replayer?.destroy();
    } finally {
      this.layer.remove();
    }
  }
}

/** Moves of a pointer come in one event, which stands at its last position; here it begins at its first. */
function fromFirstPosition(event) {
  const positions = event.type === EVENT.incremental ? event.data.positions : undefined;
  const first = positions?.[0]?.timeOffset;
  if (!(first < 0)) return false;
  event.timestamp += first;
  for (const position of positions) position.timeOffset -= first;
  return true;
}
