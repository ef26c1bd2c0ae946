// Small charts: a line over the last minutes, drawn from numbers that were asked for anyway.

import { make } from "./desk.js";

const WIDTH = 160;
const HEIGHT = 36;
const SPACE = "http://www.w3.org/2000/svg";

function draw(tag, attributes) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** A line that is redrawn in place. */
export class Spark {
  #area = draw("path", { class: "area" });
  #line = draw("path", { class: "line" });
  element = draw("svg", {
    class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
  });

  constructor(name) {
    this.name = name;
    this.element.append(this.#area, this.#line);
    this.draw([], String);
  }

  /** Draws values, the oldest first, on a scale from zero. */
  draw(values, say) {
    const most = Math.max(...values, 0);
    const label = values.length > 0
      ? `${this.name}: now ${say(values.at(-1))}, at most ${say(most)} in the last minutes`
      : `${this.name}: not known yet`;
    this.element.setAttribute("aria-label", label);
    // One value is no line yet.
    if (values.length < 2) return;
    const step = WIDTH / (values.length - 1);
    const y = (value) => HEIGHT - 2 - (most > 0 ? value / most : 0) * (HEIGHT - 6);
    const points = values.map((value, n) => `${(n * step).toFixed(1)} ${y(value).toFixed(1)}`);
    const line = `M${points.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}V${HEIGHT}H0Z`);
  }
}

/** A number with its name and how it came about. */
export class Figure {
  #value = make("dd", { class: "value" }, "–");
  #spark;
  element;

  constructor(name, unit = "") {
    this.#spark = new Spark(name);
    const term = make("dt", {}, name);
    if (unit) term.append(" ", make("span", { class: "unit" }, unit));
    this.element = make("div", { class: "figure" }, term, this.#value, this.#spark.element);
  }

  show(values, say) {
    if (values.length > 0) this.#value.textContent = say(values.at(-1));
    this.#spark.draw(values, say);
  }
}
