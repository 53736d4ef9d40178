// Puts together what rrd serves to browsers (the recorder, the console) and what it puts into exports, from the
// packages of package-lock.json (which `npm ci` has checked against its integrity) and from our own files beside this one.
//
// `node build.mjs` writes rrd/assets/built, whole or not at all; manifest.json there names each file's SHA-384.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

// What was read and tried, byte for byte. Another release is another file: look at it, try it, then change these.
const PUBLISHED = {
  recorder: {
    path: 'node_modules/@rrweb/browser-client/umd/browser-client.min.js',
    sha384: 'S4Xm/sXCBxTqaQfaZ5REv94qo1zL1Pm1T0MCl8Q1OtuzO1oKN23VCVtGE8dSsg2E',
  },
  replayer: {
    path: 'node_modules/@rrweb/replay/umd/replay.min.js',
    sha384: 'f1omqxTIa8PG+yuHQV1DJ0EMVF2MUULVZN4h0HYjir7xdS+WgU5ulrM6yN7B3hn7',
  },
  style: {
    path: 'node_modules/@rrweb/replay/dist/style.min.css',
    sha384: '2zp5yTttnrewFxGO1gZqarXk4eQ3cDSsWIedGAhaF9GOw1f+TiLoxMFBZGCHow2O',
  },
};

// What the bundles hold, and under which licence. The packages of rrweb come without its text.
const RRWEB = 'rrweb-LICENSE.txt';
const LICENSES = {
  recorder: { '@rrweb/browser-client': RRWEB, 'websocket-ts': null },
  replayer: {
    '@rrweb/replay': RRWEB,
    ...Object.fromEntries(
      ['@xstate/fsm', 'base64-arraybuffer', 'mitt', 'nanoid', 'picocolors', 'postcss', 'source-map-js'].map((name) => [
        name,
        null,
      ]),
    ),
  },
};

const here = (name) => new URL(name, import.meta.url);
const read = (name) => readFile(here(name), 'utf8');
const digest = (bytes) => createHash('sha384').update(bytes).digest('base64');

async function published(name) {
  const { path, sha384 } = PUBLISHED[name];
  const text = await read(path);
  if (digest(text) !== sha384)
    throw new Error(`assets/${path} is not the file that rrd was tried with: its SHA-384 is ${digest(text)}`);
  // Its source map is not served, and browsers would ask for it.
  return text.replace(/\n?(\/\/# sourceMappingURL=\S+|\/\*# sourceMappingURL=\S+ \*\/)\s*$/, '\n');
}

async function licenses(bundle) {
  const texts = new Map();
  for (const [name, file] of Object.entries(LICENSES[bundle])) {
    const { version } = JSON.parse(await read(`node_modules/${name}/package.json`));
    const text = (await read(file ?? `node_modules/${name}/LICENSE`)).trim();
    texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
  }
  const parts = [...texts].map(([text, names]) => `${names.join(', ')}\n\n${text}`);
  return `/*!\n${parts.join('\n\n---\n\n').replaceAll('*/', '* /')}\n*/\n`;
}

// Inside a page these would end the script, or change where it ends.
function forPage(name, text) {
  if (/<\/script|<!--|\r|\0/i.test(text)) throw new Error(`${name} can't stand in a page as it is`);
  return text;
}

const recorder = Buffer.from(
  (await licenses('recorder')) +
    (await read('recorder/prologue.js')) +
    (await published('recorder')) +
    (await read('recorder/epilogue.js')),
);
const replayer = (await licenses('replayer')) + (await published('replayer'));
const style = await published('style');
const sanitizer = await read('console/sanitize.js');

// A file with its ready-made compressions, for those that are served by themselves.
function compressed(name, body) {
  const bytes = Buffer.from(body);
  const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  return {
    [name]: bytes,
    [`${name}.br`]: brotliCompressSync(bytes, brotli),
    [`${name}.gz`]: gzipSync(bytes, { level: 9 }),
  };
}

// The console's own files are served as they are written.
async function consoleFiles() {
  const files = { 'replay.js': replayer, 'replay.css': style };
  for (const name of await readdir(here('console/'))) files[name] = await read(`console/${name}`);
  return Object.assign({}, ...Object.entries(files).map(([name, body]) => compressed(`console/${name}`, body)));
}

const built = {
  ...compressed('record.js', recorder),
  'replay.js': forPage('the replayer', replayer),
  'player.js': forPage('the player', sanitizer + (await read('export/player.js'))),
  'body.html': await read('export/body.html'),
  'page.css': style + (await read('export/page.css')),
  ...(await consoleFiles()),
};

const target = here('../rrd/assets/built/');
const part = here('../rrd/assets/built.part/');
await rm(part, { recursive: true, force: true });
await mkdir(new URL('console/', part), { recursive: true });
const manifest = {};
for (const [name, body] of Object.entries(built)) {
  const bytes = Buffer.from(body);
  manifest[name] = digest(bytes);
  await writeFile(new URL(name, part), bytes);
}
await writeFile(new URL('manifest.json', part), `${JSON.stringify(manifest, null, 2)}\n`);
await rm(target, { recursive: true, force: true });
await rename(part, target);
