// Copying. What holds the key is cleared from the clipboard after a while, where the browser lets the page do so.

const CLEAR_AFTER = 60 * 1000;

let timer;
let said;

/**
 * Copies, and says so with `say`, also through a screen reader; what is copied is never said.
 * Where the browser does not let the page copy, `instead` puts what it can in the person's reach, and says what to do.
 */
export async function copy(text, { secret, say, instead }) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return say(instead());
  }
  // Whatever was on the clipboard is gone from it, the key included.
  clearTimeout(timer);
  removeEventListener("focus", clear);
  said = say;
  if (!secret) return say("Copied. The key is not in it.");
  say("Copied, with the key in it. In a minute the clipboard is cleared, where the browser lets this page do so.");
  timer = setTimeout(clearOrWait, CLEAR_AFTER);
}

// Browsers let only the page that is looked at write to the clipboard.
function clearOrWait() {
  if (document.hasFocus()) clear();
  else addEventListener("focus", clear, { once: true });
}

async function clear() {
  try {
    await navigator.clipboard.writeText("");
    said("The clipboard is cleared.");
  } catch {
    said("This browser does not let the page clear the clipboard. Copy something else over it.");
  }
}
