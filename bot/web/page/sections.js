// The pages' sections: one is seen at a time. And what buttons and messages have in common.

const SLOW = 300; // a wait shorter than this is not worth a word

/** The element of this id. */
export const $ = (id) => document.getElementById(id);

/** Shows one section, and leads keyboard and screen reader to its heading. */
export function view(name, member) {
  document.querySelectorAll("main > section").forEach((section) => (section.hidden = section.id !== name));
  document.querySelectorAll(".name").forEach((place) => (place.textContent = member?.name ?? ""));
  const heading = $(name).querySelector("h1");
  document.title = `${heading.textContent} · Keydesk`;
  heading.focus();
}

/** Shows a message, with the buttons that may help. */
export function message(title, next, member, { retry = false, other = false } = {}) {
  inWords($("message").querySelector("h1"), title);
  inWords($("message").querySelector(".next"), next);
  $("retry").hidden = !retry;
  $("other-account").hidden = !other;
  $("as").hidden = !member?.signed_in;
  view("message", member);
}

/** The first sentence makes the heading. */
export function headed(text, next) {
  const [, first, rest] = /^(.*?[.!?])(?: (.*))?$/s.exec(text) ?? [null, text, ""];
  return [first.replace(/\.$/, ""), rest ? `${rest} ${next}` : next];
}

/** Fills a list with names and what they are; what is empty is left out. */
export function rows(list, pairs) {
  list.replaceChildren(...pairs.filter(([, what]) => what).map(([name, what]) => {
    const row = document.createElement("div");
    row.append(element("dt", name), element("dd", what));
    return row;
  }));
}

/** Text in which `this` is code. */
export function inWords(place, text) {
  place.replaceChildren(...text.split("`").map((piece, at) => (at % 2 ? element("code", piece) : piece)));
}

export function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** Runs what a button starts, once at a time; says so only when it takes a while. */
export async function busy(button, text, act) {
  const label = button.textContent;
  button.disabled = true;
  const timer = setTimeout(() => (button.textContent = text), SLOW);
  try {
    await act();
  } finally {
    clearTimeout(timer);
    button.textContent = label;
    button.disabled = false;
  }
}
