"use strict";
// The curves: what is drawn, and a small SVG line renderer. All charts share one cursor, so that pointing at a
// step in one of them reads off that step in every other. Drawn by the page script, which comes after this one.

// ---------------------------------------------------------------- what is drawn

// A chart lists its series as [column, name], or takes every column with a prefix. `unit` is share, seconds, or
// a plain number; `whole` shows the full scale of a share from 0 to 100%.
const CHART_GROUPS = [
  ["What it is judged by", [
    { title: "Held-out accuracy", about: "Tasks never trained on; the band is the 95% interval of pass@1.",
      evals: true, unit: "share", whole: true, height: 220 },
  ]],
  ["What it is trained on", [
    { title: "Reward", about: "Over the samples of a step: their mean and how far they spread.",
      series: [["reward", "mean"], ["reward_std", "std"]] },
    { title: "Reward parts", about: "Each part by itself, before weighting.", prefix: "parts.", whole: true },
    { title: "Solved by turn", about: "Of the rollouts that came to a turn: the share that was right there.",
      prefix: "solved.", unit: "share", whole: true },
  ]],
  ["What it writes", [
    { title: "Length", about: "Mean tokens of a completion.", series: [["length", "tokens"]] },
    { title: "Turns", about: "Mean turns of the policy in a rollout.", series: [["turns", "turns"]] },
    { title: "Cut off", about: "Share of completions stopped by the token limit.",
      series: [["truncated", "cut off"]], unit: "share" },
    { title: "Entropy", about: "Nats per token: how undecided the policy is.", series: [["entropy", "entropy"]] },
    { title: "Reflective phrases", about: "Share of completions that reconsider: “wait”, “check” and so on.",
      series: [["reflective", "reflective"]], unit: "share" },
  ]],
  ["How it is optimised", [
    { title: "Loss", about: "What the optimiser minimises.", series: [["loss", "loss"]] },
    { title: "Gradient norm", about: "Before clipping.", series: [["grad_norm", "norm"]] },
    { title: "KL to the reference", about: "How far the policy has moved, in nats per token.", series: [["kl", "KL"]] },
    { title: "Clipped", about: "Share of tokens whose ratio left the trust region.",
      series: [["clip_share", "clipped"], ["clip.low", "from below"], ["clip.high", "from above"]], unit: "share" },
    { title: "Staleness", about: "How far the policy has moved since it sampled, when it meets a minibatch: mean |log ratio|.",
      prefix: "staleness." },
    { title: "Largest ratio", about: "Of a token's probability to what it was in sampling, by minibatch.",
      prefix: "ratio_max." },
    { title: "Learning rate", about: "As scheduled.", series: [["lr", "rate"]], exact: true },
    { title: "Groups skipped", about: "All samples of such a group scored alike, so it has no gradient.",
      series: [["groups_skipped", "skipped"], ["groups", "of"]] },
    { title: "Dynamic sampling", about: "Groups sampled for a step, and further rounds that it took.",
      series: [["resampling.groups", "groups"], ["resampling.rounds", "rounds"]] },
    { title: "Informative groups", about: "Share of the sampled groups whose rewards differ.",
      series: [["resampling.informative", "informative"]], unit: "share", whole: true },
  ]],
  ["What the value model knows", [
    { title: "Explained variance", about: "1: it foresees what every token leads to; 0: no better than a constant.",
      series: [["explained_variance", "explained"]] },
    { title: "Value", about: "Mean over the tokens of a step, beside what it should have been.",
      series: [["value", "value"], ["value_target", "target"]] },
    { title: "Value loss", about: "Half the mean squared error, clipped where that is asked for.",
      series: [["value_loss", "loss"]] },
    { title: "Values clipped", about: "Share of tokens whose value moved too far in one rollout.",
      series: [["value_clip_share", "clipped"]], unit: "share" },
    { title: "Gradient norm of the critic", about: "Before clipping.", series: [["critic_grad_norm", "norm"]] },
    { title: "Spread of advantages", about: "Their standard deviation, before whitening.",
      series: [["advantage_std", "std"]] },
  ]],
  ["Whether the machinery holds", [
    { title: "Engine–trainer gap", about: "Largest difference of log-probabilities for the same tokens.",
      series: [["logprob_gap", "gap"]] },
    { title: "Engine–trainer mismatch", about: "Over the trained tokens: mean difference, and KL(engine ‖ trainer), in nats.",
      series: [["mismatch.mean", "difference"], ["mismatch.kl", "KL"]] },
    { title: "Importance weights", about: "For that mismatch: mean weight, and share of tokens capped or masked.",
      prefix: "importance." },
    { title: "Expert balance", about: "The busiest expert's load over the mean, by layer; 1 is even.",
      prefix: "expert_balance." },
    { title: "Unscorable", about: "Completions the grader could not judge: masked, never scored.",
      series: [["unscorable", "unscorable"]] },
    { title: "Seconds by phase", about: "Stacked and smoothed.", prefix: "seconds.", unit: "seconds", stack: true },
  ]],
];
const NOT_DRAWN = ["step", "tokens"]; // tokens of a step say what the length says

function column(key, name) {
  const steps = DATA.metrics.step,
    values = DATA.metrics[key] || [];
  const xs = [],
    ys = [];
  values.forEach((value, i) => {
    if (known(value)) {
      xs.push(steps[i]);
      ys.push(value);
    }
  });
  return { name, xs, ys, smooth: ys };
}

// Mean over the neighbours, weighted by a bell curve. Values off the scale are left out of it: one wild step would
// lift all those around it. Few points stay as they are.
function smoothed(ys, low = -Infinity, high = Infinity) {
  if (ys.length < 24) return ys;
  const width = ys.length / 75,
    reach = Math.ceil(2.5 * width);
  const weights = Array.from({ length: reach + 1 }, (_, i) => Math.exp(-0.5 * (i / width) ** 2));
  return ys.map((y, i) => {
    let sum = 0,
      weight = 0;
    for (let j = Math.max(0, i - reach); j <= Math.min(ys.length - 1, i + reach); j++) {
      if (ys[j] < low || ys[j] > high) continue;
      const w = weights[Math.abs(i - j)];
      sum += w * ys[j];
      weight += w;
    }
    return weight ? sum / weight : y;
  });
}

function evalPoints() {
  const points = DATA.evals.slice();
  const add = (figures, step) => {
    if (figures && known(step) && !points.some((p) => p.step === step)) points.push({ step, ...figures });
  };
  add(RESULT.before, 0);
  add(RESULT.after, DATA.steps);
  return points.sort((a, b) => a.step - b.step);
}

function evalSeries() {
  const points = evalPoints();
  const pick = (name, key, ci = null, of = () => true) => {
    const there = points.filter((p) => known(p[key]) && of(p));
    const ys = there.map((p) => p[key]);
    const band =
      ci && there.every((p) => Array.isArray(p[ci]) && p[ci].every(known)) ? there.map((p) => p[ci]) : null;
    const sparse = there.length < points.length / 2;
    return { name, xs: there.map((p) => p.step), ys, smooth: ys, band, sparse, dots: there.length < 60 };
  };
  // Evaluations during the run may take fewer samples a task: pass@4 is no point of pass@16's line.
  const ks = [...new Set(points.filter((p) => known(p.pass_at_k) && p.k !== 1).map((p) => p.k ?? "k"))].sort(
    (a, b) => b - a,
  );
  const ofK = ks.map((k) => pick(`pass@${k}`, "pass_at_k", null, (p) => (p.k ?? "k") === k));
  return [pick("pass@1", "pass_at_1", "pass_at_1_ci95"), ...ofK];
}

function seriesOf(spec) {
  if (spec.evals) return evalSeries();
  if (!spec.prefix) return spec.series.map(([key, name]) => column(key, name));
  const keys = Object.keys(DATA.metrics).filter((key) => key.startsWith(spec.prefix));
  if (!spec.stack) return keys.map((key) => column(key, key.slice(spec.prefix.length)));
  const total = column(`${spec.prefix}total`, "other");
  const parts = keys
    .filter((key) => key !== `${spec.prefix}total`)
    .map((key) => column(key, key.slice(spec.prefix.length)));
  if (total.ys.length && parts.length && parts.every((part) => part.ys.length === total.ys.length)) {
    const ys = total.ys.map((value, i) =>
      Math.max(
        0,
        parts.reduce((rest, part) => rest - part.ys[i], value),
      ),
    );
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    if (sum(ys) > 0.02 * sum(total.ys)) parts.push({ ...total, ys });
  }
  return parts.length ? parts : [{ ...total, name: "total" }];
}

// ---------------------------------------------------------------- scales

function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++)
    found.push(+(i * step).toPrecision(12));
  return found;
}

// The lowest and highest value to show. A few wild values must not flatten everything else: they are left off
// the scale, and the chart says how many.
function valueRange(spec, series) {
  const all = series.flatMap((one) => [...one.ys, ...(one.band || []).flat()]).sort((a, b) => a - b);
  let low = all[0],
    high = all[all.length - 1];
  if (spec.whole && low >= 0 && high <= 1) return { low: 0, high: 1, off: 0 };
  let off = 0;
  if (all.length >= 50 && !spec.whole) {
    const [q1, q9] = [all[Math.floor(0.02 * all.length)], all[Math.ceil(0.98 * all.length) - 1]];
    const reach = Math.max(q9 - q1, Math.abs(q9) * 1e-6);
    if (high > q9 + 2 * reach) high = q9 + 0.5 * reach;
    if (low < q1 - 2 * reach) low = q1 - 0.5 * reach;
    off = all.filter((y) => y > high || y < low).length;
  }
  if (spec.stack || (low > 0 && low < 0.6 * high)) low = Math.min(0, low);
  if (low === high) {
    low -= Math.abs(low) * 0.1 || 0.5;
    high += Math.abs(high) * 0.1 || 0.5;
  }
  if (spec.unit === "share" && low >= 0) {
    low = 0;
    high = Math.min(1, high);
  }
  return { low, high: high + (spec.unit === "share" && high === 1 ? 0 : 0.04 * (high - low)), off };
}

const tickLabel = (spec, low, high) => {
  if (spec.unit === "share") return (y) => `${+(100 * y).toFixed(2)}%`;
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (size < 0.001) return (y) => (y === 0 ? "0" : minus(y.toExponential(0)));
  if (spec.unit === "seconds") return (y) => `${+y.toPrecision(4)} s`;
  return (y) => minus(size >= 10000 ? `${+(y / 1000).toFixed(1)}k` : `${+y.toPrecision(4)}`);
};

// How the values of a chart are written. Parts of the reward may be shares or not.
function reader(spec, series) {
  if (spec.unit === "share" || allShares(spec, series)) return percent;
  return spec.unit === "seconds" ? (y) => (known(y) ? duration(y) : "–") : brief;
}
const allShares = (spec, series) => spec.whole && series.every((one) => one.ys.every((y) => y >= 0 && y <= 1));

// ---------------------------------------------------------------- one chart

const cursor = { charts: [], step: null };

function setCursor(step) {
  cursor.step = step;
  for (const chart of cursor.charts) chart.point(step);
}

function nearest(xs, x) {
  let low = 0,
    high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : low;
}

const path = (xs, ys, x, y) =>
  xs.map((value, i) => `${i ? "L" : "M"}${x(value).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");
const area = (xs, lows, highs, x, y) =>
  `${path(xs, lows, x, y)}${path(xs.slice().reverse(), highs.slice().reverse(), x, y).replace("M", "L")}Z`;

// Evaluations during a run may be smaller than those before and after it.
function sizes(spec) {
  const sizes = spec.evals
    ? evalPoints()
        .map((p) => p.n)
        .filter(known)
    : [];
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  return sizes.length && least < most ? ` A point is over ${count(least)} to ${count(most)} tasks.` : "";
}

let clipCount = 0;

function chart(spec, series) {
  const read = reader(spec, series);
  const stack = spec.stack ? stacked(series) : series;
  const range = valueRange(spec, stack);
  const still = spec.stack || spec.exact || spec.evals;
  const drawn = still
    ? stack
    : stack.map((one) => ({ ...one, smooth: smoothed(one.ys, range.low, range.high) }));
  const xs = [...new Set(series.flatMap((one) => one.xs))].sort((a, b) => a - b);
  const clip = `clip${clipCount++}`;
  const at = h("span", { class: "at" });
  const values = series.map(() => h("b", {}));
  const legend = h(
    "ul",
    { class: "legend" },
    series.map((one, i) => h("li", {}, h("i", { class: `key c${i % 6}` }), h("bdi", {}, one.name), values[i])),
  );
  const plot = s("svg", { class: "plot", role: "img", height: spec.height || 168 });
  const about =
    spec.about +
    sizes(spec) +
    (range.off
      ? ` ${range.off === 1 ? "One value lies" : `${count(range.off)} values lie`} off this scale.`
      : "");
  const figure = h(
    "figure",
    { class: "chart", tabindex: 0 },
    h("figcaption", {}, h("h4", {}, spec.title), at, h("p", {}, about)),
    legend,
    plot,
  );
  const first = (one) => read(one.ys[0]),
    last = (one) => read(one.ys[one.ys.length - 1]);
  plot.setAttribute(
    "aria-label",
    `${spec.title} by step: ${series.map((one) => `${one.name} from ${first(one)} to ${last(one)}`).join(", ")}`,
  );

  let scale = null;
  const line = s("line", { class: "cursor", visibility: "hidden" });
  const dots = series.map((_, i) => s("circle", { class: `dot c${i % 6}`, r: 3.5, visibility: "hidden" }));

  function draw() {
    const width = Math.max(200, Math.round(plot.getBoundingClientRect().width)),
      height = spec.height || 168;
    const [left, right, top, bottom] = [46, 10, 8, 22];
    const [x0, x1] = xs.length > 1 ? [xs[0], xs[xs.length - 1]] : [xs[0] - 1, xs[0] + 1];
    const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
    const y = (value) => top + (1 - (value - range.low) / (range.high - range.low)) * (height - top - bottom);
    scale = {
      x,
      y,
      top,
      bottom: height - bottom,
      left,
      width,
      right,
      invert: (px) => x0 + ((px - left) / (width - left - right)) * (x1 - x0),
    };
    const yLabel = tickLabel(allShares(spec, series) ? { unit: "share" } : spec, range.low, range.high);
    const inside = { "clip-path": `url(#${clip})` };
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    plot.replaceChildren(
      s(
        "clipPath",
        { id: clip },
        s("rect", {
          x: left - 4,
          y: top - 4,
          width: width - left - right + 8,
          height: height - top - bottom + 8,
        }),
      ),
      s(
        "g",
        { class: "axis" },
        ticks(range.low, range.high, 4).map((value) => [
          s("line", { x1: left, x2: width - right, y1: y(value), y2: y(value) }),
          s("text", { x: left - 8, y: y(value) + 3.5, "text-anchor": "end" }, yLabel(value)),
        ]),
        ticks(x0, x1, width / 90)
          .filter(Number.isInteger)
          .map((value) =>
            s(
              "text",
              { x: x(value), y: height - 5, "text-anchor": x(value) > width - right - 14 ? "end" : "middle" },
              count(value),
            ),
          ),
      ),
      s(
        "g",
        inside,
        drawn.map((one, i) => {
          const c = `c${i % 6}`;
          if (one.floor) return s("path", { class: `area ${c}`, d: area(one.xs, one.floor, one.smooth, x, y) });
          const noisy = one.smooth.some((value, j) => value !== one.ys[j]);
          return [
            one.band &&
              s("path", {
                class: `band ${c}`,
                d: area(
                  one.xs,
                  one.band.map((b) => b[0]),
                  one.band.map((b) => b[1]),
                  x,
                  y,
                ),
              }),
            noisy && s("path", { class: `raw ${c}`, d: path(one.xs, one.ys, x, y) }),
            s("path", { class: `line ${c}${one.sparse ? " sparse" : ""}`, d: path(one.xs, one.smooth, x, y) }),
            (one.dots || one.xs.length === 1) &&
              one.xs.map((value, j) =>
                s("circle", { class: `mark ${c}`, cx: x(value), cy: y(one.ys[j]), r: 2.5 }),
              ),
          ];
        }),
      ),
      line,
      ...dots,
    );
    point(cursor.step);
  }

  // Reads off the values at the point nearest to a step; without one, each series' last.
  function point(step) {
    const target = step === null ? null : xs[nearest(xs, step)];
    at.textContent = step === null ? "last" : `step ${count(target)}`;
    at.classList.toggle("on", step !== null);
    if (scale && step !== null) {
      for (const [key, value] of Object.entries({
        x1: scale.x(target),
        x2: scale.x(target),
        y1: scale.top,
        y2: scale.bottom,
      }))
        line.setAttribute(key, value);
    }
    line.setAttribute("visibility", step === null ? "hidden" : "visible");
    series.forEach((one, i) => {
      const j = step === null ? one.xs.length - 1 : nearest(one.xs, target);
      const there = step === null || one.xs[j] === target;
      const range95 = one.band && interval(one.band[j]);
      values[i].textContent = there ? read(one.ys[j]) + (range95 ? ` (${range95})` : "") : "–";
      const on =
        scale && step !== null && there && !spec.stack && one.ys[j] >= range.low && one.ys[j] <= range.high;
      dots[i].setAttribute("visibility", on ? "visible" : "hidden");
      if (on) {
        dots[i].setAttribute("cx", scale.x(target));
        dots[i].setAttribute("cy", scale.y(one.ys[j]));
      }
    });
  }

  const under = (event) => xs[nearest(xs, scale.invert(event.clientX - plot.getBoundingClientRect().left))];
  plot.addEventListener("pointermove", (event) => setCursor(under(event)));
  plot.addEventListener("pointerdown", (event) => setCursor(under(event)));
  plot.addEventListener("pointerleave", () => setCursor(null));
  plot.addEventListener("click", (event) => {
    if (event.pointerType === "mouse") showRollouts(under(event));
  });
  figure.addEventListener("blur", () => setCursor(null));
  figure.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) {
      const i = cursor.step === null ? xs.length - 1 : nearest(xs, cursor.step) + move;
      setCursor(xs[Math.min(xs.length - 1, Math.max(0, i))]);
    } else if (event.key === "Enter" && cursor.step !== null) showRollouts(cursor.step);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  cursor.charts.push({ draw, point });
  return figure;
}

function stacked(series) {
  let below = series[0].ys.map(() => 0);
  return series.map((one) => {
    const floor = below;
    below = smoothed(one.ys).map((value, i) => value + floor[i]);
    return { ...one, ys: below, smooth: below, floor };
  });
}

// ---------------------------------------------------------------- all charts

const constant = (one) => one.ys.every((y) => y === one.ys[0]);

function charts() {
  const listed = new Set(NOT_DRAWN),
    flat = [],
    groups = [];
  const used = (spec) =>
    Object.keys(DATA.metrics).filter((key) =>
      spec.prefix ? key.startsWith(spec.prefix) : (spec.series || []).some(([name]) => name === key),
    );
  for (const [, specs] of CHART_GROUPS) specs.flatMap(used).forEach((key) => listed.add(key));
  const others = Object.keys(DATA.metrics)
    .filter((key) => !listed.has(key))
    .map((key) => ({ title: key, about: "Logged by this run.", series: [[key, key]] }));

  for (const [title, specs] of [...CHART_GROUPS, ["What else was logged", others]]) {
    const figures = [];
    for (const spec of specs) {
      const series = seriesOf(spec).filter((one) => one.ys.length);
      if (!series.length) continue;
      if (!spec.evals && series.every((one) => one.ys.length > 1 && constant(one)))
        flat.push(
          ...series.map((one) => [
            spec.title.toLowerCase() + (series.length > 1 ? ` (${one.name})` : ""),
            reader(spec, series)(one.ys[0]),
          ]),
        );
      else figures.push(chart(spec, series));
    }
    if (figures.length) groups.push(h("h3", {}, title), h("div", { class: "charts" }, figures));
  }
  if (!groups.length && !flat.length) return null;
  const lead = [
    "Faint: every step. Bold: a moving mean. Point at a step to read it off in all charts",
    DATA.rollouts.length ? "; click to see what the policy wrote there." : ".",
  ].join("");
  return section(
    "curves",
    "Step by step",
    lead,
    DATA.remarks.curves.map((remark) => h("p", { class: "remark" }, remark)),
    groups,
    flat.length
      ? h(
          "p",
          { class: "quiet" },
          "The same at every step: ",
          flat.map(([name, value], i) => [i ? "; " : "", name, " ", h("b", {}, value)]),
          ".",
        )
      : null,
  );
}

function drawCharts() {
  for (const one of cursor.charts) one.draw();
}
