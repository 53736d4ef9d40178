// Asks the server, and says in one form what went wrong.

/** What was answered in place of a result. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(status, { code = '', message = '', parameter = '' } = {}, retryAfterS = 0) {
    super(message);
    Object.assign(this, { status, code, parameter, retryAfterS });
  }
}

/** One tenant's API, or that of one shared recording. */
export class Api {
  /** `base` stands before each path; `query` is added to each, such as the parts of a presigned URL. */
  constructor({ base, query = {} }) {
    Object.assign(this, { base, query });
  }

  /** The URL of a path. A parameter that is an array comes several times; null and '' leave it out. */
  url(path, params = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...params, ...this.query })) {
      for (const one of [value].flat()) if (one !== null && one !== undefined && one !== '') query.append(name, one);
    }
    return `${this.base}${path}${query.size ? `?${query}` : ''}`;
  }

  /** The response, which is good. Throws `Problem`, and `AbortError` where `signal` says so. */
  async response(path, { params, method = 'GET', body, signal, accept = 'application/json' } = {}) {
    const headers = { Accept: accept };
    if (method !== 'GET') headers['Rrd-Console'] = '1';
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
      const sent = body === undefined ? undefined : JSON.stringify(body);
      response = await fetch(this.url(path, params), { method, headers, body: sent, signal, cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Problem(0, { code: 'unreachable' });
    }
    if (response.ok) return response;
    const { error = {} } = await response.json().catch(() => ({}));
    // Whoever came by a link has no session to renew.
    if (response.status === 401 && 'signature' in this.query) error.code = 'link_not_good';
    throw new Problem(response.status, error, Number(response.headers.get('Retry-After')) || 0);
  }

  /** What a JSON answer holds. An answer that breaks off is a `Problem`, too. */
  async json(path, options = {}) {
    const response = await this.response(path, options);
    return received(response.status === 204 ? Promise.resolve(null) : response.json());
  }
}

/** What a body holds, once it is all there. */
export async function received(reading) {
  try {
    return await reading;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { code: 'broken_off', message: error.message });
  }
}

/** Whether what failed may pass by itself. */
export const isPassing = ({ status }) => status === 0 || status === 429 || status >= 502;

/** Does `work` up to `tries` times while what fails may pass by itself, a little later each time. */
export async function retrying(work, { signal, tries = 3 } = {}) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await work();
    } catch (problem) {
      if (!(problem instanceof Problem) || !isPassing(problem) || tried >= tries) throw problem;
      await pause(Math.max(400 * 3 ** (tried - 1), Math.min(problem.retryAfterS, 10) * 1000), signal);
    }
  }
}

/** Waits; throws `AbortError` as soon as `signal` says so. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal?.aborted) return stop();
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), stop()), { once: true });
  });
}
