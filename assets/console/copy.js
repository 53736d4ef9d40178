// Copies a text for a person, or selects it where the browser doesn't let a page copy.

import { el } from './dom.js';
import { notice } from './notice.js';
import { text } from './text.js';

/** A button that copies what a node says: the value of a field, or the text of anything else. */
export function copyButton(node) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(node.value ?? node.textContent);
      notice(text.copied);
    } catch {
      if (node.select) node.select();
      else getSelection().selectAllChildren(node);
    }
  };
  return el('button', { type: 'button', onclick: copy }, text.copy);
}
