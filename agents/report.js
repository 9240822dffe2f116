"use strict";
// Draws the report from the JSON beside this script. Text enters the page as text nodes only, never as markup:
// prompts and completions are untrusted.
const DATA = JSON.parse(document.getElementById("data").textContent);
const { result: RESULT, made: MADE } = DATA;

// ---------------------------------------------------------------- elements

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const s = (tag, props, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

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
const interval = (ci) => (Array.isArray(ci) && ci.every(known) ? `${(100 * ci[0]).toFixed(1)}–${percent(ci[1])}` : null);

// ---------------------------------------------------------------- verdicts and completions

const VERDICTS = {
  correct: ["correct", "M4.5 8.4 7 10.8 11.6 5.4"],
  wrong: ["wrong", "M5.2 5.2 10.8 10.8M10.8 5.2 5.2 10.8"],
  no_answer: ["no answer", "M5 8 11 8"],
  unscorable: ["unscorable", "M5.9 6.4Q5.9 4.4 8 4.4T10 6.3Q10 7.4 8 8.6V9.4M8 11.4V11.6"],
};

function verdictIcon(verdict) {
  const [, path] = VERDICTS[verdict] || VERDICTS.unscorable;
  return s("svg", { viewBox: "0 0 16 16", class: `icon ${verdict in VERDICTS ? verdict : ""}`, "aria-hidden": "true" },
    s("circle", { cx: 8, cy: 8, r: 7.2 }), s("path", { d: path }));
}

function verdictBadge(verdict) {
  if (typeof verdict !== "string") return null;
  const [word] = VERDICTS[verdict] || [verdict];
  return h("span", { class: `verdict ${verdict in VERDICTS ? verdict : ""}` }, verdictIcon(verdict), word);
}

// Splits at the tags, in order, whatever their order is: a badly formed completion must show as it was written.
function completionParts(text) {
  let parts = [], kind = "text";
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
      const fold = h("details", { class: "reasoning", open },
        h("summary", {}, "Reasoning ", h("small", {}, part.text.trim() ? `${count(part.text.trim().length)} characters` : "empty"), unclosed(part)),
        prose(part.text.trim()));
      if (onToggle) fold.addEventListener("toggle", () => onToggle(fold.open));
      return fold;
    }
    if (part.kind === "answer")
      return h("div", { class: "answer" }, h("span", { class: "label" }, "Answer", unclosed(part)), prose(part.text.trim()));
    return prose(part.text.trim(), "untagged");
  });
}

function promptView(prompt) {
  if (!Array.isArray(prompt)) return prose(typeof prompt === "string" ? prompt : "–", "prompt");
  return prompt.map((message) => h("div", { class: "message" },
    h("span", { class: "label" }, String(message.role)), prose(String(message.content ?? ""), "prompt")));
}

// ---------------------------------------------------------------- header and headline

function firstAndLast() {
  if (RESULT.before || RESULT.after) return [["before", RESULT.before], ["after", RESULT.after]];
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
    created && (Number.isNaN(created.valueOf()) ? MADE.created
      : created.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })),
  ].filter(Boolean);
  return h("header", {},
    h("p", { class: "kicker" }, program ? program[0].replace("/", ".") : "run report",
      h("span", { class: DATA.finished ? "state" : "state running" }, DATA.finished ? "finished" : "in progress")),
    h("h1", { dir: "auto" }, DATA.name),
    h("p", { class: "facts" }, facts.map((fact) => h("span", {}, fact))),
    !DATA.finished && h("p", { class: "quiet" }, "The run has not finished: this page shows what it had written so far."));
}

function tile(title, about, read, show) {
  const values = ENDS.map(([, figures]) => read(figures)).filter(known);
  if (!values.length) return null;
  return h("div", { class: "tile" }, h("h2", {}, title), arrow(values.map(show)), h("p", { class: "small" }, about));
}

const arrow = (texts) => h("p", { class: "figures" },
  texts.length > 1 && [h("span", { class: "from" }, texts[0]), h("span", { class: "arrow", "aria-label": "to" }, "→")],
  h("strong", {}, texts[texts.length - 1]));

function headline() {
  const ends = ENDS.filter(([, figures]) => known(figures.pass_at_1));
  if (!ends.length) return lossTiles();
  const last = ends[ends.length - 1][1];
  const marks = ends.map(([label, figures], i) =>
    ({ label, value: figures.pass_at_1, ci: figures.pass_at_1_ci95, cls: i + 1 < ends.length ? "before" : "after" }));
  const change = (RESULT.change_ci95 || []).every(known) && ends.length > 1 && RESULT.change_ci95;
  const k = last.k ?? "k", sameK = ends.every(([, figures]) => figures.k === last.k);
  return h("section", { id: "result", "aria-label": "Result" }, h("div", { class: "tiles" },
    h("div", { class: "tile first" },
      h("h2", {}, "pass@1, ", ends.map(([label]) => label).join(" → ")),
      arrow(marks.map(({ value }) => percent(value))),
      intervalBars(marks),
      h("p", { class: "small" }, "95% intervals: ",
        marks.map(({ label, ci }, i) => [i ? ", " : "", `${label} `, h("b", {}, interval(ci) || "not given")]),
        change && [", change ", h("b", {}, `${signed(100 * change[0])} to ${signed(100 * change[1])} points`)], "."),
      h("p", { class: "small" }, `Chance that one sample is right, on ${known(last.n) ? `${count(last.n)} ` : ""}held-out tasks.`)),
    sameK && tile(`pass@${k}`, `At least one of ${k} samples is right.`, (f) => f.pass_at_k, percent),
    tile("Format", "Share of completions in the asked format.", (f) => f.format, percent),
    tile("Length", "Mean tokens of a completion.", (f) => f.mean_tokens, (x) => x.toFixed(1))));
}

function lossTiles() {
  const losses = (DATA.metrics.loss || []).filter(known);
  if (!losses.length) return null;
  const tenth = Math.max(1, Math.floor(losses.length / 10));
  const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
  return h("section", { id: "result", "aria-label": "Result" }, h("div", { class: "tiles" }, h("div", { class: "tile first" },
    h("h2", {}, "Loss"), arrow([losses.slice(0, tenth), losses.slice(-tenth)].map((part) => number(mean(part)))),
    h("p", { class: "small" }, "Mean of the first and of the last tenth of the steps."))));
}

function intervalBars(marks) {
  const x = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(2)}%`;
  const spoken = marks.map(({ label, value, ci }) => `${label} ${percent(value)}${interval(ci) ? ` (${interval(ci)})` : ""}`).join(", ");
  const height = 10 * marks.length + 2;
  return s("svg", { class: "interval", height, role: "img", "aria-label": spoken },
    [0, 0.25, 0.5, 0.75, 1].map((tick) => s("line", { class: "tick", x1: x(tick), x2: x(tick), y1: 0, y2: height })),
    marks.map(({ value, ci, cls }, i) => {
      const y = 6 + 10 * i;
      const range = Array.isArray(ci) && ci.every(known) ? ci : [value, value];
      return s("g", { class: cls }, s("line", { class: "range", x1: x(range[0]), x2: x(range[1]), y1: y, y2: y }),
        s("circle", { cx: x(value), cy: y, r: 3.5 }));
    }));
}

// ---------------------------------------------------------------- note, probe, levels

const note = () => RESULT.note && h("aside", { class: "note" },
  h("span", { class: "label" }, "What this does and does not mean"), h("p", { dir: "auto" }, String(RESULT.note)));

function section(id, title, lead, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title), lead && h("p", { class: "lead" }, lead), children);
}

function probe() {
  const items = RESULT.probe.filter(Boolean);
  if (!items.length) return null;
  const side = (label, answer) => answer && h("div", { class: "side" },
    h("p", { class: "sidehead" }, h("span", { class: "label" }, label), verdictBadge(answer.verdict)),
    completionView(answer.text, true));
  return section("probe", items.length > 1 ? "The same questions, before and after" : "The same question, before and after", null,
    items.map((item) => h("article", { class: "probe" },
      h("p", { class: "question", dir: "auto" }, typeof item.prompt === "string" ? item.prompt : promptView(item.prompt)),
      h("div", { class: "sides" }, side("Before", item.before), side("After", item.after)))));
}

function levels() {
  const entries = RESULT.by_level.filter((entry) => entry.before || entry.after);
  if (!entries.length) return null;
  const cell = (figures) => h("td", { class: "num" }, figures ? percent(figures.pass_at_1) : "–",
    figures && interval(figures.pass_at_1_ci95) && h("small", {}, interval(figures.pass_at_1_ci95)));
  const rows = entries.map(({ level, before, after }) => {
    const change = before && after ? 100 * (after.pass_at_1 - before.pass_at_1) : null;
    const marks = [[before, "before"], [after, "after"]].filter(([f]) => f && known(f.pass_at_1))
      .map(([f, cls]) => ({ label: cls, value: f.pass_at_1, ci: f.pass_at_1_ci95, cls }));
    return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, level)), h("td", { class: "num wide" }, count((after || before).n)),
      cell(before), cell(after), h("td", { class: "num wide" }, signed(change)),
      h("td", { class: "bars" }, intervalBars(marks)));
  });
  return section("levels", "Accuracy by level", "Held-out pass@1, with 95% intervals over the tasks; the bars run from 0 to 100%.",
    h("table", { class: "levels" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Level"), h("th", { scope: "col", class: "num wide" }, "Tasks"),
        h("th", { scope: "col", class: "num" }, h("i", { class: "key before" }), "Before"), h("th", { scope: "col", class: "num" }, h("i", { class: "key after" }), "After"),
        h("th", { scope: "col", class: "num wide" }, "Change"), h("th", { scope: "col", "aria-label": "Intervals" }))),
      h("tbody", {}, rows)));
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
  const verdicts = [...new Set([...Object.keys(VERDICTS), ...all.map((row) => row.verdict)])]
    .filter((verdict) => typeof verdict === "string" && all.some((row) => row.verdict === verdict));
  let filter = null, shown = order, place = 0, reasoningOpen = false;

  const chips = [null, ...verdicts].map((verdict) => h("button", { type: "button", class: "chip", onclick: () => choose(verdict) },
    verdict === null ? "All" : [verdictIcon(verdict), (VERDICTS[verdict] || [verdict])[0]],
    h("small", {}, count(verdict === null ? all.length : all.filter((row) => row.verdict === verdict).length))));
  const slider = h("input", { type: "range", min: 0, max: steps.length - 1, step: 1, "aria-label": "Step",
    oninput: () => goto(steps[+slider.value]) });
  const stepText = h("output", {});
  const placeText = h("span", { class: "place", "aria-live": "polite" });
  const button = (label, mark, by) => h("button", { type: "button", "aria-label": label, onclick: () => move(by) }, mark);
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
    if (filter !== null && all[i].verdict !== filter) { filter = null; shown = order; }
    place = shown.indexOf(i);
    show();
  }

  function show() {
    const row = all[shown[place]];
    const group = groups.get(groupKey(row));
    const fact = (name, value) => value !== null && value !== undefined && h("div", {}, h("dt", {}, h("bdi", {}, name)), h("dd", {}, value));
    chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String([null, ...verdicts][i] === filter)));
    slider.value = steps.indexOf(row.step ?? 0);
    stepText.textContent = `step ${count(row.step ?? 0)}`;
    placeText.textContent = `${count(place + 1)} of ${count(shown.length)}`;
    const advantage = known(row.advantage) ? `${row.advantage > 0 ? "+" : ""}${number(row.advantage)}` : null;
    card.replaceChildren(
      h("div", { class: "cardhead" }, verdictBadge(row.verdict),
        typeof row.extracted === "string" ? h("span", {}, "graded answer ", h("bdi", { class: "extracted" }, row.extracted)) : row.verdict !== "no_answer" && h("span", { class: "quiet" }, "no answer could be read"),
        h("bdi", { class: "task", title: "task id" }, row.task_id ?? "")),
      h("span", { class: "label" }, "Prompt"), promptView(row.prompt),
      h("span", { class: "label" }, "Completion"), h("div", { class: "completion" },
        completionView(row.completion, reasoningOpen, (open) => { reasoningOpen = open; })),
      h("dl", {}, fact("reward", known(row.reward) ? number(row.reward) : null),
        Object.entries(row.parts || {}).map(([name, value]) => fact(name, number(value))),
        fact("advantage", advantage), fact("tokens", known(row.tokens) ? count(row.tokens) : null),
        fact("ended", { stop: "by itself", length: "cut off" }[row.finish_reason] ?? row.finish_reason)),
      group.length > 1 ? h("div", { class: "group" }, h("span", { class: "label" }, "Its group"), group.map((i) => {
        const name = `${(VERDICTS[all[i].verdict] || [String(all[i].verdict)])[0]}, reward ${number(all[i].reward)}`;
        return h("button", { type: "button", "aria-label": name, title: name, "aria-current": i === shown[place] ? "true" : null, onclick: () => openRollout(i) }, verdictIcon(all[i].verdict));
      })) : "",
      typeof row.completion === "string" && row.completion ? h("details", { class: "raw-text" }, h("summary", {}, "As written, tags and all"), prose(row.completion)) : "");
  }

  const node = section("rollouts", "Rollouts", "What the policy was asked and what it wrote. The arrow keys turn the page.",
    h("div", { class: "controls" },
      h("div", { class: "chips", role: "group", "aria-label": "Verdict" }, chips),
      h("div", { class: "pager" }, stepText, slider, button("Previous rollout", "←", -1), placeText, button("Next rollout", "→", 1))),
    card);
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { top, bottom } = node.getBoundingClientRect();
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea, pre");
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || typing || bottom < 80 || top > innerHeight - 80) return;
    event.preventDefault();
    move(by);
  });
  showRollouts = (step) => { goto(step); node.scrollIntoView({ behavior: "smooth" }); };
  show();
  return node;
}

// ---------------------------------------------------------------- how it was made

function facts(title, values) {
  const entries = Object.entries(values || {}).filter(([, value]) => value !== null && value !== undefined);
  const text = (name, value) => (name.endsWith("_bytes") && known(value) ? `${(value / 1e9).toFixed(1)} GB`
    : typeof value === "object" ? JSON.stringify(value) : String(value));
  return entries.length > 0 && h("div", {}, h("h3", {}, title), h("dl", { class: "made" },
    entries.map(([name, value]) => h("div", {}, h("dt", {}, h("bdi", {}, name.replace(/_bytes$/, ""))), h("dd", {}, h("bdi", {}, text(name, value)))))));
}

function made() {
  const { command } = MADE;
  const text = command && h("pre", { class: "command" }, command);
  const copy = (event) => {
    getSelection().selectAllChildren(text);
    const done = () => { event.target.textContent = "Copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(command).then(done, () => {});
  };
  const blocks = [
    command && h("div", {}, h("h3", {}, "Run it again"), h("div", { class: "commandline" }, text, h("button", { type: "button", onclick: copy }, "Copy")),
      MADE.git_commit && h("p", { class: "small" }, "At commit ", h("code", {}, commit()), ".")),
    DATA.config && h("details", {}, h("summary", {}, "Configuration, resolved"), h("pre", { class: "config" }, DATA.config)),
    h("div", { class: "columns" }, facts("Machine", MADE.hardware), facts("Versions", MADE.versions)),
  ].filter(Boolean);
  return command || DATA.config || MADE.hardware || MADE.versions ? section("made", "How it was made", null, blocks) : null;
}

// ---------------------------------------------------------------- the page

const page = document.getElementById("page");
const blocks = [header(), headline(), note(), probe(), levels(), charts(), rollouts(), made()].filter(Boolean);
const links = { levels: "levels", curves: "curves", rollouts: "rollouts", made: "how it was made" };
const present = Object.entries(links).filter(([id]) => blocks.some((block) => block.id === id));
if (present.length > 1) blocks[0].append(h("nav", {}, present.map(([id, name]) => h("a", { href: `#${id}` }, name))));
page.replaceChildren(...blocks);
drawCharts();
let redraw = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(redraw);
  redraw = requestAnimationFrame(drawCharts);
});
document.documentElement.dataset.ready = "yes";
