/** Where one types: messages and slash commands, with completion of the commands that the workspace knows. */

import { freshId, h, icon } from "./dom.js";

/** The words of a usage hint such as `[request | list | revoke <key>]`: what may follow a command. */
function subcommands(command) {
  const hint = (command.usage_hint ?? "").replace(/^\[|\]$/g, "");
  return hint.includes("|")
    ? hint
        .split("|")
        .map((part) => part.trim())
        .filter((part) => /^[a-z]/i.test(part))
    : [];
}

/**
 * The composer. `client` gives `commands`; `send(text)` takes what was typed and resolves to whether it was delivered
 * (what was not stays in the box). Returns `{ node, focus, aim(placeholder) }`.
 */
export function composer(client, send) {
  const listId = freshId("commands");
  const list = h("div", { class: "commands", id: listId, role: "listbox", "aria-label": "Commands", hidden: true });
  const input = h("textarea", {
    class: "composer-input",
    rows: "1",
    dir: "auto",
    data: { testid: "composer" },
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": listId,
    "aria-autocomplete": "list",
    "aria-multiline": "true",
    autocomplete: "off",
  });
  const button = h(
    "button",
    { class: "composer-send", type: "submit", "aria-label": "Send", data: { testid: "send" }, disabled: true },
    icon("send"),
  );
  const hint = h(
    "span",
    { class: "composer-hint" },
    h("kbd", {}, "/"),
    " for commands, ",
    h("kbd", {}, "Shift Enter"),
    " for a new line",
  );
  const box = h(
    "form",
    {
      class: "composer",
      onsubmit: (event) => {
        event.preventDefault();
        submit();
      },
    },
    list,
    input,
    h("div", { class: "composer-foot" }, hint, button),
  );
  let found = [];
  let active = 0;
  let chosen = false;

  function candidates() {
    const text = input.value;
    if (!text.startsWith("/") || text.includes("\n")) return [];
    const [name, rest] = text.includes(" ")
      ? [text.slice(0, text.indexOf(" ")), text.slice(text.indexOf(" ") + 1)]
      : [text, null];
    if (rest === null) {
      return client.commands
        .filter((command) => command.command.startsWith(name))
        .map((command) => ({
          insert: `${command.command} `,
          label: command.command,
          hint: command.usage_hint,
          description: command.description,
        }));
    }
    const command = client.commands.find((candidate) => candidate.command === name);
    if (!command) return [];
    return subcommands(command)
      .filter((word) => word.startsWith(rest) && word !== rest)
      .map((word) => ({
        insert: `${name} ${word.replace(/\s*[<[].*$/, (argument) => (argument ? " " : ""))}`,
        label: `${name} ${word}`,
      }));
  }

  function complete() {
    found = candidates();
    chosen = false;
    list.replaceChildren(
      ...found.map((item, index) =>
        h(
          "div",
          {
            class: "command",
            role: "option",
            id: `${listId}-${index}`,
            onmousedown: (event) => event.preventDefault(),
            onclick: () => take(item),
          },
          h("span", { class: "command-name" }, item.label),
          item.hint && h("span", { class: "command-usage" }, item.hint),
          item.description && h("span", { class: "command-about" }, item.description),
        ),
      ),
    );
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(Boolean(found.length)));
    mark(0);
  }

  function mark(index) {
    active = index;
    [...list.children].forEach((option, position) => option.setAttribute("aria-selected", String(position === index)));
    if (found.length) input.setAttribute("aria-activedescendant", `${listId}-${index}`);
    else input.removeAttribute("aria-activedescendant");
  }

  function take(item) {
    write(item.insert);
    input.focus();
  }

  function write(text) {
    input.value = text;
    resize();
    complete();
  }

  function hide() {
    list.hidden = true;
    found = [];
    input.setAttribute("aria-expanded", "false");
    mark(0);
  }

  function resize() {
    button.disabled = !input.value.trim();
    input.style.blockSize = "auto";
    input.style.blockSize = `${Math.min(input.scrollHeight, 220)}px`;
  }

  async function submit() {
    const text = input.value.trim();
    if (!text || box.classList.contains("sending")) return;
    hide();
    box.classList.add("sending");
    input.readOnly = true;
    const delivered = await send(text);
    box.classList.remove("sending");
    input.readOnly = false;
    if (delivered && input.value.trim() === text) write("");
  }

  input.addEventListener("input", () => {
    resize();
    complete();
  });
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (found.length && move) {
      mark((active + move + found.length) % found.length);
      chosen = true;
    } else if (found.length && event.key === "Tab") take(found[active]);
    else if (found.length && event.key === "Escape") hide();
    else if (event.key === "Enter" && !event.shiftKey) {
      // Enter completes a command's name, or what the arrows chose; what is whole already is sent as it stands.
      const unfinished = !input.value.includes(" ") && !found.some((item) => item.insert.trim() === input.value);
      if (found.length && (chosen || unfinished)) take(found[active]);
      else submit();
    } else return;
    event.preventDefault();
  });

  return {
    node: box,
    focus: () => input.focus(),
    clear: () => write(""),
    aim: (placeholder) => {
      input.placeholder = placeholder;
      input.setAttribute("aria-label", placeholder);
    },
  };
}
