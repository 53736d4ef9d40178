// What the list is narrowed to: read from the address, shown in a form, and said to the server.

import { el, icon } from './dom.js';
import { duration, moment } from './format.js';
import { text } from './text.js';

const SINCE_MS = { '1h': 3_600_000, '1d': 86_400_000, '7d': 7 * 86_400_000, '30d': 30 * 86_400_000 };
const SORTS = ['newest', 'active', 'duration', 'errors', 'bytes'];
const LEAST_MS = [5_000, 30_000, 60_000, 300_000, 1_800_000];
const META = /^meta\[(.+)\]$/s;
const words = text.filters;

/** What a query says, in the form that `format` writes again. What can't be understood is passed over. */
export function parse(query) {
  const number = (name) => (/^\d{1,15}$/.test(query.get(name) ?? '') ? Number(query.get(name)) : null);
  const one = (name, known) => (known.includes(query.get(name)) ? query.get(name) : known[0]);
  const [from, to] = [number('from'), number('to')];
  return {
    tenant: query.get('tenant') ?? '',
    since: from === null && to === null ? one('since', ['', ...Object.keys(SINCE_MS)]) : '',
    from,
    to,
    url: query.get('url') ?? '',
    minDuration: number('minDuration'),
    minActive: number('minActive'),
    hasErrors: query.get('hasErrors') === 'true',
    live: query.get('live') === 'true',
    meta: [...query].map(([name, value]) => [META.exec(name)?.[1], value]).filter(([key, value]) => key && value),
    sort: one('sort', SORTS),
    cols: query.getAll('cols').filter(Boolean),
  };
}

/** The query that says the same. */
export function format(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    const isDefault = value === null || value === false || value === '' || (name === 'sort' && value === SORTS[0]);
    if (name === 'meta') for (const [key, wanted] of value) query.append(`meta[${key}]`, wanted);
    else if (Array.isArray(value)) for (const each of value) query.append(name, each);
    else if (!isDefault) query.append(name, value);
  }
  return query;
}

/** The parameters of `GET /recordings` that mean the same at a time. */
export function parameters({ tenant: _tenant, cols: _cols, since, meta, ...state }, nowMs) {
  const asked = { summary: true, ...state, from: since ? nowMs - SINCE_MS[since] : state.from };
  for (const name of ['hasErrors', 'live']) asked[name] ||= null;
  for (const [key, value] of meta) asked[`meta[${key}]`] = [...(asked[`meta[${key}]`] ?? []), value];
  return asked;
}

/** What narrows the list: for each a sentence, and the state without it. */
export function chipsOf(state) {
  const without = (name) => ({ ...state, [name]: Array.isArray(state[name]) ? [] : parse(new URLSearchParams())[name] });
  const plain = ['since', 'from', 'to', 'url', 'minDuration', 'minActive', 'hasErrors', 'live'];
  const told = { from: moment, to: moment, minDuration: duration, minActive: duration };
  return [
    ...plain
      .filter((name) => state[name])
      .map((name) => [words.chip[name]((told[name] ?? String)(state[name])), without(name)]),
    ...state.meta.map(([key, value], place) => [
      `${key} = ${value}`,
      { ...state, meta: state.meta.filter((_, other) => other !== place) },
    ]),
  ];
}

/** Whether recordings are passed over that go on or have just ended. */
export const passesOverNew = ({ url, minDuration, minActive, hasErrors }) => url || minDuration || minActive || hasErrors;

const localTime = (ms) =>
  ms === null ? '' : new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
const msOf = (local) => (local ? new Date(local).getTime() : null);

/** The form. `onchange(state)` hears what the person asks for; `sync(state, api)` shows what the address says. */
export function makeFilters(onchange) {
  let state, api, asking;
  const fields = {};
  const change = (changes) => onchange({ ...state, ...changes });
  const field = (name, control, ...more) => {
    const wrong = el('span', { class: 'wrong', id: `${name}-wrong`, hidden: true });
    control.id = `filter-${name}`;
    fields[name] = { control, wrong };
    fields[name].node = el('div', { class: `field ${name}` }, el('label', { for: control.id }, words[name]), control, ...more, wrong);
    return fields[name].node;
  };
  const select = (name, options) =>
    field(name, el('select', {}, ...options.map(([value, label]) => el('option', { value }, label))));
  const input = (name, properties = {}) => field(name, el('input', { autocomplete: 'off', ...properties }));
  const check = (name) => {
    const control = el('input', { type: 'checkbox', onchange: () => change({ [name]: control.checked }) });
    fields[name] = { control };
    return el('label', { class: 'check' }, control, words[name]);
  };
  const least = [['', words.any], ...LEAST_MS.map((ms) => [ms, words.atLeast(duration(ms))])];
  const suggest = (name, path, params) => {
    const list = el('datalist', { id: `${name}-known` });
    const { control, node } = fields[name];
    control.setAttribute('list', list.id);
    node.append(list);
    const ask = () => {
      asking?.abort();
      asking = new AbortController();
      const { signal } = asking;
      setTimeout(async () => {
        if (signal.aborted) return;
        // Without suggestions one can still type.
        const found = await api.json(path, { params: { ...params(), prefix: control.value }, signal }).catch(() => ({}));
        if (!signal.aborted) list.replaceChildren(...(found.keys ?? found.values ?? []).map((value) => el('option', { value })));
      }, 150);
    };
    control.addEventListener('input', ask);
    control.addEventListener('focus', ask);
  };

  const node = el(
    'form',
    { class: 'filters', role: 'search', 'aria-label': words.title },
    select('since', [['', words.ever], ...Object.keys(SINCE_MS).map((name) => [name, words.sinceOf[name]]), ['between', words.between]]),
    input('from', { type: 'datetime-local' }),
    input('to', { type: 'datetime-local' }),
    input('url', { type: 'text', inputmode: 'url', placeholder: 'https://shop.example/cart*' }),
    input('key', { type: 'text', placeholder: 'userId' }),
    input('value', { type: 'text' }),
    select('minActive', least),
    select('minDuration', least),
    select('sort', SORTS.map((name) => [name, words.sortOf[name]])),
    el('div', { class: 'checks' }, check('hasErrors'), check('live')),
    el('button', { class: 'visually-hidden', tabindex: -1 }, words.apply),
  );
  suggest('key', '/metaKeys', () => ({}));
  suggest('value', '/metaValues', () => ({ key: fields.key.control.value || ' ' }));

  const on = (name, changesOf) => {
    const { control } = fields[name];
    control.addEventListener('change', () => change(changesOf(control.value.trim())));
  };
  const showTimes = (isShown) => (fields.from.node.hidden = fields.to.node.hidden = !isShown);
  fields.since.control.addEventListener('change', ({ target: { value } }) => {
    showTimes(value === 'between');
    if (value === 'between') fields.from.control.focus();
    else change({ since: value, from: null, to: null });
  });
  for (const name of ['from', 'to']) on(name, (value) => ({ since: '', [name]: msOf(value) }));
  for (const name of ['minActive', 'minDuration']) on(name, (value) => ({ [name]: value ? Number(value) : null }));
  on('sort', (sort) => ({ sort }));
  on('url', (url) => ({ url: url.replace(/[?#].*$/s, '') })); // Query strings are not kept, so none would match.
  const addMeta = () => {
    const [key, value] = [fields.key, fields.value].map(({ control }) => control.value.trim());
    if (!key || !value) return;
    fields.key.control.value = fields.value.control.value = '';
    change({ meta: [...state.meta.filter(([other]) => other !== key), [key, value]] });
  };
  fields.value.control.addEventListener('change', addMeta);
  node.addEventListener('submit', (event) => (event.preventDefault(), addMeta()));

  return {
    node,

    sync(said, itsApi) {
      [state, api] = [said, itsApi];
      const isBetween = said.from !== null || said.to !== null;
      showTimes(isBetween);
      fields.since.control.value = isBetween ? 'between' : said.since;
      for (const name of ['from', 'to']) fields[name].control.value = localTime(said[name]);
      for (const name of ['minActive', 'minDuration']) {
        const { control } = fields[name];
        const value = said[name] ?? '';
        if (![...control.options].some((option) => option.value === String(value)))
          control.append(el('option', { value }, words.atLeast(duration(value))));
        control.value = value;
      }
      for (const name of ['url', 'sort']) fields[name].control.value = said[name];
      for (const name of ['hasErrors', 'live']) fields[name].control.checked = said[name];
      this.mark(null);
    },

    /** Marks the field that the server refused, if it says which; returns whether there is one. */
    mark(problem) {
      const wrongName = META.test(problem?.parameter) ? 'key' : problem?.parameter;
      for (const [name, { control, wrong }] of Object.entries(fields)) {
        if (!wrong) continue;
        const isWrong = name === wrongName;
        wrong.hidden = !isWrong;
        wrong.textContent = isWrong ? problem.message : '';
        if (isWrong) control.setAttribute('aria-invalid', 'true');
        else control.removeAttribute('aria-invalid');
        if (isWrong) control.setAttribute('aria-describedby', wrong.id);
        else control.removeAttribute('aria-describedby');
      }
      return Boolean(fields[wrongName]);
    },
  };
}

/** The chips, each of which takes one filter away. */
export function makeChips(state, onchange) {
  const chips = chipsOf(state);
  const all = { ...parse(new URLSearchParams()), tenant: state.tenant, cols: state.cols, sort: state.sort };
  const chip = ([label, rest]) =>
    el('button', { type: 'button', class: 'chip', 'aria-label': words.remove(label), onclick: () => onchange(rest) }, el('span', {}, label), icon('close'));
  return [
    ...chips.map(chip),
    chips.length > 1 && el('button', { type: 'button', class: 'plain', onclick: () => onchange(all) }, words.clear),
  ].filter(Boolean);
}
