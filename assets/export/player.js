// Plays the recording that stands in this page: one gzip stream of NDJSON, in blocks of base64 text.

const part = (name) => document.getElementById(name);

const player = {
  replayer: null,
  durationMs: 0,
  atMs: 0,
  isPlaying: false,

  start(events) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.durationMs = events.at(-1).timestamp - events[0].timestamp;
    // The replayer wants two events.
    if (events.length < 2) events.push({ type: 1, timestamp: events[0].timestamp + 1, data: {} });
    this.replayer = new rrwebReplay.Replayer(events, {
      root: part('stage'),
      mouseTail: calm ? false : undefined,
      triggerFocus: false,
      skipInactive: false,
      showWarning: false,
      UNSAFE_replayCanvas: false,
    });
    this.replayer.iframe.title = 'Recorded page';
    this.replayer.iframe.inert = true;
    this.replayer.on('resize', () => this.fit());
    addEventListener('resize', () => this.fit());
    part('seek').max = this.durationMs;
    this.seek(0);
    this.fit();
  },

  // Shows the page as it was at a time, what happened in that millisecond included.
  seek(ms) {
    this.atMs = Math.min(Math.max(ms, 0), this.durationMs);
    this.isPlaying = false;
    this.replayer.pause(this.atMs + 0.5);
    this.show();
  },

  toggle() {
    if (this.isPlaying) return this.seek(this.atMs);
    const from = this.atMs < this.durationMs ? this.atMs : 0;
    this.isPlaying = true;
    this.replayer.play(from);
    this.follow();
  },

  follow() {
    if (!this.isPlaying) return;
    this.atMs = Math.min(this.replayer.getCurrentTime(), this.durationMs);
    if (this.atMs >= this.durationMs) return this.seek(this.durationMs);
    this.show();
    requestAnimationFrame(() => this.follow());
  },

  show() {
    const text = `${clock(this.atMs)} of ${clock(this.durationMs)}`;
    part('seek').value = this.atMs;
    part('seek').setAttribute('aria-valuetext', text);
    part('time').textContent = text;
    part('play').textContent = this.isPlaying ? 'Pause' : 'Play';
  },

  // Makes a page that is larger than the window as large as the window.
  fit() {
    const { iframe, wrapper } = this.replayer;
    const width = Number(iframe.getAttribute('width')) || 1;
    const height = Number(iframe.getAttribute('height')) || 1;
    const scale = Math.min(1, part('stage').clientWidth / width, Math.max(200, innerHeight - 140) / height);
    wrapper.style.transformOrigin = '0 0';
    wrapper.style.transform = `scale(${scale})`;
    part('stage').style.height = `${height * scale}px`;
  },
};

function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const pair = (number) => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  return `${hours ? `${hours}:` : ''}${pair(Math.floor(seconds / 60) % 60)}:${pair(seconds % 60)}`;
}

function tell(...sentences) {
  part('status').textContent = sentences.filter(Boolean).join(' ');
}

// The lines of the recording. Each block is dropped once it is read.
async function* lines() {
  const blocks = document.querySelectorAll('script[type="application/gzip"]').values();
  const bytes = new ReadableStream({
    pull(controller) {
      const { value: block, done } = blocks.next();
      if (done) return controller.close();
      const letters = atob(block.textContent);
      const packed = new Uint8Array(letters.length);
      for (let index = 0; index < packed.length; index += 1) packed[index] = letters.charCodeAt(index);
      controller.enqueue(packed);
      block.remove();
    },
  });
  const text = bytes.pipeThrough(new DecompressionStream('gzip')).pipeThrough(new TextDecoderStream());
  const reader = text.getReader();
  let rest = '';
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const found = (rest + read.value).split('\n');
    rest = found.pop();
    yield* found;
  }
  if (rest) yield rest;
}

async function read() {
  const events = [];
  const sanitized = makeSanitizer();
  let isWhole = part('end') !== null;
  try {
    for await (const line of lines()) {
      const event = sanitized(JSON.parse(line));
      if (event) events.push(event);
    }
  } catch (error) {
    console.error(error);
    isWhole = false;
  }
  return { events, isWhole };
}

// Nothing can be shown before the first full snapshot: the events before it change a page that isn't here.
function fromSnapshot(events) {
  let first = events.findIndex(({ type }) => type === 2);
  if (first < 0) return [];
  while (first > 0 && [0, 1, 4].includes(events[first - 1].type)) first -= 1;
  return events.slice(first);
}

async function run() {
  const { events, isWhole } = await read();
  const missing = Number(part('end')?.dataset.missing ?? 0);
  const notes = [
    !isWhole && 'This file is damaged or ends too early: a part of the recording is missing.',
    missing > 0 && `${missing} events are missing: the recording was damaged.`,
  ];
  const shown = fromSnapshot(events);
  if (!shown.length) {
    document.body.dataset.state = 'empty';
    return tell(
      ...notes,
      'There is no full snapshot in this part, so nothing can be shown. Export it with an earlier `from`.',
    );
  }
  const leftOutMs = shown[0].timestamp - events[0].timestamp;
  if (leftOutMs > 0)
    notes.push(`It starts at the first full snapshot, ${clock(leftOutMs)} after the beginning of this part.`);
  player.start(shown);
  part('recorded').textContent = new Date(shown[0].timestamp).toLocaleString();
  part('play').addEventListener('click', () => player.toggle());
  part('seek').addEventListener('input', (event) => player.seek(Number(event.target.value)));
  part('seek').addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -5000, ArrowRight: 5000 }[event.key];
    if (!step) return;
    event.preventDefault();
    player.seek(player.atMs + step);
  });
  part('speed').addEventListener('change', (event) => player.replayer.setConfig({ speed: Number(event.target.value) }));
  part('controls').hidden = false;
  document.body.dataset.state = 'ready';
  tell(...notes);
}

addEventListener('DOMContentLoaded', () => {
  run().catch((error) => {
    console.error(error);
    document.body.dataset.state = 'failed';
    tell("This recording can't be played:", String(error));
  });
});
