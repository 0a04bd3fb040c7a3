/** Times as people read them. All take seconds since the epoch, as Slack and OpenAI send them. */

const format = (options) => new Intl.DateTimeFormat("en", options);
const CLOCK = format({ hour: "numeric", minute: "2-digit" });
const CLOCK_SECONDS = format({ hour: "numeric", minute: "2-digit", second: "2-digit" });
const SHORT = format({ month: "short", day: "numeric", year: "numeric" });
const MEDIUM = format({ month: "long", day: "numeric", year: "numeric" });
const LONG = format({ weekday: "long", month: "long", day: "numeric", year: "numeric" });
const FULL = format({ dateStyle: "full", timeStyle: "medium" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const dateOf = (seconds) => new Date(seconds * 1000);
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const clock = (seconds) => CLOCK.format(dateOf(seconds));
export const full = (seconds) => FULL.format(dateOf(seconds));

/** How many calendar days from today: -1 is yesterday. */
function daysFromToday(seconds) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  return Math.round((midnight(dateOf(seconds)) - midnight(new Date())) / (DAY * 1000));
}

/** "Today", "Yesterday" or the long date: what a divider between two days says. */
export function day(seconds) {
  return pretty(seconds, LONG, (word) => word[0].toUpperCase() + word.slice(1));
}

function pretty(seconds, otherwise, shape = (word) => word) {
  const days = daysFromToday(seconds);
  return Math.abs(days) <= 1 ? shape(RELATIVE.format(days, "day")) : otherwise.format(dateOf(seconds));
}

/** "in 3 days", "12 min. ago", "just now". */
export function relative(seconds, now = Date.now() / 1000) {
  const distance = seconds - now;
  const size = Math.abs(distance);
  if (size < MINUTE) return distance > 0 ? "in under a minute" : "just now";
  const [unit, length] = size < HOUR ? ["minute", MINUTE] : size < 2 * DAY ? ["hour", HOUR] : ["day", DAY];
  return RELATIVE.format(Math.round(distance / length), unit);
}

/** What each token of Slack's `<!date^…>` stands for. */
const TOKENS = {
  date_num: (s) => dateOf(s).toLocaleDateString("sv"),
  date_slash: (s) => dateOf(s).toLocaleDateString("en-GB"),
  date: (s) => MEDIUM.format(dateOf(s)),
  date_short: (s) => SHORT.format(dateOf(s)),
  date_long: (s) => LONG.format(dateOf(s)),
  date_pretty: (s) => pretty(s, MEDIUM),
  date_short_pretty: (s) => pretty(s, SHORT),
  date_long_pretty: (s) => pretty(s, LONG),
  day_divider_pretty: (s) => pretty(s, LONG),
  time: clock,
  time_secs: (s) => CLOCK_SECONDS.format(dateOf(s)),
  ago: (s) => relative(s),
};

/** Fill Slack's date tokens into a template, or give the fallback when the template knows none of them. */
export function stamp(seconds, template, fallback) {
  if (!Number.isFinite(seconds)) return fallback;
  let known = false;
  const text = template.replace(/\{(\w+)\}/g, (whole, token) => {
    if (!TOKENS[token]) return whole;
    known = true;
    return TOKENS[token](seconds);
  });
  return known ? text : fallback;
}
