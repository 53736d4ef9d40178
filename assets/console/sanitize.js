'use strict';

// A recording is HTML that strangers wrote: the key that writes it stands in each page's source. The replayer's
// frame runs no script and the page's policy lets it fetch nothing; this is the third wall, and the only one
// against `<link rel=preconnect>`, which no policy stops.
//
// `makeSanitizer()` is for one stream of events; the function it returns gives what the replayer may see of an event,
// or null. It changes the event, and keeps each node's id, so that later changes still find their nodes.
const makeSanitizer = () => {
  const TAG = /^[a-zA-Z][\w.:-]*$/;
  const CUSTOM_TAG = /^[a-z][a-z0-9._]*-[a-z0-9._-]*$/;
  const RESERVED = /^(annotation-xml|color-profile|font-face|missing-glyph|font-face-(src|uri|format|name))$/;
  const SHADOW_HOST = /^(article|aside|blockquote|body|div|footer|h[1-6]|header|main|nav|p|section|span)$/;
  const DROPPED_TAG = /^(script|base|object|embed|applet|frame|frameset|portal|fencedframe|bgsound)$/;
  const DROPPED_ATTRIBUTE =
    /^(on.*|ping|srcdoc|formaction|action|autofocus|referrerpolicy|attributionsrc|nonce|http-equiv|__proto__)$/i;
  const SCRIPT_URL = /^(javascript:|vbscript:|data:text\/html)/i;
  const SIDE_MAX = 20_000; // Pixels of a window: larger ones only take memory.

  // Elements that lead elsewhere, by id: what they are decides what a later change of an attribute may do.
  const LEADING_TAG = /^(iframe|a|area|link)$/;
  const tags = new Map();

  const isObject = (value) => typeof value === 'object' && value !== null;
  const isTable = (value) => isObject(value) && !Array.isArray(value);
  const list = (value) => (Array.isArray(value) ? value.filter(isObject) : []);
  const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
  const side = (value) => (isNumber(value) ? Math.min(Math.max(value, 1), SIDE_MAX) : 1);

  function isGood(name, value, tag) {
    if (DROPPED_ATTRIBUTE.test(name)) return false;
    if (name === 'style' && isObject(value)) return true; // Changed properties, by name.
    if (isObject(value)) return false;
    if (name === 'rr_dataURL') return typeof value === 'string' && value.startsWith('data:image/');
    if (name.startsWith('rr_media')) return tag === 'audio' || tag === 'video';
    // Browsers pass over white space and control characters in the name of a scheme.
    return typeof value !== 'string' || !SCRIPT_URL.test(value.slice(0, 4096).replace(/[\0- ]/g, ''));
  }

  // What may not be set on one of these, whatever its value. HTML takes REL for rel.
  const DROPPED_OF = { iframe: /^src$/i, link: /^rel$/i };

  function cleanAttributes(attributes, tag) {
    for (const name of Object.keys(attributes)) {
      if (DROPPED_OF[tag]?.test(name) || !isGood(name, attributes[name], tag)) delete attributes[name];
      // A click on a link would connect before the policy is asked.
      else if ((tag === 'a' || tag === 'area') && /^(xlink:)?href$/i.test(name)) attributes[name] = '#';
    }
    return attributes;
  }

  function isStylesheet(attributes) {
    const words = (typeof attributes.rel === 'string' ? attributes.rel : '').toLowerCase().split(/\s+/).filter(Boolean);
    return words.includes('stylesheet') && words.every((word) => word === 'stylesheet' || word === 'alternate');
  }

  function cleanElement(node) {
    const name = typeof node.tagName === 'string' ? node.tagName : '';
    const tag = name.toLowerCase();
    const attributes = isTable(node.attributes) ? node.attributes : {};
    const isOdd = !TAG.test(name) || name in Object.prototype || tag in Object.prototype;
    const isOddSvg = node.isSVG && (name.split(':').length > 2 || /^xml(ns)?:|^xmlns$|:$/.test(tag));
    const isHint = tag === 'link' && !isStylesheet(attributes);
    if (isOdd || isOddSvg || isHint || DROPPED_TAG.test(tag)) {
      // Its children stay, out of sight, and whatever attribute comes later means nothing to it.
      node.tagName = 'rrd-dropped';
      node.attributes = { style: 'display: none !important' };
      node.isSVG = node.isCustom = node.isShadowHost = undefined;
      return;
    }
    if (LEADING_TAG.test(tag)) tags.set(node.id, tag);
    node.attributes = cleanAttributes(attributes, tag);
    if (tag === 'link') node.attributes.rel = 'stylesheet';
    if (node.isCustom && (!CUSTOM_TAG.test(name) || RESERVED.test(name))) node.isCustom = undefined;
    if (node.isShadowHost && !CUSTOM_TAG.test(name) && !SHADOW_HOST.test(tag)) node.isShadowHost = undefined;
  }

  function cleanNode(root) {
    const waiting = [root];
    while (waiting.length) {
      const node = waiting.pop();
      if (node.type === 2) cleanElement(node);
      if (node.type === 1) {
        node.name = typeof node.name === 'string' && TAG.test(node.name) ? node.name : 'html';
        for (const name of ['publicId', 'systemId']) node[name] = typeof node[name] === 'string' ? node[name] : '';
      }
      if (node.type === 4) node.type = 3; // An HTML document has no CDATA; it is text.
      if (node.type === 0 || node.type === 2) {
        node.childNodes = list(node.childNodes);
        for (const child of node.childNodes) waiting.push(child);
      } else {
        delete node.childNodes;
      }
    }
    return root;
  }

  function cleanMutation(data) {
    data.removes = list(data.removes);
    data.texts = list(data.texts).filter(({ value }) => value === null || typeof value === 'string');
    data.adds = list(data.adds).filter(({ node }) => isObject(node));
    for (const { node } of data.adds) cleanNode(node);
    data.attributes = list(data.attributes).filter((change) => isTable(change.attributes));
    for (const { id, attributes } of data.attributes) {
      cleanAttributes(attributes, tags.get(id) ?? '');
    }
    return data;
  }

  function isGoodFont({ buffer, fontSource }) {
    return typeof fontSource === 'string' && (buffer === true || /^url\(["']?data:/.test(fontSource));
  }

  // By source. Canvas commands (9) and logs (11) are not played.
  const INCREMENTAL = {
    0: cleanMutation,
    4: (data) => ({ ...data, width: side(data.width), height: side(data.height) }),
    10: (data) => (isGoodFont(data) ? data : null),
    ...Object.fromEntries([1, 2, 3, 5, 6, 7, 8, 12, 13, 14, 15].map((source) => [source, (data) => data])),
  };

  function cleanData(type, data) {
    if (type === 0 || type === 1) return {};
    if (!isObject(data)) return null;
    if (type === 4) return { href: '', width: side(data.width), height: side(data.height) };
    if (type === 3) {
      const clean = isNumber(data.source) && Object.hasOwn(INCREMENTAL, data.source) && INCREMENTAL[data.source];
      return clean ? clean(data) : null;
    }
    if (type !== 2 || !isObject(data.node)) return null;
    const { left, top } = isObject(data.initialOffset) ? data.initialOffset : {};
    const initialOffset = { left: isNumber(left) ? left : 0, top: isNumber(top) ? top : 0 };
    return { node: cleanNode(data.node), initialOffset };
  }

  return (event) => {
    if (!isObject(event) || !isNumber(event.timestamp)) return null;
    const data = cleanData(event.type, event.data);
    return data && { type: event.type, timestamp: event.timestamp, data };
  };
};
