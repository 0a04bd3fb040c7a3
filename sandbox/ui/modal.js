/** The member's stack of modals: the top view is shown in a dialog, the ones below wait with what was typed in them. */

import { Surface } from "./blocks.js";
import { rescueToasts } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { textNode } from "./text.js";

export class ModalStack {
  #client;
  #dialog = null;
  #shown = null;
  #surface = null;
  #typed = new Map();
  #busy = false;
  #opener = null;

  constructor(client) {
    this.#client = client;
  }

  /** Bring the screen in line with the stack of `views`, the top one last. */
  show(views) {
    const top = views.at(-1);
    const alive = new Set(views.map((view) => view.id));
    for (const id of this.#typed.keys()) if (!alive.has(id)) this.#typed.delete(id);
    if (!top) return this.#leave();
    const signature = JSON.stringify([views.length, top]);
    if (this.#shown?.signature === signature) return;
    if (this.#shown && alive.has(this.#shown.id)) this.#typed.set(this.#shown.id, this.#surface.values());
    this.#draw(top, views.length, signature);
  }

  #leave() {
    if (!this.#dialog) return;
    rescueToasts(this.#dialog);
    const dialog = this.#dialog;
    this.#dialog = this.#shown = this.#surface = null;
    this.#busy = false;
    dialog.close();
    dialog.remove();
    if (this.#opener?.isConnected) this.#opener.focus();
  }

  #draw(view, depth, signature) {
    const fresh = this.#shown?.id !== view.id;
    const focused = this.#dialog?.querySelector(":focus")?.dataset.actionId;
    const client = this.#client;
    this.#surface = new Surface({
      container: { view_id: view.id },
      client,
      retained: this.#typed.get(view.id),
      submit: view.submit ? () => this.#submit() : null,
    });
    const label = (text) => textNode(text, this.#surface);
    const submit =
      view.submit &&
      h(
        "button",
        { class: "button button-primary", type: "submit", data: { testid: "submit" } },
        h("span", { class: "button-label" }, label(view.submit)),
      );
    const form = h(
      "form",
      {
        class: "modal",
        novalidate: true,
        data: { "view-id": view.id, "callback-id": view.callback_id },
        onsubmit: (event) => {
          event.preventDefault();
          this.#submit();
        },
      },
      h(
        "header",
        { class: "modal-head" },
        depth > 1
          ? h(
              "button",
              {
                class: "icon-button",
                type: "button",
                "aria-label": "Back",
                data: { testid: "back" },
                onclick: () => this.#close(),
              },
              icon("back"),
            )
          : h("span", { class: "avatar avatar-app avatar-small" }, icon("key")),
        h("h2", { id: "modal-title", dir: "auto" }, label(view.title)),
        h(
          "button",
          {
            class: "icon-button",
            type: "button",
            "aria-label": "Close",
            data: { testid: "close" },
            onclick: () => this.#close(true),
          },
          icon("close"),
        ),
      ),
      h("div", { class: "modal-body", tabindex: "-1" }, this.#surface.draw(view.blocks)),
      h("div", { class: "modal-problem", role: "alert", data: { testid: "modal-problem" } }),
      h(
        "footer",
        { class: "modal-foot" },
        h("span", { class: "modal-app" }, client.appName),
        (view.close || submit || depth > 1) &&
          h(
            "button",
            { class: "button", type: "button", data: { testid: "cancel" }, onclick: () => this.#close() },
            view.close ? label(view.close) : depth > 1 ? "Back" : "Close",
          ),
        submit,
      ),
    );

    this.#shown = { id: view.id, signature };
    this.#busy = false;
    if (!this.#dialog) {
      this.#opener = document.activeElement;
      this.#dialog = h("dialog", {
        class: "dialog",
        "aria-labelledby": "modal-title",
        data: { testid: "modal" },
        oncancel: (event) => {
          event.preventDefault();
          this.#close();
        },
      });
      document.body.append(this.#dialog);
    }
    rescueToasts(this.#dialog);
    this.#dialog.replaceChildren(form);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#focus(form, fresh ? null : focused);
  }

  #focus(form, actionId) {
    const target =
      (actionId && form.querySelector(`[data-action-id="${CSS.escape(actionId)}"]`)) ||
      form.querySelector("[autofocus]") ||
      form.querySelector(".modal-body :is(input, textarea, select, button, a)") ||
      form.querySelector("footer button:last-child") ||
      form.querySelector(".modal-body");
    target.focus({ preventScroll: !actionId });
  }

  #wait(busy) {
    this.#busy = busy;
    const form = this.#dialog?.firstElementChild;
    if (!form) return;
    form.classList.toggle("waiting", busy);
    form.setAttribute("aria-busy", String(busy));
    form.querySelector("[data-testid=submit]")?.toggleAttribute("disabled", busy);
    form.querySelector(".modal-body").toggleAttribute("inert", busy);
  }

  async #submit() {
    if (this.#busy) return;
    const { id } = this.#shown;
    const surface = this.#surface;
    const form = this.#dialog.firstElementChild;
    const problem = form.querySelector(".modal-problem");
    problem.replaceChildren();
    this.#wait(true);
    const ack = await this.#client.submit(id, surface.values());
    if (this.#surface !== surface) return;
    this.#wait(false);
    const homeless = surface.showErrors(ack.errors);
    if (!ack.problem && !homeless.length) return;
    problem.append(icon("warning"), h("span", { dir: "auto" }, homeless.join(" ") || ack.problem));
  }

  /** Close the top view, or all of them as the cross does. */
  async #close(all = false) {
    if (!this.#busy) await this.#client.close(this.#shown.id, all);
  }
}
