// What a person reads of an event: rows for the list beside the player, made of plain strings and numbers alone.

const TEXT_MAX = 200;
const LABEL_MAX = 60;
const ANCESTORS = 4;
const NAMED_BY = ['aria-label', 'placeholder', 'alt', 'title', 'value', 'name', 'id'];
const ERROR_TAGS = new Set(['error', '$exception']);

const isObject = (value) => typeof value === 'object' && value !== null;
const list = (value) => (Array.isArray(value) ? value.filter(isObject) : []);

/** One line of plain text, cut. */
function plain(value, max = TEXT_MAX) {
  const text = typeof value === 'string' ? value : isObject(value) ? JSON.stringify(value) : String(value ?? '');
  const line = text
    .slice(0, 4 * max)
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > max ? `${line.slice(0, max - 1)}…` : line;
}

/** Makes the rows of one piece. It keeps what each element is called, so that a click has a name. */
export class Digest {
  #elements = new Map();
  #field = { id: null, row: null };

  /** The row of an event as it was recorded, or null. Nothing in it has to be what it should. */
  row(event) {
    if (!isObject(event) || !Number.isFinite(event.timestamp) || !isObject(event.data)) return null;
    const made = this.#made(event.type, event.data);
    if (!made) return null;
    const { kind, text, detail = '' } = made;
    const row = { t: event.timestamp, kind, text: plain(text), ...(detail !== '' && { detail: plain(detail) }) };
    if (kind === 'input') this.#field = { id: event.data.id, row };
    return row;
  }

  #made(type, data) {
    if (type === 2) this.#learn(data.node, null);
    if (type === 3) return this.#incremental(data);
    if (type === 4) return { kind: 'page', text: data.href };
    if (type === 5)
      return { kind: ERROR_TAGS.has(data.tag) ? 'error' : 'custom', text: data.tag, detail: data.payload };
    if (type === 6 && data.plugin === 'rrweb/console@1' && isObject(data.payload)) {
      const { level, payload } = data.payload;
      const text = (Array.isArray(payload) ? payload : [payload])
        .slice(0, 20)
        .map((part) => plain(part))
        .join(' ');
      return { kind: level === 'error' ? 'error' : 'console', text, detail: level };
    }
    return null;
  }

  #incremental(data) {
    if (data.source === 0) {
      for (const { parentId, node } of list(data.adds)) this.#learn(node, parentId);
    } else if (data.source === 2 && (data.type === 2 || data.type === 4)) {
      this.#field = { id: null, row: null };
      return { kind: 'click', text: this.#label(data.id), detail: data.type === 4 ? 'double' : '' };
    } else if (data.source === 5) {
      const value = typeof data.text === 'string' ? data.text : '';
      // What is typed into one field, key by key, is one row, which says what was there in the end.
      if (this.#field.row && this.#field.id === data.id) this.#field.row.detail = plain(value);
      else return { kind: 'input', text: this.#label(data.id), detail: value };
    }
    return null;
  }

  #learn(root, parentId) {
    const waiting = [[root, parentId]];
    while (waiting.length) {
      const [node, parent] = waiting.pop();
      if (!isObject(node)) continue;
      if (node.type === 2) {
        const attributes = isObject(node.attributes) ? node.attributes : {};
        const name = NAMED_BY.map((key) => attributes[key]).find((value) => typeof value === 'string' && value !== '');
        this.#elements.set(node.id, { tag: plain(node.tagName, 20), name, text: '', parent });
      } else if (node.type === 3 && typeof node.textContent === 'string') {
        this.#name(parent, plain(node.textContent, LABEL_MAX));
      }
      if (Array.isArray(node.childNodes)) {
        for (let index = node.childNodes.length - 1; index >= 0; index -= 1)
          waiting.push([node.childNodes[index], node.id]);
      }
    }
  }

  /** A text names the elements around it that have none yet. */
  #name(id, text) {
    for (let element = this.#elements.get(id), up = 0; text && element && up < ANCESTORS; up += 1) {
      element.text ||= text;
      element = this.#elements.get(element.parent);
    }
  }

  #label(id) {
    const found = this.#elements.get(id);
    for (let element = found, up = 0; element && up < ANCESTORS; up += 1) {
      if (element.name || element.text) return plain(element.text || element.name, LABEL_MAX);
      element = this.#elements.get(element.parent);
    }
    return found?.tag ?? '';
  }
}
