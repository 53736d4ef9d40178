// The buttons below the bar.

import { path } from './bar.js';
import { el, icon } from './dom.js';
import { clock } from './format.js';
import { text } from './text.js';

export const SPEEDS = [0.5, 1, 2, 4, 8];

/** Makes the controls: `{node, update(state)}`. `acts` is what the buttons do; a button without an act is left out. */
export function makeControls({ player, source, acts }) {
  const words = text.player;
  const button = (name, act, label = words[name]) =>
    act &&
    el('button', { type: 'button', class: 'plain', title: label, 'aria-label': label, onclick: act }, icon(name));
  const play = button('play', acts.toggle);
  const time = el('span', { class: 'time' });
  const waiting = el('span', { class: 'waiting quiet', role: 'status' });
  const chapters = el('select', { 'aria-label': words.page, onchange: () => player.seek(Number(chapters.value)) });
  const speeds = SPEEDS.map((speed) => el('option', { value: speed }, words.times(speed)));
  const speed = el('select', { 'aria-label': words.speed, onchange: () => acts.setSpeed(Number(speed.value)) }, speeds);
  const skip = el('input', { type: 'checkbox', role: 'switch', onchange: () => acts.setSkipIdle(skip.checked) });
  const live = el('button', { type: 'button', class: 'live', onclick: acts.goLive }, icon('live'), words.live);
  const node = el(
    'div',
    { class: 'controls' },
    button('previous', acts.previous),
    button('back', () => acts.step(-5000)),
    play,
    button('forward', () => acts.step(5000)),
    button('next', acts.next),
    time,
    acts.goLive && live,
    waiting,
    chapters,
    !source.isLive && speed,
    !source.isLive && el('label', { title: words.skipHint }, skip, words.skip),
    button('link', acts.link),
    button('keys', acts.help, words.help),
    button('full', acts.full),
  );
  let listed = -1;
  let shown = '';

  function update(state) {
    const isPausing = state.isPlaying;
    if (shown !== String(isPausing)) {
      play.replaceChildren(icon(isPausing ? 'pause' : 'play'));
      play.title = isPausing ? words.pause : words.play;
      play.setAttribute('aria-label', play.title);
      shown = String(isPausing);
    }
    const length = clock(state.last - state.first);
    time.replaceChildren(clock(state.t - state.first), el('span', { class: 'quiet' }, ` / ${length}`));
    const wait = state.isWaiting && !state.problem ? words.waiting : '';
    if (waiting.textContent !== wait) waiting.textContent = wait;
    const pages = source.pieces.filter(({ kind }) => kind === 'page');
    if (pages.length !== listed) {
      listed = pages.length;
      chapters.replaceChildren(
        ...pages.map((page) =>
          el('option', { value: page.from }, `${clock(page.from - state.first)}  ${path(page.url)}`),
        ),
      );
      chapters.hidden = listed < 2;
    }
    if (document.activeElement !== chapters) {
      chapters.selectedIndex = pages.findLastIndex(({ snapshot, from }) => (snapshot ?? from) <= state.t);
    }
    speed.value = state.speed;
    skip.checked = state.skipsIdle;
    live.setAttribute('aria-pressed', String(state.isLive));
  }
  return { node, update };
}
