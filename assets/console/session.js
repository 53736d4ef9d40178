// Who is signed in. The key itself is sent once and kept nowhere: a cookie that no script can read stands for it.

import { Api, Problem } from './api.js';

const door = new Api({ base: '/console' });

export const session = {
  tenants: [],
  isOperator: false,
  expires: 0,
  version: '',

  get isSignedIn() {
    return this.tenants.length > 0 || this.isOperator;
  },

  take(answer) {
    this.tenants = answer?.tenants ?? [];
    this.isOperator = answer?.operator ?? false;
    this.expires = answer?.expires ?? 0;
    this.version = answer?.version ?? '';
  },

  /** Learns who is signed in; nobody is no problem. Throws `Problem` for all else. */
  async load() {
    try {
      this.take(await door.json('/session'));
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
      this.take(null);
    }
  },

  /** Signs in with `{key}` or `{signIn}`. Throws `Problem`. */
  async signIn(secret) {
    this.take(await door.json('/session', { method: 'POST', body: secret }));
  },

  async signOut() {
    await door.json('/session', { method: 'DELETE' });
    this.take(null);
  },

  can(tenant, right) {
    return this.tenants.some(({ name, rights }) => name === tenant && rights.includes(right));
  },

  apiOf(tenant) {
    return new Api({ base: `/console/api/${encodeURIComponent(tenant)}` });
  },
};
