/** The middle: a channel's or a DM's messages, and the app's Home. */

import { Surface } from "./blocks.js";
import { avatar, h, icon, reconcile } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";
import { clock, day, full } from "./time.js";

const SAME_BREATH = 300;

/** Who wrote a message, as a member. */
export function author(message, state) {
  const known = state.members.find((member) => member.id === message.user);
  return known ?? { id: message.user, name: message.username ?? message.user };
}

/** A message that continues the one before it shows no name and picture of its own. */
function continues(message, before) {
  return (
    before &&
    before.user === message.user &&
    before.bot_id === message.bot_id &&
    !before.ephemeral &&
    !message.ephemeral &&
    message.ts - before.ts < SAME_BREATH &&
    day(message.ts) === day(before.ts)
  );
}

export class Messages {
  #client;
  #dismissed = new Set();
  #list = h("ol", { class: "messages", data: { testid: "messages" } });
  #scroller = h("div", { class: "scroller", tabindex: "0", role: "log", "aria-label": "Messages" }, this.#list);
  #channel = null;

  constructor(client) {
    this.#client = client;
  }

  get node() {
    return this.#scroller;
  }

  /** Show the channel's messages; `welcome` is what an empty conversation begins with. */
  show(channel, { state, welcome }) {
    const fresh = this.#channel !== channel?.id;
    const atEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight < 80;
    if (fresh) this.#list.replaceChildren();
    this.#channel = channel?.id;
    const messages = (channel?.messages ?? []).filter((message) => !this.#dismissed.has(message.ts));
    const items = messages.flatMap((message, index) => {
      const before = messages[index - 1];
      const divider = !before || day(before.ts) !== day(message.ts) ? [{ divider: day(message.ts) }] : [];
      return [...divider, { message, joined: continues(message, before) }];
    });
    reconcile(
      this.#list,
      [{ welcome }, ...items],
      (item) => this.#describe(item, state),
      (item, old) => this.#build(item, { state, channel, old }),
    );
    if (fresh || atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #describe(item) {
    if (item.welcome) return { key: "welcome", signature: item.welcome.textContent };
    if (item.divider) return { key: `day ${item.divider}`, signature: "" };
    return { key: item.message.ts, signature: JSON.stringify(item) };
  }

  #build(item, context) {
    if (item.welcome) return h("li", { class: "welcome" }, item.welcome);
    if (item.divider) return h("li", { class: "day" }, h("span", {}, item.divider));
    return this.#message(item, context);
  }

  #message({ message, joined }, { state, channel, old }) {
    const who = author(message, state);
    const surface = new Surface({ container: { channel: channel.id, ts: message.ts }, client: this.#client });
    const body = message.blocks?.length
      ? surface.draw(message.blocks)
      : h("div", { class: "message-text", dir: "auto" }, mrkdwn(message.text ?? "", this.#client.directory));
    const time = h(
      "time",
      { class: "message-time", datetime: new Date(message.ts * 1000).toISOString(), title: full(message.ts) },
      clock(message.ts),
    );
    const classes = ["message", joined && "joined", message.ephemeral && "ephemeral", old && "changed"]
      .filter(Boolean)
      .join(" ");
    return h(
      "li",
      { class: classes, data: { ts: message.ts, testid: "message", ephemeral: message.ephemeral ? "true" : null } },
      joined ? h("span", { class: "message-gutter" }, time) : avatar(who),
      h(
        "div",
        { class: "message-main" },
        message.ephemeral &&
          h(
            "div",
            { class: "only-you" },
            icon("eye"),
            h("span", {}, "Only visible to you"),
            h(
              "button",
              {
                class: "text-button",
                type: "button",
                onclick: (event) => this.#dismiss(message, event.currentTarget.closest("li")),
              },
              "Dismiss",
            ),
          ),
        !joined &&
          h(
            "div",
            { class: "message-head" },
            h("strong", { class: "message-author" }, h("bdi", {}, who.name)),
            (who.app || who.is_bot) && h("span", { class: "tag" }, "App"),
            time,
          ),
        h("div", { class: "message-body" }, body, message.edited && h("span", { class: "edited" }, "(edited)")),
      ),
    );
  }

  #dismiss(message, node) {
    this.#dismissed.add(message.ts);
    node.remove();
  }
}

/** The app's Home for one member; keeps what is typed in it while the view stays. */
export class Home {
  #client;
  #node = h("div", { class: "scroller home", tabindex: "0", data: { testid: "home-view" } });
  #signature = null;
  #surface = null;

  constructor(client) {
    this.#client = client;
  }

  get node() {
    return this.#node;
  }

  show(view, appName) {
    const signature = JSON.stringify(view);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const top = this.#node.scrollTop;
    if (!view) {
      this.#node.replaceChildren(
        h(
          "div",
          { class: "empty" },
          icon("key"),
          h("strong", {}, `${appName} has not drawn its Home yet`),
          h("p", {}, "It does so when its Home is opened, once it is running."),
        ),
      );
      return;
    }
    const retained = this.#surface?.values() ?? {};
    this.#surface = new Surface({ container: { view_id: view.id }, client: this.#client, retained });
    this.#node.replaceChildren(
      h("div", { class: "home-inner", data: { "view-id": view.id } }, this.#surface.draw(view.blocks)),
    );
    this.#node.scrollTop = top;
  }
}
