"""What strangers send: Slack's real deliveries bent out of shape, and junk of every kind, each from a seed and a number.

Ids of a running world stand in an input as names like `QQpendingQQ` until it is sent, so that an input that was
written down means the same in another world.
"""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any
from urllib.parse import quote

from tests.promises.corpus import BUTTONS, DEEP, READ, THINGS, Corpus, Template

MEMBERS = ("U0ANA", "U0BEN", "U0CARA", "U0DEV")
STRANGERS = ("U0GUS", "U0UMA", "U0BOT", "U0OLD", "U0XAV", "U0NOBODY", "USLACKBOT", "U0KEYDESK")
EVENTS = "/slack/events"
LARGEST = 3_000_000  # of a body, which is past the desk's limit
NAMED = re.compile("QQ([a-z]+)QQ")
_QUOTES = {byte: f"%{byte:02X}" for byte in range(256) if not (chr(byte).isascii() and chr(byte).isalnum())}
DEPTHS = (5, 60, 250, 480, 700, 900, 985, 1500)  # Python 3.11's parser gives up below 1,000
KINDS = ("command", "block_actions", "view_submission", "block_suggestion", "event_callback")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Input:
    """One HTTP request, as it can be written down. Text that may hold any byte is Latin-1.

    `signing` is how it shows itself to be Slack's, and `framing` how its body is told and sent.
    """

    number: int
    kind: str
    method: str = "POST"
    target: str = EVENTS
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    signing: str = "none"
    framing: str = "whole"

    @property
    def signed(self) -> bool:
        """Whether it passes for Slack's."""
        return self.signing in ("well", "almost old")

    def line(self) -> str:
        """In JSON, to be replayed."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> "Input":
        """What `line` wrote. Raises `ValueError`, `TypeError`."""
        told = json.loads(line)
        return cls(**{**told, "headers": tuple((name, value) for name, value in told["headers"])})

    def pieces(self, names: Mapping[str, str], secret: str) -> list[bytes]:
        """What goes over the wire, in one write each, signed at this moment."""

        def named(text: str) -> bytes:
            known = NAMED.sub(lambda found: names.get(found[1], found[0]), text) if "QQ" in text else text
            return known.encode("latin-1", "replace")

        body = named(self.body)
        if self.framing == "raw":
            return [body]
        headers = [(name, named(value)) for name, value in (*self.headers, *self._signature(body, secret))]
        framed = [body]
        match self.framing:
            case "chunked" | "broken off":
                size = len(body) // 3 + 1
                parts = [body[at : at + size] for at in range(0, len(body), size)]
                framed = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
                if self.framing == "chunked":
                    framed.append(b"0\r\n\r\n")
                headers.append(("Transfer-Encoding", b"chunked"))
            case "cut":
                headers.append(("Content-Length", b"%d" % (len(body) + 10)))
            case "too short":
                headers.append(("Content-Length", b"%d" % (len(body) // 2)))
            case _:
                headers.append(("Content-Length", b"%d" % len(body)))
        if self.framing == "dripped":
            size = len(body) // 4 + 1
            framed = [body[at : at + size] for at in range(0, len(body), size)]
        head = b"%s %s HTTP/1.1\r\n" % (self.method.encode(), named(self.target))
        if not any(name.lower() == "host" for name, _ in headers):
            headers.append(("Host", b"127.0.0.1"))
        head += b"".join(b"%s: %s\r\n" % (name.encode("latin-1"), value) for name, value in headers) + b"\r\n"
        return [head + framed[0], *framed[1:]] if framed else [head]

    def _signature(self, body: bytes, secret: str) -> Sequence[tuple[str, str]]:
        if self.signing == "none":
            return ()
        ages = {"old": 301, "very old": 10**9, "future": -3600, "almost old": 200}
        stamp = {
            "words": "yesterday",
            "empty": "",
            "digits": "१७",
            "huge": "9" * 400,
            "minus": "-1",
            "float": "1e9",
        }.get(self.signing, str(int(time.time()) - ages.get(self.signing, 0)))
        key = secret if self.signing != "forged" else "a" * 32
        signed = "v0=" + hmac.new(key.encode(), b"v0:%s:%s" % (stamp.encode(), body), hashlib.sha256).hexdigest()
        match self.signing:
            case "unstamped":
                return (("X-Slack-Signature", signed),)
            case "unsigned":
                return (("X-Slack-Request-Timestamp", stamp),)
            case "bytes":
                signed = "v0=\xff\xfe" + signed
            case "shouted":
                signed = signed.upper()
            case "cut off":
                signed = signed[:-1]
            case "twice":
                return (
                    ("X-Slack-Request-Timestamp", stamp),
                    ("X-Slack-Signature", "v0=" + "0" * 64),
                    ("X-Slack-Request-Timestamp", "0"),
                    ("X-Slack-Signature", signed),
                )
        return ("X-Slack-Request-Timestamp", stamp.encode().decode("latin-1")), ("X-Slack-Signature", signed)


UNSIGNED = (
    *("none", "forged", "old", "very old", "future", "words", "empty", "digits", "huge", "minus", "float"),
    *("unstamped", "unsigned", "bytes", "shouted", "cut off", "twice"),
)
"""How a delivery is signed so that it must be refused."""


_CONTENT_TYPES = (
    *("", "text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x", "*/*", "application/JSON"),
    *(
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded; charset=latin-1",
        ";;;",
        "\xff",
        "a" * 500,
    ),
)
_MISTAKES = ("%", "%zz", "%ff%fe", "%u0041", "&&", "==", ";", "%00", "+", "&payload")
_METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY", "x")
_PATHS = (
    "/k/QQlinkQQ",
    "/k/",
    "/static/",
    "/healthz",
    "/readyz",
    "/api/session",
    "/auth/logout",
    EVENTS,
    "/",
    "//",
    "*",
)
_TRICKS = ("", "/../../app.py", "/%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fx", "%00", "%", "%ff%fe", ";x")
_NOISE = (
    ("X-Slack-Retry-Num", "1"),
    ("X-Slack-Retry-Num", "many"),
    ("X-Slack-Retry-Reason", "http_timeout\t\xff"),
    ("X-Slack-Bolt-Lazy-Only", "1"),
    ("X-Slack-Bolt-Lazy-Function-Name", "pick_up"),
    ("X-Slack-Signature", "v0="),
    ("Content-Type", "text/plain"),
    ("Content-Encoding", "gzip"),
    ("Cookie", "keydesk_session=; keydesk_session=x; =; ;;;"),
    ("Cookie", 'keydesk_session="\\377\\000"'),
    ("X-Forwarded-For", "not, an, address, \xff"),
    ("X-Forwarded-For", "[::1"),
    ("X-Forwarded-Proto", "gopher"),
    ("Host", "a b/c?d#e"),
    ("Host", "[::"),
    ("Origin", "null"),
    ("Expect", "100-continue"),
    ("Expect", "\xe9"),
    ("Accept", "text/html"),
    ("Upgrade", "h2c"),
    ("Range", "bytes=0-0,9-1"),
)


def make(corpus: Corpus, seed: int, number: int) -> Input:
    """The input of this number: the same for the same seed and corpus."""
    maker = _Maker(corpus, Random(seed * 1_000_003 + number))
    kind, how = maker.pick(_WAYS)
    return replace(how(maker), number=number, kind=kind)


def payload(corpus: Corpus, seed: int, number: int) -> tuple[str, str]:
    """What Socket Mode delivers under this number, in JSON, where even a command's fields may be anything; its kind."""
    maker = _Maker(corpus, Random(seed * 1_000_003 + number))
    kind = maker.pick(KINDS)
    return kind, maker.bent(maker.pick(corpus.templates[kind])) if maker.chance(0.95) else maker.told(maker.value())


class _Maker:
    def __init__(self, corpus: Corpus, random: Random) -> None:
        self._corpus = corpus
        self._random = random
        self.pick = random.choice
        self.number = random.randrange

    def chance(self, likely: float) -> bool:
        return self._random.random() < likely

    # ---- what Slack signs

    def interaction(self, kind: str) -> Input:
        return self._delivery(kind, form=not self.chance(0.03))

    def command(self) -> Input:
        command = json.loads(self.pick(self._corpus.templates["command"]).text)
        if self.chance(0.7):
            known = ("request", "list", "revoke", "help", "REVOKE")
            words = [self.pick((*known, self._text())) for _ in range(self.number(3))]
            command["text"] = self.pick((" ", "\t", "\u00a0", "\n")).join([*words, self._text()])
        self._somebody(command)
        pairs: list[tuple[str, Any]] = list(command.items())
        for _ in range(self.number(3)):
            at = self.number(len(pairs))
            match self.number(5):
                case 0:
                    del pairs[at]
                case 1:
                    pairs.insert(at, (pairs[at][0], self._text()))
                case 2:
                    pairs.append((self.pick(READ), self._text()))
                case 3:
                    pairs[at] = (pairs[at][0], json.dumps(self.value()))
                case _:
                    pairs[at] = (pairs[at][0], self._text())
        return self._form(_encoded(pairs))

    def event(self) -> Input:
        return self._delivery("event_callback", form=self.chance(0.03))

    def handshake(self) -> Input:
        told = {"type": "url_verification", "challenge": self.value(), "token": self._text(), "ssl_check": "1"}
        for name in list(told):
            if self.chance(0.2):
                told[name] = self.value()
            if self.chance(0.1):
                del told[name]
        if self.chance(0.5):
            return self._send(self.told(told), JSON)
        return self._form(_encoded(list(told.items())))

    def junk(self) -> Input:
        """Signed, and not a delivery at all."""
        text = self.told(self.value())
        quoted = "payload=" + quote(text, errors="surrogatepass")
        whole = self.pick((text, quoted, "payload=" + text, self._text(), "{" + text, text[:-1]))
        body = _latin(whole.encode("utf-8", "surrogatepass"))
        if self.chance(0.2):
            body = self.pick(
                (_latin(whole.encode("utf-16", "replace")), _latin(self._random.randbytes(200)), "\x1f\x8b\x08" + body)
            )
        return self._send(body, self.pick((FORM, JSON, JSON, *_CONTENT_TYPES)))

    def _delivery(self, kind: str, *, form: bool) -> Input:
        text = self.bent(self.pick(self._corpus.templates[kind]))
        if form:
            return self._form(_encoded([("payload", text), *([("payload", "{}")] if self.chance(0.01) else [])]))
        return self._send(_latin(text.encode("utf-8", "surrogatepass")), JSON)

    def bent(self, template: Template) -> str:
        """The template with up to four of its places changed."""
        tree = [json.loads(template.text)]
        self._somebody(tree[0])
        for _ in range(self.pick((0, 1, 1, 1, 2, 2, 3, 4))):
            # Most of a payload is blocks, which nobody reads.
            where, key = self._spot(tree, template.read if self.chance(0.7) else template.paths)
            match self.number(9):
                case 0 if isinstance(key, str):
                    del where[key]
                case 1:
                    where[key] = [where[key]]
                case 2:
                    where[key] = {self.pick(READ): where[key]}
                case 3:
                    where[key] = self.pick(THINGS)
                case 4 if isinstance(where, dict):
                    where[self.pick(READ)] = self.value()
                case 5:  # what stands elsewhere, here too
                    other, name = self._spot(tree, template.read)
                    where[key] = json.loads(json.dumps(other[name]))
                case 6:
                    where[key] = self._text()
                case _:
                    where[key] = self.value()
        text = self.told(tree[0])
        if self.chance(0.02):
            at = self.pick([found.end() for found in re.finditer(r"\{", text)] or [0])
            text = f'{text[:at]}"{self.pick(READ)}": {self.told(self.value())}, {text[at:]}'
        if self.chance(0.02):
            at = self.number(len(text) + 1)
            text = text[:at] + self.pick(("", self._text(), '"', "}", "\\u", "\\ud800")) + text[at + self.number(3) :]
        return text

    def _spot(self, tree: list[Any], paths: Sequence[tuple[Any, ...]]) -> tuple[Any, Any]:
        """A place in the tree: what it is in, and its key there. Where the path does not lead so far any more, above."""
        where: Any = tree
        key: Any = 0
        for step in self.pick(paths):
            inner = where[key]
            if step in (inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()):
                where, key = inner, step
            else:
                break
        return where, key

    def _somebody(self, told: Any) -> None:
        """Another member or a stranger acts, and on another thing; or the same."""
        if not isinstance(told, dict):
            return
        if self.chance(0.5):
            who = self.pick((*MEMBERS, *MEMBERS, *STRANGERS))
            if isinstance(told.get("user"), dict):
                told["user"]["id"] = who
            elif "user_id" in told:
                told["user_id"] = who
            elif isinstance(told.get("event"), dict):
                told["event"]["user"] = who
        actions = told.get("actions")
        if isinstance(actions, list) and actions and isinstance(actions[0], dict):
            if self.chance(0.3):
                actions[0]["value"] = self.pick(THINGS)
            if self.chance(0.3):
                actions[0]["action_id"] = self.pick(BUTTONS)

    def told(self, value: Any) -> str:
        text = json.dumps(value, ensure_ascii=self.chance(0.9))
        if DEEP in text:
            deep = self.pick(DEPTHS) if self.chance(0.98) else 50_000
            opened, closed = self.pick((("[", "]"), ('{"a":', "}"), ('{"event":', "}"), ('{"authorizations":[', "]}")))
            text = text.replace(f'"{DEEP}"', opened * deep + "1" + closed * deep, 1)
        return text

    def value(self) -> Any:
        return json.loads(self.pick(self._corpus.values))

    def _text(self) -> str:
        if self.chance(0.002):
            return self.pick("xé\U0001f511\ud800") * self.pick((3_000, 40_000, 160_000))
        return self.pick(self._corpus.texts)

    def _form(self, body: str) -> Input:
        if self.chance(0.03):
            at = self.number(len(body) + 1)
            body = body[:at] + self.pick(_MISTAKES) + body[at:]
        return self._send(body, FORM)

    def _send(self, body: str, content_type: str) -> Input:
        if self.chance(0.03):
            content_type = self.pick((FORM, JSON, *_CONTENT_TYPES))
        headers = [("Content-Type", content_type)] if content_type else []
        if self.chance(0.08):
            headers.insert(self.number(2), self.pick(_NOISE))
        target = EVENTS + (
            self.pick(("?a=b", "?%ff=%00&&=", "?payload={}", "?" + "q" * 3000)) if self.chance(0.02) else ""
        )
        signing = "well" if self.chance(0.98) else "almost old"
        return Input(0, "", "POST", target, tuple(headers), body[:LARGEST], signing, self._framing())

    def _framing(self) -> str:
        return self.pick(("chunked", "cut", "too short", "dripped", "broken off")) if self.chance(0.03) else "whole"

    # ---- what anybody sends

    def unsigned(self) -> Input:
        _, how = self.pick(_SIGNED)
        return replace(how(self), signing=self.pick(UNSIGNED))

    def link(self, session: bool) -> Input:
        odd = quote(self._text().encode("utf-8", "replace"), safe="")[:4000]
        id = self.pick(("QQlinkQQ", "QQlinkQQ", "QQshownQQ", "x" * 64, "x" * 65, odd))
        act = self.pick(("look", "claim", "acknowledge", "claim", self.pick(("", "LOOK", "look/", "claim/..", "%00"))))
        headers = [("Content-Type", JSON if self.chance(0.9) else self.pick(_CONTENT_TYPES))]
        if session or self.chance(0.3):
            cookie = "keydesk_session=QQ" + self.pick(("session", "session", "session", "other")) + "QQ"
            headers.append(("Cookie", cookie if session else self._cookie()))
            headers.append(("X-CSRF-Token", "QQcsrfQQ" if session and self.chance(0.9) else self._header()))
        if self.chance(0.5):
            headers.append(("Origin", "QQdeskQQ" if self.chance(0.8) else self._header()))
        if self.chance(0.08):
            headers.append(self.pick(_NOISE))
        token = self.pick(("A" * 43, "A" * 43, "-" * 43, "A" * 42, self.value()))
        body = self.told({"token": token}) if self.chance(0.7) else self.told(self.value())
        if self.chance(0.03):
            body = body[1:] + self._text()
        sent = _latin(body.encode("utf-8", "surrogatepass"))
        return Input(0, "", "POST", f"/api/links/{id}/{act}", tuple(headers), sent, framing=self._framing())

    def callback(self) -> Input:
        """Every combination of state, code and error, each absent, right, wrong, empty, repeated or odd."""
        asked: list[tuple[str, str]] = []
        for name in ("state", "code", "error", "error_description", "iss", "id_token"):
            right = {"state": "QQstateQQ", "code": "QQcodeQQ", "error": "access_denied"}.get(name, "x")
            likely = 0.7 if name in ("state", "code") else 0.15
            while self.chance(likely):
                asked.append((name, self.pick((right, right, right, "", "x.QQlinkQQ", self._text()))))
                likely = 0.1
        self._random.shuffle(asked)
        query = self.pick((_encoded(asked), _encoded(asked), "%", "state", "&=&", "state=%ff%fe"))
        cookies = ("keydesk_session=QQlogincookieQQ", "keydesk_session=QQsessionQQ", self._cookie())
        headers = [("Cookie", self.pick(cookies))] if self.chance(0.8) else []
        method = "GET" if self.chance(0.95) else self.pick(("HEAD", "POST", "PUT", "OPTIONS"))
        if self.chance(0.3):
            back = self.pick(("/k/QQlinkQQ", "/k/QQlinkQQ", "//127.0.0.1/k/x", "/k/", self._text()))
            query = _encoded([("next", back)])
            return Input(0, "", method, "/auth/login?" + query, tuple(headers))
        return Input(0, "", method, "/auth/callback?" + query, tuple(headers))

    def page(self) -> Input:
        """Pages, files, health and whatever path or method."""
        odd = quote(self._text().encode("utf-8", "replace"), safe="/.%")[:6000]
        target = self.pick(_PATHS) + self.pick((*_TRICKS, "/" + odd, "?" + odd))
        method = self.pick(("GET", *_METHODS))
        headers = [self.pick((("Cookie", self._cookie()), ("Accept", "text/html"), self.pick(_NOISE)))]
        return Input(0, "", method, target, tuple(headers), self.pick(("", "", "{}", self._latin_text())))

    def raw(self) -> Input:
        """What is hardly HTTP, whole: it can be answered as it stands."""
        ends = "Host: x\r\nContent-Length: "
        return Input(0, "", body=self.pick((
            f"POST {EVENTS} HTTP/1.1\r\n{ends}-1\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\n{ends}9{'9' * 30}\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\n{ends}3\r\nContent-Length: 4\r\n\r\nabcd",
            f"POST {EVENTS} HTTP/1.1\r\n{ends}3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\n{ends}+3\r\n\r\nabc",
            f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            f"POST {EVENTS} HTTP/1.1\r\n\r\n",
            f"POST {EVENTS} HTTP/9.9\r\nHost: x\r\n\r\n",
            f"POST\t{EVENTS}\tHTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            f"GET /healthz HTTP/1.1\r\nHost: x\r\n {self._latin_text()}: y\r\n\r\n",
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nX: {'a' * 200_000}\r\n\r\n",
            f"GET /{'a' * 200_000} HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /healthz HTTP/1.0\r\n\r\n",
            "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /k/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            "\x00" * 100 + "\r\n\r\n",
            self._latin_text() + "\r\n\r\n" * 2,
        )), framing="raw")  # fmt: skip

    def _cookie(self) -> str:
        tampered = self.pick(("QQsessionQQx", "xQQsessionQQ", "QQsessionQQ.QQsessionQQ", "e30=.x.y", self._header()))
        return self.pick(
            ("", "keydesk_session=", "keydesk_session=" + tampered, "other=1; keydesk_session=" + tampered)
        )

    def _header(self) -> str:
        """A text that HTTP lets stand in a header."""
        return re.sub("[\x00-\x1f\x7f]", "", self._latin_text()).strip()[:3000]

    def _latin_text(self) -> str:
        return _latin(self._text().encode("utf-8", "surrogatepass"))


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


def _encoded(pairs: Sequence[tuple[str, Any]]) -> str:
    """As a form. `urlencode` takes milliseconds for a payload."""
    told = ((name, str(value)) for name, value in pairs)
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in told)


def _quoted(text: str) -> str:
    return _latin(text.encode("utf-8", "surrogatepass")).translate(_QUOTES)


_Way = tuple[str, Callable[[_Maker], Input]]
_SIGNED: Sequence[_Way] = (
    *(("signed button", lambda maker: maker.interaction("block_actions")),) * 30,
    *(("signed form", lambda maker: maker.interaction("view_submission")),) * 16,
    *(("signed menu", lambda maker: maker.interaction("block_suggestion")),) * 6,
    *(("signed command", _Maker.command),) * 14,
    *(("signed event", _Maker.event),) * 9,
    *(("signed handshake", _Maker.handshake),) * 2,
    *(("signed junk", _Maker.junk),) * 5,
)
_WAYS: Sequence[_Way] = (
    *_SIGNED,
    *(("unsigned", _Maker.unsigned),) * 7,
    *(("link, signed in", lambda maker: maker.link(session=True)),) * 4,
    *(("link, signed out", lambda maker: maker.link(session=False)),) * 2,
    *(("sign-in", _Maker.callback),) * 3,
    *(("page", _Maker.page),) * 2,
    *(("raw", _Maker.raw),) * 1,
)
"""What is sent, as often as it stands here: what reaches the listeners matters most."""
