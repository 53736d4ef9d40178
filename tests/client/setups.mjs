// The ways in which pages record and send: the published client as sites configure it, and the bare
// recorder with a transport of the page's own. Runs in page.html, and adds to its `lab`.
//
// `lab.begin(name, {url, key, recording, meta})` starts one of the set-ups and returns the recording's id;
// `lab.flush()` sends what was gathered, and returns what the browser said of it.

const MODULES = '/modules/@rrweb';
const kept = []; // the JSON text of each event, written down before it is sent

function keep(event) {
  kept.push(JSON.stringify(event));
  lab.emittedAt = Date.now();
}

// The published client. `prepare` runs before it starts, and returns further options.
const client = (path, prepare = async () => ({})) => async ({ url, key, meta }) => {
  const rrweb = await import(`${MODULES}/browser-client/dist/browser-client.js`);
  const options = await prepare(rrweb);
  rrweb.start({ serverUrl: `${url}/recordings/{recordingId}${path}`, publicApiKey: key, meta, emit: keep, ...options });
  return rrweb.getRecordingId();
};

// The bare recorder: events gather, and `flush` hands them to `send` with the recording's address.
const own = (send) => async ({ url, key, recording }) => {
  const { record } = await import(`${MODULES}/record/dist/record.js`);
  let gathered = [];
  record({
    emit(event) {
      keep(event);
      gathered.push(event);
    },
  });
  const target = { url: `${url}/recordings/${recording}/ingest`, key };
  target.withKey = `${target.url}?token=${key}`;
  lab.flush = (isLast) => {
    const events = gathered;
    gathered = [];
    return send(target, events, isLast);
  };
  return recording;
};

const ndjson = (events) => events.map((event) => `${JSON.stringify(event)}\n`).join('');
const array = (events) => JSON.stringify(events);
const wrapper = (events) => JSON.stringify({ sessionId: 's', events });
const beacon = (form, ...type) =>
  own(({ withKey }, events) => {
    const text = form(events);
    return navigator.sendBeacon(withKey, type.length ? new Blob([text], ...type) : text);
  });
const post = (form, type, more = {}) =>
  own(async ({ url, key }, events) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': type, ...more.headers };
    const reply = await fetch(url, { method: 'POST', ...more, headers, body: await form(events) });
    await reply.json();
    return reply.status;
  });
const gzip = (events) =>
  new Response(new Blob([ndjson(events)]).stream().pipeThrough(new CompressionStream('gzip'))).blob();

const TRACES = {
  baggage: 'sentry-environment=production,sentry-trace_id=0af7651916cd43dd8448eb211c80319c',
  'sentry-trace': '0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'x-requested-with': 'XMLHttpRequest',
};

// What tracers do to every request of a page.
async function trace() {
  const bare = window.fetch;
  window.fetch = (input, init = {}) => {
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(TRACES)) headers.set(name, value);
    return bare(input, { ...init, headers });
  };
  return {};
}

async function packed() {
  const { pack } = await import(`${MODULES}/packer/dist/pack.js`);
  return { packFn: pack };
}

async function plugins() {
  const load = (name) => import(`${MODULES}/${name}/dist/${name}.js`);
  const { getRecordConsolePlugin } = await load('rrweb-plugin-console-record');
  const { getRecordSequentialIdPlugin } = await load('rrweb-plugin-sequential-id-record');
  return { plugins: [getRecordConsolePlugin(), getRecordSequentialIdPlugin()] };
}

async function queued({ addMeta, addCustomEvent }) {
  addMeta({ early: 'queued' });
  addCustomEvent('early', { n: 1 });
  return {};
}

const xhr = own(
  ({ url, key }, events) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open('POST', url);
      request.withCredentials = true;
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...TRACES };
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.onload = () => resolve(request.status);
      request.onerror = () => reject(new Error('the request failed'));
      request.send(wrapper(events));
    }),
);

// One message a flush. The last one closes the socket at once, and waits for the close code.
function socket(form, query) {
  let open;
  return own(async ({ withKey }, events, isLast) => {
    open ??= new Promise((resolve, reject) => {
      const made = new WebSocket(`${withKey.replace('http', 'ws').replace('/ingest', '/ingest/ws')}${query}`);
      made.onopen = () => resolve(made);
      made.onerror = () => reject(new Error('the socket failed'));
    });
    const made = await open;
    made.send(form(events));
    if (!isLast) return 'sent';
    const closed = new Promise((resolve) => (made.onclose = ({ code }) => resolve(code)));
    made.close();
    return closed;
  });
}

const SETUPS = {
  'client, socket': client('/events/ws'),
  'client, POST': client('/events'),
  'client, socket, packed': client('/events/ws', packed),
  'client, POST, packed': client('/events', packed),
  'client, socket, plugins': client('/events/ws', plugins),
  'client, POST, tracer': client('/events', trace),
  'client, socket, checkouts': client('/events/ws', async () => ({ checkoutEveryNms: 200 })),
  'client, socket, queued before start': client('/events/ws', queued),
  'beacon, string, lines': beacon(ndjson),
  'beacon, string, array': beacon(array),
  'beacon, string, wrapper': beacon(wrapper),
  'beacon, untyped Blob': beacon(array, {}),
  'beacon, Blob of application/json': beacon(array, { type: 'application/json' }),
  'beacon, Blob of application/x-ndjson': beacon(ndjson, { type: 'application/x-ndjson' }),
  'fetch, keepalive': post(ndjson, 'application/x-ndjson', { keepalive: true }),
  'fetch, credentials': post(array, 'application/json', { credentials: 'include' }),
  'fetch, tracer': post(wrapper, 'application/json', { headers: TRACES }),
  'fetch, gzip': post(gzip, 'application/x-ndjson', { headers: { 'content-encoding': 'gzip' } }),
  'fetch, gzip that no header tells': post(gzip, 'application/x-ndjson'),
  'XMLHttpRequest, credentials, tracer': xhr,
  'WebSocket, arrays': socket(array, '&contentType=application/json'),
  'WebSocket, arrays that no type tells': socket(array, ''),
};

Object.assign(lab, {
  setups: () => Object.keys(SETUPS),
  begin: (name, options) => SETUPS[name](options),
  kept: () => kept,
  say: (text) => console.log(text),
  isReady: true,
});
