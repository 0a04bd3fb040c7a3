/**
 * Block Kit as DOM. A Surface is one message or one view on the screen: it draws its blocks, holds the state of their
 * inputs, and sends what a member does with them.
 */

import { chart } from "./charts.js";
import { confirmDialog } from "./dialogs.js";
import { externalLink, freshId, h, icon, safeHref } from "./dom.js";
import { INPUTS } from "./inputs.js";
import { richText, textNode } from "./text.js";

export class Surface {
  /**
   * `container` is what the control API calls the place (`{ channel, ts }` or `{ view_id }`); `client` sends
   * (`act(surface, blockId, actionId, action)`, `suggest(surface, blockId, actionId, query)`) and knows names
   * (`directory`, `members`, `channels`); `retained` is the state of a former surface in the same place;
   * `submit` is called when Enter is pressed in a single-line input.
   */
  constructor({ container, client, retained = {}, submit = null }) {
    this.container = container;
    this.client = client;
    this.retained = retained;
    this.submit = submit;
    this.fields = new Map();
    this.errorSlots = new Map();
  }

  get directory() {
    return this.client.directory;
  }
  get members() {
    return this.client.members;
  }
  get channels() {
    return this.client.channels;
  }

  /** All of `blocks`, in order. */
  draw(blocks) {
    this.fields.clear();
    this.errorSlots.clear();
    return blocks.map((block, index) => {
      const id = block.block_id ?? String(index);
      const content = BLOCKS[block.type]?.(block, id, this) ?? unsupported(block.type);
      return h("div", { class: `block block-${block.type}`, data: { "block-id": id } }, content);
    });
  }

  /** The state of every input, as Slack nests it: block, then action. */
  values() {
    const values = {};
    for (const { blockId, actionId, read } of this.fields.values()) (values[blockId] ??= {})[actionId] = read();
    return values;
  }

  suggest(blockId, actionId, query) {
    return this.client.suggest(this, blockId, actionId, query);
  }

  /** Ask for confirmation where the element wants it, then send the action; `control` shows that it is under way. */
  async act(blockId, element, action, control) {
    if (element.confirm && !(await confirmDialog(element.confirm, this))) return false;
    control?.classList.add("busy");
    control?.setAttribute("aria-busy", "true");
    try {
      await this.client.act(this, blockId, element.action_id, action);
    } finally {
      control?.classList.remove("busy");
      control?.removeAttribute("aria-busy");
    }
    return true;
  }

  /** Show each error under its block and put the cursor at the first; returns the errors that fit no block. */
  showErrors(errors) {
    const homeless = [];
    for (const slot of this.errorSlots.values()) slot("");
    for (const [blockId, message] of Object.entries(errors)) {
      const slot = this.errorSlots.get(blockId);
      if (slot) slot(message);
      else homeless.push(message);
    }
    for (const [blockId, slot] of this.errorSlots)
      if (errors[blockId]) {
        slot.focus();
        break;
      }
    return homeless;
  }
}

/** An input element in its place; where it dispatches, a change is an action of its own. */
function inputElement(element, blockId, surface, { id, labelledBy, dispatch }) {
  const build = INPUTS[element.type];
  if (!build) return null;
  const field = {
    blockId,
    id,
    labelledBy,
    surface,
    submit: surface.submit,
    label: labelledBy ? null : (element.accessibility_label ?? element.placeholder?.text ?? element.action_id),
    retained: surface.retained[blockId]?.[element.action_id],
    // What was wrong is being changed: whether it is right now shows when it is submitted.
    corrected: () => surface.errorSlots.get(blockId)?.(""),
    changed: () => {
      field.corrected();
      if (dispatch) surface.act(blockId, element, made.read(), made.node);
    },
  };
  const made = build(element, field);
  surface.fields.set(`${blockId}\n${element.action_id}`, { blockId, actionId: element.action_id, read: made.read });
  return made;
}

function button(element, blockId, surface) {
  const action = { type: "button", value: element.value };
  const shared = {
    class: element.style ? `button button-${element.style}` : "button",
    "aria-label": element.accessibility_label,
    data: { "action-id": element.action_id, value: element.value },
  };
  const label = h("span", { class: "button-label", dir: "auto" }, textNode(element.text, surface));
  const href = element.url && safeHref(element.url);
  if (!href) {
    const node = h(
      "button",
      { ...shared, type: "button", onclick: () => surface.act(blockId, element, action, node) },
      label,
    );
    return node;
  }
  const node = externalLink(
    href,
    {
      ...shared,
      onclick: async (event) => {
        if (!element.confirm) return surface.act(blockId, element, action, node);
        event.preventDefault();
        if (await surface.act(blockId, element, action, node)) window.open(href, "_blank", "noopener,noreferrer");
      },
    },
    label,
    icon("external"),
  );
  return node;
}

function overflow(element, blockId, surface) {
  const menuId = freshId("menu");
  const items = element.options.map((option) => {
    const pick = () => {
      menu.hidePopover();
      surface.act(blockId, element, { type: "overflow", selected_option: option }, node);
    };
    const shared = { role: "menuitem", class: "menu-item", data: { value: option.value }, onclick: pick };
    const content = h("span", { dir: "auto" }, textNode(option.text, surface));
    return option.url
      ? externalLink(option.url, shared, content, icon("external"))
      : h("button", { ...shared, type: "button" }, content);
  });
  const menu = h("div", { class: "menu", id: menuId, role: "menu", popover: "auto" }, items);
  const trigger = h(
    "button",
    {
      class: "button button-quiet",
      type: "button",
      "aria-label": element.accessibility_label ?? "More actions",
      "aria-haspopup": "menu",
      popovertarget: menuId,
      data: { "action-id": element.action_id },
    },
    icon("more"),
  );
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    const box = trigger.getBoundingClientRect();
    menu.style.top = `${Math.min(box.bottom + 4, window.innerHeight - menu.offsetHeight - 8)}px`;
    menu.style.left = `${Math.max(8, box.right - menu.offsetWidth)}px`;
    items[0]?.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + move + items.length) % items.length].focus();
  });
  const node = h("span", { class: "overflow" }, trigger, menu);
  return node;
}

function picture(element) {
  const source = element.image_url ?? element.slack_file?.url;
  return h("img", {
    class: "picture",
    src: source && safeHref(source),
    alt: element.alt_text,
    loading: "lazy",
    referrerpolicy: "no-referrer",
  });
}

/** An element of an actions block or a section's accessory. */
function interactive(element, blockId, surface) {
  if (element.type === "button" || element.type === "workflow_button") return button(element, blockId, surface);
  if (element.type === "overflow") return overflow(element, blockId, surface);
  if (element.type === "image") return picture(element);
  return inputElement(element, blockId, surface, { dispatch: true })?.node ?? unsupported(element.type);
}

/** An element that this client cannot draw is named, so that nobody takes it for missing. */
function unsupported(type) {
  return h("span", { class: "unsupported" }, `This client cannot draw “${type}”.`);
}

const BLOCKS = {
  section(block, id, surface) {
    const accessory = block.accessory && interactive(block.accessory, id, surface);
    return [
      h(
        "div",
        { class: "section-main" },
        block.text && h("div", { class: "section-text", dir: "auto" }, textNode(block.text, surface)),
        block.fields &&
          h(
            "div",
            { class: "section-fields" },
            block.fields.map((text) => h("div", { class: "section-field", dir: "auto" }, textNode(text, surface))),
          ),
      ),
      accessory && h("div", { class: "section-accessory" }, accessory),
    ];
  },
  header: (block, id, surface) => h("h3", { class: "header-text", dir: "auto" }, textNode(block.text, surface)),
  context: (block, id, surface) =>
    block.elements.map((element) =>
      element.type === "image"
        ? picture(element)
        : h("span", { class: "context-text", dir: "auto" }, textNode(element, surface)),
    ),
  divider: () => h("hr"),
  actions: (block, id, surface) => block.elements.map((element) => interactive(element, id, surface)),
  image: (block, id, surface) =>
    h("figure", {}, block.title && h("figcaption", { dir: "auto" }, textNode(block.title, surface)), picture(block)),
  data_visualization: chart,
  rich_text: (block, id, surface) => richText(block, surface),
  alert: (block, id, surface) =>
    h(
      "div",
      { class: `alert alert-${block.level ?? "default"}` },
      icon(["warning", "error"].includes(block.level) ? "warning" : block.level === "success" ? "check" : "info"),
      h("div", { dir: "auto" }, textNode(block.text, surface)),
    ),
  input(block, id, surface) {
    const [control, label, hint, error] = ["input", "label", "hint", "error"].map(freshId);
    const made = inputElement(block.element, id, surface, {
      id: control,
      labelledBy: label,
      dispatch: block.dispatch_action,
    });
    if (!made) return unsupported(block.element.type);
    const errorNode = h("div", { class: "field-error", id: error, role: "alert", data: { testid: `error-${id}` } });
    const described = [block.hint && hint, error].filter(Boolean).join(" ");
    made.control.setAttribute("aria-describedby", described);
    if (!block.optional) made.control.setAttribute("aria-required", "true");
    if (block.element.focus_on_load) made.control.setAttribute("autofocus", "");
    const slot = (message) => {
      errorNode.replaceChildren(...(message ? [icon("warning"), h("span", { dir: "auto" }, message)] : []));
      made.control.setAttribute("aria-invalid", String(Boolean(message)));
      errorNode.parentElement?.classList.toggle("invalid", Boolean(message));
    };
    slot.focus = () => made.control.focus();
    surface.errorSlots.set(id, slot);
    return h(
      "div",
      { class: "field" },
      h(
        "label",
        { class: "field-label", id: label, for: control },
        h("span", { dir: "auto" }, textNode(block.label, surface)),
        block.optional && h("span", { class: "optional" }, "optional"),
      ),
      made.node,
      errorNode,
      block.hint && h("div", { class: "field-hint", id: hint, dir: "auto" }, textNode(block.hint, surface)),
    );
  },
};
