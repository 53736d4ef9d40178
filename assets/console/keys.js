// The keys of the player, wherever on the page the focus is, and the dialog that tells them.

import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { text } from './text.js';

// Fields take keys for themselves, but for the bar; buttons and links take these two.
const TAKES_ALL = 'input:not(.seek, [type=checkbox]), select, textarea, [contenteditable]';
const TAKES_PRESS = 'button, a, summary, [type=checkbox]';

/** Listens until the function that it returns is called. */
export function listenToKeys(acts) {
  const does = {
    ' ': acts.toggle,
    k: acts.toggle,
    ArrowLeft: ({ shiftKey }) => (shiftKey ? acts.page(-1) : acts.step(-5000)),
    ArrowRight: ({ shiftKey }) => (shiftKey ? acts.page(1) : acts.step(5000)),
    j: () => acts.step(-10_000),
    l: () => acts.step(10_000),
    '<': () => acts.speed(-1),
    '>': () => acts.speed(1),
    f: acts.full,
    n: acts.next,
    p: acts.previous,
    '?': acts.help,
  };
  const onkey = (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector('dialog[open]')) return;
    if (target.matches?.(TAKES_ALL) || (key === ' ' && target.matches?.(TAKES_PRESS)) || !does[key]) return;
    event.preventDefault();
    does[key](event);
  };
  document.addEventListener('keydown', onkey);
  return () => document.removeEventListener('keydown', onkey);
}

/** Tells the keys. */
export function openKeysHelp() {
  const rows = text.player.keys.map(([keys, meaning]) => [
    el(
      'dt',
      {},
      keys.split(' ').map((key) => el('kbd', {}, key)),
    ),
    el('dd', {}, meaning),
  ]);
  openDialog({ title: text.player.keysTitle, body: el('dl', { class: 'keys' }, rows.flat()) });
}
