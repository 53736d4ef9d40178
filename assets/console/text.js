// All English texts of the console. Each part has its own section; functions take counts and names.

import { bytes, count, duration, moment } from './format.js';

const some = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

export const text = {
  loading: 'Loading …',
  tryAgain: 'Try again',
  close: 'Close',
  cancel: 'Cancel',
  sections: 'Sections',
  signOut: 'Sign out',
  addKey: 'Add a key',
  copy: 'Copy',
  copied: 'Copied',
  titles: {
    list: 'Recordings',
    watch: 'Watch',
    live: 'Live',
    visit: 'Visit',
    shared: 'Shared recording',
    box: 'Server',
    api: 'API',
    welcome: 'Record a site',
    'sign-in': 'Sign in',
  },

  list: {
    title: 'Recordings',
    tenant: 'Tenant',
    another: 'Record another site',
    live: 'Live',
    liveNow: 'Live now',
    nowLive: (number) => `Live now: ${number}`,
    since: (length) => `for ${length}`,
    visitor: 'A visitor',
    columns: {
      began: 'Began',
      who: 'Visitor',
      page: 'First page',
      duration: 'Duration',
      active: 'Active',
      activity: 'Activity',
      clicks: 'Clicks',
      errors: 'Errors',
    },
    notYet: 'Not counted yet: this is known some minutes after the visit has ended.',
    none: 'There is none.',
    onlyFinished: 'A visit counts here a few minutes after it has ended. “Live now” has those that go on.',
    fresh: (number) => `Show ${some(number, 'new recording', 'new recordings')}`,
    more: 'Show more',
    shown: (number, isAll) =>
      isAll ? `${some(number, 'recording', 'recordings')}, no more` : `${count(number)} shown`,
    empty: 'Make your first recording, in three steps',
    nothing: 'No recording matches',
    nothingAdvice: 'Take a filter away, or look at a longer time.',
    nothingFinished:
      'Take a filter away, or look at a longer time. A visit that goes on, or has just ended, can’t match these filters yet.',
    showAll: 'Show all recordings',
    seeField: 'The list waits until the marked filter is corrected.',
    noTenant: 'There is nothing here that you may see',
    noTenantAdvice: 'The key that you signed in with can’t read recordings. Add one of scope “read” or “all”.',
  },

  filters: {
    title: 'Filters',
    since: 'When',
    from: 'From',
    to: 'Until',
    url: 'Page visited',
    someUrl: 'https://shop.example/cart*',
    key: 'Metadata',
    value: 'is',
    minActive: 'Active time',
    minDuration: 'Duration',
    sort: 'Sorted by',
    cols: 'Add a column',
    hasErrors: 'With errors',
    live: 'Live now',
    clear: 'Clear all',
    any: 'Any',
    atLeast: (length) => `At least ${length}`,
    ever: 'Any time',
    sinceOf: { '1h': 'Last hour', '1d': 'Last 24 hours', '7d': 'Last 7 days', '30d': 'Last 30 days' },
    sortOf: { '': 'Newest', active: 'Most active', duration: 'Longest', errors: 'Most errors', bytes: 'Largest' },
    remove: (label) => `Remove “${label}”`,
    chip: {
      since: (name) => text.filters.sinceOf[name] ?? name,
      from: (time) => `From ${time}`,
      to: (time) => `Until ${time}`,
      url: (url) => `Visited ${url}`,
      minDuration: (length) => `Lasted ${length} or longer`,
      minActive: (length) => `Active for ${length} or longer`,
      hasErrors: () => 'With errors',
      live: () => 'Live now',
      cols: (key) => `Column ${key}`,
    },
  },

  welcome: {
    title: 'Record another site',
    threeSteps: 'Three steps, some two minutes',
    getKey: 'Get a key',
    paste: 'Paste this into each page’s <head>',
    check: 'Open the site, and click around',
    site: 'Your site’s address',
    siteHint: 'The key is good for pages of this site alone. Left empty, it is good for any site.',
    someSite: 'https://shop.example',
    makeKey: 'Make a key',
    keyMade: 'The key is in the text below. It can write, and can’t read.',
    somePublicKey: 'public_key_rr_…',
    askForKey: 'Put a public key in place of `public_key_rr_…`. On the server, this makes one:',
    inlineImages: '`inlineImages`: keep images in the recording, so that it looks right without the site',
    collectFonts: '`collectFonts`: keep fonts, too',
    copy: 'Copy',
    copied: 'Copied',
    waiting: 'Nothing has arrived yet. This page looks every two seconds.',
    away: 'The server can’t be reached just now. This page goes on trying.',
    found: 'It works: a recording has arrived. It opens in a moment.',
    watch: 'Watch it now',
    back: 'Back to the recordings',
    more: 'More ways to start the recorder, and what to do where something blocks it: `docs/recorder.md`, which comes with rrd.',
  },

  signIn: {
    title: 'Sign in to rrd',
    key: 'Private key',
    signIn: 'Sign in',
    add: 'Add',
    addTitle: 'Add a key',
    addWhy: 'A key of another tenant, or one that may also erase. It counts until you sign out.',
    added: 'The key was added',
    usedUp: {
      title: 'This address no longer works',
      advice:
        'It signs in once, within some minutes. `rrd console` on the server prints a new one; a key will do, too.',
    },
    where: 'Where do I find a key?',
    wherever: [
      'On its first start rrd prints one that begins with `ak_`. On the server, `rrd keys create --tenant NAME --scope read` makes a new one, and `rrd console` prints an address that signs you in without a key.',
      'The key is sent to this server once. A cookie stands for it until you sign out.',
    ],
    problem({ status, retryAfterS }) {
      if (status === 401)
        return 'This is no key of this server, or it was revoked or has expired. Is it complete? It begins with `ak_` or `secret_key_rr_`.';
      if (status === 403)
        return 'This key can write, and can’t read. One that can begins with `ak_` or `secret_key_rr_`.';
      if (status === 429) return `Too many wrong keys. Try again in ${some(retryAfterS, 'second', 'seconds')}.`;
      return undefined;
    },
  },

  share: {
    title: 'Share this recording',
    what: 'Whoever has the link can watch this one recording and download it, without a key. Nothing else of this server can be seen with it.',
    lifetime: 'The link works for',
    lifetimes: { hour: '1 hour', day: '1 day', week: '7 days', month: '30 days' },
    atMoment: (place) => `Begin at this moment (${place})`,
    make: 'Make a link',
    link: 'Link',
    until: (time, keyId) =>
      `It works until ${time}. To end it earlier, run \`rrd signing-keys revoke ${keyId}\` on the server; all links that were made with that key end then.`,
  },

  downloads: {
    title: 'Download',
    from: 'From',
    to: 'to',
    badPart: 'Write times like 3:12 or 1:02:03, the earlier one first.',
    pageIs:
      'A page that replays the recording, without a server or a network. A part begins with its first full snapshot.',
    page: 'Page that replays (HTML)',
    filesAre: 'The events, for tools and for rrweb’s own player:',
    ndjson: 'NDJSON, an event a line',
    json: 'JSON, one array',
    preparing: 'The server prepares the page …',
    saved: 'The page is with your downloads.',
  },

  erase: {
    title: 'Erase',
    needsKey: (tenant) =>
      `Erasing takes a key of ${tenant} with the scope “erase”. On the server, \`rrd keys create --tenant ${tenant} --scope erase\` makes one.`,
    otherKey: 'The key was added, but it may not erase here. Add another one.',
    what: 'What to erase',
    one: (id) => `This recording (${id})`,
    all: (number, most, key, value) =>
      `All ${number}${number < most ? '' : ' or more'} recordings with ${key} = ${value}`,
    told: ({ first, pages, events, bytes: size }) =>
      `This recording began ${moment(first)}${pages[0]?.url ? ` on ${pages[0].url}` : ''}: ${some(events, 'event', 'events')}, ${bytes(size)}.`,
    unknown: 'What it holds can’t be read.',
    final:
      'What is erased can’t be had back. It goes from this server and its object store; backups made before hold it still.',
    erase: 'Erase for ever',
    erased: ({ recordings, pending }) =>
      `${some(recordings, 'recording', 'recordings')} erased.${pending ? ' The object store is away: what lies there goes as soon as it is back, and is not served any more.' : ''}`,
    receipt: ({ recordings, events, bytes: size, objects }, label, at) =>
      `Erased on ${at}\n${label}\n${some(recordings, 'recording', 'recordings')}, ${some(events, 'event', 'events')}, ${count(size)} bytes at rest, ${some(objects, 'object', 'objects')}`,
    done: 'Done',
  },

  server: {
    title: 'Server',
    state: (version, time) => `rrd ${version}, running since ${time}. Curves: the last 24 hours at most.`,
    notAll:
      'Figures of the whole server are for those who may read all its tenants: add a key of each, or sign in with the address that rrd console prints.',
    allIsWell: 'All is well.',
    now: 'now',
    second: 'second',
    minute: 'minute',
    each: (amount, unit) => `${amount} a ${unit}`,
    curve: (label, begin, least, most) => `${label} since ${begin}: from ${least} to ${most}`,
    troubles: {
      disk_full: (now) =>
        `The disk has ${bytes(now.diskFreeBytes)} left, less than its reserve of ${bytes(now.diskReserveBytes)}. New events are refused until there is room: add disk, or let \`rrd retention\` say what may go.`,
      disk_low: (now) =>
        `The disk has ${bytes(now.diskFreeBytes)} left. Below ${bytes(now.diskReserveBytes)} new events are refused.`,
      backlog_late: (now) =>
        `${some(now.backlogSegments, 'segment waits', 'segments wait')} for the object store, the oldest for ${duration(now.backlogAgeS * 1000)}. Nothing is lost; the log says why.`,
      memory_high: (now) =>
        `The daemon takes ${bytes(now.memoryBytes)} of memory, more than \`memory_max\` (${bytes(now.memoryMaxBytes)}).`,
      refusals: (now) =>
        `${some(now.refusedInHour, 'request', 'requests')} with events refused within the last hour. The list below says why.`,
    },
    figures: {
      eventsPerS: { title: 'Events stored' },
      receivedBytesPerS: { title: 'Data received' },
      openRecordings: { title: 'Open recordings', says: (now) => `of ${count(now.recordingsMax)}` },
      sockets: { title: 'Open sockets', says: (now) => `of ${count(now.socketsMax)}` },
      watchers: { title: 'Live watchers', says: (now) => `of ${count(now.watchersMax)}` },
      storedBytes: { title: 'Recordings at rest' },
      backlogBytes: {
        title: 'Waiting for the object store',
        says: ({ backlogSegments: segments, backlogAgeS }) =>
          segments ? `in ${some(segments, 'segment', 'segments')}, for up to ${duration(backlogAgeS * 1000)}` : '',
      },
      diskFreeBytes: {
        title: 'Free disk',
        says: (now) => (now.diskReserveBytes ? `reserve: ${bytes(now.diskReserveBytes)}` : ''),
      },
      memoryBytes: { title: 'Memory', says: (now) => `of ${bytes(now.memoryMaxBytes)}` },
      duplicatesPerS: { title: 'Repeated lines', says: (now) => text.server.sinceStart(now.duplicates) },
      quarantinedPerS: { title: 'Quarantined lines', says: (now) => text.server.sinceStart(now.quarantined) },
      refusedPerS: { title: 'Refused requests', says: (now) => text.server.sinceStart(now.refused) },
    },
    sinceStart: (number) => `${count(number)} since the start`,
    refusals: 'Refused requests with events, by reason',
    refusal: ({ code, status, count: times }, when) =>
      `${code} (${status}): ${some(times, 'time', 'times')}, last ${when}`,
    tenants: 'Tenants',
    tenant: (name, { totalRecordings, recordingsThisMonth, totalStorageBytes }) =>
      `${name}: ${some(totalRecordings, 'recording', 'recordings')}, ${count(recordingsThisMonth)} of this month; ${bytes(totalStorageBytes)} at rest`,
  },

  /** How a source that streams stands. */
  standing: {
    waiting: 'Waiting for the next full snapshot of the page; until then there is nothing to show.',
    live: '',
    idle: 'The visitor has done nothing for a minute.',
    away: 'The server is away, trying again …',
    closed: 'The visit is over.',
    erased: 'This recording was erased.',
    refused: 'This can’t be watched any longer.',
    loading: 'Loading the visit …',
    whole: '',
    cut: 'This visit is larger than a page can hold: its first part is shown. Watch its recordings one by one.',
    broken: 'The rest of this visit can’t be loaded now: its first part is shown.',
  },
  panel: {
    events: 'Events',
    kinds: 'Kinds of events',
    search: 'Search the events',
    kind: { page: 'Page', click: 'Click', input: 'Input', custom: 'Custom', console: 'Console', error: 'Error' },
    none: 'Nothing matches.',
    rest: (size, number) => `Read the rest (${size}) for this list, of up to ${count(number)} events`,
  },
  details: {
    metadata: 'Metadata',
    none: 'The site has sent none.',
    change: (when, version) => `${when}, version ${count(version)}`,
    copy: 'Copy the id',
    copied: 'The id is copied.',
    whole: {
      sessionId: 'Watch the whole session',
      visitor: 'Watch all of this visitor',
      userId: 'Watch all of this user',
    },
    facts: {
      first: 'Began',
      last: 'Ended',
      activeMs: 'Active',
      clicks: 'Clicks',
      inputs: 'Inputs',
      errors: 'Errors',
      events: 'Events',
      bytes: 'Size',
    },
  },
  player: {
    position: 'Position',
    at: (t, length, page) => `${t} of ${length}${page ? `, page ${page}` : ''}`,
    play: 'Play (space)',

    pause: 'Pause (space)',
    back: 'Back 5 seconds',
    forward: 'Forward 5 seconds',
    previous: 'Previous recording (p)',
    next: 'Next recording (n)',
    full: 'Full screen (f)',
    link: 'Copy a link to this moment',
    help: 'Keys (?)',
    live: 'Live',
    waiting: 'Loading …',
    page: 'Page',
    speed: 'Speed',
    times: (speed) => `${speed}×`,
    skip: 'Skip idle',
    skipHint: 'Passes over stretches without any input',
    keysTitle: 'Keys',
    keys: [
      ['Space k', 'Play or pause'],
      ['← →', 'Back or forward 5 seconds'],
      ['j l', 'Back or forward 10 seconds'],
      ['⇧← ⇧→', 'Previous or next page'],
      ['< >', 'Slower or faster'],
      ['p n', 'Previous or next recording'],
      ['f', 'Full screen'],
      ['?', 'These keys'],
    ],
  },

  watch: {
    replay: 'Replay',
    stage: 'Recorded page',
    visit: 'A whole visit',
    share: 'Share',
    download: 'Download',
    erase: 'Erase',
    events: 'Events',
    details: 'Details',
    signIn: 'Sign in',
    goOn: 'Load it all the same',
    dropFrame: 'Start it again',
    intact: 'Show what is intact',
    skipped: (time) => `Skipped ${time} without input`,
    copied: (time) => `The link to ${time} is copied`,
    inAddress: (time) => `The address now leads to ${time}`,
    sameOrigin:
      'Recordings play under this page’s own address. The setting console_stage_origin keeps them further apart.',
    noNeighbour: 'There is no further one in the list',
    empty: 'Nothing has been recorded yet.',
    noSnapshot: 'This recording has no full snapshot, so there is nothing to show. Its events are listed.',
    noSnapshotYet:
      'There is no full snapshot yet, so there is nothing to show. It goes on by itself once one has come.',
    beginsLater: (time) => `Nothing can be shown before the first full snapshot, ${time} after the beginning.`,
    pagesCut: (number) => `${some(number, 'further page is', 'further pages are')} not told apart.`,
    onlyIntact: 'This recording is damaged. You see what is intact of it.',
    blocked: (number, host) => `${some(number, 'file', 'files')} of ${host} not loaded. `,
    loadThem: 'Load',
    trouble: {
      'no-snapshot': 'There is no full snapshot here, so there is nothing to show.',
      broken: 'A part of this page can’t be replayed.',
      burst: 'Too much changed at once. The replay goes on at the next full snapshot.',
    },
  },

  /** What a problem means for the person: what happened, and what to do next. */
  problem({ status, code, retryAfterS }) {
    const group = status >= 500 ? 500 : status >= 400 ? 400 : 'page';
    const [, title, advice] = /^(.*?)\. (.*)$/.exec(problems[code] ?? problems[status] ?? problems[group]);
    const seconds = some(Math.max(retryAfterS, 1), 'second', 'seconds');
    return { title, advice: advice.replace('SECONDS', seconds) };
  },
};

// By code, by status, by group. The first sentence is the title.
const problems = {
  large_piece:
    'This page is very large. It has more than 256 MB without a snapshot in between. Going on may make your browser slow.',
  hang: 'The replay doesn’t answer. What was recorded keeps it busy. Wait, or start it again from here.',
  recording_damaged:
    'This recording is damaged. A part of its files can’t be read. `rrd doctor` on the server says what is left.',
  link_not_good:
    'This link doesn’t work. It has expired, was ended, or lost a part on its way. Ask whoever sent it for a new one.',
  export_too_large:
    'This is more than fits one page. The fields now hold ten minutes around where you were. The files of events have no such bound.',
  too_many_recordings: 'Too many recordings belong to this. Watch them one by one, from the list.',
  0: 'The server can’t be reached. It may be restarting, or the network is away. Nothing is lost; try again in a moment.',
  401: 'You are not signed in. The session has ended, or the link has expired. Sign in again, or ask for a new link.',
  403: 'This is not allowed. The key that you signed in with doesn’t include this.',
  404: 'There is no such recording. It may have been erased, or the address is not complete.',
  429: 'Too many requests. Wait SECONDS, then try again.',
  507: 'The server’s disk is full. Free some space on the server, then try again.',
  503: 'The server is busy or starting. Try again in a moment.',
  500: 'Something went wrong on the server. Its log says what. Try again.',
  400: 'The server did not understand this. Reload the page, and try again.',
  page: 'Something went wrong in this page. Reload it, and try again.',
};
