"use strict";
// Draws the page of an evaluation, with the pictures and the sample viewer of the two scripts before it.
const { benchmarks: BENCHMARKS, made: MADE } = DATA;

const figureText = (b, x) => (b.is_share ? percent(x) : count(x));
const rangeText = (b, ci) => {
  if (!Array.isArray(ci) || !ci.every(known)) return null;
  return b.is_share ? interval(ci) : `${count(ci[0])}–${count(ci[1])}`;
};
const rangeScale = (b) => {
  if (b.is_share) return undefined;
  const [low, high] = b.value_ci95 || [b.value, b.value];
  return { low: Math.min(0, low), high: Math.max(3000, high), show: count };
};
const passes = (b) =>
  Object.entries(b.pass_at_k || {})
    .filter(([, share]) => known(share))
    .sort(([a], [c]) => a - c);
// With one sample a problem there is nothing to vote on.
const votes = (b) => (known(b.cons_at_k) && b.k !== 1 ? percent(b.cons_at_k) : null);
const anchor = (b) => `benchmark-${BENCHMARKS.indexOf(b)}`;

function header() {
  const engine = typeof MADE.engine === "string" ? MADE.engine : MADE.engine?.name;
  const total = BENCHMARKS.reduce((sum, b) => sum + (b.n || 0) * (b.k || 0), 0);
  const head = heading(
    "r1-bench evaluation",
    h("span", { class: DATA.finished ? "state" : "state running" }, DATA.finished ? "finished" : "in progress"),
    String(MADE.model || DATA.name),
    [
      MADE.model && DATA.name !== MADE.model && DATA.name,
      engine && `engine ${engine}`,
      total > 0 && `${count(total)} samples`,
      known(MADE.seconds) && duration(MADE.seconds),
      known(MADE.seed) && `seed ${MADE.seed}`,
      MADE.git_commit && `commit ${commitName(String(MADE.git_commit))}`,
      moment(MADE.created),
    ],
  );
  if (!DATA.finished)
    head.append(h("p", { class: "quiet" }, "The evaluation has not finished: these are the samples so far."));
  return head;
}

// ---------------------------------------------------------------- figures

function figureRow(b) {
  const cell = (text, cls = "num") => h("td", { class: cls }, text);
  const last = passes(b).at(-1);
  const mark = { label: b.metric || "value", value: b.value, ci: b.value_ci95, cls: "after" };
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: `#${anchor(b)}` }, h("bdi", {}, b.name)), h("small", {}, b.metric)),
    h(
      "td",
      { class: "num main" },
      figureText(b, b.value),
      rangeText(b, b.value_ci95) && h("small", {}, rangeText(b, b.value_ci95)),
    ),
    h("td", { class: "bars" }, known(b.value) && intervalBars([mark], false, rangeScale(b))),
    cell(last && +last[0] > 1 ? [percent(last[1]), h("small", {}, `of ${last[0]}`)] : "–", "num wide"),
    cell(votes(b) ?? "–", "num wide"),
    cell(count(b.mean_tokens), "num wide"),
    cell(percent(b.truncated), "num wide"),
    cell(percent(b.no_answer), "num wide"),
    cell(`${count(b.n)} × ${count(b.k)}`, "num wide"),
  );
}

function figuresView() {
  const column = (name, cls, about) => h("th", { scope: "col", class: cls, title: about }, name);
  return section(
    "figures",
    "Accuracy",
    "With 95% intervals over the problems: how far the figure could move with other problems of the same kind.",
    h(
      "table",
      { class: "figures" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          column("Benchmark"),
          column("Value", "num"),
          column("0 to 100%"),
          column("pass@k", "num wide", "At least one of k samples is right"),
          column("cons@k", "num wide", "The most frequent answer is right; ties share the point"),
          column("Tokens", "num wide", "Mean length of a response"),
          column("Cut off", "num wide", "Responses that hit the token limit"),
          column("No answer", "num wide", "Responses without a readable answer"),
          column("Size", "num wide", "Problems × samples"),
        ),
      ),
      h("tbody", {}, BENCHMARKS.map(figureRow)),
    ),
    DATA.remarks.figures.map((remark) => h("p", { class: "remark" }, remark)),
  );
}

// ---------------------------------------------------------------- one benchmark

function benchmarkView(b) {
  const parts = Object.entries(b.parts || {}).filter(([, value]) => known(value));
  const several = passes(b);
  const levels = Object.entries(b.by_level || {});
  return h(
    "article",
    { class: "benchmark", id: anchor(b) },
    h(
      "div",
      { class: "title" },
      h("h3", {}, h("bdi", {}, b.name)),
      h("b", { class: "num" }, figureText(b, b.value)),
      rangeText(b, b.value_ci95) && h("span", { class: "quiet num" }, rangeText(b, b.value_ci95)),
      b.judge && h("span", { class: "state" }, `judged by ${b.judge}`),
    ),
    h("p", { class: "quiet" }, h("bdi", {}, b.data_note), "; ", b.protocol_note, "."),
    h("div", { class: "pictures" }, problemsView(b, (name, id) => openProblem(name, id)), lengthsView(b)),
    h(
      "dl",
      { class: "more" },
      several.length > 1 && several.map(([k, value]) => fact(`pass@${k}`, percent(value))),
      fact(`cons@${b.k}`, votes(b)),
      fact("tied votes", votes(b) && b.cons_ties > 0 ? count(b.cons_ties) : null),
      fact("no answer", known(b.no_answer) ? percent(b.no_answer) : null),
      fact("cut off", known(b.truncated) ? percent(b.truncated) : null),
      fact("unscorable", known(b.unscorable) ? percent(b.unscorable) : null),
      fact("one language", known(b.language) ? percent(b.language) : null),
      parts.length > 1 && parts.map(([name, value]) => fact(name, number(value))),
    ),
    levels.length > 1 && [
      h("h4", { class: "levels-title" }, "By level"),
      h(
        "dl",
        { class: "more" },
        levels.map(([level, { pass_at_1: right, n }]) =>
          fact(level, [percent(right), h("small", {}, ` of ${count(n)}`)]),
        ),
      ),
    ],
  );
}

const benchmarksView = () =>
  section(
    "benchmarks",
    BENCHMARKS.length > 1 ? "Benchmark by benchmark" : "A closer look",
    DATA.samples.length ? "A square is a problem: click it to read its samples." : null,
    BENCHMARKS.map(benchmarkView),
  );

// ---------------------------------------------------------------- the page

showPage(
  [
    header(),
    figuresView(),
    BENCHMARKS.length > 0 && benchmarksView(),
    samplesView(),
    made(MADE, null, facts("Engine", typeof MADE.engine === "object" ? MADE.engine : null)),
  ],
  { figures: "accuracy", benchmarks: "benchmarks", samples: "samples", made: "how it was made" },
);
pageIsReady();
