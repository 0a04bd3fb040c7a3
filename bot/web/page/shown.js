// A key on the page: shown, hidden, copied. Hidden means out of the document; the tab alone remembers it.

const HIDE_AFTER = 2 * 60 * 1000;
const CLEAR_AFTER = 60 * 1000;

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
  copyButton.onclick = async () => {
    try {
      await navigator.clipboard.writeText(key);
    } catch {
      show();
      getSelection().selectAllChildren(value);
      say("This browser does not let the page copy. The key is selected: copy it with your keyboard.");
      return;
    }
    say("Copied. In a minute the clipboard is cleared, where the browser lets this page do so.");
    setTimeout(clearOrWait, CLEAR_AFTER);
  };
  // A tab that is left may be kept alive by the browser, and shown again by its Back button.
  addEventListener("pagehide", hide);
  show();

  // Browsers let only the page that is looked at write to the clipboard.
  function clearOrWait() {
    if (document.hasFocus()) clear();
    else addEventListener("focus", clear, { once: true });
  }

  async function clear() {
    try {
      await navigator.clipboard.writeText("");
      say("The clipboard is cleared.");
    } catch {
      say("This browser does not let the page clear the clipboard. Copy something else over it.");
    }
  }

  return function remove() {
    removeEventListener("pagehide", hide);
    clearTimeout(timer);
    value.textContent = "";
    hideButton.onclick = copyButton.onclick = null;
  };
}
