// Takes a stream of server-sent events apart, however its bytes were cut (HTML standard, 9.2.6).

export class SseParser {
  #decoder = new TextDecoder(); // It passes over a byte order mark.
  #line = '';
  #isAfterReturn = false;
  #kind = '';
  #data = [];
  #id = '';

  /** The number up to which everything was received: that of the last whole message. */
  lastId = '';

  /** Yields `{kind, data}` of each message that these bytes complete. `data` is its lines. */
  *feed(bytes) {
    const text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return;
    const start = this.#isAfterReturn && text[0] === '\n' ? 1 : 0;
    this.#isAfterReturn = text.endsWith('\r');
    const lines = text.slice(start).split(/\r\n|\r|\n/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop();
    for (const line of lines) {
      if (line) this.#field(line);
      else {
        const message = { kind: this.#kind || 'message', data: this.#data };
        this.lastId = this.#id;
        this.#kind = '';
        this.#data = [];
        if (message.data.length > 0) yield message;
      }
    }
  }

  #field(line) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#kind = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
  }
}
