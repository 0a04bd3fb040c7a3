// The link page: reads the seed, asks who is there, and, only when asked to, claims, opens and shows the key.

import * as desk from "./desk.js";
import { accessToken, fromBase64url, open } from "./envelope.js";
import { keep } from "./keeping.js";
import { forgetSeed, readLink } from "./seed.js";
import { $, busy, headed, message as show, rows, view as seen } from "./sections.js";
import { present } from "./shown.js";

const CONFIRM_AFTER = [0, 1000, 3000, 8000]; // milliseconds; the lease is two minutes

const { id, seed, wrong } = readLink();
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const soon = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
let member = null;
let removeKey = null;

// Another link pasted over this one differs in its fragment alone, and would not load the page anew.
addEventListener("hashchange", () => location.reload());
$("sign-in").href = `/auth/login?next=${encodeURIComponent(`/k/${id}`)}`;
$("show").onclick = (event) => busy(event.currentTarget, "Opening…", showKey);
$("retry").onclick = (event) => busy(event.currentTarget, "Trying…", start);
document.querySelectorAll(".switch").forEach((button) => {
  button.onclick = () => busy(button, "Signing out…", switchAccount);
});
await start();

async function start() {
  if (!globalThis.crypto?.subtle) {
    return message(
      "This browser cannot open the key here",
      "Keys are opened only on secure pages (https) and in browsers with Web Crypto. Use a current browser. Nothing was used up.",
    );
  }
  if (id === "") return message(wrong.title, wrong.next);
  try {
    member = await desk.session();
    if (!member.signed_in) return wrong ? message(wrong.title, wrong.next) : view("signed-out");
    await ready();
  } catch (problem) {
    explain(problem);
  }
}

async function ready() {
  const link = await desk.link(id, "look");
  if (link.state === "over") {
    forgetSeed();
    return message(...headed(link.message, link.next_step));
  }
  if (wrong) return message(wrong.title, wrong.next);
  describe(link.about);
  $("opens-until").textContent =
    link.state === "open" ? `This link opens until ${soon.format(new Date(link.opens_until))}.` : "";
  view("ready");
}

async function showKey() {
  try {
    const token = await accessToken(seed);
    const sealed = await desk.link(id, "claim", { token });
    const key = await open(fromBase64url(sealed.envelope), seed, sealed.context);
    describe(sealed.about);
    const removals = [present(key, (text) => ($("status").textContent = text)), keep(key, sealed.about)];
    removeKey = () => removals.forEach((remove) => remove());
    view("shown");
    const until = soon.format(new Date(sealed.lease_until));
    $("confirm").onclick = (event) => busy(event.currentTarget, "Trying…", () => confirm(token, until));
    await confirm(token, until);
  } catch (problem) {
    explain(problem);
  }
}

/** Tells the desk that the key is shown. Until it hears so, it takes the key back when the lease ends. */
async function confirm(token, until) {
  for (const pause of CONFIRM_AFTER) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    try {
      await desk.link(id, "acknowledge", { token });
      forgetSeed();
      $("unconfirmed").hidden = true;
      return;
    } catch (problem) {
      // Only what may pass is tried again.
      if (problem.status !== 0 && problem.status < 500) return explain(problem);
    }
    warn("Keydesk does not answer, so it does not know yet that you have the key. Trying again…", false);
  }
  warn(
    `Keydesk could not be told that you have the key. Unless that works before ${until}, it takes the key back. ` +
      "Keep this page open.",
    true,
  );
}

function warn(text, retry) {
  $("unconfirmed").firstElementChild.textContent = text;
  $("unconfirmed").hidden = false;
  $("confirm").hidden = !retry;
}

async function switchAccount() {
  try {
    await desk.logout();
    location.reload();
  } catch (problem) {
    explain(problem);
  }
}

/** What went wrong, what is true now, and the next step. */
function explain(problem) {
  removeKey?.();
  removeKey = null;
  if (!(problem instanceof desk.Problem)) {
    return message(
      "This key does not open",
      "What Keydesk sent does not fit this link, so nothing of it is shown. The key is taken back in two minutes; " +
        "then pick up again in Slack. If it happens again, tell whoever runs Keydesk.",
    );
  }
  if (problem.status === 401) return view("signed-out");
  if (problem.status === 409) forgetSeed();
  message(...headed(problem.message, problem.next), {
    retry: problem.status === 0 || problem.status >= 500 || problem.code === "csrf",
    other: problem.code === "not_yours" || problem.code === "not_welcome",
  });
}

function message(title, next, buttons) {
  show(title, next, member, buttons);
}

function view(name) {
  seen(name, member);
}

function describe(about) {
  const facts = [
    ["For", about.project ? `${about.provider}, ${about.project}` : about.provider],
    ["May use", about.permission],
    ["Works until", about.expires_at && when.format(new Date(about.expires_at))],
    ["Fingerprint", about.fingerprint],
  ];
  for (const list of document.querySelectorAll(".about")) rows(list, facts);
}
