// The talk as it is shown: a bounded number of lines, added in batches, always as text.

import { plural } from "./words.js";

// A room may talk faster and longer than a page should grow.
const LINES_MOST = 500;
// The margin has place for so many digits at least, and grows with the numbers.
const DIGITS_LEAST = 3;
// How near to the end counts as being there, in pixels.
const NEAR = 48;
// Lines of one person within this time are shown under one name.
const TOGETHER_MS = 5 * 60_000;
const TINTS = 8;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** One of a few colours, always the same for a name. */
export function tint(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return String(hash % TINTS);
}

/** An element with a class and text; nothing here is ever read as HTML. */
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Runs something with the next picture, or soon where none is drawn, as in a hidden tab. */
export function soon(run) {
  let isDone = false;
  const once = () => {
    if (isDone) return;
    isDone = true;
    run();
  };
  requestAnimationFrame(once);
  setTimeout(once, 200);
}

export class Talk {
  #log;
  #earlier;
  #newer;
  #waiting = [];
  #isScheduled = false;
  #last = null;
  #unseen = 0;
  // Followed from the end until the reader scrolls away.
  #follows = true;

  /**
   * @param {{log: HTMLElement, earlier: HTMLElement, newer: HTMLButtonElement}} parts
   */
  constructor({ log, earlier, newer }) {
    this.#log = log;
    this.#earlier = earlier;
    this.#newer = newer;
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    newer.addEventListener("click", () => {
      this.toEnd();
      log.focus();
    });
    new ResizeObserver(() => this.#follows && this.toEnd()).observe(log);
  }

  clear() {
    this.#waiting = [];
    this.#last = null;
    this.#log.replaceChildren();
    this.#log.style.removeProperty("--digits");
    delete this.#log.dataset.joined;
    this.#earlier.hidden = true;
    this.toEnd();
  }

  /** Adds a line that somebody said. */
  said(line, isMine) {
    this.#add({ line, isMine });
  }

  /** Adds a word of the page itself, between the lines. */
  note(text, kind = "plain") {
    this.#add({ note: text, kind });
  }

  /** What is there so far is of an incarnation that is over: it is shown as past. */
  endRun() {
    this.#flush();
    for (const shown of this.#log.children) shown.classList.add("past");
  }

  /** Says above the lines what cannot be shown. */
  before(text) {
    this.#earlier.textContent = text;
    this.#earlier.hidden = false;
  }

  /** The room is joined. Adds what it remembers, without a screen reader reading all of it out. */
  welcome(add) {
    this.#log.dataset.joined = "";
    this.#log.setAttribute("aria-busy", "true");
    add();
    this.#flush();
    this.#log.setAttribute("aria-busy", "false");
  }

  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#follows = true;
    this.#seen();
  }

  #add(entry) {
    this.#waiting.push(entry);
    // Those would be thrown out at once again.
    if (this.#waiting.length > LINES_MOST) this.#waiting.shift();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(() => this.#flush());
  }

  #flush() {
    this.#isScheduled = false;
    const entries = this.#waiting;
    this.#waiting = [];
    if (entries.length === 0) return;
    const added = document.createDocumentFragment();
    for (const entry of entries) added.append(this.#show(entry));
    this.#log.append(added);
    this.#trim();
    if (this.#follows) return this.toEnd();
    this.#unseen += entries.filter((entry) => entry.line).length;
    this.#newer.textContent = `${plural(this.#unseen, "new line", "new lines")} below`;
    this.#newer.hidden = this.#unseen === 0;
  }

  #trim() {
    const excess = this.#log.childElementCount - LINES_MOST;
    if (excess <= 0) return;
    for (let n = 0; n < excess; n += 1) this.#log.firstElementChild.remove();
    this.before(`This page shows the last ${LINES_MOST} lines.`);
  }

  #show({ line, isMine, note, kind }) {
    if (note !== undefined) {
      this.#last = null;
      const shown = element("p", "note", note);
      shown.dataset.kind = kind;
      return shown;
    }
    const at = new Date(line.at);
    const last = this.#last;
    const goesOn = last && last.from === line.from && at - last.at < TOGETHER_MS;
    this.#last = { from: line.from, at };
    const shown = element("div", isMine ? "line mine" : "line");
    shown.dataset.seq = line.seq;
    const seq = element("span", "seq", String(line.seq));
    this.#makePlace(seq.textContent.length);
    seq.setAttribute("aria-hidden", "true");
    shown.append(seq);
    // Hidden from the eye only, and shown if the line becomes the first that is left.
    shown.classList.toggle("goes-on", Boolean(goesOn));
    shown.append(head(line, at));
    const text = element("p", "text", line.text);
    text.dir = "auto";
    shown.append(text);
    return shown;
  }

  #makePlace(digits) {
    const style = this.#log.style;
    const most = Math.max(DIGITS_LEAST, Number(style.getPropertyValue("--digits")));
    if (digits > most) style.setProperty("--digits", String(digits));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#follows) this.#seen();
  }

  #seen() {
    this.#unseen = 0;
    this.#newer.hidden = true;
  }
}

function head(line, at) {
  const shown = element("p", "by");
  const name = element("bdi", "from", line.from);
  name.dataset.tint = tint(line.from);
  const time = element("time", "at", clock.format(at));
  time.dateTime = line.at;
  time.title = calendar.format(at);
  shown.append(name, " ", time);
  return shown;
}
