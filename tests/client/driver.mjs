// Drives headless Chromium for the tests. It also serves the recorded page, so that page and rrd
// are of different origins.
//
// `node driver.mjs CHROMIUM`, with the browser's path, reads one JSON command a line on stdin and
// writes one JSON answer a line on stdout. A command is {"do": NAME, "tab": NAME, ...}, an answer
// {"value": ...} or {"error": TEXT}. The first line, before any command, is
// {"value": {"port": NUMBER}}. The driver ends with its stdin.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { watchingCommands } from '../console/watching.mjs';

const [, , CHROMIUM] = process.argv;
const FLAGS = [
  '--no-sandbox', // Chromium refuses to run its sandbox as root, as in containers
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WAIT_MS = 20_000;

const here = (name) => new URL(name, import.meta.url);
const files = {
  page: await readFile(here('page.html'), 'utf8'),
  setups: await readFile(here('setups.mjs'), 'utf8'),
  recorder: await readFile(here('node_modules/@rrweb/browser-client/dist/browser-client.umd.cjs'), 'utf8'),
};

// Attributes and configuration of the recorder's script tag, for the pages that are served next.
let scriptTag = '<script src="/recorder.js"></script>';

const setups = files.page.replace('<!-- recorder -->', '<script type="module" src="/setups.mjs"></script>');

// What a test has added: path -> [type, body].
const added = {};

// A file of an installed package, for `import`; undefined if there is none.
async function moduleFile(pathname) {
  const file = here(`node_modules${pathname.slice('/modules'.length)}`);
  const isInside = pathname.startsWith('/modules/') && file.href.startsWith(here('node_modules/').href);
  return isInside ? readFile(file, 'utf8').catch(() => undefined) : undefined;
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://page');
  const [type, body] =
    {
      '/page.html': ['text/html', files.page.replace('<!-- recorder -->', scriptTag)],
      '/setups.html': ['text/html', setups],
      '/sandboxed.html': ['text/html', setups],
      '/setups.mjs': ['text/javascript', files.setups],
      '/recorder.js': ['text/javascript', files.recorder],
      '/empty.html': ['text/html', '<!doctype html><link rel="icon" href="data:,"><title>empty</title>'],
    }[pathname] ?? added[pathname] ?? ['text/javascript', await moduleFile(pathname)];
  response.writeHead(body ? 200 : 404, {
    'content-type': `${body ? type : 'text/plain'}; charset=utf-8`,
    // A page of origin `null` imports its modules from another origin.
    'access-control-allow-origin': '*',
    // That makes its page one of origin `null`, as in a sandboxed frame.
    ...(pathname === '/sandboxed.html' && { 'content-security-policy': 'sandbox allow-scripts' }),
  });
  response.end(body ?? 'no such page');
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address();

const launch = { executablePath: CHROMIUM, args: FLAGS };
const browser = await chromium.launch(launch);
const tabs = new Map();

// Writes down what a person would see in the developer tools of a page.
function watch(page) {
  const seen = { console: [], errors: [], posts: [], sockets: [] };
  page.on('console', (message) => seen.console.push({ type: message.type(), text: message.text() }));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('response', (response) => {
    const request = response.request();
    if (request.method() !== 'POST') return;
    seen.posts.push({ url: response.url(), status: response.status(), size: request.postData()?.length ?? 0 });
  });
  page.on('websocket', (socket) => {
    const entry = { url: socket.url(), sent: [], received: [], closed: false };
    seen.sockets.push(entry);
    socket.on('framesent', ({ payload }) => entry.sent.push(String(payload)));
    socket.on('framereceived', ({ payload }) => entry.received.push(String(payload)));
    socket.on('close', () => (entry.closed = true));
  });
  return seen;
}

const commands = {
  // Opens a tab of an empty profile; with `mortal` in a browser of its own, which can be killed. With
  // `isPublic`, which needs that, the browser takes the pages' server for one of the public Internet, from
  // which a visitor has allowed requests to this machine. With `hasProfile` it is a browser as people have one, with
  // a profile on the disk: an empty one keeps no preconnect promise. `flags`, which need `mortal`, are Chromium's own.
  async open({ tab, cookies, mortal, isPublic, hasProfile, flags }) {
    const args = [...FLAGS, ...(flags ?? [])];
    if (isPublic) args.push(`--ip-address-space-overrides=127.0.0.1:${port}=public`);
    const host = mortal ? await chromium.launchServer({ ...launch, args }) : null;
    const context = hasProfile
      ? await chromium.launchPersistentContext('', launch)
      : await (host ? await chromium.connect(host.wsEndpoint()) : browser).newContext();
    context.setDefaultTimeout(WAIT_MS);
    if (isPublic) await context.grantPermissions(['local-network-access']);
    await context.addCookies(cookies);
    const page = await context.newPage();
    tabs.set(tab, { host, context, page, seen: watch(page) });
  },

  // Goes to the page; with `autostart` its script tag holds that configuration and starts by itself.
  async goto({ tab, url, autostart }) {
    scriptTag = autostart
      ? `<script src="/recorder.js" autostart>${JSON.stringify(autostart)}</script>`
      : '<script src="/recorder.js"></script>';
    await tabs.get(tab).page.goto(url);
  },

  // Serves a body under a path from now on.
  async serve({ path, type, body }) {
    added[path] = [type, body];
  },

  // Calls a function of the page's `lab`.
  call: ({ tab, name, args }) =>
    tabs.get(tab).page.evaluate(([name, args]) => lab[name](...args), [name, args]),

  // Waits until an expression is true in the page.
  async wait({ tab, expression }) {
    await tabs.get(tab).page.waitForFunction(expression, null, { polling: 20 });
  },

  // Evaluates an expression in the page, whatever its policy.
  evaluate: ({ tab, expression }) => tabs.get(tab).page.evaluate(expression),

  click: ({ tab, selector }) => tabs.get(tab).page.click(selector),
  type: ({ tab, selector, text }) => tabs.get(tab).page.type(selector, text),

  async wheel({ tab, selector, distance }) {
    const { page } = tabs.get(tab);
    await page.hover(selector);
    await page.mouse.wheel(0, distance);
    await page.waitForFunction((s) => document.querySelector(s).scrollTop > 0, selector);
  },

  close: ({ tab }) => tabs.get(tab).page.close(),

  // Kills the tab's own browser: nothing says goodbye, neither the page nor the network service,
  // which would send a closing handshake for a tab that crashed alone.
  kill: ({ tab }) => tabs.get(tab).host.kill(),

  // What the recorder emitted in all pages of this tab: [[recordingId, JSON text], ...].
  async emitted({ tab, url }) {
    const { context } = tabs.get(tab);
    const page = await context.newPage();
    try {
      await page.goto(url);
      return await page.evaluate(() =>
        Array.from({ length: Number(localStorage.getItem('count') ?? 0) }, (_, n) =>
          JSON.parse(localStorage.getItem(`event ${n}`))),
      );
    } finally {
      await page.close();
    }
  },

  seen: ({ tab }) => tabs.get(tab).seen,

  async forget({ tab }) {
    const { host, context } = tabs.get(tab);
    tabs.delete(tab);
    if (host) await host.kill();
    else await context.close();
  },
};

Object.assign(
  commands,
  watchingCommands({
    shared: browser,
    launch: (flags) => chromium.launch({ ...launch, args: [...FLAGS, ...flags] }),
    launchProfile: (flags, options) =>
      chromium.launchPersistentContext('', { ...launch, ...options, args: [...FLAGS, ...flags] }),
    tabs,
    waitMs: WAIT_MS,
  }),
);

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ value: { port } });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    answer({ value: (await commands[command.do](command)) ?? null });
  } catch (error) {
    answer({ error: String(error?.stack ?? error) });
  }
}
await browser.close();
server.close();
