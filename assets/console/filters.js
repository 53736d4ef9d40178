// What the list is narrowed to: the address says it, a form shows it, the server is asked for it.

import { el, icon } from './dom.js';
import { duration, moment } from './format.js';
import { text } from './text.js';

const words = text.filters;
const SINCE_MS = { '1h': 3_600_000, '1d': 86_400_000, '7d': 604_800_000, '30d': 2_592_000_000 };
const LEAST_MS = [5_000, 30_000, 60_000, 300_000, 1_800_000];
const META = /^meta\[(.+)\]$/s;
const ASKED = /^(from|to|url|minDuration|minActive|hasErrors|live|sort|meta\[.+\])$/s;
const NARROWS = /^(since|from|to|url|minDuration|minActive|hasErrors|live|meta\[.+\])$/s;

/** Whether recordings are passed over that go on or have just ended. */
export const passesOverNew = (query) => /(^|&)(url|minDuration|minActive|hasErrors|sort)=/.test(query);

/** Whether anything narrows the list. */
export const isNarrowed = (query) => [...query.keys()].some((name) => NARROWS.test(name));

/** The query with one thing said differently; '' takes it away. A time is said in one way alone. */
export function changed(query, name, value) {
  const made = new URLSearchParams(query);
  const replaced = { since: ['from', 'to'], from: ['since'], to: ['since'] }[name] ?? [];
  for (const other of replaced) made.delete(other);
  if (name === 'cols') made.append(name, value);
  else if (value === '') made.delete(name);
  else made.set(name, value);
  return made;
}

/** The parameters of `GET /recordings` that mean the same at a time. */
export function parameters(query, nowMs) {
  const asked = { summary: true };
  for (const [name, value] of query) if (ASKED.test(name)) asked[name] = [...(asked[name] ?? []), value];
  const sinceMs = SINCE_MS[query.get('since')];
  return sinceMs ? { ...asked, from: nowMs - sinceMs } : asked;
}

function sentence(name, value) {
  if (META.test(name)) return `${META.exec(name)[1]} = ${value}`;
  const told = { from: moment, to: moment, minDuration: duration, minActive: duration }[name];
  return words.chip[name](told && Number.isFinite(+value) ? told(+value) : value);
}

/** What narrows the list, and what columns it has: for each its sentence, and the query without it. */
export function parts(query) {
  const shown = [...query].filter(([name, value]) => value && (NARROWS.test(name) || name === 'cols'));
  return shown.map(([name, value]) => {
    const without = new URLSearchParams(query);
    without.delete(name, value);
    return { said: sentence(name, value), without };
  });
}

/** A chip for each part, which takes it away. */
export function makeChips(query, onchange) {
  const chips = parts(query).map(({ said, without }) => {
    const properties = {
      type: 'button',
      class: 'chip',
      'aria-label': words.remove(said),
      onclick: () => onchange(without),
    };
    return el('button', properties, el('span', {}, said), icon('close'));
  });
  const rest = new URLSearchParams([...query].filter(([name]) => name === 'tenant'));
  if (chips.length > 1)
    chips.push(el('button', { type: 'button', class: 'plain', onclick: () => onchange(rest) }, words.clear));
  return chips;
}

const localTime = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

/** The form. `onchange(query)` hears what the person asks for; `sync(query, api)` shows what the address says. */
export function makeFilters(onchange) {
  let query, api;
  const field = (name, control, ...more) =>
    el('label', { class: `field ${name}` }, words[name], control, el('span', { class: 'wrong' }), ...more);
  const select = (name, options) =>
    field(name, el('select', { name }, ...options.map(([value, label]) => el('option', { value }, label))));
  const input = (name, properties) => field(name, el('input', { name, autocomplete: 'off', ...properties }));
  const check = (name) => el('label', {}, el('input', { type: 'checkbox', name }), words[name]);
  // Offers what there is while the person types.
  const suggested = (name, placeholder, path, params) => {
    const list = el('datalist', { id: `known-${name}` });
    let timer;
    const ask = async ({ target: { value } }) => {
      const found = await api.json(path, { params: { ...params(), prefix: value } }).catch(() => ({})); // One can still type.
      list.replaceChildren(...(found.keys ?? found.values ?? []).map((known) => el('option', { value: known })));
    };
    const oninput = (event) => (clearTimeout(timer), (timer = setTimeout(ask, 150, event)));
    const control = el('input', { name, placeholder, autocomplete: 'off', list: list.id, oninput, onfocus: oninput });
    return field(name, control, list);
  };
  const least = [['', words.any], ...LEAST_MS.map((ms) => [ms, words.atLeast(duration(ms))])];
  const node = el(
    'form',
    { class: 'filters card', role: 'search', 'aria-label': words.title },
    select('since', [['', words.ever], ...Object.entries(words.sinceOf)]),
    input('from', { type: 'datetime-local' }),
    input('to', { type: 'datetime-local' }),
    input('url', { placeholder: 'https://shop.example/cart*' }),
    suggested('key', 'userId', '/metaKeys', () => ({})),
    suggested('value', '', '/metaValues', () => ({ key: node.elements.key.value || ' ' })),
    select('minActive', least),
    select('minDuration', least),
    select('sort', Object.entries(words.sortOf)),
    suggested('cols', 'plan', '/metaKeys', () => ({})),
    el('div', { class: 'actions' }, check('hasErrors'), check('live')),
    el('button', { class: 'visually-hidden', tabindex: -1 }, words.apply),
  );
  node.addEventListener('change', ({ target: { name, type, checked, value } }) => {
    const { key } = node.elements;
    if (name === 'key') return;
    if (name === 'value') {
      if (key.value && value) onchange(changed(query, `meta[${key.value}]`, value));
    } else if (type === 'checkbox') onchange(changed(query, name, checked ? 'true' : ''));
    else if (type === 'datetime-local') onchange(changed(query, name, value && new Date(value).getTime()));
    else if (name === 'url')
      onchange(changed(query, name, value.trim().replace(/[?#].*$/s, ''))); // No more is kept of one.
    else onchange(changed(query, name, value));
  });
  node.addEventListener('submit', (event) => event.preventDefault());
  const fields = () => [...node.elements].filter(({ name }) => name);

  return {
    node,
    sync(said, itsApi) {
      [query, api] = [said, itsApi];
      for (const control of fields()) {
        const value = control.name === 'cols' ? '' : (said.get(control.name) ?? '');
        if (control.type === 'checkbox') control.checked = value === 'true';
        else if (control.type === 'datetime-local')
          control.value = value && Number.isFinite(+value) ? localTime(+value) : '';
        else control.value = value;
        // A length that somebody wrote into the address.
        if (control.type === 'select-one' && value && control.value !== value)
          control.append(el('option', { value, selected: true }, value));
        if (control.type === 'select-one' && !value) control.selectedIndex = 0;
      }
    },
    /** Marks the field that the server refused, if it says which; returns whether it does. */
    mark(problem) {
      const name = META.test(problem?.parameter) ? 'key' : problem?.parameter;
      for (const control of fields().filter(({ type }) => type !== 'checkbox')) {
        const isWrong = control.name === name;
        control.toggleAttribute('aria-invalid', isWrong);
        control.parentNode.querySelector('.wrong').textContent = isWrong ? problem.message : '';
      }
      return fields().some((control) => control.name === name);
    },
  };
}
