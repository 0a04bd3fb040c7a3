// The deposit page: asks who is there, says what to make, seals what is pasted to the desk, and forgets it.

import * as desk from "./desk.js";
import { fromBase64url, toBase64url } from "./envelope.js";
import { seal } from "./hpke.js";
import { $, busy, element, headed, inWords, message, rows, view } from "./sections.js";

const MOST = 4096; // characters
const LEAST = 8;

const id = /^\/d\/(k_[a-z0-9]{1,62})$/.exec(location.pathname)?.[1] ?? "";
const field = $("secret");
let member = null;
let task = null;

$("sign-in").href = `/auth/login?next=${encodeURIComponent(`/d/${id}`)}`;
$("retry").onclick = (event) => busy(event.currentTarget, "Trying…", start);
$("bring").onclick = (event) => busy(event.currentTarget, "Sealing…", bring);
$("reveal").onclick = () => seen(field.classList.contains("masked"));
$("copy-marker").onclick = copyMarker;
field.oninput = () => complain("");
field.onkeydown = (event) => event.key === "Enter" && $("bring").click();
document.querySelectorAll(".switch").forEach((button) => {
  button.onclick = () => busy(button, "Signing out…", switchAccount);
});
// A tab that is left may be kept alive by the browser, and shown again by its Back button.
addEventListener("pagehide", forget);
await start();

async function start() {
  if (!globalThis.crypto?.subtle) {
    return message(
      "This browser cannot seal the key",
      "Keys are sealed only on secure pages (https) and in browsers with Web Crypto. Use a current browser.",
      member,
    );
  }
  if (id === "") {
    return message("This address is not complete", "Open the page again from Keydesk’s message in Slack.", member);
  }
  try {
    member = await desk.session();
    if (!member.signed_in) return view("signed-out", member);
    const told = await desk.deposit(id, "look");
    if (told.state === "over") return message(...headed(told.message, told.next_step), member);
    task = told;
    describe(told.about);
    view("awaited", member);
  } catch (problem) {
    explain(problem);
  }
}

/** Seals and sends. What is pasted stays in the field until the desk has it. */
async function bring() {
  const value = field.value.trim();
  const wrong = whatIsWrong(value);
  if (wrong) return complain(wrong);
  try {
    const { public_key, info, kek } = task.recipient;
    const sealed = await seal(fromBase64url(public_key), fromBase64url(info), new TextEncoder().encode(value));
    const told = await desk.deposit(id, "bring", { sealed: toBase64url(sealed), kek });
    forget();
    $("fingerprint").textContent = told.fingerprint?.length > 1 ? `It ends with ${told.fingerprint}. ` : "";
    view("done", member);
  } catch (problem) {
    if (problem.status === 401) {
      return complain("You are signed out by now. Reload the page, sign in, and paste the key again.");
    }
    // What passes, and what can be put right here, must not cost what was pasted.
    if (problem instanceof desk.Problem && problem.status !== 403 && problem.status !== 409) {
      return complain(`${problem.message} ${problem.next}`.trim());
    }
    forget();
    explain(problem);
  }
}

/** The same checks as the desk's own, at once and without sending anything. */
function whatIsWrong(value) {
  const { about } = task;
  if (value === "") return "There is nothing here yet. Paste the key.";
  if (value === about.marker) return "This is the name that the key should have. Paste the key itself.";
  if (value.length > MOST) return `This is too long to be a key: at most ${MOST} characters are taken.`;
  if (/\s/.test(value)) return "There is a space or a line break inside. Paste the key alone, whole.";
  if (!/^[!-~]+$/.test(value)) {
    return "There are characters here that keys do not have. Was it copied while it was masked (•••)?";
  }
  if (value.length < LEAST) return "This is too short to be a key. Was it copied whole?";
  if (!value.startsWith(about.prefix)) {
    return `A key of ${about.provider} starts with ${about.prefix}. This one does not.`;
  }
  return "";
}

function complain(text) {
  $("complaint").textContent = text;
  field.setAttribute("aria-invalid", text ? "true" : "false");
  if (text) field.focus();
}

function forget() {
  field.value = "";
  seen(false);
  complain("");
}

function seen(shown) {
  // No password field: browsers would offer to keep what is in it.
  field.classList.toggle("masked", !shown);
  $("reveal").textContent = shown ? "Hide" : "Show";
}

async function copyMarker() {
  try {
    await navigator.clipboard.writeText(task.about.marker);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("marker"));
    $("copied").textContent = "Selected: copy it with your keyboard.";
  }
}

function describe(about) {
  const days = about.days === 1 ? "a day" : `${about.days} days`;
  $("title").textContent = `Bring a key for ${about.holder}`;
  $("where").textContent = about.project ? `${about.provider}, in ${about.project}` : about.provider;
  $("marker").textContent = about.marker;
  $("steps").replaceChildren(...about.steps.split("\n").filter((line) => line.trim()).map((line) => element("p", line)));
  $("steps").hidden = !about.steps;
  $("page").hidden = !about.url;
  if (about.url) Object.assign($("page").querySelector("a"), { href: about.url, textContent: about.url });
  rows($("what"), [["May do", about.permission], ["Used for", days]]);
  document.querySelectorAll(".holder").forEach((place) => (place.textContent = about.holder));
  field.placeholder = about.prefix ? `${about.prefix}…` : "";
}

async function switchAccount() {
  try {
    await desk.logout();
    location.reload();
  } catch (problem) {
    explain(problem);
  }
}

function explain(problem) {
  if (!(problem instanceof desk.Problem)) {
    return message("The key could not be sealed", "Nothing was sent. Reload the page, or use another browser.", member);
  }
  if (problem.status === 401) return view("signed-out", member);
  if (problem.code === "not_yours") {
    // One browser is often signed in as another person already; which one is what helps here.
    return message(
      `${member.name} was not asked to bring this key`,
      "Keydesk tells whoever may bring it in Slack. If that was you under another account, sign in as that one. " +
        "Nobody may bring a key that is not awaited any more.",
      member,
      { other: true },
    );
  }
  message(...headed(problem.message, problem.next), member, {
    retry: problem.status === 0 || problem.status >= 500 || problem.code === "csrf",
    other: problem.code === "not_welcome",
  });
}
