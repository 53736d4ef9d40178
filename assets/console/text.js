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

  live: {
    standing: {
      waiting: 'Waiting for the next full snapshot of the page; until then there is nothing to show.',
      live: 'Live',
      idle: 'Live; the visitor has done nothing for a minute.',
      away: 'The server is away, trying again …',
      closed: 'The visit is over.',
      erased: 'This recording was erased.',
      refused: 'This can’t be watched any longer.',
    },
  },
  composed: {
    standing: {
      loading: 'Loading the visit …',
      whole: '',
      cut: 'This visit is larger than a page can hold: its first part is shown. Watch its recordings one by one to see the rest.',
      broken: 'The rest of this visit can’t be loaded now: its first part is shown.',
    },
  },
  panel: {
    events: 'Events',
    kinds: 'Kinds of events',
    search: 'Search the events',
    kind: {
      page: (number) => some(number, 'page', 'pages'),
      click: (number) => some(number, 'click', 'clicks'),
      input: (number) => some(number, 'input', 'inputs'),
      custom: (number) => `${count(number)} custom`,
      console: (number) => `${count(number)} console`,
      error: (number) => some(number, 'error', 'errors'),
    },
    one: { page: 'Page', click: 'Click', input: 'Input', custom: 'Custom', console: 'Console', error: 'Error' },
    part: 'Only what was loaded so far is listed.',
    readRest: (size) => `Read the rest (${size})`,
    cut: (number) => `The first ${count(number)} are listed.`,
    cutBefore: (number) => `The last ${count(number)} are listed.`,
  },
  details: {
    title: 'Details',
    metadata: 'Metadata',
    noMetadata: 'The site has sent none.',
    columns: { key: 'Key', value: 'Value', changed: 'Changed' },
    change: (when, version) => (version > 1 ? `${when}, version ${count(version)}` : when),
    copy: 'Copy the id',
    copied: 'Copied.',
    notCopied: 'The browser did not allow it: select the id and copy it.',
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

  /** What a problem means for the person, and what to do next. */
  problem({ status, code, retryAfterS }) {
    if (code === 'recording_damaged')
      return { title: 'This recording is damaged', advice: 'A part of its files can’t be read. `rrd doctor` on the server says what is left.' };
    if (code === 'too_many_recordings')
      return { title: 'Too many recordings belong to this', advice: 'Choose one of them in the list, or something that fewer have in common.' };
    if (status === 0)
      return { title: 'The server can’t be reached', advice: 'It may be restarting, or the network is away. Nothing is lost; try again in a moment.' };
    if (status === 401)
      return { title: 'You are not signed in', advice: 'The session has ended, or the link has expired. Sign in again, or ask for a new link.' };
    if (status === 403) return { title: 'This is not allowed', advice: 'The key that you signed in with doesn’t include this.' };
    if (status === 404)
      return { title: 'There is no such recording', advice: 'It may have been erased, or the address is not complete.' };
    if (status === 429)
      return { title: 'Too many requests', advice: `Wait ${some(Math.max(retryAfterS, 1), 'second', 'seconds')}, then try again.` };
    if (status === 507) return { title: 'The server’s disk is full', advice: 'Free some space on the server, then try again.' };
    if (status === 503)
      return { title: 'The server is busy or starting', advice: 'Try again in a moment.' };
    if (status >= 500) return { title: 'Something went wrong on the server', advice: 'Its log says what. Try again.' };
    if (status >= 400) return { title: 'The server did not understand this', advice: 'Reload the page, and try again.' };
    return { title: 'Something went wrong in this page', advice: 'Reload it, and try again.' };
  },
};
