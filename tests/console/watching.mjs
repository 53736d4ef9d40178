// What the driver does for tests of the console: windows as people have them, what is in the stage's frames, axe, heaps.
//
// A window is a page in a browser context of its own. Commands name it as `tab`, like those of the driver.

import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const AXE = new URL('../client/node_modules/axe-core/axe.min.js', import.meta.url);
const AXE_RULES = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'];
const STAGE = '/console/stage';

// In the stage: the frame in which a recording is shown now. The one of a piece that is being prepared is not visible.
const SHOWN_FRAME = `[...document.querySelectorAll('iframe')].findLast((frame) => frame.checkVisibility({
  opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true }) && frame.contentDocument?.body)`;

// Writes down what a person would see in the developer tools, of all pages of a context.
function watch(context) {
  const seen = { console: [], errors: [], requests: [], answers: [], dialogs: [], popups: 0, navigations: [], downloads: [] };
  let first = null;
  context.on('console', (message) => seen.console.push({ type: message.type(), text: message.text(), url: message.location().url }));
  context.on('weberror', (error) => seen.errors.push(String(error.error()?.stack ?? error.error())));
  const entries = new WeakMap();
  context.on('request', (request) => {
    const entry = { url: request.url(), method: request.method(), kind: request.resourceType(), failure: null };
    entries.set(request, entry);
    seen.requests.push(entry);
  });
  context.on('requestfailed', (request) => {
    if (entries.has(request)) entries.get(request).failure = request.failure()?.errorText ?? '';
  });
  context.on('response', (response) => seen.answers.push({ url: response.url(), status: response.status() }));
  context.on('page', (page) => {
    if (first) seen.popups += 1;
    first ??= page;
    page.on('dialog', (dialog) => (seen.dialogs.push(dialog.message()), dialog.dismiss()));
    page.on('framenavigated', (frame) => seen.navigations.push(frame.url()));
    page.on('download', (download) => seen.downloads.push(download));
  });
  return seen;
}

/** The commands. `launch(flags)` starts a browser of its own, `launchProfile` one with a profile, `shared` is the one of all, `tabs` has what is open. */
export function watchingCommands({ shared, launch, launchProfile, tabs, waitMs }) {
  const stageOf = async (page) => {
    const frame = page.frames().find((one) => new URL(one.url(), 'http://none').pathname === STAGE);
    if (!frame) throw new Error('there is no stage in this page');
    return frame;
  };
  // Where an expression is evaluated: in the page, in the stage, or in the replayed page as `document`.
  const evaluated = async ({ page }, expression, where) => {
    if (where === 'page') return page.evaluate(expression);
    const stage = await stageOf(page);
    if (where === 'stage') return stage.evaluate(expression);
    return stage.evaluate(`(() => { const frame = ${SHOWN_FRAME};
      if (!frame) return null;
      return ((document, window) => (${expression}))(frame.contentDocument, frame.contentWindow); })()`);
  };
  const heapOf = async (session) => {
    await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    await session.detach();
    return usedSize;
  };

  return {
    // `context` are options of playwright's newContext; with `flags` the window has a browser of its own, started so, and
    // with `hasProfile` that keeps a profile on the disk, as people's do: others keep no promise to preconnect.
    async openWindow({ tab, context: options, cookies, flags, permissions, hasProfile }) {
      const host = flags && !hasProfile ? await launch(flags) : null;
      const context = hasProfile ? await launchProfile(flags ?? [], options) : await (host ?? shared).newContext(options);
      context.setDefaultTimeout(waitMs);
      if (permissions?.length) await context.grantPermissions(permissions);
      if (cookies?.length) await context.addCookies(cookies);
      const seen = watch(context);
      const page = await context.newPage();
      tabs.set(tab, { host: host && { kill: () => host.close() }, context, page, seen });
    },

    async visit({ tab, url }) {
      const { page } = tabs.get(tab);
      // A change of the fragment alone would be no load; a window that is told to visit begins anew.
      if (page.url().split('#')[0] === url.split('#')[0]) await page.goto('about:blank');
      await page.goto(url);
    },

    evaluateIn: ({ tab, expression, where }) => evaluated(tabs.get(tab), expression, where),

    async waitIn({ tab, expression, where, deadlineMs }) {
      const end = Date.now() + (deadlineMs ?? waitMs);
      let last;
      for (;;) {
        try {
          last = await evaluated(tabs.get(tab), expression, where);
          if (last) return last;
        } catch (error) {
          last = String(error); // A frame that is being replaced, or isn't there yet.
        }
        if (Date.now() > end) {
          const shown = await tabs.get(tab).page.evaluate('document.body.innerText').catch(String);
          throw new Error(`waited in vain in the ${where} for ${expression}: ${JSON.stringify(last)}; the page says:\n${shown.slice(0, 500)}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    },

    // What a person does. A selector is playwright's (`role=button[name="Play"]`, `text=…`, CSS).
    act: ({ tab, action, selector, args }) => tabs.get(tab).page.locator(selector)[action](...args),
    press: ({ tab, key }) => tabs.get(tab).page.keyboard.press(key),
    mouse: ({ tab, action, args }) => tabs.get(tab).page.mouse[action](...args),
    box: ({ tab, selector }) => tabs.get(tab).page.locator(selector).boundingBox(),
    reload: async ({ tab }) => void (await tabs.get(tab).page.reload()),
    back: async ({ tab }) => void (await tabs.get(tab).page.goBack()),
    emulate: ({ tab, media }) => tabs.get(tab).page.emulateMedia(media),
    resize: ({ tab, size }) => tabs.get(tab).page.setViewportSize(size),
    offline: ({ tab, is }) => tabs.get(tab).context.setOffline(is),

    // Answers requests in place of the server: `times` of them, with `status` and `body`, not at all (`abort`), or never (`hangs`).
    async intercept({ tab, pattern, status, body, headers, abort, hangs, times }) {
      const answer = (route) => {
        if (hangs) return;
        if (abort) return route.abort('connectionrefused');
        return route.fulfill({ status, body, headers, contentType: 'application/json' });
      };
      await tabs.get(tab).context.route(new RegExp(pattern), answer, { times: times ?? undefined });
    },
    unintercept: ({ tab }) => tabs.get(tab).context.unrouteAll(),

    // The file of the download of this number, as text, once it is there.
    async downloaded({ tab, index }) {
      const { page, seen } = tabs.get(tab);
      if (seen.downloads.length <= index) await page.waitForEvent('download');
      const download = seen.downloads[index];
      return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') };
    },

    async screenshot({ tab, path, fullPage }) {
      await mkdir(dirname(path), { recursive: true });
      await tabs.get(tab).page.screenshot({ path, fullPage });
    },

    // What axe finds in the page; the recorded page is another's.
    async axe({ tab }) {
      const { page } = tabs.get(tab);
      await page.evaluate(await readFile(AXE, 'utf8'));
      return page.evaluate(async (tags) => {
        const { violations } = await axe.run(
          { exclude: ['iframe'] },
          { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'], iframes: false, preload: false },
        );
        return violations.map(({ id, impact, help, nodes }) => ({
          id,
          impact,
          help,
          nodes: nodes.map(({ html, failureSummary }) => `${html.slice(0, 300)} ${failureSummary}`),
        }));
      }, AXE_RULES);
    },

    // Bytes of JavaScript's heaps after a collection: of the page's process, and of the stage's if that is another.
    async heap({ tab }) {
      const { context, page } = tabs.get(tab);
      const stage = await stageOf(page).then((frame) => context.newCDPSession(frame)).catch(() => null);
      return { page: await heapOf(await context.newCDPSession(page)), stage: stage && (await heapOf(stage)) };
    },

    // The element that has the focus, and whether a person sees that it has: it looks otherwise than without.
    focused: ({ tab }) =>
      tabs.get(tab).page.evaluate(() => {
        const node = document.activeElement;
        if (!node || node === document.body) return null;
        const html = node.outerHTML.slice(0, 300);
        // A parent may show it in place of a field that fills it.
        const shown = [node, node.parentElement, node.closest('tr, li, label')].filter(Boolean);
        // A date has several stops, and the browser marks each: focused anew, it would begin with the first again.
        const hasParts = node.type === 'datetime-local';
        const look = () =>
          JSON.stringify(
            shown.flatMap((one) =>
              [null, '::before', '::after'].map((part) => {
                const { outlineStyle, outlineWidth, boxShadow, borderColor, backgroundColor } = getComputedStyle(one, part);
                const outline = outlineStyle === 'none' ? 0 : outlineWidth;
                return [outline, boxShadow, borderColor, backgroundColor];
              }),
            ),
          );
        // Without the transitions that would show it later.
        if (!hasParts) for (const one of shown) one.style.transition = 'none';
        const focused = look();
        const { x, y, width, height } = node.getBoundingClientRect();
        if (!hasParts) node.blur();
        const isTold = hasParts || look() !== focused;
        const isSeen = isTold && width > 0 && height > 0;
        if (!hasParts) node.focus({ focusVisible: true, preventScroll: true });
        if (!hasParts) for (const one of shown) {
          one.style.transition = '';
          if (!one.getAttribute('style')) one.removeAttribute('style');
        }
        return { tag: node.tagName.toLowerCase(), id: node.id, number: node.testNumber ?? null, html, isSeen };
      }),

    seenIn: ({ tab }) => ({ ...tabs.get(tab).seen, downloads: tabs.get(tab).seen.downloads.map((one) => one.suggestedFilename()) }),
    forgetSeen({ tab }) {
      const { seen } = tabs.get(tab);
      for (const [name, value] of Object.entries(seen)) seen[name] = Array.isArray(value) ? [] : 0;
    },
  };
}
