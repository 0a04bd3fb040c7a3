/** The left side: the workspace, whom one acts as, channels and apps. */

import { avatar, h, icon, redraw } from "./dom.js";

/** What a member is in this workspace, in a word or two; null for an ordinary member. */
function role(member) {
  if (member.deleted) return "deactivated";
  if (member.is_stranger) return "other workspace";
  if (member.is_ultra_restricted) return "single-channel guest";
  if (member.is_restricted) return "guest";
  if (member.is_bot) return "bot";
  return member.is_owner ? "owner" : member.is_admin ? "admin" : null;
}

function switcher(state, hrefAs) {
  const me = state.me;
  const people = state.members.filter((member) => !member.app);
  const rows = people.map((member) =>
    h(
      "a",
      {
        class: "menu-item person",
        role: "menuitem",
        href: hrefAs(member.id),
        "aria-current": member.id === me.id ? "true" : null,
        data: { testid: `as-${member.id}` },
      },
      avatar(member, "avatar-small"),
      h(
        "span",
        { class: "person-name" },
        h("bdi", {}, member.name),
        h("small", { dir: "auto" }, member.title || role(member) || "member"),
      ),
      member.title && role(member) && h("span", { class: "tag" }, role(member)),
      member.id === me.id && icon("check"),
    ),
  );
  const menu = h(
    "div",
    { class: "menu people", id: "people", role: "menu", popover: "auto" },
    h("div", { class: "menu-note" }, "Each tab can be another person. Ctrl-click opens a new one."),
    rows,
  );
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "open") (menu.querySelector("[aria-current]") ?? rows[0])?.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    rows[(rows.indexOf(document.activeElement) + move + rows.length) % rows.length].focus();
  });
  const button = h(
    "button",
    {
      class: "switcher",
      type: "button",
      popovertarget: "people",
      "aria-haspopup": "menu",
      data: { testid: "member-switcher" },
    },
    avatar(me),
    h("span", { class: "switcher-text" }, h("small", {}, "You are"), h("strong", {}, h("bdi", {}, me.name))),
    icon("chevron"),
  );
  return [button, menu];
}

function row({ href, current, unread, testid, sign, label, extra }) {
  return h(
    "li",
    {},
    h(
      "a",
      {
        class: unread ? "place unread" : "place",
        href,
        "aria-current": current ? "page" : null,
        data: { testid },
      },
      h("span", { class: "place-sign" }, sign),
      h("span", { class: "place-name" }, h("bdi", {}, label)),
      extra,
      unread > 0 && h("span", { class: "badge", "aria-label": `${unread} unread` }, String(unread)),
    ),
  );
}

/**
 * Draw the sidebar. `place` is `{ channel, home }`; `unread(channel)` counts; `hrefAs(id)` and `hrefTo(channelId)` give
 * addresses; `app` is the app's member and `dm` its conversation's id.
 */
export function drawSidebar(node, { state, place, unread, hrefAs, hrefTo, app, dm }) {
  if (document.getElementById("people")?.matches(":popover-open")) return;
  const line = (id, label, unread) => ({
    href: hrefTo(id),
    current: place.channel === id,
    testid: `channel-${id}`,
    sign: "#",
    label,
    unread,
  });
  const channels = state.channels
    .filter((channel) => channel.kind === "channel")
    .map((channel) => line(channel.id, channel.name, unread(channel)));
  const conversation = state.channels.find((channel) => channel.id === dm);
  const direct = line(dm, app.name, conversation ? unread(conversation) : 0);
  const connected = app.connected ? "connected" : "not connected";
  redraw(node, [state.team, state.me, state.members, channels, direct, connected, place], () => [
    h(
      "header",
      { class: "workspace" },
      h("span", { class: "workspace-mark", "aria-hidden": "true" }, [...state.team.name][0]),
      h("span", {}, h("strong", {}, state.team.name), h("small", {}, "Sandbox workspace")),
    ),
    ...switcher(state, hrefAs),
    h("h2", { class: "places-title" }, "Channels"),
    h("ul", { class: "places" }, channels.map(row)),
    h("h2", { class: "places-title" }, "Apps"),
    h(
      "ul",
      { class: "places" },
      row({
        ...direct,
        sign: avatar(app, "avatar-tiny"),
        extra: h("span", {
          class: app.connected ? "presence on" : "presence",
          role: "img",
          "aria-label": connected,
          title: connected,
        }),
      }),
    ),
    h(
      "footer",
      { class: "sidebar-foot" },
      icon("lock"),
      h("span", {}, "Pretend Slack and pretend providers. Nothing leaves this machine."),
    ),
  ]);
}
