// Seals to the desk: HPKE (RFC 9180), base mode, one message, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
// Pure: bytes in, bytes out. docs/deposits.md says what for; tests/vectors are read here, too.

const KEM = 0x0010;
const KDF = 0x0001;
const AEAD = 0x0002;
const CURVE = { name: "ECDH", namedCurve: "P-256" };

const utf8 = new TextEncoder();
const NOTHING = new Uint8Array();
const KEM_SUITE = join(utf8.encode("KEM"), number(KEM));
const SUITE = join(utf8.encode("HPKE"), number(KEM), number(KDF), number(AEAD));

/** What only the holder of the private key opens, with the same `info`. `ephemeral` is given by the vectors alone. */
export async function seal(publicKey, info, plaintext, ephemeral = null) {
  const pair = ephemeral ?? (await crypto.subtle.generateKey(CURVE, true, ["deriveBits"]));
  const { shared, encapsulated } = await encapsulate(publicKey, pair);
  // Key schedule, section 5.1, in base mode: no pre-shared key.
  const context = join(
    Uint8Array.of(0),
    await extract(SUITE, NOTHING, "psk_id_hash", NOTHING),
    await extract(SUITE, NOTHING, "info_hash", info),
  );
  const secret = await extract(SUITE, shared, "secret", NOTHING);
  const key = await crypto.subtle.importKey(
    "raw", await expand(SUITE, secret, "key", context, 32), "AES-GCM", false, ["encrypt"],
  );
  const nonce = await expand(SUITE, secret, "base_nonce", context, 12); // sequence number 0 changes nothing in it
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, plaintext);
  return join(encapsulated, new Uint8Array(sealed));
}

/** Section 4.1: a shared secret, and what the recipient derives it from. */
async function encapsulate(publicKey, pair) {
  const recipient = await crypto.subtle.importKey("raw", publicKey, CURVE, false, []);
  const agreed = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: recipient }, pair.privateKey, 256));
  const encapsulated = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const secret = await extract(KEM_SUITE, NOTHING, "eae_prk", agreed);
  return { shared: await expand(KEM_SUITE, secret, "shared_secret", join(encapsulated, publicKey), 32), encapsulated };
}

/** LabeledExtract of section 4. HMAC fills a missing salt up with zeros (RFC 5869, section 2.2). */
function extract(suite, salt, label, material) {
  const labelled = join(utf8.encode("HPKE-v1"), suite, utf8.encode(label), material);
  return hmac(salt.length ? salt : new Uint8Array(32), labelled);
}

/** LabeledExpand of section 4, for one block at most: 32 bytes. */
async function expand(suite, secret, label, info, length) {
  const labelled = join(number(length), utf8.encode("HPKE-v1"), suite, utf8.encode(label), info, Uint8Array.of(1));
  return (await hmac(secret, labelled)).slice(0, length);
}

async function hmac(secret, message) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, message));
}

function number(value) {
  return Uint8Array.of(value >> 8, value & 255);
}

function join(...pieces) {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
