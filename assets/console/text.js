// All English texts of the console. Each part has its own section; functions take counts and names.

import { count } from './format.js';

const some = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

export const text = {
  loading: 'Loading …',
  tryAgain: 'Try again',
  close: 'Close',
  cancel: 'Cancel',
  sections: 'Sections',
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
        return 'This is no key of this server, or it was revoked. Is it complete? It begins with `ak_` or `secret_key_rr_`.';
      if (status === 403)
        return 'This key can write, and can’t read. One that can begins with `ak_` or `secret_key_rr_`.';
      if (status === 429) return `Too many wrong keys. Try again in ${some(retryAfterS, 'second', 'seconds')}.`;
      return undefined;
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
