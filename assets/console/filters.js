// What the list is narrowed to: the address says it, a form shows it, the server is asked for it.

import { el, icon } from './dom.js';
import { duration, moment } from './format.js';
import { text } from './text.js';

const words = text.filters;
const SINCE_MS = { '1h': 3_600_000, '1d': 86_400_000, '7d': 604_800_000, '30d': 2_592_000_000 };
const LEAST_MS = [5_000, 30_000, 60_000, 300_000, 1_800_000];
const META = /^meta\[(.+)\]$/s;
const NARROWS = /^(since|from|to|url|minDuration|minActive|hasErrors|live|meta\[.+\])$/s;

/** Whether recordings are passed over that go on or have just ended. */
export const passesOverNew = (query) => /(^|&)(url|minDuration|minActive|hasErrors|sort)=/.test(query);

/** Whether anything narrows the list. */
export const isNarrowed = (query) => [...query.keys()].some((name) => NARROWS.test(name));

/** The query with one thing said differently; '' takes it away. A time is said in one way alone. */
export function changed(query, name, value) {
  const made = new URLSearchParams(query);
  for (const other of { since: ['from', 'to'], from: ['since'], to: ['since'] }[name] ?? []) made.delete(other);
  if (name === 'cols') made.append(name, value);
  else if (value === '') made.delete(name);
  else made.set(name, value);
  return made;
}

/** The parameters of `GET /recordings` that mean the same at a time. */
export function parameters(query, nowMs) {
  const asked = { summary: [true] };
  for (const [name, value] of query) {
    if (name === 'since') (asked.from ??= []).push(nowMs - SINCE_MS[value] || null);
    else if (name === 'sort' || NARROWS.test(name)) (asked[name] ??= []).push(value);
  }
  return asked;
}

function sentence(name, value) {
  if (META.test(name)) return `${META.exec(name)[1]} = ${value}`;
  const told = { from: moment, to: moment, minDuration: duration, minActive: duration }[name];
  return words.chip[name](told && Math.abs(value) < 8e15 ? told(+value) : value);
}

/** What narrows the list, and what columns it has: for each its sentence, and the query without it. */
export const parts = (query) =>
  [...query]
    .filter(([name, value]) => value && (NARROWS.test(name) || name === 'cols'))
    .map(([name, value]) => {
      const without = new URLSearchParams(query);
      without.delete(name, value);
      return { said: sentence(name, value), without };
    });

/** A chip for each part, which takes it away. */
export function makeChips(query, onchange) {
  const chips = parts(query).map(({ said, without }) => {
    const take = { class: 'chip', 'aria-label': words.remove(said), onclick: () => onchange(without) };
    return el('button', take, el('span', {}, said), icon('close'));
  });
  const clear = () => onchange({ tenant: query.get('tenant') });
  return chips.length > 1 ? [...chips, el('button', { class: 'plain', onclick: clear }, words.clear)] : chips;
}

const localTime = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

/** The form. `onchange(query)` hears what the person asks for; `sync(query, api)` shows what the address says. */
export function makeFilters(onchange) {
  let query, api, timer;
  const field = (name, control, more) =>
    el('label', { class: 'field' }, words[name], control, el('span', { class: 'wrong' }), more);
  const input = (name, properties) => field(name, el('input', { name, autocomplete: 'off', ...properties }));
  const select = (name, options) =>
    field(name, el('select', { name }, ...options.map(([value, label]) => el('option', { value }, label))));
  const check = (name) => el('label', {}, el('input', { type: 'checkbox', name }), words[name]);
  // Offers what there is while the person types.
  const suggested = (name, path) => {
    const list = el('datalist', { id: `known-${name}` });
    const ask = async ({ target }) => {
      const params = { prefix: target.value, key: name === 'value' ? node.elements.key.value || ' ' : null };
      const found = await api.json(path, { params }).catch(() => ({})); // One can type without.
      list.replaceChildren(...(found.keys ?? found.values ?? []).map((value) => el('option', { value })));
    };
    const soon = (event) => (clearTimeout(timer), (timer = setTimeout(ask, 150, event)));
    return field(name, el('input', { name, autocomplete: 'off', list: list.id, oninput: soon, onfocus: soon }), list);
  };
  const least = [['', words.any], ...LEAST_MS.map((ms) => [ms, words.atLeast(duration(ms))])];
  const node = el(
    'form',
    { class: 'filters card', role: 'search', 'aria-label': words.title, onsubmit: (event) => event.preventDefault() },
    select('since', [['', words.ever], ...Object.entries(words.sinceOf)]),
    input('from', { type: 'datetime-local' }),
    input('to', { type: 'datetime-local' }),
    input('url', { placeholder: words.someUrl }),
    suggested('key', '/metaKeys'),
    suggested('value', '/metaValues'),
    select('minActive', least),
    select('minDuration', least),
    select('sort', Object.entries(words.sortOf)),
    suggested('cols', '/metaKeys'),
    el('div', { class: 'actions' }, check('hasErrors'), check('live')),
  );
  node.addEventListener('change', ({ target: { name, type, checked, value } }) => {
    const key = node.elements.key.value.trim();
    if (type === 'checkbox') value = checked ? 'true' : '';
    if (type === 'datetime-local') value &&= new Date(value).getTime();
    if (name === 'url') value = value.trim().replace(/[?#].*$/s, ''); // More is kept of none.
    if (name === 'value' && key && value) onchange(changed(query, `meta[${key}]`, value));
    else if (name !== 'key' && name !== 'value') onchange(changed(query, name, value));
  });
  const fields = [...node.elements];

  return {
    node,
    sync(said, itsApi) {
      [query, api] = [said, itsApi];
      for (const control of fields) {
        const value = control.name === 'cols' ? '' : (said.get(control.name) ?? '');
        if (control.type === 'checkbox') control.checked = value === 'true';
        else if (control.type !== 'datetime-local') control.value = value;
        else control.value = value && Math.abs(value) < 8e15 ? localTime(+value) : '';
        // What somebody wrote into the address.
        if (control.selectedIndex === -1) control.append(el('option', { value, selected: true }, value));
      }
    },
    /** Marks the field that the server refused, if it says which; returns whether it does. */
    mark(problem) {
      const name = META.test(problem?.parameter) ? 'key' : problem?.parameter;
      for (const control of fields) {
        const isWrong = control.name === name;
        control.toggleAttribute('aria-invalid', isWrong);
        control.parentNode.querySelector('.wrong')?.replaceChildren(isWrong ? problem.message : '');
      }
      return fields.some((control) => control.name === name);
    },
  };
}
