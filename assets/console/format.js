// Numbers and times as people read them.

const pair = (number) => String(number).padStart(2, '0');

/** A place in a recording: 0:07, 12:30, 1:02:03. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${pair(minutes)}:${pair(seconds % 60)}` : `${minutes}:${pair(seconds % 60)}`;
}

/** How long something took: 7 s, 3 min 12 s, 1 h 2 min. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ''}`;
  const minutes = Math.floor(seconds / 60) % 60;
  return `${Math.floor(seconds / 3600)} h${minutes ? ` ${minutes} min` : ''}`;
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

/** A size: 512 B, 1.4 MB. */
export function bytes(number) {
  const power = number < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(number) / 3));
  const value = number / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** A number with its thousands apart. */
export const count = (number) => number.toLocaleString('en');

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** A date and time of this place. */
export const moment = (ms) => MOMENT.format(ms);

const TIME_OF_DAY = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** A time of a day of this place. */
export const timeOfDay = (ms) => TIME_OF_DAY.format(ms);

const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const STEPS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];

/** How long ago: just now, 5 minutes ago, yesterday. */
export function ago(ms, nowMs = Date.now()) {
  const [unit, length] = STEPS.find(([, step]) => nowMs - ms >= step) ?? [];
  return unit ? RELATIVE.format(-Math.floor((nowMs - ms) / length), unit) : 'just now';
}
