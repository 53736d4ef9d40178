(function () {
  // Hidden from the client, which else gives itself to a page's module loader and never becomes a global.
  var define, module, exports;

  var rrd = (function (global) {
    'use strict';

    const script = (typeof document === 'object' && document.currentScript) || null;

    // Where this script came from is where events go: with its scheme, its port, and the path above it.
    function ownServerUrl() {
      try {
        const url = new URL('recordings/{recordingId}/events/ws', script.src);
        return /^https?:$/.test(url.protocol) ? url.href : '';
      } catch (error) {
        return ''; // The script's text stands in the page itself, or was evaluated.
      }
    }

    // The client knows `publicApiKey` alone; its vendor's pages write `publicAPIkey`.
    function withKey(options) {
      const found = Object.assign({}, options);
      for (const name of Object.keys(found)) {
        if (name === 'publicApiKey' || name.replace(/_/g, '').toLowerCase() !== 'publicapikey') continue;
        found.publicApiKey = found.publicApiKey || found[name];
        delete found[name];
      }
      return found;
    }

    // The options in the script tag, read as the client reads them: `//` lines and trailing commas are allowed.
    // In a tag without a src stands the script itself.
    function tagOptions() {
      const text = script && script.src ? script.textContent.trim() : '';
      if (!text) return {};
      try {
        const found = JSON.parse(text.replace(/^\s*\/\/.*/gm, '').replace(/,(\s*[\]}])/g, '$1'));
        if (typeof found === 'object' && found !== null) return found;
        throw new TypeError('the options must be a JSON object');
      } catch (error) {
        console.error('rrd: the options in the script tag are no JSON', error);
        return {};
      }
    }

    function complain() {
      console.error("rrd: nothing is recorded: say serverUrl, since this script's own address isn't known");
    }

    const options = withKey(tagOptions());
    options.serverUrl = options.serverUrl || ownServerUrl();

    // What the client takes for its script tag. The tag itself stays as it is: pages watch it and guard it.
    const tag = script && {
      innerText: JSON.stringify(options),
      src: script.src || '',
      dataset: script.dataset,
      getAttribute: (name) => (name === 'autostart' && !options.serverUrl ? null : script.getAttribute(name)),
    };
    if (tag) {
      const isToStart = options.autostart || ['', 'yes', 'on', 'true', '1'].includes(script.getAttribute('autostart'));
      if (isToStart && !options.serverUrl) {
        tag.innerText = '{}';
        complain();
      }
      Object.defineProperty(document, 'currentScript', { configurable: true, get: () => tag });
    }

    return {
      // The page sees its own script tag again.
      leaveTag() {
        if (tag) delete document.currentScript;
      },

      // Without a serverUrl the client would send to its vendor.
      wrapStart() {
        const client = Object.assign({}, global.rrwebBrowserClient);
        const { start } = client;
        client.start = (given) => {
          if (!given && tag && options.serverUrl) return start();
          const asked = withKey(given);
          asked.serverUrl = asked.serverUrl || options.serverUrl;
          return asked.serverUrl ? start(asked) : complain();
        };
        client.default = client;
        global.rrwebBrowserClient = client;
      },
    };
  })(this);

  try {
