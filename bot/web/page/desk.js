// Speaks to the desk. Whatever goes wrong comes back as a `Problem` that can be shown.

/** What the desk, or the way to it, said instead of yes. */
export class Problem extends Error {
  constructor(status, code, message, next) {
    super(message);
    this.status = status;
    this.code = code;
    this.next = next;
  }
}

let csrf = "";

/** Who this browser is signed in as: `{signed_in, name}`. */
export async function session() {
  const told = await ask("/api/session", { method: "GET" });
  csrf = told.csrf ?? "";
  return told;
}

/** Looks at, claims or acknowledges a link. */
export function link(id, verb, body = {}) {
  return post(`/api/links/${id}/${verb}`, body);
}

/** Looks at, or brings, a key that is awaited. */
export function deposit(id, verb, body = {}) {
  return post(`/api/deposits/${id}/${verb}`, body);
}

/** Signs out. */
export function logout() {
  return post("/auth/logout", {});
}

function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
}

async function ask(path, options) {
  let answer;
  let told = {};
  try {
    answer = await fetch(path, { ...options, cache: "no-store", credentials: "same-origin", redirect: "error" });
    if (answer.status !== 204) told = await answer.json();
  } catch {
    throw new Problem(0, "unreachable", "Keydesk does not answer.", "Check your connection and try again. Nothing is lost.");
  }
  if (!answer.ok) throw new Problem(answer.status, told.error, told.message, told.next_step);
  return told;
}
