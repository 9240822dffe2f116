"use strict";
// The rollouts to page through.

let showRollouts = () => {};

function rollouts() {
  const all = DATA.rollouts;
  if (!all.length) return null;
  const steps = [...new Set(all.map((row) => row.step ?? 0))].sort((a, b) => a - b);
  const order = all.map((_, i) => i).sort((a, b) => (all[a].step ?? 0) - (all[b].step ?? 0) || a - b);
  const groups = new Map();
  const groupKey = (row) => JSON.stringify([row.step, row.task_id]);
  for (const i of order) groups.set(groupKey(all[i]), [...(groups.get(groupKey(all[i])) || []), i]);
  const verdicts = [...new Set([...Object.keys(VERDICTS), ...all.map((row) => row.verdict)])].filter(
    (verdict) => typeof verdict === "string" && all.some((row) => row.verdict === verdict),
  );
  let filter = null,
    shown = order,
    place = 0,
    reasoningOpen = false;

  const chips = [null, ...verdicts].map((verdict) =>
    h(
      "button",
      { type: "button", class: "chip", onclick: () => choose(verdict) },
      verdict === null ? "All" : [verdictIcon(verdict), verdictWord(verdict)],
      h(
        "small",
        {},
        count(verdict === null ? all.length : all.filter((row) => row.verdict === verdict).length),
      ),
    ),
  );
  const slider = h("input", {
    type: "range",
    min: 0,
    max: steps.length - 1,
    step: 1,
    "aria-label": "Step",
    oninput: () => goto(steps[+slider.value]),
  });
  const stepText = h("output", {});
  const placeText = h("span", { class: "place", "aria-live": "polite" });
  const button = (label, mark, by) =>
    h("button", { type: "button", "aria-label": label, onclick: () => move(by) }, mark);
  const card = h("article", { class: "rollout card" });

  function choose(verdict) {
    const current = all[shown[place]].step ?? 0;
    filter = verdict;
    shown = verdict === null ? order : order.filter((i) => all[i].verdict === verdict);
    goto(current);
  }
  // The first rollout of the step nearest to the wanted one among those the filter leaves.
  function goto(step) {
    const at = shown.map((i) => all[i].step ?? 0);
    place = at.indexOf(at[nearest(at, step)]);
    show();
  }
  function move(by) {
    place = Math.min(shown.length - 1, Math.max(0, place + by));
    show();
  }
  function openRollout(i) {
    if (filter !== null && all[i].verdict !== filter) {
      filter = null;
      shown = order;
    }
    place = shown.indexOf(i);
    show();
  }

  function sibling(i) {
    const { verdict, reward } = all[i];
    const name = `${verdictWord(verdict)}, reward ${number(reward)}`;
    const current = i === shown[place] ? "true" : null;
    return h(
      "button",
      {
        type: "button",
        "aria-label": name,
        title: name,
        "aria-current": current,
        onclick: () => openRollout(i),
      },
      verdictIcon(verdict),
    );
  }

  function show() {
    const row = all[shown[place]];
    const group = groups.get(groupKey(row));
    chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String([null, ...verdicts][i] === filter)));
    slider.value = steps.indexOf(row.step ?? 0);
    stepText.textContent = `step ${count(row.step ?? 0)}`;
    placeText.textContent = `${count(place + 1)} of ${count(shown.length)}`;
    const advantage = known(row.advantage) ? `${row.advantage > 0 ? "+" : ""}${number(row.advantage)}` : null;
    card.replaceChildren();
    fill(card, {}, [
      h(
        "div",
        { class: "cardhead" },
        verdictBadge(row.verdict),
        typeof row.extracted === "string"
          ? h("span", {}, "graded answer ", h("bdi", { class: "extracted" }, row.extracted))
          : row.verdict !== "no_answer" && h("span", { class: "quiet" }, "no answer could be read"),
        h("bdi", { class: "task", title: "task id" }, row.task_id ?? ""),
      ),
      h("span", { class: "label" }, "Prompt"),
      promptView(row.prompt),
      h("span", { class: "label" }, "Completion"),
      h(
        "div",
        { class: "completion" },
        completionView(row.completion, reasoningOpen, (open) => {
          reasoningOpen = open;
        }),
      ),
      h(
        "dl",
        {},
        fact("reward", known(row.reward) ? number(row.reward) : null),
        Object.entries(row.parts || {}).map(([name, value]) => fact(name, number(value))),
        fact("advantage", advantage),
        fact("tokens", known(row.tokens) ? count(row.tokens) : null),
        fact("ended", ENDED[row.finish_reason] ?? row.finish_reason),
      ),
      group.length > 1 &&
        h("div", { class: "group" }, h("span", { class: "label" }, "Its group"), group.map(sibling)),
      row.completion &&
        h(
          "details",
          { class: "raw-text" },
          h("summary", {}, "As written, tags and all"),
          prose(String(row.completion)),
        ),
    ]);
  }

  const node = section(
    "rollouts",
    "Rollouts",
    "What the policy was asked and what it wrote. The arrow keys turn the page.",
    h(
      "div",
      { class: "controls" },
      h("div", { class: "chips", role: "group", "aria-label": "Verdict" }, chips),
      h(
        "div",
        { class: "pager" },
        h("span", {}, stepText, slider),
        h("span", {}, button("Previous rollout", "←", -1), placeText, button("Next rollout", "→", 1)),
      ),
    ),
    card,
    DATA.remarks.rollouts.map((remark) => h("p", { class: "remark" }, remark)),
  );
  onArrows(node, move);
  showRollouts = (step) => {
    goto(step);
    node.scrollIntoView();
  };
  show();
  return node;
}
