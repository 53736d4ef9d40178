// Tells the person what happened: in passing, or in place of what could not be shown.

import { el, prose } from './dom.js';
import { text } from './text.js';

/** Says something in the corner for some seconds; screen readers say it, too. */
export function notice(words) {
  const node = el('p', { class: 'notice' }, words);
  document.getElementById('notices').append(node);
  setTimeout(() => node.remove(), 6000);
}

/** What stands in place of a view that could not be shown: what happened, what to do, and a button to try again. */
export function problemView(problem, { retry, actions = [] } = {}) {
  const { title, advice } = text.problem(problem);
  return el(
    'section',
    { class: 'problem', role: 'alert' },
    el('h2', {}, title),
    el('p', {}, prose(advice)),
    problem.message && el('p', { class: 'quiet' }, problem.message),
    el('p', { class: 'actions' }, retry && el('button', { type: 'button', onclick: retry }, text.tryAgain), ...actions),
  );
}

/** The same in a few lines, inside something else that stays as it is. */
export function problemNote(problem) {
  const { title, advice } = text.problem(problem);
  const message = problem.message && el('p', { class: 'quiet' }, problem.message);
  return el('div', { class: 'wrong', role: 'alert' }, el('b', {}, title), el('p', {}, prose(advice)), message);
}
