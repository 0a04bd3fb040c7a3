/** The right side: the keys at the pretend providers as they come and go, and a box to try one. */

import { tryKey } from "./client.js";
import { h, icon, reconcile } from "./dom.js";
import { full, relative } from "./time.js";

const GOING = 1_400;
const VENDORS = { openai: "OpenAI", openrouter: "OpenRouter", litellm: "LiteLLM", anthropic: "Anthropic" };

/** Every vendor's keys in one list, each with the names of its vendor and project. */
export function allKeys(state) {
  return Object.entries(VENDORS).flatMap(([name, vendor]) => {
    const { projects, workspaces, keys } = state[name] ?? { keys: [] };
    const places = new Map((projects ?? workspaces ?? []).map((place) => [place.id, place]));
    return keys.map((key) => ({ ...key, vendor, place: places.get(key.project ?? key.workspace) }));
  });
}

function when(label, seconds, now, none) {
  return [
    h("dt", {}, label),
    h(
      "dd",
      {},
      seconds
        ? h("time", { title: full(seconds), datetime: new Date(seconds * 1000).toISOString() }, relative(seconds, now))
        : none,
    ),
  ];
}

/** What the key spent of its limit, where its vendor holds it to one. */
function spent({ spent, limit }) {
  if (limit == null) return [];
  return [h("dt", {}, "Spent"), h("dd", {}, `$${spent.toFixed(4)} of $${limit}`)];
}

export class KeysPanel {
  #node;
  #count = h("span", { class: "keys-count", data: { testid: "keys-count" } });
  #live = h("ul", { class: "key-list", "aria-label": "Active keys" });
  #gone = h("ul", { class: "key-list" });
  #past = h("details", { class: "past" });
  #pastTitle = h("summary", {});
  #empty = h(
    "div",
    { class: "empty keys-empty" },
    icon("key"),
    h("strong", {}, "No keys"),
    h("p", {}, "A key appears here at the moment its holder picks it up, and goes when it is revoked."),
  );
  #elsewhere = h(
    "p",
    { class: "keys-elsewhere" },
    h("a", { href: "/anthropic/console", target: "_blank", rel: "noopener" }, "Anthropic’s Console"),
    " (pretend) is where people make keys of Anthropic.",
  );

  /** Build the panel into `node`; `close` hides it. */
  constructor(node, close) {
    this.#node = node;
    this.#past.append(this.#pastTitle, this.#gone);
    node.append(
      h(
        "header",
        { class: "keys-head" },
        h(
          "div",
          {},
          h("h2", {}, "Providers ", h("span", { class: "tag" }, "pretend")),
          h("p", {}, "What they see"),
        ),
        this.#count,
        h(
          "button",
          {
            class: "icon-button",
            type: "button",
            "aria-label": "Hide the keys panel",
            data: { testid: "keys-close" },
            onclick: close,
          },
          icon("close"),
        ),
      ),
      h("div", { class: "keys-scroll" }, this.#empty, this.#live, this.#past, this.#elsewhere),
      this.#tryBox(),
    );
  }

  /** Show the keys as they are at `now`. */
  show(keys, now) {
    const newest = [...keys].sort((one, other) => other.created_at - one.created_at);
    const live = newest.filter((key) => key.status === "active");
    const gone = newest.filter((key) => key.status !== "active");
    const describe = (key) => ({
      key: key.id,
      signature: JSON.stringify([
        key,
        relative(key.expires_at ?? 0, now),
        relative(key.last_used_at ?? 0, now),
        relative(key.created_at, now),
      ]),
    });
    const settled = this.#node.classList.contains("settled");
    reconcile(
      this.#live,
      live,
      describe,
      (key, old) => this.#card(key, now, settled && !old),
      (node) => this.#leave(node, keys),
    );
    reconcile(this.#gone, gone, describe, (key) => this.#card(key, now, false));
    this.#node.classList.add("settled");
    this.#count.textContent = live.length === 1 ? "1 active" : `${live.length} active`;
    this.#count.classList.toggle("none", !live.length);
    this.#pastTitle.textContent = `${gone.length} no longer valid`;
    this.#past.hidden = !gone.length;
    this.#empty.hidden = live.length > 0;
  }

  #leave(node, keys) {
    const status = keys.find((key) => key.id === node.dataset.keyId)?.status ?? "deleted";
    node.querySelector(".status").textContent = status;
    delete node.dataset.testid;
    node.classList.add("leaving");
    node.setAttribute("aria-hidden", "true");
    setTimeout(() => node.remove(), GOING);
  }

  #card(key, now, arriving) {
    return h(
      "li",
      {
        class: arriving ? "key-card arriving" : "key-card",
        data: { "key-id": key.id, status: key.status, testid: "key" },
      },
      h(
        "div",
        { class: "key-top" },
        h("strong", { class: "key-name", dir: "auto", title: key.name }, key.name),
        h("span", { class: "tag" }, key.vendor),
        h("span", { class: `status status-${key.status}` }, key.status),
      ),
      h("code", { class: "key-redacted" }, key.redacted),
      h(
        "dl",
        {},
        h("dt", {}, "Project"),
        h(
          "dd",
          {},
          h("bdi", {}, key.place?.name ?? key.project ?? "none"),
          key.place?.status === "archived" && h("span", { class: "tag" }, "archived"),
        ),
        spent(key),
        when("Created", key.created_at, now, ""),
        when("Expires", key.expires_at, now, "never"),
        when("Last used", key.last_used_at, now, "never"),
      ),
    );
  }

  #tryBox() {
    const input = h("input", {
      class: "text-input",
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "sk-…",
      "aria-label": "A key to try",
      data: { testid: "try-key" },
    });
    const result = h("div", { class: "try-result", role: "status", data: { testid: "try-result" } });
    const button = h(
      "button",
      { class: "button button-primary", type: "submit", data: { testid: "try-send" } },
      "Try it",
    );
    return h(
      "form",
      {
        class: "try",
        "aria-label": "Try a key",
        onsubmit: async (event) => {
          event.preventDefault();
          const key = input.value.trim();
          if (!key) return input.focus();
          button.disabled = true;
          result.className = "try-result";
          result.replaceChildren("Asking…");
          try {
            const { ok, status, text } = await tryKey(key);
            result.classList.add(ok ? "good" : "bad");
            result.replaceChildren(
              h("strong", {}, icon(ok ? "check" : "warning"), ok ? "The key works" : `Refused: ${status}`),
              h("p", { dir: "auto" }, text),
            );
          } catch {
            result.classList.add("bad");
            result.replaceChildren(h("strong", {}, icon("warning"), "The pretend provider does not answer."));
          } finally {
            button.disabled = false;
          }
        },
      },
      h("h3", {}, "Try a key"),
      h("p", {}, "Sends one chat message with the key that you paste."),
      h("div", { class: "try-row" }, input, button),
      result,
    );
  }
}
