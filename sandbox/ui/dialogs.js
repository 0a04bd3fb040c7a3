/** Confirm dialogs and notices. A `dialog` element gives the focus trap, Esc and the inert page behind. */

import { h, icon } from "./dom.js";
import { plain } from "./mrkdwn.js";
import { textNode } from "./text.js";

/** Ask as a Block Kit confirm object asks; resolves to whether the member agreed. */
export function confirmDialog(confirm, surface) {
  return new Promise((resolve) => {
    const danger = confirm.style === "danger";
    const dialog = h(
      "dialog",
      {
        class: "dialog confirm",
        "aria-label": confirm.title.text,
        data: { testid: "confirm" },
        onclose: () => {
          dialog.remove();
          resolve(dialog.returnValue === "yes");
        },
      },
      h(
        "form",
        { method: "dialog" },
        h("h2", { dir: "auto" }, textNode(confirm.title, surface)),
        h("div", { class: "confirm-text", dir: "auto" }, textNode(confirm.text, surface)),
        h(
          "div",
          { class: "dialog-buttons" },
          h(
            "button",
            { class: "button", value: "no", data: { testid: "confirm-deny" } },
            textNode(confirm.deny, surface),
          ),
          h(
            "button",
            {
              class: `button ${danger ? "button-danger" : "button-primary"}`,
              value: "yes",
              autofocus: true,
              data: { testid: "confirm-ok" },
            },
            textNode(confirm.confirm, surface),
          ),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

const KINDS = { error: "warning", info: "info", message: "key" };
const STAY = { error: 12_000, info: 6_000, message: 7_000 };

/**
 * Show a notice that leaves by itself; `kind` is error, info or message. While a dialog is open the notices live inside
 * it, because the page behind a dialog is inert.
 */
export function toast(kind, title, text, onclick = null) {
  const region = document.getElementById("toasts");
  const host = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (region.parentElement !== host) host.append(region);
  const body = h(
    onclick ? "button" : "div",
    {
      class: "toast-body",
      type: onclick ? "button" : null,
      onclick:
        onclick &&
        (() => {
          onclick();
          dismiss();
        }),
    },
    h("strong", { dir: "auto" }, title),
    text && h("span", { class: "toast-text", dir: "auto" }, plain(text)),
  );
  const node = h(
    "div",
    { class: `toast toast-${kind}`, role: kind === "error" ? "alert" : null, data: { testid: `toast-${kind}` } },
    icon(KINDS[kind]),
    body,
    h(
      "button",
      { class: "toast-close", type: "button", "aria-label": "Dismiss", onclick: () => dismiss() },
      icon("close"),
    ),
  );
  const timer = setTimeout(() => dismiss(), STAY[kind]);
  function dismiss() {
    clearTimeout(timer);
    node.remove();
    if (!region.children.length && region.matches(":popover-open")) region.hidePopover();
  }
  region.prepend(node);
  while (region.children.length > 4) region.lastElementChild.remove();
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover();
}

/** Take down the messages' notices, when the member goes to see for themselves. */
export function dismissMessages() {
  for (const close of document.querySelectorAll(".toast-message .toast-close")) close.click();
}

/** Before a dialog leaves the page, bring the notices that live in it back. */
export function rescueToasts(dialog) {
  const region = document.getElementById("toasts");
  if (!dialog.contains(region)) return;
  document.body.append(region);
  if (region.children.length) region.showPopover();
}
