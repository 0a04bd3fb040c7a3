// Where to keep a key: for each place what to do there, each with its copy button. No command takes the key as an
// argument, where a shell's history and everybody's list of processes would have it: it is asked for, and pasted.

import { copy } from "./clipboard.js";
import { $, element, inWords } from "./sections.js";

const MASK = "•".repeat(12);
const PASTE = { text: "It waits for the key. Paste it, and press Enter: nothing shows as you do.", key: true };

/** Offers the places, and returns what takes the key off for good. `about` is what the desk tells of the key. */
export function keep(key, about) {
  const places = document.querySelectorAll('input[name="place"]');
  const show = () => {
    const place = [...places].find((one) => one.checked).value;
    said("");
    $("keeping").after($("kept"));
    $("keeping").replaceChildren(...STEPS[place](named(about)).map((step) => item(step, key)));
  };
  places.forEach((one) => (one.onchange = show));
  show();
  return function remove() {
    places.forEach((one) => (one.onchange = null));
    $("keeping").after($("kept"));
    $("keeping").replaceChildren();
  };
}

/** What programs and stores call it. A shell reads the names, so that they hold nothing that means something to one. */
function named({ variable, beside, provider, project }) {
  const label = `${provider}-${project ?? ""}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return { variable, beside: Object.entries(beside), label: label || variable.toLowerCase() };
}

const STEPS = {
  env: ({ variable, beside }) => [
    {
      text: "Once, in your project’s folder: only you can read the file, and git ignores it.",
      code: "touch .env && chmod 600 .env\ngit check-ignore -q .env || printf '\\n.env\\n' >> .gitignore",
      what: "the commands",
    },
    { text: "Paste this into it.", line: variable, beside, what: beside.length ? "the lines" : "the line" },
  ],

  // API Credential's field is called credential. developer.1password.com/docs/cli/item-create, …/secret-references
  onepassword: ({ variable, beside, label }) => [
    {
      text: "With 1Password’s command line, signed in:",
      code:
        "printf 'Key: '; read -rs KEY; echo; printf " +
        `'{"title":"${label}","category":"API_CREDENTIAL","fields":` +
        `[{"id":"credential","label":"credential","type":"CONCEALED","value":"%s"}]}' "$KEY" ` +
        "| op item create - > /dev/null && echo Kept; unset KEY",
      what: "the command",
    },
    PASTE,
    {
      text: "Your `.env` then says where the key is, not what it is. `Private` is the vault; in a company it may be `Employee`.",
      code: [`${variable}="op://Private/${label}/credential"`, ...beside.map(([name, what]) => `${name}="${what}"`)].join("\n"),
      what: beside.length ? "the lines" : "the line",
    },
    { text: "Start what needs it like this:", code: "op run --env-file=.env -- your-command", what: "the command" },
  ],

  // Without --body it asks for the value. cli.github.com/manual/gh_secret_set
  actions: ({ variable, beside }) => {
    const secret = variable.replace(/^GITHUB_/, "GH_"); // GitHub keeps names that begin so for itself
    return [
      { text: "With GitHub’s command line, in a clone of the repository:", code: `gh secret set ${secret}`, what: "the command" },
      PASTE,
      {
        text: "In the workflow, at the step that needs it and at no other:",
        code: [
          "env:",
          `  ${variable}: \${{ secrets.${secret} }}`,
          ...beside.map(([name, what]) => `  ${name}: ${what}`),
        ].join("\n"),
        what: "the lines",
      },
    ];
  },

  // By `security -i`: at its own prompt it keeps only the first 128 characters, and there are longer keys.
  keychain: ({ variable, beside, label }) => [
    {
      text: "In a terminal on your Mac:",
      code:
        "printf 'Key: '; read -rs KEY; echo; " +
        `printf 'add-generic-password -U -a "%s" -s "${label}" -w "%s"\\n' "$USER" "$KEY" | security -i; unset KEY`,
      what: "the command",
    },
    PASTE,
    {
      text: "In the shell that needs it:",
      code: [
        `export ${variable}="$(security find-generic-password -a "$USER" -s "${label}" -w)"`,
        ...beside.map(([name, what]) => `export ${name}="${what}"`),
      ].join("\n"),
      what: beside.length ? "the commands" : "the command",
    },
  ],
};

function said(words) {
  $("kept").textContent = words;
}

function item(step, key) {
  const made = document.createElement("li");
  inWords(made.appendChild(element("p", "")), step.text);
  if (step.code) made.append(block(step.code));
  if (step.line) made.append(block(lines(step, MASK)));
  const secret = Boolean(step.key || step.line);
  const text = step.key ? key : step.line ? lines(step, quoted(key)) : step.code;
  const button = element("button", step.key ? "Copy the key" : `Copy ${step.what}${secret ? ", with the key" : ""}`);
  button.type = "button";
  button.className = "quiet";
  button.onclick = () => {
    button.after($("kept")); // beside what was pressed: the list may be longer than the screen
    copy(text, {
      secret,
      say: said,
      instead() {
        if (secret) return "This browser does not let the page copy. Copy the key from above, with your keyboard.";
        getSelection().selectAllChildren(made.querySelector("pre"));
        return "This browser does not let the page copy. It is selected: copy it with your keyboard.";
      },
    });
  };
  made.append(button);
  return made;
}

function block(code) {
  const made = element("pre", code);
  made.translate = false;
  return made;
}

function lines({ line, beside }, value) {
  return [`${line}=${value}`, ...beside.map(([name, what]) => `${name}=${what}`)].join("\n");
}

/** As .env files are read: bare where every reader takes it so, else in quotes, in which nothing is replaced. */
function quoted(key) {
  if (/^[\w.:/+@=-]+$/.test(key)) return key;
  return key.includes("'") ? `"${key}"` : `'${key}'`;
}
