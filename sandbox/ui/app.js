/** The sandbox workspace in a browser: who acts, where they are, and what goes where on the screen. */

import { Client } from "./client.js";
import { composer } from "./composer.js";
import { author, Home, Messages } from "./conversation.js";
import { dismissMessages, toast } from "./dialogs.js";
import { avatar, h, icon, redraw } from "./dom.js";
import { KeysPanel, allKeys } from "./keys.js";
import { ModalStack } from "./modal.js";
import { drawSidebar } from "./sidebar.js";

const DEFAULT_MEMBER = "U0BEN";
const TICK = 20_000;

const cookieMember = () => /(?:^|; )sandbox_member=(\w+)/.exec(document.cookie)?.[1];
const as = new URLSearchParams(location.search).get("as") ?? cookieMember() ?? DEFAULT_MEMBER;

/** The sign-in page of the sandbox offers the member of the tab that was used last. */
const remember = () => {
  document.cookie = `sandbox_member=${as}; path=/; max-age=31536000; samesite=lax`;
};
const dmOf = (member) => `D${member.slice(1)}`;
const dm = dmOf(as);
const hrefTo = (channel, home = false) => `#${channel}${home ? "/home" : ""}`;
/** The same place in the eyes of another member: their own conversation with the app for mine. */
const hrefAs = (id) => `?as=${id}${hrefTo(place().channel === dm ? dmOf(id) : place().channel, place().home)}`;

const main = document.getElementById("main");
const panel = document.getElementById("keys");
const client = new Client({
  as,
  changed: (state) => draw(state),
  problem: (title, text) => toast("error", title, text),
});
const modals = new ModalStack(client);
const messages = new Messages(client);
const home = new Home(client);
const keys = new KeysPanel(panel, () => showPanel(false));
const box = composer(client, (text) =>
  text.startsWith("/") ? client.command(place().channel, text) : client.message(place().channel, text),
);

const head = h("header", { class: "main-head" });
const offline = h(
  "div",
  { class: "offline", role: "alert", hidden: true },
  icon("warning"),
  "The sandbox does not answer. Trying again…",
);
const body = h("div", { class: "main-body" });
main.append(head, offline, body, box.node);

/** Where the member is, by the address: a channel, or the app's Home or messages. */
function place() {
  const [channel, tab] = location.hash.slice(1).split("/");
  const known = client.state?.channels.some((candidate) => candidate.id === channel) || channel === dm;
  const fallback = client.state?.channels.find((candidate) => candidate.kind === "channel")?.id ?? dm;
  return { channel: known ? channel : fallback, home: known && channel === dm && tab === "home" };
}

/** How far a member has read a channel, kept per browser. */
const read = {
  key: (channel) => `read ${client.state.team.id} ${as} ${channel}`,
  until: (channel) => Number(localStorage.getItem(read.key(channel.id)) ?? 0),
  mark: (channel) => localStorage.setItem(read.key(channel.id), channel.messages.at(-1)?.ts ?? 0),
};
const unread = (channel) =>
  channel.messages.filter((message) => message.ts > read.until(channel) && message.user !== as).length;

/** The app as a member, with whether it is connected. */
const appOf = (state) => ({ ...state.members.find((member) => member.app), connected: state.app.connected });

function draw(state) {
  const here = place();
  const app = appOf(state);
  const channel = state.channels.find((candidate) => candidate.id === here.channel);
  if (channel && !here.home && document.visibilityState === "visible") read.mark(channel);
  announce(state, here);
  drawSidebar(document.getElementById("sidebar"), { state, place: here, unread, hrefAs, hrefTo, app, dm });
  drawHead(here, channel, app, state);
  box.node.hidden = here.home;
  const shown = here.home ? home.node : messages.node;
  if (body.firstElementChild !== shown) body.replaceChildren(shown);
  if (here.home) home.show(state.home, app.name);
  else messages.show(channel ?? { id: dm, messages: [] }, { state, welcome: welcome(here, channel, app) });
  box.aim(here.channel === dm ? `Message ${app.name}` : `Message #${channel?.name ?? ""}`);
  modals.show(state.views);
  keys.show(allKeys(state), state.now);
  main.classList.toggle("pending", state.pending);
  const waiting = state.channels.reduce((sum, candidate) => sum + unread(candidate), 0);
  const where = here.channel === dm ? app.name : `#${channel?.name}`;
  document.title = `${waiting ? `(${waiting}) ` : ""}${where} · ${state.me.name} · ${state.team.name}`;
}

function drawHead(here, channel, app, state) {
  const active = allKeys(state).filter((key) => key.status === "active").length;
  redraw(head, [here, channel?.name, channel?.topic, app.name, active, panel.hidden], () => [
    here.channel === dm
      ? h(
          "div",
          { class: "main-title" },
          avatar(app, "avatar-small"),
          h("h1", {}, app.name),
          h("span", { class: "tag" }, "App"),
        )
      : h(
          "div",
          { class: "main-title" },
          h("h1", {}, h("span", { class: "hash" }, "#"), h("bdi", {}, channel.name)),
          channel.topic && h("p", { class: "topic", dir: "auto" }, channel.topic),
        ),
    ...(here.channel === dm ? [tabs(here, app)] : []),
    h(
      "button",
      {
        class: "panel-toggle button button-quiet",
        type: "button",
        "aria-expanded": String(!panel.hidden),
        "aria-controls": "keys",
        data: { testid: "keys-toggle" },
        onclick: () => showPanel(panel.hidden),
      },
      icon("key"),
      h("span", {}, active === 1 ? "1 key" : `${active} keys`),
    ),
  ]);
}

function tabs(here, app) {
  const tab = (label, home, testid) =>
    h(
      "a",
      { class: "tab", href: hrefTo(dm, home), "aria-current": here.home === home ? "page" : null, data: { testid } },
      label,
    );
  return h(
    "nav",
    { class: "tabs", "aria-label": app.name },
    tab("Home", true, "home"),
    tab("Messages", false, "messages-tab"),
  );
}

function welcome(here, channel, app) {
  const words =
    here.channel === dm
      ? [
          avatar(app, "avatar-big"),
          h("h2", {}, app.name),
          h(
            "p",
            {},
            `This is where ${app.name} writes to you. `,
            h("a", { class: "link", href: hrefTo(dm, true) }, "Open its Home"),
            ".",
          ),
        ]
      : [
          h("span", { class: "welcome-hash", "aria-hidden": "true" }, "#"),
          h("h2", {}, channel.name),
          h("p", {}, "The beginning of this channel. Type ", h("kbd", {}, "/"), " to see the commands."),
        ];
  return h("div", {}, words);
}

/** Messages that arrive elsewhere are announced by their text, as Slack's notifications do it. */
const announced = new Set();
let begun = false;
function announce(state, here) {
  for (const channel of state.channels) {
    for (const message of channel.messages) {
      const id = `${channel.id} ${message.ts}`;
      if (announced.has(id)) continue;
      announced.add(id);
      const seen = channel.id === here.channel && !here.home;
      if (!begun || seen || message.user === as || message.ephemeral) continue;
      const title = channel.kind === "im" ? author(message, state).name : `#${channel.name}`;
      toast("message", title, legible(message.text ?? ""), () => {
        location.hash = hrefTo(channel.id);
      });
    }
  }
  begun = true;
}

/** A message's text without marks, for a notification. */
function legible(text) {
  const names = { "@": client.directory.user, "#": client.directory.channel };
  return text
    .replace(/<([@#])(\w+)(?:\|[^>]*)?>/g, (whole, sign, id) => sign + (names[sign](id) ?? id))
    .replace(/<!subteam\^(\w+)[^>]*>/g, (whole, id) => `@${client.directory.group(id) ?? id}`)
    .replace(/<![^|>]*\|([^>]*)>/g, "$1")
    .replace(/<[^|>]*\|([^>]*)>/g, "$1")
    .replace(/<([^>]*)>/g, "$1")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&amp;/g, "&")
    .replace(/(^|\W)([*_~`])(\S[^\n]*?)\2(?=\W|$)/g, "$1$3");
}

function showPanel(open) {
  panel.hidden = !open;
  document.body.classList.toggle("with-panel", open);
  localStorage.setItem("keys-panel", open ? "open" : "closed");
  head.querySelector("[data-testid=keys-toggle]")?.setAttribute("aria-expanded", String(open));
}

function arrive() {
  dismissMessages();
  draw(client.state);
  const here = place();
  if (here.home) client.openHome();
  else box.focus();
}

async function start() {
  showPanel(localStorage.getItem("keys-panel") !== "closed");
  try {
    await client.refresh();
  } catch (error) {
    box.node.hidden = panel.hidden = true;
    document.body.classList.remove("with-panel");
    body.replaceChildren(
      h(
        "div",
        { class: "empty" },
        icon("warning"),
        h("strong", {}, "This workspace does not open"),
        h("p", {}, error.message === "user_not_found" ? `Nobody here has the id ${as}.` : error.message),
        h("p", {}, h("a", { class: "link", href: `?as=${DEFAULT_MEMBER}` }, "Open it as Ben Okafor")),
      ),
    );
    return;
  }
  remember();
  window.addEventListener("focus", remember);
  window.addEventListener("hashchange", arrive);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    remember();
    draw(client.state);
  });
  arrive();
  client.follow((connected) => {
    offline.hidden = connected;
  });
  setInterval(() => draw(client.state), TICK);
}

start();
