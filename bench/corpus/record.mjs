// Records a page with rrweb while a make-believe visitor uses it, and writes one NDJSON file.
//
//     node record.mjs NAME.ndjson.xz [--url URL] [--seconds 20] [--chromium /usr/bin/chromium]
//
// Without --url it records the page that lies beside it, which it serves on 127.0.0.1. Each event is written
// exactly as JSON.stringify gives it in the page, one a line, in the order in which rrweb emitted them; xz
// compresses. What it did and how much came of it is said on stdout, as one line of JSON.
//
// The visitor acts by a plan that is the same each time, but pages and clocks are not: no two recordings are
// equal. He follows links within the origin only, and opens no other tabs.

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', // Chromium refuses to run its sandbox as root, as in containers
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const VIEWPORT = { width: 1280, height: 800 };
const LOAD_TIMEOUT_MS = 30_000;
const ACT_TIMEOUT_MS = 2_000;
const SECONDS_MAX = 600;
const MOVES_COME_LATE_MS = 700; // rrweb gathers mouse moves for half a second

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
});
const [target] = positionals;
const seconds = Number(values.seconds);
if (!target?.endsWith('.ndjson.xz') || positionals.length > 1 || !(seconds > 0 && seconds <= SECONDS_MAX)) {
  console.error('usage: node record.mjs NAME.ndjson.xz [--url URL] [--seconds 1…600] [--chromium PATH]');
  process.exit(2);
}

const here = (name) => new URL(name, import.meta.url);
const recorder = await readFile(here('node_modules/@rrweb/record/dist/record.umd.min.cjs'), 'utf8');

// In the page, before any of its own scripts. Frames are recorded by their top page, if at all.
const start = `
  if (window === window.top) {
    ${recorder};
    window.rrwebRecord.record({ emit: (event) => window.keepEvent(JSON.stringify(event)) });
  }
`;

// The same numbers from 0 to 1 each time, spread well enough for a visitor (a linear congruence).
let state = 20_240_229;
function chance() {
  state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
  return state / 2 ** 32;
}
const one = (list) => list[Math.floor(chance() * list.length)];

const acts = {
  async move(page) {
    const steps = 5 + Math.floor(chance() * 20);
    await page.mouse.move(chance() * VIEWPORT.width, chance() * VIEWPORT.height, { steps });
  },

  async scroll(page) {
    const distance = (chance() < 0.8 ? 1 : -1) * (100 + chance() * 500);
    for (let step = 0; step < 5; step += 1) {
      await page.mouse.wheel(0, distance / 5);
      await page.waitForTimeout(16);
    }
  },

  async click(page) {
    const found = await clickable(page);
    if (found.length === 0) return;
    const { x, y } = one(found);
    await page.mouse.move(x, y, { steps: 10 });
    await page.mouse.click(x, y);
  },

  async type(page) {
    const inputs = page.locator('input:not([type]), input[type=text], input[type=search], textarea');
    const visible = await inputs.filter({ visible: true }).all();
    if (visible.length === 0) return;
    await one(visible).fill('', { timeout: ACT_TIMEOUT_MS });
    await page.keyboard.type(one(['fern', 'a few words', 'Ōtautahi 8011', 'is it green? \u{1F33F}']), { delay: 40 });
  },
};
const PLAN = ['move', 'click', 'scroll', 'move', 'scroll', 'type', 'click', 'scroll'];

// The middles of what can be clicked and is in sight. Links that leave the origin or open tabs are not there.
function clickable(page) {
  return page.evaluate(() => {
    const leaves = (link) => link.href && (link.origin !== location.origin || link.target || link.download);
    return [...document.querySelectorAll('a, button, summary, select, label, input[type=checkbox]')]
      .filter((found) => !leaves(found))
      .map((found) => ({ found, box: found.getBoundingClientRect() }))
      .map(({ found, box }) => ({ found, x: box.x + box.width / 2, y: box.y + box.height / 2 }))
      .filter(({ found, x, y }) => found.contains(document.elementFromPoint(x, y)))
      .map(({ x, y }) => ({ x, y }));
  });
}

async function visit(page) {
  const end = Date.now() + 1000 * seconds;
  const done = { move: 0, scroll: 0, click: 0, type: 0, failed: 0 };
  for (let number = 0; Date.now() < end; number += 1) {
    const name = PLAN[number % PLAN.length];
    try {
      await acts[name](page);
      done[name] += 1;
    } catch (error) {
      // A page may change under a visitor's hands; he goes on. Without a browser nobody does.
      if (page.isClosed()) throw error;
      done.failed += 1;
    }
    await page.waitForTimeout(Math.min(100 + chance() * 200, Math.max(0, end - Date.now())));
  }
  await page.waitForTimeout(MOVES_COME_LATE_MS);
  return done;
}

async function record(url) {
  const browser = await chromium.launch({ executablePath: values.chromium, args: FLAGS });
  try {
    const context = await browser.newContext({ viewport: VIEWPORT });
    context.setDefaultTimeout(ACT_TIMEOUT_MS);
    const page = await context.newPage();
    context.on('page', (other) => other.close());
    const lines = [];
    await page.exposeFunction('keepEvent', (line) => void lines.push(line));
    await page.addInitScript(start);
    await page.goto(url, { timeout: LOAD_TIMEOUT_MS });
    return { done: await visit(page), lines };
  } finally {
    await browser.close();
  }
}

async function write(lines) {
  const xz = spawn('xz', ['-9e', '--stdout'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve, reject) => {
    xz.on('error', reject);
    xz.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`xz ended with ${code}`))));
  });
  xz.stdin.end(lines.map((line) => `${line}\n`).join(''));
  await Promise.all([pipeline(xz.stdout, createWriteStream(target)), ended]);
}

const html = await readFile(here('page.html'));
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(html);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
try {
  const { lines, done } = await record(values.url ?? `http://127.0.0.1:${server.address().port}/`);
  if (lines.length === 0) throw new Error('the page gave no events');
  await write(lines);
  const bytes = lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0);
  console.log(JSON.stringify({ events: lines.length, bytes, acts: done }));
} finally {
  server.close();
}
