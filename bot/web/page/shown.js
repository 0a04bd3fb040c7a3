// A key on the page: shown, hidden, copied. Hidden means out of the document; the tab alone remembers it.

import { copy } from "./clipboard.js";

const HIDE_AFTER = 2 * 60 * 1000;

const value = document.getElementById("value");
const hideButton = document.getElementById("hide");
const copyButton = document.getElementById("copy");

/**
 * Puts the key on the page, and returns what takes it off for good.
 * `say` tells the person, also through a screen reader; the key itself is never said.
 */
export function present(key, say) {
  let timer;
  let hidden;

  function show() {
    hidden = false;
    value.textContent = key;
    value.classList.remove("hidden");
    hideButton.textContent = "Hide";
    clearTimeout(timer);
    timer = setTimeout(() => {
      hide();
      say("The key is hidden again, after two minutes. This tab still has it: show it when you need it.");
    }, HIDE_AFTER);
  }

  function hide() {
    hidden = true;
    clearTimeout(timer);
    value.textContent = "Hidden";
    value.classList.add("hidden");
    hideButton.textContent = "Show again";
  }

  hideButton.onclick = () => (hidden ? show() : hide());
  copyButton.onclick = () =>
    copy(key, {
      secret: true,
      say,
      instead() {
        show();
        getSelection().selectAllChildren(value);
        return "This browser does not let the page copy. The key is selected: copy it with your keyboard.";
      },
    });
  // A tab that is left may be kept alive by the browser, and shown again by its Back button.
  addEventListener("pagehide", hide);
  show();

  return function remove() {
    removeEventListener("pagehide", hide);
    clearTimeout(timer);
    value.textContent = "";
    hideButton.onclick = copyButton.onclick = null;
  };
}
