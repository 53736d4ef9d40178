// The console's end of the line to the stage, the document in which recordings play.

import { el } from './dom.js';
import { text } from './text.js';

const PING_MS = 1000;
const HANG_MS = 5000;
const TOLD = new Set(['fed', 'shown', 'time', 'size', 'blocked', 'trouble']);

/** The origin of the stage; the console's own if the server knows no other. */
export const stageOrigin = document.querySelector('meta[name="rrd-stage"]').content || location.origin;

export class StageLink {
  /**
   * Puts the stage into `parent`. `onready()` is called for each document that loads, `onmessage(message)` for what it
   * tells, `onhang(isHanging)` when it has not answered for five seconds, and when it does again.
   */
  constructor({ parent, onmessage, onready = () => {}, onhang = () => {}, assets = [] }) {
    Object.assign(this, { parent, onmessage, onready, onhang });
    this.stop = new AbortController();
    const { signal } = this.stop;
    addEventListener('message', (event) => this.receive(event), { signal });
    // A recorded dialog takes the focus even where nothing can have it, and with it all keys. It is given back.
    addEventListener('focusin', ({ target }) => target !== this.frame && (this.focused = target), { signal });
    this.timer = setInterval(() => this.ping(), PING_MS);
    this.reload({ assets });
  }

  /** Makes a new stage, which may load pictures, styles and fonts from the hosts in `assets`. All that was fed is gone. */
  reload({ assets = [] } = {}) {
    this.frame?.remove();
    this.waiting = [];
    this.isReady = this.isHanging = false;
    this.asked = { n: 0, at: 0, answered: 0 };
    const query = assets.length ? `?assets=${assets.map(encodeURIComponent).join(',')}` : '';
    this.frame = el('iframe', {
      class: 'stage',
      title: text.watch.stage,
      sandbox: 'allow-scripts allow-same-origin',
      allow: '',
      referrerpolicy: 'no-referrer',
      inert: true,
      src: `${stageOrigin}/console/stage${query}`,
    });
    this.parent.append(this.frame);
  }

  /** Sends a message, at the latest when the stage is ready. Buffers go over; they are empty here afterwards. */
  send(message, transfer = []) {
    if (this.isReady) this.frame.contentWindow.postMessage(message, stageOrigin, transfer);
    else this.waiting.push([message, transfer]);
  }

  receive({ source, origin, data }) {
    if (source !== this.frame.contentWindow || origin !== stageOrigin || typeof data?.type !== 'string') return;
    if (data.type === 'ready' && !this.isReady) {
      this.isReady = true;
      this.onready();
      for (const [message, transfer] of this.waiting.splice(0)) this.send(message, transfer);
    }
    if (data.type === 'pong') this.asked.answered = Number(data.n);
    if (TOLD.has(data.type)) this.onmessage(data);
    if (this.isHanging) this.onhang((this.isHanging = false));
    this.keepFocus();
  }

  keepFocus() {
    if (document.activeElement !== this.frame) return;
    this.frame.blur();
    this.focused?.focus({ preventScroll: true });
  }

  ping() {
    if (!this.isReady) return;
    if (this.asked.answered === this.asked.n) {
      this.asked = { n: this.asked.n + 1, at: performance.now(), answered: this.asked.n };
      this.send({ type: 'ping', n: this.asked.n });
    } else if (!this.isHanging && performance.now() - this.asked.at > HANG_MS) {
      this.onhang((this.isHanging = true));
    }
  }

  close() {
    clearInterval(this.timer);
    this.stop.abort();
    this.frame.remove();
  }
}
