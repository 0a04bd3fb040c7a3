/**
 * Slack's mrkdwn as DOM nodes: bold, italic, strike, code, pre, quotes, links, mentions, dates, emoji.
 *
 * Text arrives escaped as Slack escapes it (`&amp;`, `&lt;`, `&gt;`), so a raw `<` always begins a reference; entities
 * are decoded last, into text nodes.
 */

import { externalLink, h } from "./dom.js";
import { emoji } from "./emoji.js";
import { full, stamp } from "./time.js";

const decode = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

/**
 * A span of text between two `mark`s that stands free of words; references and code inside it count as one. No text
 * matches two of the branches, so that hostile text cannot make the search backtrack for ever.
 */
const span = (mark) => {
  const inside = `(?:<[^<>\\n]+>|\`[^\`\\n]+\`|[^${mark}<\`\\n])+?`;
  return `(?<![\\p{L}\\p{N}${mark}])[${mark}](?!\\s)(${inside})(?<!\\s)[${mark}](?![\\p{L}\\p{N}${mark}])`;
};

const INLINE = new RegExp(
  ["`([^`\\n]+)`", "<([^<>\\n]+)>", span("*"), span("_"), span("~"), ":([a-z0-9_+'-]+):", "(\\n)"].join("|"),
  "gu",
);

/**
 * `text` as a fragment. `directory` names the ids in it: `{ user(id), channel(id), group(id) }`, each a name or null.
 * With `verbatim`, bare addresses stay text (Slack's `verbatim: true`).
 */
export function mrkdwn(text, directory, { verbatim = false } = {}) {
  const fragment = document.createDocumentFragment();
  const parts = text.split(/```\n?([\s\S]+?)\n?```\n?/);
  parts.forEach((part, index) => {
    if (index % 2)
      fragment.append(h("pre", { class: "mrk-pre", dir: "auto" }, h("code", {}, references(part, directory))));
    else if (part) fragment.append(quotes(part, directory, verbatim));
  });
  return fragment;
}

/** Plain text with its emoji names drawn, newlines kept. */
export function plain(text, withEmoji = true) {
  const fragment = document.createDocumentFragment();
  const parts = withEmoji ? text.split(/:([a-z0-9_+'-]+):/) : [text];
  parts.forEach((part, index) => fragment.append(index % 2 ? emojiNode(part) : part));
  return fragment;
}

function quotes(text, directory, verbatim) {
  const fragment = document.createDocumentFragment();
  let paragraph = [];
  let quote = [];
  const flush = (lines, wrap) => {
    if (lines.length) fragment.append(wrap(inline(lines.join("\n"), directory, verbatim)));
    lines.length = 0;
  };
  const flushAll = () => {
    flush(paragraph, (nodes) => nodes);
    flush(quote, (nodes) => h("blockquote", { class: "mrk-quote", dir: "auto" }, nodes));
  };
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    if (/^(&gt;|>){3}/.test(line)) {
      flushAll();
      quote = [line.replace(/^(&gt;|>){3} ?/, ""), ...lines.slice(index + 1)];
      break;
    }
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (quoted) {
      flush(paragraph, (nodes) => nodes);
      quote.push(quoted[1]);
    } else {
      flush(quote, (nodes) => h("blockquote", { class: "mrk-quote", dir: "auto" }, nodes));
      paragraph.push(line);
    }
  }
  flushAll();
  return fragment;
}

function inline(text, directory, verbatim) {
  const fragment = document.createDocumentFragment();
  const nested = (inner) => inline(inner, directory, verbatim);
  let position = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, reference, bold, italic, strike, name, newline] = match;
    fragment.append(words(text.slice(position, match.index), verbatim));
    position = match.index + whole.length;
    if (code) fragment.append(h("code", { class: "mrk-code", dir: "auto" }, decode(code)));
    else if (reference) fragment.append(referenceNode(reference, directory));
    else if (bold) fragment.append(h("strong", {}, nested(bold)));
    else if (italic) fragment.append(h("em", {}, nested(italic)));
    else if (strike) fragment.append(h("s", {}, nested(strike)));
    else if (name) fragment.append(emojiNode(name));
    else if (newline) fragment.append(h("br"));
  }
  fragment.append(words(text.slice(position), verbatim));
  return fragment;
}

/** Text without marks; bare web addresses become links, as Slack makes them. */
function words(text, verbatim) {
  const decoded = decode(text);
  if (verbatim) return decoded;
  const fragment = document.createDocumentFragment();
  decoded.split(/(https?:\/\/[^\s<>]*[^\s<>.,;:!?)'"\]])/).forEach((part, index) => {
    fragment.append(index % 2 ? externalLink(part, { class: "link" }, part) : part);
  });
  return fragment;
}

/** Preformatted text: only references are read in it. */
function references(text, directory) {
  const fragment = document.createDocumentFragment();
  text.split(/<([^<>\n]+)>/).forEach((part, index) => {
    fragment.append(index % 2 ? referenceNode(part, directory) : decode(part));
  });
  return fragment;
}

function referenceNode(reference, directory) {
  const bar = reference.indexOf("|");
  const target = bar < 0 ? reference : reference.slice(0, bar);
  const label = bar < 0 ? null : decode(reference.slice(bar + 1));
  if (target.startsWith("@")) return mention("user", target.slice(1), label, directory);
  if (target.startsWith("#")) return mention("channel", target.slice(1), label, directory);
  const [command, ...rest] = target.startsWith("!") ? target.slice(1).split("^") : [null];
  if (command === "subteam") return mention("group", rest[0], label, directory);
  if (command === "date") return dateNode(Number(rest[0]), rest[1] ?? "", rest[2], label ?? target);
  if (["here", "channel", "everyone"].includes(command))
    return h("span", { class: "mention mention-loud" }, `@${command}`);
  if (command !== null) return label ?? `<${command}>`;
  const address = decode(target);
  return externalLink(address, { class: "link" }, h("bdi", {}, label ?? address.replace(/^mailto:/, "")));
}

/** A mention of a person, channel or user group; rich text uses it too. */
export function mention(kind, id, label, directory) {
  const name = directory[kind](id) ?? label ?? id;
  const mine = kind === "user" && id === directory.me;
  const sign = kind === "channel" ? "#" : "@";
  return h(
    "span",
    { class: mine ? "mention mention-me" : "mention", data: { mention: id } },
    sign,
    h("bdi", {}, name.replace(/^[@#]/, "")),
  );
}

/** A date of Slack's, as a `time` element whose tooltip says it in full. */
export function dateNode(seconds, template, link, fallback) {
  const text = stamp(seconds, decode(template), fallback);
  if (!Number.isFinite(seconds)) return text;
  const time = h("time", { datetime: new Date(seconds * 1000).toISOString(), title: full(seconds) }, text);
  return link ? externalLink(decode(link), { class: "link" }, time) : time;
}

/** `:name:` drawn, or left as it was written when the name is unknown. */
export function emojiNode(name) {
  const drawn = emoji(name);
  return drawn
    ? h("span", { class: "emoji", role: "img", "aria-label": name.replaceAll("_", " "), title: `:${name}:` }, drawn)
    : `:${name}:`;
}
