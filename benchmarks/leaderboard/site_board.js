"use strict";
// One benchmark: everybody on one scale, and which differences are more than chance.

function scaleOf(column, rows) {
  if (column.unit !== "rating") return { low: 0, high: 1, show: percent };
  const values = rows.flatMap((row) => {
    const { value, ci } = figureOf(row, column);
    return [value, ...(ci || [])];
  });
  const step = 500;
  return {
    low: Math.floor(Math.min(0, ...values) / step) * step,
    high: Math.ceil(Math.max(step, ...values) / step) * step,
    show: count,
  };
}

function rankRow(row, column, scale) {
  const figure = figureOf(row, column);
  const theirs = row.kind === "measured" ? counterpart(row, column) : null;
  const mark = { label: row.model, value: figure.value, ci: figure.ci, cls: row.kind };
  const others = (row.kind === "reported" ? figure.all.slice(1) : theirs || []).map(({ value }) => ({
    label: "also reported",
    value,
    ci: null,
    cls: "reported",
  }));
  return h(
    "tr",
    { class: row.kind },
    modelCell(row),
    row.kind === "measured"
      ? h("td", { class: "num" }, h("b", {}, spoken(column, figure.value)))
      : h("td", { class: "num reported" }, sourced(column, figure.all)),
    h("td", { class: "num wide" }, figure.ci ? writtenRange(column, figure.ci) : h("span", { class: "quiet" }, "–")),
    h("td", { class: "bars" }, intervalBars([mark, ...others], false, scale)),
    h("td", { class: "num wide" }, figure.n ? `${count(figure.n)} × ${count(figure.k)}` : ""),
    h("td", { class: "num wide" }, known(figure.mean_tokens) ? count(figure.mean_tokens) : ""),
    h("td", { class: "num wide" }, known(figure.truncated) ? percent(figure.truncated) : ""),
    h(
      "td",
      {},
      row.kind === "measured"
        ? h("a", { href: `results/${row.file}` }, "result")
        : h("a", { href: "#sources" }, "source"),
    ),
  );
}

// The difference of each two measured models, row less column, and whether it is more than chance.
function pairsView(column, rows) {
  const pairs = DATA.pairs[column.board];
  const measured = rows.filter((row) => row.kind === "measured");
  if (!pairs || measured.length < 2) return null;
  const between = (a, b) => {
    const found = pairs.find((pair) => (pair.a === a.file && pair.b === b.file) || (pair.a === b.file && pair.b === a.file));
    return found && { ...found, difference: found.b === a.file ? found.difference : -found.difference };
  };
  const cell = (a, b) => {
    if (a === b) return h("td", { class: "num self" }, "");
    const pair = between(a, b);
    if (!pair) return h("td", { class: "num" }, "–");
    const clear = pair.p_holm < 0.05;
    const cls = clear ? (pair.difference > 0 ? "better" : "worse") : "unclear";
    const p = pair.p_holm < 0.001 ? "p < 0.001" : `p ${pair.p_holm.toFixed(3)}`;
    return h("td", { class: `num ${cls}` }, signed(100 * pair.difference), h("small", {}, p));
  };
  const number = (i) => String(i + 1);
  return h(
    "div",
    { class: "pairs" },
    h("h3", {}, "Who is better than whom"),
    h(
      "p",
      { class: "lead small" },
      "Points of pass@1, row less column, over the same problems. p is a paired permutation test's, adjusted for all pairs of this benchmark (Holm): coloured where it is below 0.05, pale where chance would do.",
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Differences of the measured models" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Model"),
            measured.map((row, i) => h("th", { scope: "col", class: "num", title: row.model }, number(i))),
          ),
        ),
        h(
          "tbody",
          {},
          measured.map((row, i) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `${number(i)} `, h("bdi", {}, row.model)),
              measured.map((other) => cell(row, other)),
            ),
          ),
        ),
      ),
    ),
  );
}

function boardFacts(column) {
  const { protocol, pins, k } = column;
  const instruction = protocol.instruction ? ` Asked with “${protocol.instruction}”` : "";
  const words = [
    `Temperature ${protocol.temperature}, top-p ${protocol.top_p}, at most ${count(protocol.max_new_tokens)} tokens, `,
    `${count(k)} or more samples a problem.${instruction}`,
    pins
      ? ` All measured here met the same ${count(pins.n)} problems (${column.verified ? "verified" : "unverified: no hash of this dataset is known here"}; ${pins.problems.slice(0, 12)}), graded by ${pins.grader}.`
      : " Nobody has been measured here yet: the first result sets problems and grader for the others.",
    pins?.judge ? ` Judged by ${pins.judge}.` : "",
    " Reported figures are as their sources give them, mostly under other settings.",
  ];
  return h("p", { class: "quiet" }, words.join(""));
}

function boardView() {
  const areas = [...new Set(COLUMNS.map((column) => column.area))];
  const select = h(
    "select",
    { "aria-label": "Benchmark", onchange: () => choose(COLUMNS[select.value]) },
    areas.map((area) =>
      h(
        "optgroup",
        { label: area },
        COLUMNS.map((column, i) => [column, i])
          .filter(([column]) => column.area === area)
          .map(([column, i]) => h("option", { value: i }, `${column.title}, ${column.metric}`)),
      ),
    ),
  );
  const content = h("div", {});
  let current = COLUMNS[0];

  function choose(column) {
    current = column;
    select.value = String(COLUMNS.indexOf(column));
    history.replaceState(null, "", `#${encodeURIComponent(column.id)}`);
    draw();
  }
  function draw() {
    const rows = ROWS.filter((row) => figureOf(row, current)).sort(byColumn(current, true));
    const scale = scaleOf(current, rows);
    const top = (name, cls) => h("th", { scope: "col", class: cls }, name);
    content.replaceChildren();
    fill(content, {}, [
      boardFacts(current),
      h(
        "table",
        { class: "ranks" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            top("Model"),
            top(current.metric, "num"),
            top("95% interval", "num wide"),
            top(`${scale.show(scale.low)} to ${scale.show(scale.high)}`.replaceAll(".0%", "%"), "bars"),
            top("Problems × samples", "num wide"),
            top("Tokens", "num wide"),
            top("Cut off", "num wide"),
            top(""),
          ),
        ),
        h("tbody", {}, rows.map((row) => rankRow(row, current, scale))),
      ),
      h(
        "p",
        { class: "keys" },
        rows.some((row) => row.kind === "measured") && [h("i", { class: "key measured" }), "measured, with its interval"],
        h("i", { class: "key reported" }),
        "reported, without one",
      ),
      pairsView(current, rows),
    ]);
  }
  const wanted = () => COLUMNS.find((column) => column.id === decodeURIComponent(location.hash.slice(1)));
  addEventListener("hashchange", () => {
    if (wanted() && wanted() !== current) choose(wanted());
  });
  const measuredFirst = COLUMNS.find((column) => DATA.measured.some((row) => row.figures[column.id]));
  current = wanted() || measuredFirst || COLUMNS[0];
  select.value = String(COLUMNS.indexOf(current));
  draw();
  const node = section("benchmark", "One benchmark", null, h("div", { class: "controls" }, select), content);
  return { node, choose };
}
