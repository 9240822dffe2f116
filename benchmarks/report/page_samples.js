"use strict";
// The sample viewer: what was asked, what the model said with its reasoning folded, and what the grader made of it.

let openProblem = () => {};

function samplesView() {
  const all = DATA.samples;
  if (!all.length) return null;
  const names = new Map(DATA.benchmarks.map((b) => [b.name, new Map(b.problems.map(([id, name]) => [id, name]))]));
  const problemName = (row) => names.get(row.benchmark)?.get(row.problem) ?? row.problem;
  const promptOf = (row) => DATA.prompts[row.benchmark]?.[row.problem];
  const promptText = (row) => {
    const prompt = promptOf(row);
    return Array.isArray(prompt) ? prompt.map((message) => message.content).join("\n") : prompt || "";
  };
  const groupKey = (row) => JSON.stringify([row.benchmark, row.problem]);
  const groups = new Map();
  all.forEach((row, i) => groups.set(groupKey(row), [...(groups.get(groupKey(row)) || []), i]));
  const verdictOf = (row) => row.grade.verdict;
  const verdicts = [...new Set([...Object.keys(VERDICTS), ...all.map(verdictOf)])].filter(
    (verdict) => typeof verdict === "string" && all.some((row) => verdictOf(row) === verdict),
  );
  const benchmarks = [...new Set(all.map((row) => row.benchmark))];
  let benchmark = null,
    verdict = null,
    words = "",
    shown = all.map((_, i) => i),
    place = 0,
    reasoningOpen = false;

  const fits = (row, but) =>
    (benchmark === null || row.benchmark === benchmark) &&
    (but === "verdict" || verdict === null || verdictOf(row) === verdict) &&
    (!words ||
      [problemName(row), row.text, promptText(row), row.grade.extracted].some(
        (text) => typeof text === "string" && text.toLowerCase().includes(words),
      ));

  const select = h(
    "select",
    { "aria-label": "Benchmark", onchange: () => refilter({ benchmark: select.value || null }) },
    h("option", { value: "" }, "All benchmarks"),
    benchmarks.map((name) => h("option", { value: name }, name)),
  );
  const find = h("input", {
    type: "search",
    placeholder: "Find in problem or response",
    "aria-label": "Find in problem or response",
    oninput: () => refilter({ words: find.value.trim().toLowerCase() }),
  });
  const chips = [null, ...verdicts].map((one) => {
    const number = h("small", {});
    const chip = h(
      "button",
      { type: "button", class: "chip", onclick: () => refilter({ verdict: one }) },
      one === null ? "All" : [verdictIcon(one), verdictWord(one)],
      number,
    );
    return { one, number, chip };
  });
  const placeText = h("span", { class: "place", "aria-live": "polite" });
  const turn = (label, mark, by) =>
    h("button", { type: "button", "aria-label": label, onclick: () => move(by) }, mark);
  const card = h("article", { class: "sample card" });

  function refilter(change) {
    const current = shown.length ? shown[place] : 0;
    if ("benchmark" in change) benchmark = change.benchmark;
    if ("verdict" in change) verdict = change.verdict;
    if ("words" in change) words = change.words;
    shown = all.map((_, i) => i).filter((i) => fits(all[i]));
    place = Math.max(0, shown.indexOf(current));
    show();
  }
  function move(by) {
    place = Math.min(shown.length - 1, Math.max(0, place + by));
    show();
  }
  function open(i) {
    if (!fits(all[i])) {
      [benchmark, verdict, words, find.value, select.value] = [null, null, "", "", ""];
      shown = all.map((_, j) => j);
    }
    place = shown.indexOf(i);
    show();
  }

  const sibling = (current) => (i) => {
    const row = all[i];
    const name = `sample ${count(row.sample + 1)}, ${verdictWord(verdictOf(row))}`;
    return h(
      "button",
      {
        type: "button",
        "aria-label": name,
        title: name,
        "aria-current": i === current ? "true" : null,
        onclick: () => open(i),
      },
      verdictIcon(verdictOf(row)),
    );
  };

  const seconds = (value) => (known(value) ? duration(value) : null);

  function graderView({ verdict, extracted, parts, detail, seconds: took, grader }) {
    if (!verdict) return h("p", { class: "quiet" }, "Not graded yet.");
    return h(
      "div",
      { class: "grader" },
      h("h3", {}, "What the grader saw"),
      h(
        "p",
        { class: "read" },
        verdictBadge(verdict),
        typeof extracted === "string"
          ? ["it read", h("bdi", { class: "extracted" }, extracted)]
          : h("span", { class: "quiet" }, "it could read no answer"),
      ),
      detail && h("p", { class: "quiet", dir: "auto" }, String(detail)),
      h(
        "dl",
        {},
        Object.entries(parts || {}).map(([name, value]) => fact(name, number(value))),
        fact("grader", grader && h("bdi", {}, String(grader))),
        fact("took", seconds(took)),
      ),
    );
  }

  const engineFacts = (detail) =>
    Object.entries(detail).map(([name, value]) =>
      fact(name, h("bdi", {}, typeof value === "object" ? JSON.stringify(value) : String(value))),
    );

  function show() {
    chips.forEach(({ one, number, chip }) => {
      const there = all.filter((row) => fits(row, "verdict") && (one === null || verdictOf(row) === one));
      number.textContent = count(there.length);
      chip.setAttribute("aria-pressed", String(one === verdict));
    });
    placeText.textContent = shown.length ? `${count(place + 1)} of ${count(shown.length)}` : "none";
    card.replaceChildren();
    if (!shown.length) {
      card.append(h("p", { class: "quiet" }, "No sample fits."));
      return;
    }
    const i = shown[place];
    const row = all[i];
    const group = groups.get(groupKey(row));
    fill(card, {}, [
      h(
        "div",
        { class: "cardhead" },
        verdictBadge(verdictOf(row)),
        h("b", {}, h("bdi", {}, row.benchmark), " · ", h("bdi", {}, problemName(row))),
        h("span", { class: "quiet" }, `sample ${count(row.sample + 1)}`),
        h("bdi", { class: "task", title: "problem id" }, row.problem),
      ),
      h("span", { class: "label" }, "Problem"),
      promptView(promptOf(row)),
      h("span", { class: "label" }, "Response"),
      h(
        "div",
        { class: "completion", tabindex: 0, role: "region", "aria-label": "Response" },
        completionView(row.text, reasoningOpen, (isOpen) => {
          reasoningOpen = isOpen;
        }),
      ),
      graderView(row.grade),
      h(
        "dl",
        {},
        fact("tokens", known(row.tokens) ? count(row.tokens) : null),
        fact("of the prompt", known(row.prompt_tokens) ? count(row.prompt_tokens) : null),
        fact("ended", ENDED[row.finish_reason] ?? row.finish_reason),
        fact("took", seconds(row.seconds)),
        fact("seed", known(row.seed) ? String(row.seed) : null),
        engineFacts(row.engine),
      ),
      group.length > 1 &&
        h(
          "div",
          { class: "group" },
          h("span", { class: "label" }, "Samples of this problem"),
          group.map(sibling(i)),
        ),
      row.text &&
        h(
          "details",
          { class: "raw-text" },
          h("summary", {}, "As written, tags and all"),
          prose(String(row.text)),
        ),
    ]);
  }

  const node = section(
    "samples",
    "Samples",
    "What was asked, what the model said, and what the grader made of it. The arrow keys turn the page.",
    h(
      "div",
      { class: "controls" },
      h("div", { class: "chips", role: "group", "aria-label": "Verdict" }, chips.map(({ chip }) => chip)),
      h("div", { class: "finders" }, benchmarks.length > 1 && select, find),
      h(
        "div",
        { class: "pager" },
        h("span", {}, turn("Previous sample", "←", -1), placeText, turn("Next sample", "→", 1)),
      ),
    ),
    card,
    DATA.remarks.samples.map((remark) => h("p", { class: "remark" }, remark)),
  );
  onArrows(node, move);
  openProblem = (name, problem) => {
    const there = groups.get(JSON.stringify([name, problem]));
    if (!there) return;
    open(there[0]);
    node.scrollIntoView();
  };
  show();
  return node;
}
