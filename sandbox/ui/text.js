/** Slack's text objects and rich text as nodes. */

import { externalLink, h } from "./dom.js";
import { dateNode, emojiNode, mention, mrkdwn, plain } from "./mrkdwn.js";

/** A text object, `plain_text` or `mrkdwn`, as a fragment. */
export function textNode(text, surface) {
  if (text.type === "mrkdwn") return mrkdwn(text.text, surface.directory, { verbatim: text.verbatim });
  return plain(text.text, text.emoji !== false);
}

const STYLES = { bold: "strong", italic: "em", strike: "s", underline: "u", code: "code" };

const INLINE = {
  text: (element) => element.text,
  link: (element) => externalLink(element.url, { class: "link" }, h("bdi", {}, element.text ?? element.url)),
  emoji: (element) => emojiNode(element.name),
  user: (element, surface) => mention("user", element.user_id, null, surface.directory),
  channel: (element, surface) => mention("channel", element.channel_id, null, surface.directory),
  usergroup: (element, surface) => mention("group", element.usergroup_id, null, surface.directory),
  broadcast: (element) => h("span", { class: "mention mention-loud" }, `@${element.range}`),
  date: (element) => dateNode(element.timestamp, element.format, element.url, element.fallback ?? ""),
  color: (element) => h("code", { class: "mrk-code" }, element.value),
};

function inline(elements, surface) {
  return elements.map((element) => {
    const node = INLINE[element.type]?.(element, surface) ?? element.text ?? "";
    return Object.entries(STYLES).reduce(
      (inner, [style, tag]) =>
        element.style?.[style] ? h(tag, { class: tag === "code" ? "mrk-code" : null }, inner) : inner,
      node,
    );
  });
}

const PARTS = {
  rich_text_section: (part, surface) =>
    h("div", { class: "rich-section", dir: "auto" }, inline(part.elements, surface)),
  rich_text_quote: (part, surface) =>
    h("blockquote", { class: "mrk-quote", dir: "auto" }, inline(part.elements, surface)),
  rich_text_preformatted: (part, surface) =>
    h("pre", { class: "mrk-pre", dir: "auto" }, h("code", {}, inline(part.elements, surface))),
  rich_text_list: (part, surface) =>
    h(
      part.style === "ordered" ? "ol" : "ul",
      { class: `rich-list indent-${Math.min(part.indent ?? 0, 8)}`, start: part.offset ? part.offset + 1 : null },
      part.elements.map((item) => h("li", { dir: "auto" }, inline(item.elements, surface))),
    ),
};

/** A `rich_text` block's parts. */
export function richText(block, surface) {
  return block.elements.map((part) => PARTS[part.type]?.(part, surface));
}
