"use strict";
// Draws the leaderboard, with the table and the benchmark of the two scripts before it.

function header() {
  const models = new Set(ROWS.map((row) => row.known_as || row.model)).size;
  return heading("r1-bench", null, "R1 leaderboard", [
    `${count(models)} models`,
    `${count(new Set(COLUMNS.map((column) => column.board)).size)} benchmarks`,
    DATA.measured.length === 1 ? "1 measured result" : `${count(DATA.measured.length)} measured results`,
    h("a", { href: "leaderboard.csv", download: true }, "CSV of every figure"),
  ]);
}

const note = () =>
  h(
    "aside",
    { class: "note" },
    h("span", { class: "label" }, "How to read it"),
    h(
      "p",
      {},
      "Measured results met the same problems, under the same protocol, with the same grader: they can be compared, and the intervals say how far. Reported figures are others’ own, shown beside them and not on the same footing.",
    ),
  );

const sources = () =>
  section(
    "sources",
    "Sources of the reported figures",
    "Where they differ, the newest is sorted by and stands first.",
    h(
      "ol",
      { class: "sources", type: "a" },
      DATA.sources.map(({ title, url, date }) =>
        h(
          "li",
          {},
          safeLink(url) ? h("a", { href: url, rel: "noopener" }, title) : title,
          h("span", { class: "quiet" }, ` ${date}`),
        ),
      ),
    ),
  );

const adding = () =>
  section(
    "add",
    "Add a result",
    "A pull request with one file is enough; what does not fit is refused with the reason.",
    h(
      "pre",
      { class: "command" },
      "r1-bench eval --model MODEL --tasks aime24,math500 --out out\nr1-bench leaderboard add out\nr1-bench leaderboard check",
    ),
  );

const board = COLUMNS.length ? boardView() : null;
showPage(
  [
    header(),
    note(),
    COLUMNS.length > 0 && tableView((column) => board.choose(column)),
    board && board.node,
    sources(),
    adding(),
  ],
  { models: "all models", benchmark: "one benchmark", sources: "sources", add: "add a result" },
);
pageIsReady();
