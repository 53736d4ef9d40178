// All English texts of the console. Each part has its own section; functions take counts and names.

import { count } from './format.js';

const some = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

export const text = {
  loading: 'Loading …',
  tryAgain: 'Try again',
  close: 'Close',
  cancel: 'Cancel',
  sections: 'Sections',
  recordings: 'Recordings',
  box: 'Server',
  signOut: 'Sign out',
  addKey: 'Add a key',
  titles: {
    list: 'Recordings',
    watch: 'Watch',
    live: 'Live',
    visit: 'Visit',
    shared: 'Shared recording',
    box: 'Server',
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
    visitor: 'A visitor',
    who: ({ userId, email, visitor }) => userId ?? email ?? visitor,
    columns: {
      started: 'Began',
      page: 'First page',
      duration: 'Duration',
      active: 'Active',
      activity: 'Activity',
      clicks: 'Clicks',
      errors: 'Errors',
    },
    columnsMenu: 'Columns',
    noColumns: 'No recording has metadata yet.',
    notYet: 'Not counted yet: this is known some minutes after the visit has ended.',
    none: 'There is none.',
    onlyFinished:
      'This looks at finished visits: one counts a few minutes after it has ended. “Live now” has those that go on.',
    fresh: (number) => `Show ${some(number, 'new recording', 'new recordings')}`,
    more: 'Show more',
    shown: (number, isAll) =>
      isAll ? `${some(number, 'recording', 'recordings')}, no more` : `${count(number)} shown`,
    empty: 'Make your first recording',
    nothing: 'No recording matches',
    nothingAdvice: 'Take a filter away, or look at a longer time.',
    nothingFinished:
      'Take a filter away, or look at a longer time. A visit that goes on, or has just ended, can’t match these filters yet.',
    showAll: 'Show all recordings',
    seeField: 'The list waits until the marked filter is corrected.',
    noTenant: 'There is nothing here that you may see',
    noTenantAdvice:
      'The key that you signed in with can’t read recordings. Add one that can: it has the scope “read” or “all”.',
  },

  filters: {
    title: 'Filters',
    since: 'When',
    from: 'From',
    to: 'Until',
    url: 'Page visited',
    key: 'Metadata',
    value: 'is',
    minActive: 'Active time',
    minDuration: 'Duration',
    sort: 'Sorted by',
    hasErrors: 'With errors',
    live: 'Live now',
    apply: 'Apply',
    clear: 'Clear all',
    any: 'Any',
    atLeast: (length) => `At least ${length}`,
    ever: 'Any time',
    between: 'Between …',
    sinceOf: { '1h': 'Last hour', '1d': 'Last 24 hours', '7d': 'Last 7 days', '30d': 'Last 30 days' },
    sortOf: { newest: 'Newest', active: 'Most active', duration: 'Longest', errors: 'Most errors', bytes: 'Largest' },
    remove: (label) => `Remove the filter “${label}”`,
    chip: {
      since: (name) => text.filters.sinceOf[name],
      from: (time) => `From ${time}`,
      to: (time) => `Until ${time}`,
      url: (url) => `Visited ${url}`,
      minDuration: (length) => `Lasted ${length} or longer`,
      minActive: (length) => `Active for ${length} or longer`,
      hasErrors: () => 'With errors',
      live: () => 'Live now',
    },
  },

  welcome: {
    title: 'Record a site',
    another: 'Record another site',
    intro: 'Three steps, some two minutes. Nothing leaves this server.',
    steps: { key: 'Get a key', paste: 'Paste this into each page’s <head>', check: 'Open the site, and click around' },
    site: 'Your site’s address',
    siteHint: 'The key is good for pages of this site alone. Left empty, it is good for any site.',
    makeKey: 'Make a key',
    keyMade: (origin) =>
      `The key is in the text below. It can write, but not read, ${origin ? `and only from ${origin}` : 'from any site'}.`,
    askForKey: (tenant) =>
      `Put a public key in place of \`public_key_rr_…\`. On the server, \`rrd keys create --tenant ${tenant} --scope ingest\` makes one.`,
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
    addWhy: 'A key of another tenant, or one that may also erase. Those that you have added stay until you sign out.',
    added: 'The key was added',
    usedUp: 'This address no longer works',
    usedUpAdvice:
      'It signs in once, and for a few minutes only. `rrd console` on the server prints a new one. A key signs in, too:',
    where: 'Where do I find a key?',
    wherever: [
      'On its first start rrd prints a private key: it begins with `ak_` or `secret_key_rr_`.',
      'On the server, `rrd keys create --tenant NAME --scope read` makes a new one. `rrd console` prints an address that signs you in without a key.',
      'The key is sent to this server once. The browser keeps a cookie in its place, which ends when you sign out.',
    ],
    problem({ status, retryAfterS }) {
      if (status === 401)
        return 'This is no key of this server, or it was revoked. Look whether it is complete: it begins with `ak_` or `secret_key_rr_`.';
      if (status === 403)
        return 'This key may only write. Signing in takes one that may read: it begins with `ak_` or `secret_key_rr_`.';
      if (status === 429)
        return `Too many wrong keys. Try again in ${some(Math.max(retryAfterS, 1), 'second', 'seconds')}.`;
      return undefined;
    },
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

  /** What a problem means for the person, and what to do next. */
  problem({ status, code, retryAfterS }) {
    if (code === 'large_piece')
      return {
        title: 'This page is very large',
        advice: 'It has more than 256 MB without a snapshot in between. Going on may make your browser slow.',
      };
    if (code === 'hang')
      return {
        title: 'The replay doesn’t answer',
        advice: 'What was recorded keeps it busy. Wait, or start it again from here.',
      };
    if (code === 'recording_damaged')
      return {
        title: 'This recording is damaged',
        advice: 'A part of its files can’t be read. `rrd doctor` on the server says what is left.',
      };
    if (code === 'too_many_recordings')
      return { title: 'Too many recordings belong to this', advice: 'Watch them one by one, from the list.' };
    if (status === 0)
      return {
        title: 'The server can’t be reached',
        advice: 'It may be restarting, or the network is away. Nothing is lost; try again in a moment.',
      };
    if (status === 401)
      return {
        title: 'You are not signed in',
        advice: 'The session has ended, or the link has expired. Sign in again, or ask for a new link.',
      };
    if (status === 403)
      return { title: 'This is not allowed', advice: 'The key that you signed in with doesn’t include this.' };
    if (status === 404)
      return {
        title: 'There is no such recording',
        advice: 'It may have been erased, or the address is not complete.',
      };
    if (status === 429)
      return {
        title: 'Too many requests',
        advice: `Wait ${some(Math.max(retryAfterS, 1), 'second', 'seconds')}, then try again.`,
      };
    if (status === 507)
      return { title: 'The server’s disk is full', advice: 'Free some space on the server, then try again.' };
    if (status === 503) return { title: 'The server is busy or starting', advice: 'Try again in a moment.' };
    if (status >= 500) return { title: 'Something went wrong on the server', advice: 'Its log says what. Try again.' };
    if (status >= 400)
      return { title: 'The server did not understand this', advice: 'Reload the page, and try again.' };
    return { title: 'Something went wrong in this page', advice: 'Reload it, and try again.' };
  },
};
