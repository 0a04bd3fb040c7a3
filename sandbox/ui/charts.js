/** Slack's charts (`data_visualization` blocks) as SVG: bars, lines, areas and pies, each with its numbers for who cannot see it. */

import { h, s } from "./dom.js";

const WIDTH = 440;
const HEIGHT = 180;
const LEFT = 44;
const BOTTOM = 24;
const TOP = 8;
const STEPS = 4;
const TONES = 6;

/** The chart, its legend, and a table of the same for screen readers. */
export function chart(block) {
  const { chart: told, title } = block;
  const drawn = told.type === "pie" ? pie(told.segments) : plot(told);
  const names = told.type === "pie" ? told.segments.map((one) => one.label) : told.series.map((one) => one.name);
  return h(
    "figure",
    { class: "chart", data: { testid: "chart" } },
    h("figcaption", { dir: "auto" }, title),
    drawn,
    h(
      "ul",
      { class: "chart-legend", "aria-hidden": "true" },
      names.map((name, index) => h("li", { class: `chart-tone-${index % TONES}`, dir: "auto" }, name)),
    ),
    table(told, title),
  );
}

function plot({ type, series, axis_config: axis }) {
  const values = series.flatMap((one) => one.data.map((point) => point.value));
  const high = nice(Math.max(0, ...values));
  const low = -nice(Math.max(0, ...values.map((value) => -value)));
  const y = (value) => TOP + ((high - value) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const band = (WIDTH - LEFT) / axis.categories.length;
  const centre = (index) => LEFT + band * (index + 0.5);
  const lines = Array.from({ length: STEPS + 1 }, (_, step) => low + ((high - low) * step) / STEPS);
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart-plot", "aria-hidden": "true" },
    lines.map((value) => [
      s("line", { class: "chart-line", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
      s("text", { class: "chart-text", x: LEFT - 6, y: y(value) + 3, "text-anchor": "end" }, short(value)),
    ]),
    axis.categories.map((label, index) =>
      s("text", { class: "chart-text", x: centre(index), y: HEIGHT - 8, "text-anchor": "middle" }, label),
    ),
    axis.y_label && s("text", { class: "chart-text", x: 0, y: HEIGHT - 8 }, axis.y_label),
    series.map((one, number) =>
      type === "bar" ? bars(one, number, series.length, band, centre, y) : line(one, number, type, centre, y),
    ),
  );
}

function bars(one, number, count, band, centre, y) {
  const width = (band * 0.7) / count;
  return one.data.map((point, index) => {
    const x = centre(index) + (number - count / 2) * width;
    const [top, bottom] = [y(Math.max(0, point.value)), y(Math.min(0, point.value))];
    return s("rect", { class: `chart-tone-${number % TONES}`, x, y: top, width: width * 0.92, height: bottom - top, rx: 2 });
  });
}

function line(one, number, type, centre, y) {
  const points = one.data.map((point, index) => `${centre(index)},${y(point.value)}`);
  const ground = [`${centre(one.data.length - 1)},${y(0)}`, `${centre(0)},${y(0)}`];
  return [
    type === "area" && s("polygon", { class: `chart-area chart-tone-${number % TONES}`, points: [...points, ...ground].join(" ") }),
    s("polyline", { class: `chart-curve chart-tone-${number % TONES}`, points: points.join(" ") }),
  ];
}

function pie(segments) {
  const whole = segments.reduce((sum, one) => sum + one.value, 0) || 1;
  const [x, y, r] = [WIDTH / 2, HEIGHT / 2, HEIGHT / 2 - TOP];
  const at = (turn) => `${x + r * Math.sin(turn * 2 * Math.PI)} ${y - r * Math.cos(turn * 2 * Math.PI)}`;
  let from = 0;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart-plot", "aria-hidden": "true" },
    segments.map((one, number) => {
      const share = Math.min(one.value / whole, 0.9999);
      const d = `M${x} ${y}L${at(from)}A${r} ${r} 0 ${share > 0.5 ? 1 : 0} 1 ${at(from + share)}Z`;
      from += share;
      return s("path", { class: `chart-tone-${number % TONES}`, d });
    }),
  );
}

function table(told, title) {
  const rows =
    told.type === "pie"
      ? told.segments.map((one) => [one.label, one.value])
      : told.axis_config.categories.map((label, index) => [label, ...told.series.map((one) => one.data[index].value)]);
  const heads = told.type === "pie" ? ["", title] : ["", ...told.series.map((one) => one.name)];
  return h(
    "table",
    { class: "visually-hidden" },
    h("caption", {}, title),
    h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head))),
    rows.map(([label, ...cells]) =>
      h("tr", {}, h("th", { scope: "row" }, label), cells.map((cell) => h("td", {}, String(cell)))),
    ),
  );
}

/** A round number that is not below the value: 1, 2 or 5 times a power of ten. */
function nice(value) {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * power).find((round) => round >= value);
}

function short(value) {
  return Number(value.toFixed(2)).toLocaleString("en");
}
