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

  /** What a problem means for the person, and what to do next. */
  problem({ status, code, retryAfterS }) {
    if (code === 'recording_damaged')
      return { title: 'This recording is damaged', advice: 'A part of its files can’t be read. `rrd doctor` on the server says what is left.' };
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
