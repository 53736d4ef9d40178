// Erases a recording, or all of one visitor's, after saying what that is; shows the receipt.

import { copyButton } from './copy.js';
import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { bytes, count, moment } from './format.js';
import { forget } from './list.js';
import { problemNote } from './notice.js';
import { keyForm } from './sign_in.js';
import { text } from './text.js';

const words = text.erase;
// Metadata that stand for a person or for one of his visits.
const KEYS = ['visitor', 'userId', 'email', 'sessionId'];
const COUNTED_MAX = 100;

/** Asks, erases, and calls `onerased` once the person has seen the receipt. `ongone` is called as soon as it is gone. */
export function openErase({ session, tenant, id, ongone = () => {}, onerased = () => {} }) {
  const api = session.apiOf(tenant);
  const path = `/recordings/${encodeURIComponent(id)}`;
  const ending = new AbortController();
  const body = el('div', { 'aria-live': 'polite' });
  const actions = el('p', { class: 'actions' });
  let isErased = false;
  const { close } = openDialog({
    title: words.title,
    body: [body, actions],
    onclose: () => (ending.abort(), isErased && onerased()),
  });
  const cancel = el('button', { type: 'button', onclick: close }, text.cancel);

  // Who may erase may not always read. Then the dialog says less, and erases all the same.
  const tried = (path, params) => api.json(path, { params, signal: ending.signal }).catch(() => null);

  async function ask() {
    body.replaceChildren(el('p', {}, text.loading));
    const [pages, metadata] = await Promise.all([tried(`${path}/pages`), tried(path, { shape: 'object' })]);
    const found = Object.entries(metadata?.metadata ?? {}).filter(([key]) => KEYS.includes(key));
    const lists = await Promise.all(
      found.map(async ([key, value]) => {
        const answer = await tried('/recordings', { [`meta[${key}]`]: value, limit: COUNTED_MAX });
        return { key, value, ids: answer?.recordings.map(({ recordingId }) => recordingId) ?? [] };
      }),
    );
    if (ending.signal.aborted) return;
    const choices = [{ ids: [id], label: words.thisOne }];
    for (const { key, value, ids } of lists.filter(({ ids }) => ids.length > 1)) {
      choices.push({ key, value, ids, label: words.all(ids.length, ids.length >= COUNTED_MAX, key, value) });
    }
    let chosen = choices[0];
    const radios = choices.map((choice) =>
      el(
        'label',
        {},
        el('input', { type: 'radio', name: 'what', checked: choice === chosen, onchange: () => (chosen = choice) }),
        choice.label,
      ),
    );
    const known = pages && [
      [words.when, moment(pages.first)],
      [words.page, pages.pages[0]?.url],
      ...found,
      [words.events, `${count(pages.events)}, ${bytes(pages.bytes)}`],
    ];
    const told = (known || [[words.id, id]]).filter(([, value]) => value);
    body.replaceChildren(
      el('dl', {}, ...told.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])),
      choices.length > 1 ? el('fieldset', {}, el('legend', {}, words.what), ...radios) : '',
      el('p', {}, words.final),
    );
    const erase = () => eraseAll(chosen);
    actions.replaceChildren(cancel, el('button', { type: 'button', class: 'danger', onclick: erase }, words.erase));
    cancel.focus();
  }

  async function eraseAll({ key, value, ids }) {
    const hold = (isHeld) => actions.querySelectorAll('button').forEach((button) => (button.disabled = isHeld));
    hold(true);
    try {
      const options = key ? { params: { [`meta[${key}]`]: value } } : {};
      const receipt = await api.json(key ? '/recordings' : path, { method: 'DELETE', ...options });
      isErased = true;
      ongone();
      ids.forEach(forget);
      const proof = el(
        'pre',
        { tabindex: 0 },
        words.receipt(receipt, { id, key, value, at: new Date().toISOString() }),
      );
      body.replaceChildren(
        el('p', {}, el('b', {}, words.erased(receipt.recordings))),
        receipt.pending ? el('p', {}, words.pending(receipt.pending)) : '',
        proof,
      );
      actions.replaceChildren(
        copyButton(proof),
        el('button', { type: 'button', class: 'primary', onclick: close }, words.done),
      );
      actions.lastChild.focus();
    } catch (problem) {
      body.append(problemNote(problem));
      hold(false);
    }
  }

  const other = el('p', { class: 'wrong', role: 'alert' });
  const added = () => (session.can(tenant, 'erase') ? ask() : other.replaceChildren(words.otherKey));
  if (session.can(tenant, 'erase')) ask();
  else {
    const form = keyForm({ session, label: text.signIn.add, onsignedin: added });
    body.replaceChildren(el('p', {}, prose(words.needsKey(tenant))), form, other);
    form.querySelector('input').focus();
  }
}
