"use strict";
// Two pictures of a benchmark: how long its responses are, and how often each problem was answered right.

// A picture that is read off piece by piece, with the pointer or the arrow keys. `at` gives the index under a
// pointer, `show` says what is there (null: nothing) and returns the words, `open` follows Enter or a click.
function readable(figure, plot, total, step, { at, show, open }) {
  const words = h("output", { class: "readout", "aria-live": "polite" });
  const idle = figure.dataset.idle;
  let place = null;
  const go = (index) => {
    place = index;
    words.textContent = show(index) || idle;
  };
  plot.addEventListener("pointermove", (event) => go(at(event)));
  plot.addEventListener("pointerdown", (event) => go(at(event)));
  plot.addEventListener("pointerleave", () => go(null));
  figure.addEventListener("blur", () => go(null));
  if (open)
    plot.addEventListener("click", (event) => {
      if (at(event) !== null) open(at(event));
    });
  figure.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -step, ArrowDown: step }[event.key];
    if (by && event.target === figure) go(place === null ? 0 : Math.min(total - 1, Math.max(0, place + by)));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(total - 1);
    else if (event.key === "Enter" && open && place !== null && event.target === figure) open(place);
    else return;
    event.preventDefault();
  });
  figure.append(words);
  go(null);
  return { redraw: () => go(place) };
}

const share = (part) => `${(100 * part).toFixed(3)}%`;

// ---------------------------------------------------------------- lengths

const LENGTH_KEYS = [
  ["right", "right"],
  ["not right", "wrong"],
  ["cut off", "cut"],
];

function lengthsView({ lengths, name }) {
  if (!lengths) return null;
  const { edges, counts, unit, mean, median } = lengths;
  const bins = edges.length - 1,
    height = 150;
  const totals = edges.slice(1).map((_, i) => LENGTH_KEYS.reduce((sum, [key]) => sum + counts[key][i], 0));
  const most = Math.max(1, ...totals);
  const bar = (i) => {
    let y = height;
    return LENGTH_KEYS.map(([key, cls]) => {
      const size = (height * counts[key][i]) / most;
      y -= size;
      return size > 0 && s("rect", { class: cls, x: share(i / bins), y, width: share(1 / bins), height: size });
    });
  };
  const ticks = edges
    .map((edge, i) => [edge, i])
    .filter(([, i]) => i % Math.max(1, Math.ceil(bins / 6)) === 0 && i < bins * 0.96);
  const cursor = s("rect", { class: "at", y: 0, width: share(1 / bins), height, visibility: "hidden" });
  const plot = s(
    "svg",
    { class: "histogram", height: height + 22, "aria-hidden": "true" },
    s("line", { class: "floor", x1: 0, x2: "100%", y1: height, y2: height }),
    totals.map((_, i) => bar(i)),
    cursor,
    ticks.map(([edge, i]) =>
      s(
        "text",
        { x: share(i / bins), y: height + 16, "text-anchor": i ? "middle" : "start" },
        count(edge),
      ),
    ),
  );
  const present = LENGTH_KEYS.filter(([key]) => counts[key].some(Boolean));
  const figure = h(
    "figure",
    {
      class: "picture",
      tabindex: 0,
      role: "group",
      "aria-label": `Lengths of the responses on ${name}; the arrow keys read it off`,
      "data-idle": `mean ${count(mean)}, median ${count(median)} ${unit}`,
    },
    h(
      "figcaption",
      {},
      h("h3", {}, `How long the responses are, in ${unit}`),
      h(
        "p",
        { class: "keys" },
        present.map(([key, cls]) => h("span", {}, h("i", { class: `key ${cls}` }), key)),
      ),
    ),
    plot,
  );
  readable(figure, plot, bins, 1, {
    at(event) {
      const box = plot.getBoundingClientRect();
      return Math.min(bins - 1, Math.max(0, Math.floor((bins * (event.clientX - box.left)) / box.width)));
    },
    show(i) {
      cursor.setAttribute("visibility", i === null ? "hidden" : "visible");
      if (i === null) return null;
      cursor.setAttribute("x", share(i / bins));
      const last = edges[i + 1] - 1;
      const range = last > edges[i] ? `${count(edges[i])}–${count(last)}` : count(edges[i]);
      const parts = present.map(([key]) => `${count(counts[key][i])} ${key}`);
      return `${range} ${unit}: ${parts.join(", ")}`;
    },
  });
  return figure;
}

// ---------------------------------------------------------------- problems

const hardest = (problems) =>
  problems.map((_, i) => i).sort((a, b) => (problems[a][2] ?? 2) - (problems[b][2] ?? 2) || a - b);

// Problems whose samples are in the viewer: of a large evaluation not all are.
const READABLE = new Set(DATA.samples.map((row) => `${row.benchmark} ${row.problem}`));

function problemsView(benchmark, open) {
  const { problems, name, k } = benchmark;
  if (!problems.length) return null;
  const listed = problems.map((_, i) => i);
  const columns = Math.min(problems.length, Math.max(10, Math.ceil(Math.sqrt(3 * problems.length))));
  const rows = Math.ceil(problems.length / columns);
  const cells = s("g", {});
  const cursor = s("rect", { class: "at", width: 0.9, height: 0.9, visibility: "hidden" });
  const plot = s(
    "svg",
    {
      class: "heat",
      viewBox: `-0.1 -0.1 ${columns + 0.1} ${rows + 0.1}`,
      "aria-hidden": "true",
    },
    cells,
    cursor,
  );
  plot.style.maxWidth = `${columns * 34}px`;
  let order = listed;

  // One path for all problems with the same share: ten thousand problems are a few dozen elements.
  function draw() {
    const paths = new Map();
    order.forEach((i, place) => {
      const right = problems[i][2];
      const square = `M${place % columns} ${Math.floor(place / columns)}h.9v.9h-.9z`;
      paths.set(right, (paths.get(right) || "") + square);
    });
    cells.replaceChildren(
      ...[...paths].map(([right, d]) =>
        known(right)
          ? s("path", { d, class: "cell", "fill-opacity": (0.07 + 0.93 * right).toFixed(3) })
          : s("path", { d, class: "cell unknown" }),
      ),
    );
  }
  const sorts = [
    ["as listed", () => listed],
    ["hardest first", () => hardest(problems)],
  ].map(([word, by], i) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": String(i === 0),
        onclick: (event) => {
          order = by();
          sorts.forEach((chip) => chip.setAttribute("aria-pressed", String(chip === event.currentTarget)));
          draw();
        },
      },
      word,
    ),
  );
  const solved = problems.filter(([, , right]) => right === 1).length;
  const never = problems.filter(([, , right]) => right === 0).length;
  const figure = h(
    "figure",
    {
      class: "picture",
      tabindex: 0,
      role: "group",
      "aria-label": `Problems of ${name}; the arrow keys read them off, Enter opens the samples`,
      "data-idle": `${count(solved)} always right, ${count(never)} never, of ${count(problems.length)}`,
    },
    h(
      "figcaption",
      {},
      h("h3", {}, "How often each problem is right"),
      h("span", { class: "chips", role: "group", "aria-label": "Order of the problems" }, sorts),
    ),
    plot,
    h(
      "p",
      { class: "keys ramp" },
      "never",
      h("i", { class: "scale", "aria-hidden": "true" }),
      "always",
      problems.some(([, , right]) => !known(right)) && [h("i", { class: "key unknown" }), "no score"],
    ),
  );
  readable(figure, plot, problems.length, columns, {
    at(event) {
      const box = plot.getBoundingClientRect();
      const column = Math.floor((columns * (event.clientX - box.left)) / box.width);
      const row = Math.floor((rows * (event.clientY - box.top)) / box.height);
      const place = row * columns + column;
      return column >= 0 && column < columns && row >= 0 && place < problems.length ? place : null;
    },
    show(place) {
      cursor.setAttribute("visibility", place === null ? "hidden" : "visible");
      if (place === null) return null;
      cursor.setAttribute("x", place % columns);
      cursor.setAttribute("y", Math.floor(place / columns));
      const [id, title, right] = problems[order[place]];
      const often = !known(right) ? "no score" : k === 1 ? (right ? "right" : "not right") : `${percent(right)} right`;
      const missing = DATA.samples.length && !READABLE.has(`${name} ${id}`) ? "; its samples are not on this page" : "";
      return `${title}: ${often}${missing}`;
    },
    open: (place) => open(name, problems[order[place]][0]),
  });
  draw();
  return figure;
}
