"use strict";
// Draws the report of a run, with the curves and rollouts of the two scripts before it.
const { result: RESULT, made: MADE } = DATA;

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

function header() {
  const program = /\bagents[./]\w+/.exec(MADE.command || "");
  const head = heading(
    program ? program[0].replace("/", ".") : "run report",
    h("span", { class: DATA.finished ? "state" : "state running" }, DATA.finished ? "finished" : "in progress"),
    DATA.name,
    [
      DATA.steps ? `${count(DATA.steps)} steps` : "no steps yet",
      DATA.seconds && `${duration(DATA.seconds)} of training`,
      DATA.tokens && `${count(DATA.tokens)} tokens sampled`,
      known(MADE.seed) && `seed ${MADE.seed}`,
      MADE.git_commit && `commit ${commitName(String(MADE.git_commit))}`,
      moment(MADE.created),
    ],
  );
  if (!DATA.finished)
    head.append(
      h("p", { class: "quiet" }, "The run has not finished: this page shows what it had written so far."),
    );
  return head;
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

// ---------------------------------------------------------------- note, probe, levels

const note = () =>
  RESULT.note &&
  h(
    "aside",
    { class: "note" },
    h("span", { class: "label" }, "What this does and does not mean"),
    h("p", { dir: "auto" }, String(RESULT.note)),
  );

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

// ---------------------------------------------------------------- the page

showPage(
  [header(), headline(), note(), probe(), levels(), charts(), rollouts(), made(MADE, DATA.config)],
  { levels: "levels", curves: "curves", rollouts: "rollouts", made: "how it was made" },
);
drawCharts();
let redraw = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(redraw);
  redraw = requestAnimationFrame(drawCharts);
});
pageIsReady();
