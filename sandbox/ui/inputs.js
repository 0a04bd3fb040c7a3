/**
 * Block Kit's elements that hold a value. Each builder takes the element and a field, and returns
 * `{ node, control, read }`: what to show, what a label points to, and the state in the shape Slack sends.
 *
 * A field is `{ blockId, id, labelledBy, label, surface, retained, corrected, changed, submit }`; `retained` is the state that an
 * input of the same ids had before its view was updated, which Slack keeps over the view's own initial value.
 */

import { among, combobox } from "./combobox.js";
import { freshId, h } from "./dom.js";
import { textNode } from "./text.js";

/** Which DOM input stands for which single-line element, and under which name its state carries the value. */
const LINES = {
  plain_text_input: { type: "text", key: "value", initial: "initial_value" },
  email_text_input: { type: "email", key: "value", initial: "initial_value" },
  url_text_input: { type: "url", key: "value", initial: "initial_value" },
  number_input: { type: "text", key: "value", initial: "initial_value", inputmode: "decimal" },
  datepicker: { type: "date", key: "selected_date", initial: "initial_date" },
  timepicker: { type: "time", key: "selected_time", initial: "initial_time" },
};

function line(element, field) {
  const { key, initial, type, inputmode } = LINES[element.type];
  const value = (field.retained ? field.retained[key] : element[initial]) ?? "";
  const common = {
    class: "text-input",
    id: field.id,
    "aria-label": field.label,
    "aria-labelledby": field.labelledBy,
    dir: "auto",
    placeholder: element.placeholder?.text,
    "data-action-id": element.action_id,
    autocomplete: "off",
  };
  const control = element.multiline
    ? h("textarea", { ...common, rows: "4" })
    : h("input", { ...common, type: type === "email" || type === "url" ? "text" : type, inputmode: inputmode ?? type });
  control.value = value;
  control.addEventListener("input", field.corrected);
  control.addEventListener("change", field.changed);
  if (!element.multiline)
    control.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) {
        event.preventDefault();
        field.submit?.();
      }
    });
  return {
    node: withCounter(element, control),
    control,
    read: () => ({ type: element.type, [key]: control.value || null }),
  };
}

/** A text with a maximum shows how much is left, once that is little. */
function withCounter(element, control) {
  if (element.type !== "plain_text_input" || !element.max_length) return control;
  const left = h("span", { class: "counter", "aria-live": "polite" });
  const count = () => {
    const rest = element.max_length - [...control.value].length;
    left.textContent = rest < Math.min(100, element.max_length / 5) ? String(rest) : "";
    left.classList.toggle("over", rest < 0);
  };
  control.addEventListener("input", count);
  count();
  return h("span", { class: "counted" }, control, left);
}

function dateTime(element, field) {
  const seconds = field.retained ? field.retained.selected_date_time : element.initial_date_time;
  const control = h("input", {
    class: "text-input",
    type: "datetime-local",
    id: field.id,
    "aria-label": field.label,
    "aria-labelledby": field.labelledBy,
    "data-action-id": element.action_id,
    onchange: field.changed,
  });
  if (seconds)
    control.value = new Date((seconds - new Date(seconds * 1000).getTimezoneOffset() * 60) * 1000)
      .toISOString()
      .slice(0, 16);
  const read = () => ({
    type: element.type,
    selected_date_time: control.value ? Math.floor(new Date(control.value).getTime() / 1000) : null,
  });
  return { node: control, control, read };
}

const optionChoice = (option) => ({
  value: option.value,
  text: option.text.text,
  description: option.description?.text,
  raw: option,
});

const optionGroups = (holder) =>
  holder.option_groups?.map((group) => ({ label: group.label.text, choices: group.options.map(optionChoice) })) ?? [
    { choices: (holder.options ?? []).map(optionChoice) },
  ];

const idChoices = (items, sign) => items.map((item) => ({ value: item.id, text: sign + item.name, raw: item.id }));

/** Where each select's options come from, and the names of its state and of its initial value (singular, plural). */
const SELECTS = {
  static_select: {
    state: ["selected_option", "selected_options"],
    initial: ["initial_option", "initial_options"],
    groups: optionGroups,
  },
  external_select: { state: ["selected_option", "selected_options"], initial: ["initial_option", "initial_options"] },
  users_select: {
    state: ["selected_user", "selected_users"],
    initial: ["initial_user", "initial_users"],
    groups: (_, surface) => [{ choices: idChoices(surface.members, "") }],
  },
  channels_select: {
    state: ["selected_channel", "selected_channels"],
    initial: ["initial_channel", "initial_channels"],
    groups: (_, surface) => [{ choices: idChoices(surface.channels, "#") }],
  },
  conversations_select: {
    state: ["selected_conversation", "selected_conversations"],
    initial: ["initial_conversation", "initial_conversations"],
    groups: (_, surface) => [{ choices: idChoices(surface.channels, "#") }],
  },
};

function select(element, field) {
  const multiple = element.type.startsWith("multi_");
  const kind = SELECTS[element.type.replace("multi_", "")];
  const [key, initial] = [kind.state[+multiple], kind.initial[+multiple]];
  const groups = kind.groups?.(element, field.surface);
  const load = groups
    ? among(groups)
    : async (query) => optionGroups(await field.surface.suggest(field.blockId, element.action_id, query));
  const held = [(field.retained ? field.retained[key] : element[initial]) ?? []].flat();
  const known = groups?.flatMap((group) => group.choices) ?? [];
  const choiceOf = (raw) =>
    typeof raw === "string"
      ? (known.find((choice) => choice.value === raw) ?? { value: raw, text: raw, raw })
      : optionChoice(raw);
  const combo = combobox({
    id: field.id,
    label: field.label,
    labelledBy: field.labelledBy,
    actionId: element.action_id,
    load,
    multiple,
    placeholder: element.placeholder?.text ?? "Choose an option",
    max: element.max_selected_items,
    minQuery: groups ? 0 : (element.min_query_length ?? 3),
    selected: held.map(choiceOf),
    changed: field.changed,
  });
  const read = () => {
    const raw = combo.selected().map((choice) => choice.raw);
    return { type: element.type, [key]: multiple ? raw : (raw[0] ?? null) };
  };
  return { node: combo.node, control: combo.input, read };
}

function choices(element, field) {
  const single = element.type === "radio_buttons";
  const key = single ? "selected_option" : "selected_options";
  const held = [
    (field.retained ? field.retained[key] : element[single ? "initial_option" : "initial_options"]) ?? [],
  ].flat();
  const name = freshId("choice");
  const boxes = element.options.map((option) => {
    const box = h("input", { type: single ? "radio" : "checkbox", name, value: option.value, onchange: field.changed });
    box.checked = held.some((other) => other.value === option.value);
    return { option, box };
  });
  const node = h(
    "div",
    {
      class: "choices",
      role: single ? "radiogroup" : "group",
      id: field.id,
      "aria-label": field.label,
      "aria-labelledby": field.labelledBy,
      "data-action-id": element.action_id,
      tabindex: "-1",
    },
    boxes.map(({ option, box }) =>
      h(
        "label",
        { class: "choice" },
        box,
        h(
          "span",
          { dir: "auto" },
          textNode(option.text, field.surface),
          option.description && h("small", { dir: "auto" }, textNode(option.description, field.surface)),
        ),
      ),
    ),
  );
  const read = () => {
    const picked = boxes.filter(({ box }) => box.checked).map(({ option }) => option);
    return { type: element.type, [key]: single ? (picked[0] ?? null) : picked };
  };
  return { node, control: node, read };
}

/** The builder for each type of element that holds a value. */
export const INPUTS = {
  ...Object.fromEntries(Object.keys(LINES).map((type) => [type, line])),
  ...Object.fromEntries(
    Object.keys(SELECTS).flatMap((type) => [
      [type, select],
      [`multi_${type}`, select],
    ]),
  ),
  datetimepicker: dateTime,
  radio_buttons: choices,
  checkboxes: choices,
};
