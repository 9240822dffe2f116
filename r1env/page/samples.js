"use strict";
// Verdicts, prompts, and completions taken apart at their tags.

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
  const only = prompt.length === 1 && prompt[0].role === "user";
  return prompt.map((message) =>
    h(
      "div",
      { class: "message" },
      !only && h("span", { class: "label" }, String(message.role)),
      prose(String(message.content ?? ""), "prompt"),
    ),
  );
}

const ENDED = { stop: "by itself", length: "cut off", filtered: "held back by a filter" };
const fact = (name, value) =>
  value !== null && value !== undefined && h("div", {}, h("dt", {}, h("bdi", {}, name)), h("dd", {}, value));
