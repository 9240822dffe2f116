"use strict";
// Draws the report from the JSON beside this script, with the curves and rollouts of the two scripts before it.
// Text enters the page as text nodes only, never as markup: prompts and completions are untrusted.
const DATA = JSON.parse(document.getElementById("data").textContent);
const { result: RESULT, made: MADE } = DATA;

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

// ---------------------------------------------------------------- header and headline

function firstAndLast() {
  if (RESULT.before || RESULT.after)
    return [
      ["before", RESULT.before],
      ["after", RESULT.after],
    ];
  const evals = DATA.evals;
  if (!evals.length) return [];
  const first = [`step ${count(evals[0].step)}`, evals[0]];
  const last = evals[evals.length - 1];
  return evals.length > 1 ? [first, [`step ${count(last.step)}`, last]] : [first];
}
const ENDS = firstAndLast().filter(([, figures]) => figures);

const commit = () => String(MADE.git_commit);

function header() {
  const program = /\bagents[./]\w+/.exec(MADE.command || "");
  const created = typeof MADE.created === "string" ? new Date(MADE.created) : null;
  const facts = [
    DATA.steps ? `${count(DATA.steps)} steps` : "no steps yet",
    DATA.seconds && `${duration(DATA.seconds)} of training`,
    DATA.tokens && `${count(DATA.tokens)} tokens sampled`,
    known(MADE.seed) && `seed ${MADE.seed}`,
    MADE.git_commit && `commit ${commit().slice(0, 10)}${commit().includes("+") ? " with changes" : ""}`,
    created &&
      (Number.isNaN(created.valueOf())
        ? MADE.created
        : created.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })),
  ].filter(Boolean);
  return h(
    "header",
    {},
    h(
      "p",
      { class: "kicker" },
      program ? program[0].replace("/", ".") : "run report",
      h(
        "span",
        { class: DATA.finished ? "state" : "state running" },
        DATA.finished ? "finished" : "in progress",
      ),
    ),
    h("h1", { dir: "auto" }, DATA.name),
    h(
      "p",
      { class: "facts" },
      facts.map((fact) => h("span", {}, fact)),
    ),
    !DATA.finished &&
      h("p", { class: "quiet" }, "The run has not finished: this page shows what it had written so far."),
  );
}

function tile(title, about, read, show) {
  const values = ENDS.map(([, figures]) => read(figures)).filter(known);
  if (!values.length) return null;
  return h(
    "div",
    { class: "tile" },
    h("h2", {}, title),
    arrow(values.map(show)),
    h("p", { class: "small" }, about),
  );
}

const arrow = (texts) =>
  h(
    "p",
    { class: "figures" },
    texts.length > 1 && [
      h("span", { class: "from" }, texts[0]),
      h("span", { class: "arrow", "aria-label": "to" }, "→"),
    ],
    h("strong", {}, texts[texts.length - 1]),
  );

function headline() {
  const ends = ENDS.filter(([, figures]) => known(figures.pass_at_1));
  if (!ends.length) return lossTiles();
  const last = ends[ends.length - 1][1];
  const marks = ends.map(([label, figures], i) => ({
    label,
    value: figures.pass_at_1,
    ci: figures.pass_at_1_ci95,
    cls: i + 1 < ends.length ? "before" : "after",
  }));
  const change = (RESULT.change_ci95 || []).every(known) && ends.length > 1 && RESULT.change_ci95;
  const tasks = [...new Set(ends.map(([, figures]) => figures.n).filter(known))].map(count).join(" and then ");
  const k = last.k ?? "k",
    sameK = ends.every(([, figures]) => figures.k === last.k);
  return h(
    "section",
    { id: "result", "aria-label": "Result" },
    h(
      "div",
      { class: "tiles" },
      h(
        "div",
        { class: "tile first" },
        h("h2", {}, "pass@1, ", ends.map(([label]) => label).join(" → ")),
        arrow(marks.map(({ value }) => percent(value))),
        intervalBars(marks, true),
        h(
          "p",
          { class: "small" },
          "95% intervals: ",
          marks.map(({ label, ci }, i) => [
            i ? ", " : "",
            `${label} `,
            h("b", {}, interval(ci) || "not given"),
          ]),
          change && [
            ", change ",
            h("b", {}, `${signed(100 * change[0])} to ${signed(100 * change[1])} points`),
          ],
          ".",
        ),
        h(
          "p",
          { class: "small" },
          `Chance that one sample is right, on ${tasks} held-out task${tasks === "1" ? "" : "s"}.`,
        ),
      ),
      sameK &&
        k !== 1 &&
        tile(`pass@${k}`, `At least one of ${k} samples is right.`, (f) => f.pass_at_k, percent),
      tile("Format", "Share of completions in the asked format.", (f) => f.format, percent),
      tile(
        "Length",
        "Mean tokens of a completion.",
        (f) => f.mean_tokens,
        (x) => x.toFixed(1),
      ),
    ),
  );
}

function lossTiles() {
  const losses = (DATA.metrics.loss || []).filter(known);
  if (!losses.length) return null;
  const tenth = Math.max(1, Math.floor(losses.length / 10));
  const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
  return h(
    "section",
    { id: "result", "aria-label": "Result" },
    h(
      "div",
      { class: "tiles" },
      h(
        "div",
        { class: "tile first" },
        h("h2", {}, "Loss"),
        arrow([losses.slice(0, tenth), losses.slice(-tenth)].map((part) => number(mean(part)))),
        h("p", { class: "small" }, "Mean of the first and of the last tenth of the steps."),
      ),
    ),
  );
}

function intervalBars(marks, labels) {
  const x = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(2)}%`;
  const spoken = marks
    .map(({ label, value, ci }) => `${label} ${percent(value)}${interval(ci) ? ` (${interval(ci)})` : ""}`)
    .join(", ");
  const height = 10 * marks.length + 2;
  const label = (tick, anchor, text) => s("text", { x: x(tick), y: height + 13, "text-anchor": anchor }, text);
  return s(
    "svg",
    { class: "interval", height: labels ? height + 16 : height, role: "img", "aria-label": spoken },
    [0, 0.25, 0.5, 0.75, 1].map((tick) =>
      s("line", { class: "tick", x1: x(tick), x2: x(tick), y1: 0, y2: height }),
    ),
    labels && [label(0, "start", "0"), label(0.5, "middle", "50"), label(1, "end", "100%")],
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

// ---------------------------------------------------------------- note, probe, levels

const note = () =>
  RESULT.note &&
  h(
    "aside",
    { class: "note" },
    h("span", { class: "label" }, "What this does and does not mean"),
    h("p", { dir: "auto" }, String(RESULT.note)),
  );

function section(id, title, lead, ...children) {
  return h(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title),
    lead && h("p", { class: "lead" }, lead),
    children,
  );
}

function probe() {
  const items = RESULT.probe.filter(Boolean);
  if (!items.length) return null;
  const side = (label, answer) =>
    answer &&
    h(
      "div",
      { class: "side" },
      h("p", { class: "sidehead" }, h("span", { class: "label" }, label), verdictBadge(answer.verdict)),
      completionView(answer.text, true),
    );
  return section(
    "probe",
    items.length > 1 ? "The same questions, before and after" : "The same question, before and after",
    null,
    items.map((item) =>
      h(
        "article",
        { class: "probe" },
        h(
          "p",
          { class: "question", dir: "auto" },
          typeof item.prompt === "string" ? item.prompt : promptView(item.prompt),
        ),
        item.remark && h("p", { class: "lead", dir: "auto" }, item.remark),
        h("div", { class: "sides" }, side("Before", item.before), side("After", item.after)),
      ),
    ),
  );
}

function levels() {
  const entries = RESULT.by_level.filter((entry) => entry.before || entry.after);
  if (!entries.length) return null;
  const cell = (figures) =>
    h(
      "td",
      { class: "num" },
      figures ? percent(figures.pass_at_1) : "–",
      figures && interval(figures.pass_at_1_ci95) && h("small", {}, interval(figures.pass_at_1_ci95)),
    );
  const rows = entries.map(({ level, before, after }) => {
    const change = before && after ? 100 * (after.pass_at_1 - before.pass_at_1) : null;
    const marks = [
      [before, "before"],
      [after, "after"],
    ]
      .filter(([f]) => f && known(f.pass_at_1))
      .map(([f, cls]) => ({ label: cls, value: f.pass_at_1, ci: f.pass_at_1_ci95, cls }));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("bdi", {}, level)),
      h("td", { class: "num wide" }, count((after || before).n)),
      cell(before),
      cell(after),
      h("td", { class: "num wide" }, signed(change)),
      h("td", { class: "bars" }, intervalBars(marks)),
    );
  });
  return section(
    "levels",
    "Accuracy by level",
    "Held-out pass@1, with 95% intervals over the tasks; the bars run from 0 to 100%.",
    h(
      "table",
      { class: "levels" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Level"),
          h("th", { scope: "col", class: "num wide" }, "Tasks"),
          h("th", { scope: "col", class: "num" }, h("i", { class: "key before" }), "Before"),
          h("th", { scope: "col", class: "num" }, h("i", { class: "key after" }), "After"),
          h("th", { scope: "col", class: "num wide" }, "Change"),
          h("th", { scope: "col", "aria-label": "Intervals" }),
        ),
      ),
      h("tbody", {}, rows),
    ),
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

function made() {
  const { command } = MADE;
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
        MADE.git_commit && h("p", { class: "small" }, "At commit ", h("code", {}, commit()), "."),
      ),
    DATA.config &&
      h("details", {}, h("summary", {}, "Configuration, resolved"), h("pre", { class: "config" }, DATA.config)),
    h("div", { class: "columns" }, facts("Machine", MADE.hardware), facts("Versions", MADE.versions)),
  ].filter(Boolean);
  return command || DATA.config || MADE.hardware || MADE.versions
    ? section("made", "How it was made", null, blocks)
    : null;
}

// ---------------------------------------------------------------- the page

const page = document.getElementById("page");
const blocks = [header(), headline(), note(), probe(), levels(), charts(), rollouts(), made()].filter(Boolean);
const links = { levels: "levels", curves: "curves", rollouts: "rollouts", made: "how it was made" };
const present = Object.entries(links).filter(([id]) => blocks.some((block) => block.id === id));
if (present.length > 1)
  blocks[0].append(
    h(
      "nav",
      {},
      present.map(([id, name]) => h("a", { href: `#${id}` }, name)),
    ),
  );
page.replaceChildren(...blocks);
drawCharts();
let redraw = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(redraw);
  redraw = requestAnimationFrame(drawCharts);
});
document.documentElement.dataset.ready = "yes";
