/** The acting member's line to the sandbox: the control API, the state, and what becomes of each interaction. */

const WAIT_SECONDS = 25;
const RETRY_PAUSE = 1_000;

/** What an interaction that went wrong looks like from the member's chair; null where the member is told otherwise. */
const PROBLEMS = {
  operation_timeout: (app) => `${app} did not answer within 3 seconds.`,
  not_connected: (app) => `${app} is not running, or not connected to this workspace.`,
  connection_closed: (app) => `${app} hung up before it answered.`,
  dispatch_failed: (app) => `${app} cannot be reached.`,
  http_error: (app, ack) => `${app} answered with HTTP ${ack.status}.`,
  invalid_command: () => null,
  required: () => null,
};

/** The problem in words, or null. */
function problemOf(ack, app) {
  if (ack.acknowledged !== false) return null;
  return ack.error in PROBLEMS
    ? PROBLEMS[ack.error](app, ack)
    : `${app} answered with something that Slack refuses: ${ack.error}.`;
}

/** Text as Slack's own client escapes what people type. */
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

class Refused extends Error {}

async function request(path, body) {
  const response = await fetch(
    `/control/${path}`,
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        },
  );
  const answer = await response.json().catch(() => ({ error: `HTTP ${response.status}` }));
  if (!response.ok) throw new Refused(answer.error ?? `HTTP ${response.status}`);
  return answer;
}

export class Client {
  state = null;
  directory = { me: null, user: () => null, channel: () => null, group: () => null };
  #as;
  #changed;
  #problem;
  #fetching = null;

  /** `changed(state)` is called after each change, `problem(title, text)` when something failed. */
  constructor({ as, changed, problem }) {
    this.#as = as;
    this.#changed = changed;
    this.#problem = problem;
  }

  get members() {
    return this.state.members;
  }
  get channels() {
    return this.state.channels.filter((channel) => channel.kind === "channel");
  }
  get commands() {
    return this.state.commands;
  }
  get appName() {
    return this.state.app.name;
  }

  /** Fetch the state as it is now; calls of one moment share a fetch, and an answer that was overtaken is dropped. */
  refresh() {
    this.#fetching ??= Promise.resolve().then(async () => {
      this.#fetching = null;
      const state = await request(`state?as=${encodeURIComponent(this.#as)}`);
      if (this.state && state.rev < this.state.rev) return;
      this.state = state;
      this.#name(state);
      this.#changed(state);
    });
    return this.#fetching;
  }

  /** A sandbox that was started anew counts from the beginning: its lower revision is news as well. */
  #expect(rev) {
    if (rev < this.state.rev) this.state.rev = -1;
  }

  #name(state) {
    const index = (items, name) => new Map(items.map((item) => [item.id, name(item)]));
    const [users, channels, groups] = [
      index(state.members, (member) => member.name),
      index(state.channels, (channel) => channel.name),
      index(state.groups, (group) => group.handle ?? group.name),
    ];
    this.directory = {
      me: state.me.id,
      user: (id) => users.get(id) ?? null,
      channel: (id) => channels.get(id) ?? null,
      group: (id) => groups.get(id) ?? null,
    };
  }

  /**
   * Follow the workspace for ever. Of all tabs of this browser only one holds the long poll and tells the others:
   * a browser opens six connections to a server, and a tab a member would use them up. `connected(bool)` tells how
   * the line is.
   */
  follow(connected) {
    const tabs = new BroadcastChannel("sandbox-rev");
    const catchUp = async () => {
      try {
        await this.refresh();
        connected(true);
      } catch (error) {
        if (error instanceof Refused) this.#problem("The sandbox refused", error.message);
        connected(false);
      }
    };
    tabs.onmessage = ({ data: rev }) => {
      this.#expect(rev);
      catchUp();
    };
    navigator.locks.request("sandbox-wait", async () => {
      for (;;) {
        try {
          const { rev } = await request(`wait?rev=${this.state.rev}&timeout=${WAIT_SECONDS}`);
          if (rev === this.state.rev) continue;
          tabs.postMessage(rev);
          await catchUp();
        } catch {
          connected(false);
          await new Promise((resume) => setTimeout(resume, RETRY_PAUSE));
          this.#expect(-1);
        }
      }
    });
  }

  /** Send an interaction; resolves to its acknowledgement with `errors` and, where it failed, `problem` in words. */
  async #send(path, body) {
    let ack;
    try {
      ack = await request(path, { as: this.#as, ...body });
    } catch (error) {
      return {
        errors: {},
        problem: error instanceof Refused ? `The sandbox refused: ${error.message}.` : "The sandbox does not answer.",
      };
    }
    const errors = ack.errors ?? {};
    const problem = problemOf(ack, this.appName);
    await this.refresh().catch(() => {});
    return { ...ack, errors, problem };
  }

  async #tell(title, path, body) {
    const ack = await this.#send(path, body);
    if (ack.problem) this.#problem(title, ack.problem);
    return !ack.problem;
  }

  command(channel, text) {
    return this.#tell(`${text.split(" ")[0]} failed`, "command", { channel, text });
  }
  message(channel, text) {
    return this.#tell("Your message was not sent", "message", { channel, text: escaped(text) });
  }
  openHome() {
    return this.#tell("Home did not open", "home", {});
  }
  submit(viewId, values) {
    return this.#send("submit", { view_id: viewId, values });
  }
  /** Close a modal, or with `all` the whole stack that it is in. */
  close(viewId, all) {
    return this.#tell("The dialog did not close cleanly", "close", { view_id: viewId, all });
  }

  /** A member used an element of a message or a view. */
  act(surface, blockId, actionId, action) {
    return this.#tell("That did not go through", "action", {
      container: surface.container,
      block_id: blockId,
      action_id: actionId,
      action,
      values: surface.values(),
    });
  }

  /** Options for an external select, in Slack's shape. */
  async suggest(surface, blockId, actionId, query) {
    try {
      return await request("suggest", {
        as: this.#as,
        container: surface.container,
        block_id: blockId,
        action_id: actionId,
        query,
      });
    } catch {
      throw new Error(`${this.appName} sent no options.`);
    }
  }
}

/** Where a key of each vendor is tried: by what it starts with, the first that fits. */
const TRIALS = [
  { starts: "sk-or-", url: "/openrouter/api/v1/chat/completions", model: "openai/gpt-5-mini" },
  { starts: "sk-ant-", url: "/anthropic/v1/messages", model: "claude-haiku-4-5" },
  { starts: "sk-svcacct-", url: "/openai/v1/chat/completions", model: "gpt-5-mini" },
  { starts: "sk-proj-", url: "/openai/v1/chat/completions", model: "gpt-5-mini" },
  { starts: "", url: "/litellm/v1/chat/completions", model: "gpt-5-mini" },
];

/** What a model says to a key: `{ ok, status, text }`. */
export async function tryKey(key) {
  const { url, model } = TRIALS.find(({ starts }) => key.startsWith(starts));
  const auth = key.startsWith("sk-ant-")
    ? { "x-api-key": key, "anthropic-version": "2023-06-01" }
    : { Authorization: `Bearer ${key}` };
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...auth },
    body: JSON.stringify({ model, max_tokens: 100, messages: [{ role: "user", content: "Say hello to Acme." }] }),
  });
  const answer = await response.json().catch(() => ({}));
  const said = answer.choices?.[0]?.message?.content ?? answer.content?.[0]?.text;
  const text = response.ok ? said : answer.error?.message;
  return { ok: response.ok, status: response.status, text: text ?? response.statusText };
}
