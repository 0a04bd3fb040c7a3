/**
 * Building and reconciling DOM. Text children become text nodes, so what people wrote is never parsed as HTML;
 * nothing in this client uses innerHTML.
 */

/**
 * Build an element: `h("a", { href, class: "x", data: { testid: "y" }, onclick }, "text", child, [more])`.
 * Properties that are null, undefined or false are left out; true becomes an empty attribute.
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "data") for (const [key, item] of Object.entries(value)) set(node, `data-${key}`, item);
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else set(node, name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  node.setAttribute(name, value === true ? "" : String(value));
}

const ICONS = {
  chevron: "M4.5 6.5 8 10l3.5-3.5",
  close: "M4 4l8 8M12 4l-8 8",
  back: "M10 3.5 5.5 8l4.5 4.5",
  key: "M8.6 8h5.9v2.6M12 8v2M8.6 8a2.9 2.9 0 1 1-5.8 0 2.9 2.9 0 0 1 5.8 0Z",
  send: "M2.5 8 13.5 3l-3 10.5-2.8-4.2ZM7.7 9.3 13.5 3",
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM8 9.8a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6Z",
  warning: "M8 2.2 14.6 13.4H1.4ZM8 6.5v3M8 11.4v.1",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  check: "M3 8.5 6.3 12 13 4.5",
  external: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5",
  panel: "M2.5 3h11v10h-11ZM10 3v10",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3.2l2 1.3",
  lock: "M4.5 7V5.5a3.5 3.5 0 0 1 7 0V7M3.5 7h9v6.5h-9Z",
  info: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 7.5V11M8 5.2v.1",
};

/** A 16-pixel line icon that follows the text's colour and is hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  fill(svg, { viewBox: "0 0 16 16", class: `icon icon-${name}`, "aria-hidden": "true" }, []);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Make the children of `parent` match `items`, keeping the nodes of items that have not changed (with their focus,
 * their half-typed inputs and their scroll position). `describe(item)` gives `{ key, signature }`; `build(item, old)`
 * is called for new and changed items; `leave(node)` may animate a node out and removes it itself.
 */
export function reconcile(parent, items, describe, build, leave = (node) => node.remove()) {
  const old = new Map();
  for (const node of parent.children) if (node.reconciled && !node.leaving) old.set(node.reconciled.key, node);
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const { key, signature } = describe(item);
    let node = old.get(key);
    old.delete(key);
    if (node && node.reconciled.signature !== signature) {
      const fresh = build(item, node);
      if (cursor === node) cursor = fresh;
      node.replaceWith(fresh);
      node = fresh;
    }
    node ??= build(item, null);
    node.reconciled = { key, signature };
    while (cursor?.leaving) cursor = cursor.nextElementSibling;
    if (cursor === node) cursor = node.nextElementSibling;
    else parent.insertBefore(node, cursor);
  }
  for (const node of old.values()) {
    node.leaving = true;
    leave(node);
  }
}

/**
 * Give `node` the children that `build()` makes, where `what` they show has changed since; what had the focus keeps it,
 * by its test id. A node that is left alone can be clicked while news comes in.
 */
export function redraw(node, what, build) {
  const signature = JSON.stringify(what);
  if (node.drawn === signature) return;
  node.drawn = signature;
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
  node.replaceChildren(...build());
  if (focused) node.querySelector(`[data-testid="${CSS.escape(focused)}"]`)?.focus();
}

/** The address if a browser may safely follow it from here, else null. */
export function safeHref(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A link that opens in a new tab and tells the page behind it nothing about this one. */
export function externalLink(address, props, ...children) {
  const href = safeHref(address);
  if (!href) return h("span", { class: props?.class }, ...children);
  return h("a", { ...props, href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

const TONES = 8;

/** A member's picture: initials on a tone that stays with the id; an app shows a key. */
export function avatar(member, size = "") {
  const tone = [...(member.id ?? "?")].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) >>> 0, 7) % TONES;
  const initials = (member.name || "?")
    .split(/\s+/)
    .slice(0, 2)
    .map((word) => [...word][0] ?? "")
    .join("")
    .toUpperCase();
  const look = member.app ? "avatar-app" : `tone-${tone}`;
  return h("span", { class: `avatar ${look} ${size}`, "aria-hidden": "true" }, member.app ? icon("key") : initials);
}

let lastId = 0;

/** A fresh id, to tie a label to its input. */
export function freshId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}
