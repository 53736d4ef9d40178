// Erases a recording, or all of one visitor's, after saying what that is; shows the receipt.

import { copyButton } from './copy.js';
import { openDialog } from './dialog.js';
import { el, prose } from './dom.js';
import { forget } from './list.js';
import { problemNote } from './notice.js';
import { go, href } from './route.js';
import { keyForm } from './sign_in.js';
import { text } from './text.js';

const words = text.erase;
// Metadata that stand for a person or for one of his visits.
const KEYS = ['visitor', 'userId', 'email', 'sessionId'];
const COUNTED_MAX = 100;

/** Asks, erases, shows the receipt, and then the list. `ongone` is called as soon as the recording is gone. */
export function openErase({ session, tenant, id, ongone = () => {} }) {
  const api = session.apiOf(tenant);
  const path = `/recordings/${encodeURIComponent(id)}`;
  const ending = new AbortController();
  const body = el('div', { 'aria-live': 'polite' });
  const actions = el('p', { class: 'actions' });
  let after = () => {};
  const onclose = () => (ending.abort(), after());
  const { close } = openDialog({ title: words.title, body: [body, actions], onclose });
  const button = (label, onclick, kind) => el('button', { type: 'button', class: kind, onclick }, label);

  // Who may erase may not always read. Then the dialog says less, and erases all the same.
  const tried = (path, params) => api.json(path, { params, signal: ending.signal }).catch(() => null);

  /** What may be erased: this one, and each set of recordings that it is of by its metadata. */
  async function choices() {
    const { metadata = {} } = (await tried(path, { shape: 'object' })) ?? {};
    const sets = KEYS.filter((key) => key in metadata).map(async (key) => {
      const params = { [`meta[${key}]`]: metadata[key] };
      const found = (await tried('/recordings', { ...params, limit: COUNTED_MAX }))?.recordings ?? [];
      const ids = found.map(({ recordingId }) => recordingId);
      return { path: '/recordings', params, ids, label: words.all(ids.length, COUNTED_MAX, key, metadata[key]) };
    });
    const one = { path, ids: [id], label: words.one(id) };
    return [one, ...(await Promise.all(sets)).filter(({ ids }) => ids.length > 1)];
  }

  async function ask() {
    body.replaceChildren(text.loading);
    const [pages, found] = await Promise.all([tried(`${path}/pages`), choices()]);
    if (ending.signal.aborted) return;
    const options = found.map(({ label }, place) => el('option', { value: place }, label));
    const what = el('select', { 'aria-label': words.what }, ...options);
    const told = el('p', {}, pages ? words.told(pages) : words.unknown);
    body.replaceChildren(el('p', {}, what), told, el('p', {}, words.final));
    const cancel = button(text.cancel, close);
    actions.replaceChildren(
      cancel,
      button(words.erase, () => erase(found[what.value]), 'danger'),
    );
    cancel.focus();
  }

  async function erase({ path, params, ids, label }) {
    const hold = (isHeld) => actions.childNodes.forEach((node) => (node.disabled = isHeld));
    hold(true);
    try {
      const receipt = await api.json(path, { method: 'DELETE', params });
      ids.forEach(forget);
      after = () => go(href('list', [], { tenant }));
      ongone();
      const proof = el('pre', { tabindex: 0 }, words.receipt(receipt, label, new Date().toISOString()));
      body.replaceChildren(el('p', {}, words.erased(receipt)), proof);
      actions.replaceChildren(copyButton(proof), button(words.done, close, 'primary'));
      actions.lastChild.focus();
    } catch (problem) {
      body.append(problemNote(problem));
      hold(false);
    }
  }

  if (session.can(tenant, 'erase')) return void ask();
  const wrong = el('p', { class: 'wrong', role: 'alert' });
  const added = () => (session.can(tenant, 'erase') ? ask() : wrong.replaceChildren(words.otherKey));
  const form = keyForm({ session, label: text.signIn.add, onsignedin: added });
  body.replaceChildren(el('p', {}, prose(words.needsKey(tenant))), form, wrong);
  form.querySelector('input').focus();
}
