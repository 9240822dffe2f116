"use strict";
// What every page is drawn with, from the JSON beside this script.
// Text enters the page as text nodes only, never as markup: prompts and completions are untrusted.
const DATA = JSON.parse(document.getElementById("data").textContent);

// ---------------------------------------------------------------- elements

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}
const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const s = (tag, props, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

// ---------------------------------------------------------------- numbers

const known = (x) => typeof x === "number" && Number.isFinite(x);
const minus = (text) => text.replace(/^-/, "−");
const percent = (x) => (known(x) ? minus(`${(100 * x).toFixed(1)}%`) : "–");
const count = (x) => (known(x) ? minus(Math.round(x).toLocaleString("en")) : "–");

function number(x) {
  if (!known(x)) return "–";
  const size = Math.abs(x);
  if (size === 0) return "0";
  if (size < 0.001) return minus(x.toExponential(1));
  if (size >= 1000) return count(x);
  return minus(x.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 3));
}
const signed = (x) => (known(x) ? `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(1)}` : "–");
const brief = (x) => (Number.isInteger(x) ? count(x) : number(x));

function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const interval = (ci) =>
  Array.isArray(ci) && ci.every(known) ? `${(100 * ci[0]).toFixed(1)}–${percent(ci[1])}` : null;

// ---------------------------------------------------------------- sections and intervals

function section(id, title, lead, ...children) {
  return h(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title),
    lead && h("p", { class: "lead" }, lead),
    children,
  );
}

// Values with their intervals, one under another on a common scale.
function intervalBars(marks, labels, scale = { low: 0, high: 1, show: percent }) {
  const { low, high, show } = scale;
  const x = (value) => `${(100 * Math.min(1, Math.max(0, (value - low) / (high - low)))).toFixed(2)}%`;
  const spoken = marks.map(({ label, value, ci }) => {
    const range = Array.isArray(ci) && ci.every(known) ? ` (${show(ci[0])} to ${show(ci[1])})` : "";
    return `${label} ${show(value)}${range}`;
  });
  const height = 10 * marks.length + 2;
  const label = (tick, anchor) =>
    s("text", { x: x(tick), y: height + 13, "text-anchor": anchor }, show(tick).replace(/\.0%$/, "%"));
  return s(
    "svg",
    {
      class: "interval",
      height: labels ? height + 16 : height,
      role: "img",
      "aria-label": spoken.join(", "),
    },
    [0, 0.25, 0.5, 0.75, 1].map((part) => {
      const tick = x(low + part * (high - low));
      return s("line", { class: "tick", x1: tick, x2: tick, y1: 0, y2: height });
    }),
    labels && [label(low, "start"), label((low + high) / 2, "middle"), label(high, "end")],
    marks.map(({ value, ci, cls }, i) => {
      const y = 6 + 10 * i;
      const range = Array.isArray(ci) && ci.every(known) ? ci : [value, value];
      return s(
        "g",
        { class: cls },
        s("line", { class: "range", x1: x(range[0]), x2: x(range[1]), y1: y, y2: y }),
        s("circle", { cx: x(value), cy: y, r: 3.5 }),
      );
    }),
  );
}

// ---------------------------------------------------------------- how it was made

function facts(title, values) {
  const entries = Object.entries(values || {}).filter(([, value]) => value !== null && value !== undefined);
  const text = (name, value) =>
    name.endsWith("_bytes") && known(value)
      ? `${(value / 1e9).toFixed(1)} GB`
      : typeof value === "object"
        ? JSON.stringify(value)
        : String(value);
  return (
    entries.length > 0 &&
    h(
      "div",
      {},
      h("h3", {}, title),
      h(
        "dl",
        { class: "made" },
        entries.map(([name, value]) =>
          h(
            "div",
            {},
            h("dt", {}, h("bdi", {}, name.replace(/_bytes$/, ""))),
            h("dd", {}, h("bdi", {}, text(name, value))),
          ),
        ),
      ),
    )
  );
}

const commitName = (commit) => `${commit.slice(0, 10)}${commit.includes("+") ? " with changes" : ""}`;

// How to make the same again: the command, what was set, on which machine, with which versions.
function made(how, config, ...more) {
  const { command, git_commit: commit, hardware, versions } = how;
  const text = command && h("pre", { class: "command" }, command);
  const copy = (event) => {
    getSelection().selectAllChildren(text);
    const done = () => {
      event.target.textContent = "Copied";
    };
    if (navigator.clipboard) navigator.clipboard.writeText(command).then(done, () => {});
  };
  const blocks = [
    command &&
      h(
        "div",
        {},
        h("h3", {}, "Run it again"),
        h("div", { class: "commandline" }, text, h("button", { type: "button", onclick: copy }, "Copy")),
        commit && h("p", { class: "small" }, "At commit ", h("code", {}, String(commit)), "."),
      ),
    config &&
      h("details", {}, h("summary", {}, "Configuration, resolved"), h("pre", { class: "config" }, config)),
    h("div", { class: "columns" }, facts("Machine", hardware), facts("Versions", versions), more),
  ].filter(Boolean);
  return command || config || hardware || versions ? section("made", "How it was made", null, blocks) : null;
}

// ---------------------------------------------------------------- the page

function heading(kicker, state, title, about) {
  return h(
    "header",
    {},
    h("p", { class: "kicker" }, kicker, state),
    h("h1", { dir: "auto" }, title),
    h(
      "p",
      { class: "facts" },
      about.filter(Boolean).map((fact) => h("span", {}, fact)),
    ),
  );
}

function moment(text) {
  const when = typeof text === "string" ? new Date(text) : null;
  if (!when) return null;
  return Number.isNaN(when.valueOf())
    ? text
    : when.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

// Calls back with -1 or 1 at an arrow key, as long as the node is in view and nothing in it needs the key.
function onArrows(node, move) {
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { top, bottom } = node.getBoundingClientRect();
    const elsewhere = event.target instanceof Element && event.target.closest("input, select, pre, figure, table");
    const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    const visible = bottom > 80 && top < innerHeight - 80;
    if (!by || modified || elsewhere || event.defaultPrevented || !visible) return;
    event.preventDefault();
    move(by);
  });
}

// Puts the blocks onto the page, with links in the first one to those that have a name.
function showPage(blocks, links) {
  const there = blocks.filter(Boolean);
  const present = Object.entries(links).filter(([id]) => there.some((block) => block.id === id));
  const anchors = present.map(([id, name]) => h("a", { href: `#${id}` }, name));
  if (present.length > 1) there[0].append(h("nav", {}, anchors));
  document.getElementById("page").replaceChildren(...there);
}
const pageIsReady = () => {
  document.documentElement.dataset.ready = "yes";
};
