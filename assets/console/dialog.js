// Asks something in front of the page: the browser's own dialog keeps the focus inside and closes with Escape.

import { el, icon } from './dom.js';
import { text } from './text.js';

/** Opens a dialog; returns `{node, close}`. `onclose` is called once, however it closes. */
export function openDialog({ title, body, actions = [], onclose = () => {} }) {
  const close = () => node.close();
  const heading = el('h2', { id: 'dialog-title' }, title);
  const cross = el(
    'button',
    { type: 'button', class: 'plain', 'aria-label': text.close, onclick: close },
    icon('close'),
  );
  const node = el(
    'dialog',
    { 'aria-labelledby': 'dialog-title', onclose: () => (node.remove(), onclose()) },
    el('header', {}, heading, cross),
    el('div', { class: 'body' }, body),
    actions.length > 0 && el('footer', { class: 'actions' }, ...actions),
  );
  document.body.append(node);
  node.showModal();
  return { node, close };
}
