"use strict";
// All models and benchmarks in one table. Measured figures stand with their intervals, reported ones with their sources.

const REPORTED = new Map(DATA.reported.map((row) => [row.model, row]));
const ROWS = [
  ...DATA.measured.map((row) => ({ ...row, kind: "measured" })),
  ...DATA.reported.map((row) => ({ ...row, kind: "reported" })),
];
const COLUMNS = DATA.columns;
const KINDS = [
  [null, "All"],
  ["measured", "Measured here"],
  ["reported", "Reported by others"],
];

const written = (column, x) => (column.unit === "rating" ? count(x) : known(x) ? (100 * x).toFixed(1) : "–");
const spoken = (column, x) => (column.unit === "rating" ? count(x) : percent(x));
const writtenRange = (column, ci) => `${written(column, ci[0])}–${written(column, ci[1])}`;
const letter = (source) => String.fromCharCode(97 + source);
const safeLink = (url) => (/^https:\/\/[^\s]+$/.test(url ?? "") ? url : null);

// What a row has in a column: the value it is sorted by, and where it comes from.
function figureOf(row, column) {
  const figure = row.figures[column.id];
  if (!figure) return null;
  if (row.kind === "measured") return figure;
  return { value: figure[0].value, ci: null, all: figure };
}

// The figure that was reported for a model that was measured here.
const counterpart = (row, column) => REPORTED.get(row.known_as)?.figures[column.id] || null;

const sourced = (column, figures) =>
  figures.map(({ value, sources }, i) => [
    i ? h("span", { class: "quiet" }, " / ") : "",
    written(column, value),
    h(
      "sup",
      {},
      sources.map((source, j) => [
        j ? "," : "",
        h("a", { href: "#sources", title: DATA.sources[source].title }, letter(source)),
      ]),
    ),
  ]);

function valueCell(row, column) {
  const figure = figureOf(row, column);
  if (!figure) return h("td", { class: "num none" }, "");
  if (row.kind === "reported") return h("td", { class: "num reported" }, sourced(column, figure.all));
  const theirs = counterpart(row, column);
  return h(
    "td",
    { class: "num measured" },
    h("b", {}, written(column, figure.value)),
    figure.ci && h("small", {}, writtenRange(column, figure.ci)),
    theirs && h("small", { class: "theirs" }, "reported ", sourced(column, theirs)),
  );
}

function modelCell(row) {
  const link = safeLink(row.url);
  const name = h("bdi", {}, row.model);
  const about =
    row.kind === "measured" ? ["measured", row.engine, moment(row.created)?.split(",").slice(0, 2).join(",")] : ["reported"];
  return h(
    "th",
    { scope: "row" },
    link ? h("a", { href: link, rel: "noopener" }, name) : name,
    h("small", {}, about.filter(Boolean).join(" · ")),
  );
}

// Values first, those without at the end; equal ones by name.
function byColumn(column, down) {
  const by = down ? -1 : 1;
  return (a, b) => {
    const [x, y] = [figureOf(a, column)?.value, figureOf(b, column)?.value];
    if (known(x) !== known(y)) return known(x) ? -1 : 1;
    return (known(x) && by * (x - y)) || a.model.localeCompare(b.model) || a.kind.localeCompare(b.kind);
  };
}

const byModel = (down) => (a, b) =>
  (down ? -1 : 1) * a.model.localeCompare(b.model, "en", { numeric: true }) || a.kind.localeCompare(b.kind);

function sortButton(label, small, pressed, down, onclick) {
  const mark = pressed ? (down ? "↓" : "↑") : "";
  return h(
    "button",
    { type: "button", class: "sort", onclick },
    h("span", {}, label, h("span", { class: "mark", "aria-hidden": "true" }, mark)),
    small && h("small", {}, small),
  );
}
const sortState = (pressed, down) => (pressed ? (down ? "descending" : "ascending") : "none");

function chipGroup(label, options, chosen, choose) {
  const chips = options.map(([value, word]) =>
    h(
      "button",
      { type: "button", class: "chip", "aria-pressed": String(value === chosen()), onclick: () => choose(value) },
      word,
    ),
  );
  const refresh = () =>
    options.forEach(([value], i) => chips[i].setAttribute("aria-pressed", String(value === chosen())));
  return { node: h("div", { class: "chips", role: "group", "aria-label": label }, chips), refresh };
}

// `pick` is called with a column where somebody sorts by it.
function tableView(pick) {
  const areas = [...new Set(COLUMNS.map((column) => column.area))];
  const state = { words: "", kind: null, area: null, column: null, down: false }; // no column: by name
  const find = h("input", {
    type: "search",
    placeholder: "Find a model",
    "aria-label": "Find a model",
    oninput: () => change({ words: find.value.trim().toLowerCase() }),
  });
  const kinds = chipGroup("Origin", KINDS, () => state.kind, (kind) => change({ kind }));
  const areaChips = chipGroup(
    "Area",
    [[null, "All areas"], ...areas.map((area) => [area, area])],
    () => state.area,
    (area) => change({ area }),
  );
  const head = h("thead", {}),
    body = h("tbody", {}),
    tally = h("p", { class: "quiet", "aria-live": "polite" });

  function change(what) {
    Object.assign(state, what);
    kinds.refresh();
    areaChips.refresh();
    draw();
  }
  const sortBy = (column) => () => {
    change({ column, down: state.column === column ? !state.down : column !== null });
    if (column) pick(column);
  };

  function draw() {
    const columns = COLUMNS.filter((column) => state.area === null || column.area === state.area);
    const rows = ROWS.filter(
      (row) =>
        (state.kind === null || row.kind === state.kind) &&
        (!state.words || row.model.toLowerCase().includes(state.words)) &&
        columns.some((column) => row.figures[column.id]),
    );
    const column = columns.includes(state.column) ? state.column : null;
    rows.sort(column ? byColumn(column, state.down) : byModel(state.down));
    const top = (content, pressed, cls) =>
      h("th", { scope: "col", class: cls, "aria-sort": sortState(pressed, state.down) }, content);
    head.replaceChildren(
      h(
        "tr",
        {},
        top(sortButton("Model", null, column === null, state.down, sortBy(null)), column === null),
        columns.map((one) =>
          top(sortButton(one.title, one.metric, one === column, state.down, sortBy(one)), one === column, "num"),
        ),
      ),
    );
    body.replaceChildren(
      ...rows.map((row) => h("tr", { class: row.kind }, modelCell(row), columns.map((one) => valueCell(row, one)))),
    );
    tally.textContent = rows.length ? `${count(rows.length)} of ${count(ROWS.length)} rows` : "No model fits.";
  }

  const node = section(
    "models",
    "All models",
    "Shares are percent. Measured figures are bold, with 95% intervals over the problems under them; reported ones bear the letter of their source. Sort by a column, and the benchmark opens below.",
    h("div", { class: "controls" }, find, kinds.node, areaChips.node),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "All models" },
      h("table", { class: "board" }, head, body),
    ),
    tally,
  );
  document.addEventListener("keydown", (event) => {
    const writes = event.target instanceof Element && event.target.closest("input, select");
    if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    find.focus();
  });
  draw();
  return node;
}
