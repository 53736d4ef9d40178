// A recording is HTML that strangers wrote: the key that writes it stands in each page's source. The replayer's
// frame runs no script and the page's policy lets it fetch nothing; this is the third wall, and the only one
// against `<link rel=preconnect>`, which no policy stops.
//
// `makeSanitizer()` is for one stream of events, in the order in which they play; the function it returns gives what the
// replayer may see of an event, or null. It changes the event, and keeps each node's id, so that later changes still
// find their nodes.
'use strict';

const makeSanitizer = () => {
  const TAG = /^[a-zA-Z][\w.:-]*$/;
  const CUSTOM_TAG = /^[a-z][a-z0-9._]*-[a-z0-9._-]*$/;
  const RESERVED = /^(annotation-xml|color-profile|font-face|missing-glyph|font-face-(src|uri|format|name))$/;
  const SHADOW_HOST = /^(article|aside|blockquote|body|div|footer|h[1-6]|header|main|nav|p|section|span)$/;
  const DROPPED_TAG =
    /^(script|base|object|embed|applet|frame|frameset|portal|fencedframe|bgsound|geolocation|permission|usermedia|install)$/;
  const DROPPED_ATTRIBUTE =
    /^(on.*|ping|srcdoc|formaction|action|autofocus|referrerpolicy|crossorigin|attributionsrc|nonce|http-equiv|__proto__)$/i;
  const SCRIPT_URL = /^(javascript:|vbscript:|data:text\/html)/i;
  const SIDE_MAX = 8192; // Pixels of a window: larger ones only take memory.
  const DEPTH_MAX = 200; // Elements in elements: browsers crash when they draw some hundreds of certain kinds.

  const isObject = (value) => typeof value === 'object' && value !== null;
  const isTable = (value) => isObject(value) && !Array.isArray(value);
  const list = (value) => (Array.isArray(value) ? value.filter(isObject) : []);
  const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
  const isText = (value) => typeof value === 'string';
  const side = (value) => (isNumber(value) ? Math.min(Math.max(value, 1), SIDE_MAX) : 1);

  // The nodes that the page has now, by id: `{parent, depth, isGone, leads}`. `leads` holds the tags of elements
  // whose later changes depend on what they are, such as those that lead elsewhere.
  let nodes = new Map();
  let snapshotMs = -Infinity;
  const MEANT_TAG = /^(iframe|a|area|link|audio|video|style)$/;

  function isLive(node) {
    for (let one = node; one; one = one.parent) if (one.isGone) return false;
    return true;
  }

  // Rules in rules in rules: browsers crash when they read some thousands.
  function isNested(css) {
    if (!isText(css)) return false;
    let depth = 0;
    for (let at = 0; at < css.length && depth <= DEPTH_MAX; at += 1) {
      const letter = css.charCodeAt(at);
      if (letter === 123 || letter === 40 || letter === 91)
        depth += 1; // {([
      else if ((letter === 125 || letter === 41 || letter === 93) && depth) depth -= 1;
    }
    return depth > DEPTH_MAX;
  }

  function isGood(name, value, tags) {
    if (DROPPED_ATTRIBUTE.test(name) || isNested(value)) return false;
    if (name === 'style' && isObject(value)) return true; // Changed properties, by name.
    if (isObject(value)) return false;
    if (name === 'rr_dataURL') return isText(value) && value.startsWith('data:image/');
    if (name.startsWith('rr_media')) return tags.includes('audio') || tags.includes('video');
    // An animation would set an address that nobody looks at.
    if (/^attributename$/i.test(name)) return isText(value) && !/href|src/i.test(value);
    // Browsers pass over white space and control characters in the name of a scheme.
    return !isText(value) || !SCRIPT_URL.test(value.slice(0, 4096).replace(/[\0- ]/g, ''));
  }

  // What may not be set on one of these, whatever its value. HTML takes REL for rel.
  const DROPPED_OF = { iframe: /^src$/i, link: /^rel$/i };

  function cleanAttributes(attributes, tags) {
    for (const name of Object.keys(attributes)) {
      if (tags.some((tag) => DROPPED_OF[tag]?.test(name)) || !isGood(name, attributes[name], tags))
        delete attributes[name];
      // A click on a link would connect before the policy is asked.
      else if ((tags.includes('a') || tags.includes('area')) && /^(xlink:)?href$/i.test(name)) attributes[name] = '#';
    }
    return attributes;
  }

  function isStylesheet(attributes) {
    const words = (isText(attributes.rel) ? attributes.rel : '').toLowerCase().split(/\s+/).filter(Boolean);
    return words.includes('stylesheet') && words.every((word) => word === 'stylesheet' || word === 'alternate');
  }

  function cleanElement(node) {
    const name = isText(node.tagName) ? node.tagName : '';
    // In SVG, `svg:a` is a link, too.
    const tag = (node.isSVG ? name.split(':').at(-1) : name).toLowerCase();
    const attributes = isTable(node.attributes) ? node.attributes : {};
    const isOdd = !TAG.test(name) || name in Object.prototype || tag in Object.prototype;
    const isOddSvg = node.isSVG && (name.split(':').length > 2 || /^xml(ns)?:|^xmlns$|:$/i.test(name));
    // Its text was taken into the recording, mostly without rel and href: the replayer makes a style element of it.
    const isInlined = tag === 'link' && isText(attributes._cssText) && attributes._cssText !== '';
    const isSheet = tag === 'link' && isStylesheet(attributes);
    const isHint = tag === 'link' && !isInlined && !isSheet;
    if (isOdd || isOddSvg || isHint || DROPPED_TAG.test(tag)) {
      // Its children stay, out of sight, and whatever attribute comes later means nothing to it.
      node.tagName = 'rrd-dropped';
      node.attributes = { style: 'display: none !important' };
      node.isSVG = node.isCustom = node.isShadowHost = undefined;
      return null;
    }
    node.attributes = cleanAttributes(attributes, [tag]);
    if (isInlined) node.tagName = 'link';
    if (isSheet) node.attributes.rel = 'stylesheet';
    if (node.isCustom && (!CUSTOM_TAG.test(name) || RESERVED.test(name))) node.isCustom = undefined;
    if (node.isShadowHost && !CUSTOM_TAG.test(name) && !SHADOW_HOST.test(tag)) node.isShadowHost = undefined;
    return MEANT_TAG.test(tag) ? tag : null;
  }

  // Cleans a node by itself; returns its tag if it leads elsewhere.
  function cleanOne(node) {
    if (!isNumber(node.rootId)) delete node.rootId;
    if (node.type === 2) return cleanElement(node);
    if (node.type === 1) {
      node.name = isText(node.name) && TAG.test(node.name) ? node.name : 'html';
      for (const name of ['publicId', 'systemId']) node[name] = isText(node[name]) ? node[name] : '';
    } else if (node.type !== 0) {
      if (node.type === 4) node.type = 3; // An HTML document has no CDATA; it is text.
      if (!isText(node.textContent)) node.textContent = '';
    }
    return null;
  }

  // What a document may hold: one element, one type before it, and comments.
  function childrenOfDocument(children) {
    const isFirst = (type) => (child) => child.type !== type || children.find((one) => one.type === type) === child;
    return children
      .filter(({ type }) => type === 1 || type === 2 || type === 5)
      .filter(isFirst(1))
      .filter(isFirst(2));
  }

  // Cleans a node and all in it. An id stands for one node; a document in a document comes by a later change.
  function cleanTree(root, parent) {
    const waiting = [[root, parent]];
    const known = new Set([root.id]);
    while (waiting.length) {
      const [node, above] = waiting.pop();
      const tag = cleanOne(node);
      if (node.type === 3 && (node.isStyle || above?.leads.includes('style')) && isNested(node.textContent))
        node.textContent = '';
      const made = { parent: above, depth: (above?.depth ?? 0) + 1, isGone: false, leads: tag ? [tag] : [] };
      nodes.set(node.id, made);
      if (node.type !== 0 && node.type !== 2) {
        delete node.childNodes;
        continue;
      }
      const children = made.depth < DEPTH_MAX ? list(node.childNodes) : [];
      node.childNodes = (node.type === 0 ? childrenOfDocument(children) : children).filter(({ id, type }) => {
        const isNew = isNumber(id) && type !== 0 && !known.has(id) && !(nodes.has(id) && isLive(nodes.get(id)));
        return isNew && known.add(id);
      });
      if (!node.childNodes.length) delete node.compatMode;
      for (const child of node.childNodes) waiting.push([child, made]);
    }
    return root;
  }

  // Puts an added node where it belongs: true if it has its place, false if it can't have one, null if its parent is
  // not there yet.
  function place({ parentId, node }) {
    const parent = nodes.get(parentId);
    if (!parent || !isLive(parent)) return null;
    const before = nodes.get(node.id);
    const isThere = before !== undefined && isLive(before);
    // The replayer would move one that is there with all in it, and nobody would know how deep it gets.
    if (!isNumber(node.id) || parent.depth >= DEPTH_MAX || (isThere && before.parent !== parent)) return false;
    if ((node.type === 0) !== parent.leads.includes('iframe')) return false;
    // Only a document brings what is in it; all else comes by itself.
    if (node.type !== 0) node.childNodes = [];
    else delete node.compatMode; // The replayer would write HTML, which the stage's policy forbids.
    cleanTree(node, parent);
    // Should the replayer not take the new one, then the old one is still there.
    if (isThere) nodes.get(node.id).leads.push(...before.leads);
    return true;
  }

  function cleanAdds(adds) {
    const placed = [];
    let waiting = list(adds).filter(({ node }) => isObject(node));
    for (let before = Infinity; waiting.length && waiting.length < before;) {
      before = waiting.length;
      waiting = waiting.filter((add) => {
        const isPlaced = place(add);
        if (isPlaced) placed.push({ ...add, nextId: add.nextId > 0 ? add.nextId : null, previousId: undefined });
        return isPlaced === null;
      });
    }
    return placed;
  }

  function cleanMutation(data, timestamp) {
    // One that comes after a later snapshot would change the page that was before, whose nodes are forgotten here.
    if (timestamp < snapshotMs) return null;
    data.removes = list(data.removes);
    for (const { id, parentId } of data.removes) {
      const node = nodes.get(id);
      if (node && node.parent === nodes.get(parentId)) node.isGone = true;
    }
    data.texts = list(data.texts).filter(({ id, value }) => {
      const isStyle = nodes.get(id)?.parent?.leads.includes('style');
      return value === null || (isText(value) && !(isStyle && isNested(value)));
    });
    data.adds = cleanAdds(data.adds);
    data.attributes = list(data.attributes).filter(({ id, attributes }) => nodes.has(id) && isTable(attributes));
    for (const { id, attributes } of data.attributes) cleanAttributes(attributes, nodes.get(id).leads);
    return data;
  }

  const goodRules = (rules) => list(rules).filter(({ rule }) => isText(rule) && !isNested(rule));

  function cleanRules(data) {
    if (data.adds) data.adds = goodRules(data.adds);
    return isNested(data.replace) || isNested(data.replaceSync) ? null : data;
  }

  function cleanMoves(data) {
    const fields = ['x', 'y', 'id', 'timeOffset'];
    const positions = list(data.positions).filter((position) => fields.every((field) => isNumber(position[field])));
    return positions.length ? { ...data, positions } : null;
  }

  function isGoodFont({ buffer, fontSource }) {
    return isText(fontSource) && (buffer === true || /^url\(["']?data:/.test(fontSource));
  }

  const when = (isGiven) => (data) => (isGiven(data) ? data : null);

  // By source. Canvas commands (9) and logs (11) are not played.
  const INCREMENTAL = {
    0: cleanMutation,
    1: cleanMoves,
    2: when(({ type }) => Number.isInteger(type) && type >= 0 && type <= 10),
    3: when(({ x, y }) => isNumber(x) && isNumber(y)),
    4: (data) => ({ ...data, width: side(data.width), height: side(data.height) }),
    5: when(({ text }) => isText(text)),
    6: cleanMoves,
    7: when(({ id, type }) => isNumber(type) && nodes.get(id)?.leads.some((tag) => tag === 'audio' || tag === 'video')),
    8: cleanRules,
    10: when(isGoodFont),
    12: cleanMoves,
    13: when(({ set }) => !isNested(set?.value)),
    14: when(({ ranges }) => Array.isArray(ranges)),
    15: (data) => {
      data.styles = list(data.styles).map((style) => ({ ...style, rules: goodRules(style.rules) }));
      return Array.isArray(data.styleIds) ? data : null;
    },
  };

  function cleanData({ type, timestamp, data }) {
    if (type === 0 || type === 1) return {};
    if (!isTable(data)) return null;
    if (type === 4) return { href: '', width: side(data.width), height: side(data.height) };
    if (type === 3) {
      const clean = isNumber(data.source) && Object.hasOwn(INCREMENTAL, data.source) && INCREMENTAL[data.source];
      return clean ? clean(data, timestamp) : null;
    }
    if (type !== 2 || !isObject(data.node) || data.node.type !== 0 || timestamp < snapshotMs) return null;
    nodes = new Map();
    snapshotMs = timestamp;
    const { left, top } = isObject(data.initialOffset) ? data.initialOffset : {};
    const initialOffset = { left: isNumber(left) ? left : 0, top: isNumber(top) ? top : 0 };
    return { node: cleanTree(data.node, undefined), initialOffset };
  }

  return (event) => {
    if (!isObject(event) || !isNumber(event.timestamp)) return null;
    const data = cleanData(event);
    return data && { type: event.type, timestamp: event.timestamp, data };
  };
};
