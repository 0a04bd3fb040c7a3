// Where the seed comes from, and how long it is kept: in this tab alone, until the key is shown or the link is over.

import { fromBase64url } from "./envelope.js";

const SEED_CHARACTERS = 43;
const SEED_BYTES = 32;
const AGAIN = "Nothing was used up. Go back to Slack and open the link there with its button, or pick up again to get a new one.";

const kept = () => `keydesk:${location.pathname}`;

/** Reads this tab's link: its id, and its seed or what is wrong with it. Takes the seed out of the address bar. */
export function readLink() {
  const fragment = location.hash.slice(1);
  const [, id, rest] = /^\/k\/([A-Za-z0-9_-]{1,64})(.*)$/s.exec(location.pathname) ?? [null, "", location.pathname];
  if (id === "" || rest !== "") {
    // Before anything else: what stands there may hold the seed, and would stay in the history.
    history.replaceState(null, "", id === "" ? "/k/" : `/k/${id}`);
    return { id, seed: null, wrong: rest.toLowerCase().startsWith("%23") ? mangled() : garbled() };
  }
  if (fragment !== "" || location.href.endsWith("#")) history.replaceState(null, "", location.pathname);
  const bytes = fragment === "" ? null : fromBase64url(fragment);
  if (fragment !== "") {
    if (bytes?.length !== SEED_BYTES) return { id, seed: null, wrong: whatIsWrong(fragment) };
    sessionStorage.setItem(kept(), fragment);
  }
  const seed = bytes ?? fromBase64url(sessionStorage.getItem(kept()) ?? "");
  return seed?.length === SEED_BYTES ? { id, seed, wrong: null } : { id, seed: null, wrong: absent() };
}

/** The key is shown, or the link is over: the seed is of no more use. */
export function forgetSeed() {
  sessionStorage.removeItem(kept());
}

function whatIsWrong(fragment) {
  const half = fragment.slice(0, SEED_CHARACTERS);
  if (fragment.length > SEED_CHARACTERS && fragment.slice(SEED_CHARACTERS).includes(half)) {
    return { title: "This link holds its secret part twice", next: `It was probably pasted twice over. ${AGAIN}` };
  }
  if (fragment.length < SEED_CHARACTERS) {
    return { title: "This link is cut short", next: `The end of its secret part, behind the #, is missing. ${AGAIN}` };
  }
  return garbled();
}

function garbled() {
  return { title: "This link was changed on its way", next: `It is not what Slack gave you. ${AGAIN}` };
}

function absent() {
  return { title: "This link is not complete", next: `The secret part behind the # is missing. ${AGAIN}` };
}

function mangled() {
  return {
    title: "This link was changed on its way",
    next:
      "Some program turned its # into %23, and so sent the secret part to the server, where it does not belong. " +
      "Nothing was used up. Best pick up again in Slack, and open the new link there with its button.",
  };
}
