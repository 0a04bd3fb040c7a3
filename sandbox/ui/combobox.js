/** A type-ahead select: single or multiple, over options at hand or options that the app suggests. */

import { freshId, h, icon } from "./dom.js";

const TYPING_PAUSE = 180;

/**
 * `options` is `{ id, labelledBy, label, placeholder, multiple, max, selected, load, minQuery, changed, actionId }`.
 * A choice is `{ value, text, description, raw }`; `load(query)` promises `[{ label, choices }]`.
 * Returns `{ node, input, selected() }`.
 */
export function combobox(options) {
  const { multiple = false, load, minQuery = 0, changed } = options;
  let chosen = [...(options.selected ?? [])];
  let visible = [];
  let active = -1;
  let asked = 0;
  let timer = null;

  const listId = freshId("list");
  const list = h("div", {
    class: "combo-list",
    id: listId,
    role: "listbox",
    popover: "manual",
    "aria-multiselectable": multiple,
  });
  const input = h("input", {
    class: "combo-input",
    id: options.id,
    role: "combobox",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    dir: "auto",
    "aria-expanded": "false",
    "aria-controls": listId,
    "aria-autocomplete": "list",
    "aria-label": options.label,
    "aria-labelledby": options.labelledBy,
    "data-action-id": options.actionId,
    placeholder: options.placeholder,
  });
  const chips = h("span", { class: "combo-chips" });
  const node = h(
    "div",
    { class: multiple ? "combo combo-multi" : "combo" },
    multiple && chips,
    input,
    icon("chevron"),
    list,
  );

  const isOpen = () => list.matches(":popover-open");

  function show() {
    if (multiple) {
      input.value = "";
      input.placeholder = chosen.length ? "" : (options.placeholder ?? "");
      chips.replaceChildren(...chosen.map(chip));
    } else {
      input.value = chosen[0]?.text ?? "";
    }
  }

  function chip(choice) {
    const remove = h(
      "button",
      { type: "button", class: "chip-remove", "aria-label": `Remove ${choice.text}`, onclick: () => toggle(choice) },
      icon("close"),
    );
    return h("span", { class: "chip" }, h("bdi", {}, choice.text), remove);
  }

  function toggle(choice) {
    const had = chosen.some((other) => other.value === choice.value);
    if (!multiple) chosen = [choice];
    else if (had) chosen = chosen.filter((other) => other.value !== choice.value);
    else if (!options.max || chosen.length < options.max) chosen = [...chosen, choice];
    show();
    if (multiple) input.focus();
    else close();
    changed?.();
  }

  async function search(query) {
    const mine = ++asked;
    if (query.length < minQuery)
      return draw([], `Type ${minQuery === 1 ? "a letter" : `${minQuery} letters`} to search`);
    draw([], "Looking…");
    let groups;
    try {
      groups = await load(query);
    } catch (error) {
      if (mine === asked) draw([], error.message);
      return;
    }
    if (mine === asked) draw(groups, groups.some((group) => group.choices.length) ? null : "No results");
  }

  function draw(groups, note) {
    visible = [];
    const parts = groups
      .filter((group) => group.choices.length)
      .map((group) => {
        const items = group.choices.map((choice) => {
          const index = visible.push(choice) - 1;
          const selected = chosen.some((other) => other.value === choice.value);
          return h(
            "div",
            {
              class: "combo-option",
              role: "option",
              id: `${listId}-${index}`,
              "aria-selected": String(selected),
              data: { value: choice.value },
              onmousedown: (event) => event.preventDefault(),
              onclick: () => toggle(choice),
              onmousemove: () => mark(index),
            },
            h("span", { class: "combo-tick" }, selected && icon("check")),
            h(
              "span",
              { class: "combo-text" },
              h("bdi", {}, choice.text),
              choice.description && h("small", { dir: "auto" }, choice.description),
            ),
          );
        });
        return group.label
          ? h(
              "div",
              { role: "group", "aria-label": group.label },
              h("div", { class: "combo-group" }, group.label),
              items,
            )
          : items;
      });
    list.replaceChildren(...parts.flat(), ...(note ? [h("div", { class: "combo-note" }, note)] : []));
    const current = visible.findIndex((choice) => chosen.some((other) => other.value === choice.value));
    mark(visible.length ? Math.max(current, 0) : -1);
    place();
  }

  function mark(index) {
    list.querySelector(".active")?.classList.remove("active");
    active = index;
    const option = index >= 0 ? document.getElementById(`${listId}-${index}`) : null;
    option?.classList.add("active");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function place() {
    if (!isOpen()) return;
    const box = node.getBoundingClientRect();
    list.style.inlineSize = `${box.width}px`;
    list.style.left = `${box.left}px`;
    const below = window.innerHeight - box.bottom;
    const upwards = below < Math.min(list.scrollHeight, 260) + 12 && box.top > below;
    list.style.top = upwards ? "auto" : `${box.bottom + 4}px`;
    list.style.bottom = upwards ? `${window.innerHeight - box.top + 4}px` : "auto";
    list.style.maxBlockSize = `${Math.min(280, Math.max(upwards ? box.top : below, 120) - 12)}px`;
  }

  function open() {
    if (isOpen() || input.disabled) return;
    list.showPopover();
    input.setAttribute("aria-expanded", "true");
    window.addEventListener("scroll", place, true);
    window.addEventListener("resize", place);
    if (!multiple) input.select();
    search("");
  }

  function close() {
    clearTimeout(timer);
    asked += 1;
    if (isOpen()) list.hidePopover();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    window.removeEventListener("scroll", place, true);
    window.removeEventListener("resize", place);
    show();
  }

  node.addEventListener("mousedown", (event) => {
    if (event.target.closest(".combo-list, .chip-remove") || event.target === input) return;
    event.preventDefault();
    input.focus();
    open();
  });
  input.addEventListener("click", open);
  input.addEventListener("blur", close);
  input.addEventListener("input", () => {
    const query = input.value.trim();
    open();
    clearTimeout(timer);
    timer = setTimeout(() => search(query), TYPING_PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && !isOpen()) open();
    else if (move && visible.length) mark((active + move + visible.length) % visible.length);
    else if (event.key === "Enter" && isOpen()) {
      if (visible[active]) toggle(visible[active]);
    } else if (event.key === "Escape" && isOpen()) {
      close();
      event.stopPropagation();
    } else if (event.key === "Backspace" && multiple && !input.value && chosen.length) {
      toggle(chosen.at(-1));
    } else return;
    event.preventDefault();
  });

  show();
  return { node, input, selected: () => chosen };
}

/** A loader over choices at hand: those whose text or description holds the query. */
export function among(groups) {
  return async (query) => {
    const wanted = query.toLocaleLowerCase();
    const fits = (choice) => `${choice.text} ${choice.description ?? ""}`.toLocaleLowerCase().includes(wanted);
    return groups.map((group) => ({ ...group, choices: group.choices.filter(fits) }));
  };
}
