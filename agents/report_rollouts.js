"use strict";
// Verdicts, completions taken apart at their tags, and the rollouts to page through.

// ---------------------------------------------------------------- verdicts and completions

const VERDICTS = {
  __proto__: null,
  correct: ["correct", "M4.5 8.4 7 10.8 11.6 5.4"],
  wrong: ["wrong", "M5.2 5.2 10.8 10.8M10.8 5.2 5.2 10.8"],
  no_answer: ["no answer", "M5 8 11 8"],
  unscorable: ["unscorable", "M5.9 6.4Q5.9 4.4 8 4.4T10 6.3Q10 7.4 8 8.6V9.4M8 11.4V11.6"],
};

const verdictWord = (verdict) => (VERDICTS[verdict] || [String(verdict)])[0];

function verdictIcon(verdict) {
  const [, path] = VERDICTS[verdict] || VERDICTS.unscorable;
  return s(
    "svg",
    { viewBox: "0 0 16 16", class: `icon ${verdict in VERDICTS ? verdict : ""}`, "aria-hidden": "true" },
    s("circle", { cx: 8, cy: 8, r: 7.2 }),
    s("path", { d: path }),
  );
}

function verdictBadge(verdict) {
  if (typeof verdict !== "string") return null;
  const kind = verdict in VERDICTS ? verdict : "";
  return h("span", { class: `verdict ${kind}` }, verdictIcon(verdict), verdictWord(verdict));
}

// Splits at the tags, in order, whatever their order is: a badly formed completion must show as it was written.
function completionParts(text) {
  let parts = [],
    kind = "text";
  for (const piece of text.split(/(<\/?(?:think|answer)>)/)) {
    if (piece === "<think>" || piece === "<answer>") {
      kind = piece.slice(1, -1);
      parts.push({ kind, text: "", closed: false });
    } else if (piece === "</think>" || piece === "</answer>") {
      const closes = piece.slice(2, -1);
      const open = parts[parts.length - 1];
      if (kind === closes) open.closed = true;
      else if (closes === "think" && !parts.some((part) => part.kind === "think"))
        // Some templates open the reasoning inside the prompt, so the completion only closes it.
        parts = [{ kind: "think", text: parts.map((part) => part.text).join(""), closed: true }];
      kind = "text";
    } else if (kind === "text") {
      if (piece.trim()) parts.push({ kind, text: piece, closed: true });
    } else parts[parts.length - 1].text += piece;
  }
  return parts;
}

const prose = (text, cls) => h("pre", { class: cls || null, dir: "auto" }, text);

function completionView(text, open, onToggle) {
  if (typeof text !== "string") return h("p", { class: "quiet" }, "Not recorded.");
  if (!text.trim()) return h("p", { class: "quiet" }, "The completion is empty.");
  const unclosed = (part) => (part.closed ? null : h("small", { class: "flag" }, `</${part.kind}> is missing`));
  return completionParts(text).map((part) => {
    if (part.kind === "think") {
      const fold = h(
        "details",
        { class: "reasoning", open },
        h(
          "summary",
          {},
          "Reasoning ",
          h("small", {}, part.text.trim() ? `${count(part.text.trim().length)} characters` : "empty"),
          unclosed(part),
        ),
        prose(part.text.trim()),
      );
      if (onToggle) fold.addEventListener("toggle", () => onToggle(fold.open));
      return fold;
    }
    if (part.kind === "answer")
      return h(
        "div",
        { class: "answer" },
        h("span", { class: "label" }, "Answer", unclosed(part)),
        prose(part.text.trim()),
      );
    return prose(part.text.trim(), "untagged");
  });
}

function promptView(prompt) {
  if (!Array.isArray(prompt)) return prose(typeof prompt === "string" ? prompt : "–", "prompt");
  return prompt.map((message) =>
    h(
      "div",
      { class: "message" },
      h("span", { class: "label" }, String(message.role)),
      prose(String(message.content ?? ""), "prompt"),
    ),
  );
}

// ---------------------------------------------------------------- rollouts

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
  const card = h("article", { class: "rollout" });

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
    const fact = (name, value) =>
      value !== null &&
      value !== undefined &&
      h("div", {}, h("dt", {}, h("bdi", {}, name)), h("dd", {}, value));
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
        fact("ended", { stop: "by itself", length: "cut off" }[row.finish_reason] ?? row.finish_reason),
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
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { top, bottom } = node.getBoundingClientRect();
    const elsewhere = event.target instanceof Element && event.target.closest("input, pre");
    const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    const visible = bottom > 80 && top < innerHeight - 80;
    if (!by || modified || elsewhere || !visible) return;
    event.preventDefault();
    move(by);
  });
  showRollouts = (step) => {
    goto(step);
    node.scrollIntoView();
  };
  show();
  return node;
}
