// Opens envelopes. Pure: bytes in, text out. The byte format is docs/envelope.md; tests/vectors are read here, too.

const VERSION = 1;
const NONCE_BYTES = 12;
const COMMITMENT_BYTES = 32;
const HEADER_BYTES = 1 + NONCE_BYTES + COMMITMENT_BYTES;
const CONTEXT = ["team", "holder", "grant", "key", "link", "expires"];

const utf8 = new TextEncoder();

/** An envelope that does not open: wrong seed, wrong context, or changed bytes. */
export class EnvelopeDamaged extends Error {}

/** RFC 4648, section 5, without padding; null for anything else, unused bits that are set included. */
export function fromBase64url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
  return toBase64url(bytes) === text ? bytes : null;
}

/** RFC 4648, section 5, without padding. */
export function toBase64url(bytes) {
  const raw = btoa(String.fromCharCode(...bytes));
  return raw.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** What is shown to the server before any claim. */
export async function accessToken(seed) {
  return toBase64url(await derive(seed, "keydesk/1/access-token"));
}

/** What was sealed. Throws `EnvelopeDamaged`. */
export async function open(envelope, seed, context) {
  if (envelope.length < HEADER_BYTES || envelope[0] !== VERSION) {
    throw new EnvelopeDamaged("not an envelope of version 1");
  }
  const nonce = envelope.subarray(1, 1 + NONCE_BYTES);
  const commitment = envelope.subarray(1 + NONCE_BYTES, HEADER_BYTES);
  // GCM alone does not commit to its key, so this stands before any decryption.
  if (!same(commitment, await derive(seed, "keydesk/1/commitment"))) {
    throw new EnvelopeDamaged("the seed is not the one it was sealed with");
  }
  const dataKey = await crypto.subtle.importKey(
    "raw", await derive(seed, "keydesk/1/data-key"), "AES-GCM", false, ["decrypt"],
  );
  let opened;
  try {
    opened = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: nonce, additionalData: boundTo(context) }, dataKey, envelope.subarray(HEADER_BYTES),
    );
  } catch {
    throw new EnvelopeDamaged("the bytes or the context were changed");
  }
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(opened);
}

/** The additional data: the number of pieces, then each behind its length, lengths as 64-bit little-endian. */
export function boundTo(context) {
  const pieces = [`keydesk/${VERSION}`, ...CONTEXT.map((name) => context[name])].map((piece) => utf8.encode(piece));
  const bytes = new Uint8Array(8 + pieces.reduce((sum, piece) => sum + 8 + piece.length, 0));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(pieces.length), true);
  let at = 8;
  for (const piece of pieces) {
    view.setBigUint64(at, BigInt(piece.length), true);
    bytes.set(piece, at + 8);
    at += 8 + piece.length;
  }
  return bytes;
}

async function derive(seed, info) {
  const key = await crypto.subtle.importKey("raw", seed, "HKDF", false, ["deriveBits"]);
  const parameters = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8.encode(info) };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256));
}

function same(one, other) {
  return one.length === other.length && one.reduce((differing, byte, at) => differing | (byte ^ other[at]), 0) === 0;
}
