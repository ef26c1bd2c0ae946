// Metrics: what Prometheus reads, as a person reads it: rates of what only grows, and a line each.

import { Spark } from "./chart.js";
import { brief, bytes, make, trouble } from "./desk.js";

const POINTS = 150;
const LINE = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i;

/** The text format -> families of samples. */
export function read(text) {
  const families = new Map();
  const family = (name) => {
    if (!families.has(name)) families.set(name, { name, help: "", type: "", samples: [] });
    return families.get(name);
  };
  let current = null;
  for (const line of text.split("\n")) {
    const [mark, kind, name, ...words] = line.split(" ");
    if (mark === "#" && kind === "HELP") {
      current = family(name);
      current.help = words.join(" ");
    } else if (mark === "#" && kind === "TYPE") {
      current = family(name);
      current.type = words[0];
    } else {
      const found = LINE.exec(line);
      if (found && current) {
        const [, sample, labels = "", value] = found;
        current.samples.push({ name: sample, labels, value: Number(value) });
      }
    }
  }
  return [...families.values()];
}

function open(desk, main) {
  const rows = new Map();
  const list = make("div", { class: "metrics" });
  const problem = make("div");
  main.append(make("h1", {}, "Metrics"),
    make("p", { class: "about" }, "As in ", make("a", { href: "/metrics" }, "/metrics"),
      ", asked for every two seconds while this page is open. What only grows is shown by the second."),
    problem, list);
  let before = null;
  return desk.repeat(async () => {
    try {
      const response = await desk.fetch("/metrics");
      const now = { at: performance.now(), families: read(await response.text()) };
      problem.replaceChildren();
      for (const family of now.families) showFamily(list, rows, family, before, now.at);
      before = { at: now.at, values: valuesOf(now.families) };
    } catch (error) {
      problem.replaceChildren(trouble(error));
      throw error;
    }
  });
}

const nameOf = (sample) => `${sample.name}{${sample.labels}}`;

function valuesOf(families) {
  const all = families.flatMap((family) => family.samples);
  return new Map(all.map((sample) => [nameOf(sample), sample.value]));
}

/** What is worth a line: of a histogram the count and the mean, of anything else each sample. */
function series(family, before, at) {
  const old = (sample) => before?.values.get(nameOf(sample));
  const rate = (sample) => {
    const was = old(sample);
    return was === undefined ? null : Math.max(sample.value - was, 0) * 1_000 / (at - before.at);
  };
  if (family.type === "histogram") {
    const [sum, number] = ["_sum", "_count"].map((end) =>
      family.samples.find((sample) => sample.name === family.name + end));
    if (!sum || !number) return [];
    const mean = number.value > 0 ? sum.value / number.value : 0;
    return [
      { id: nameOf(number), label: "how often", value: rate(number), say: perSecond },
      { id: nameOf(sum), label: "mean", value: mean, say: seconds },
    ];
  }
  return family.samples.map((sample) => {
    const label = [...sample.labels.matchAll(/"([^"]*)"/g)].map(([, word]) => word).join(", ");
    if (family.type === "counter") {
      return { id: nameOf(sample), label, value: rate(sample), say: perSecond };
    }
    const say = family.name.endsWith("_bytes") ? bytes : brief;
    return { id: nameOf(sample), label, value: sample.value, say };
  });
}

const perSecond = (value) => `${brief(value)}/s`;

const seconds = (value) =>
  value < 1e-3 ? `${(value * 1e6).toFixed(0)} µs`
    : value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(1)} s`;

function showFamily(list, rows, family, before, at) {
  if (!rows.has(family.name)) {
    const section = make("section", { class: "metric" },
      make("h2", {}, make("code", {}, family.name)), make("p", { class: "about" }, family.help));
    const table = make("dl", { class: "series" });
    section.append(table);
    list.append(section);
    rows.set(family.name, { table, lines: new Map() });
  }
  const { table, lines } = rows.get(family.name);
  for (const { id, label, value, say } of series(family, before, at)) {
    if (!lines.has(id)) {
      const spark = new Spark(`${family.name} ${label}`);
      const shown = make("dd", { class: "value" }, "–");
      table.append(make("div", { class: "serie" }, make("dt", {}, label), shown, spark.element));
      lines.set(id, { spark, shown, values: [] });
    }
    if (value === null) continue;
    const line = lines.get(id);
    line.values.push(value);
    if (line.values.length > POINTS) line.values.shift();
    line.shown.textContent = say(value);
    line.spark.draw(line.values, say);
  }
}

export const metrics = { title: () => "Metrics", open };
