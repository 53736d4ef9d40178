// The address is the state: view, what it shows, and how, all behind the `#`, which no server ever sees.

/** What the address says: `{view, parts, query}`. */
export function current() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [view, ...parts] = path.split('/').map(decoded);
  return { view: view || 'list', parts, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view, for links. `query` is an object, or entries where a name comes several times. */
export function href(view, parts = [], query = {}) {
  const named = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const said = query instanceof URLSearchParams ? query : new URLSearchParams(named);
  return `#/${[view, ...parts].map(encodeURIComponent).join('/')}${said.size ? `?${said}` : ''}`;
}

/** Goes to a view; back returns to this one. */
export function go(address) {
  location.hash = address;
}

/** Changes how the view is shown without a new entry in the history. */
export function replaceQuery(query) {
  const { view, parts } = current();
  history.replaceState(null, '', href(view, parts, query));
}

/** Calls back whenever the address changes, but for `replaceQuery`. */
export function onRoute(callback) {
  addEventListener('hashchange', () => callback(current()));
}
