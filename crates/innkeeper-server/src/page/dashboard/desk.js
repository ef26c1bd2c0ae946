// What every page of the dashboard works at: questions to the server, with the token if it wants
// one; the overview, asked for again and again while somebody looks; and elements to show it in.

import { element } from "./talk.js";

const EVERY_MS = 2_000;
// An answer that took long is asked for less often: the screen is not to be the load.
const REST = 20;
// Points that a small chart remembers: five minutes of them.
const POINTS = 150;

/** A refusal of the server, in its own terms. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answered ${status}`);
    this.status = status;
    this.code = problem?.code ?? "";
  }
}

export class Desk {
  #ui;
  #token = sessionStorage.getItem("innkeeper.token");
  #asking = null;
  #watchers = new Set();
  overview = null;
  /** The overviews so far, the oldest first: `{at, now, total}`. */
  history = [];

  constructor(ui) {
    this.#ui = ui;
  }

  begin() {
    this.#ui.state("busy", "asking");
    this.repeat(() => this.#look());
  }

  async #look() {
    try {
      this.#note(await this.ask("/api/overview"));
    } catch (error) {
      this.#ui.state("off", error instanceof Refusal ? error.message : "nobody answers");
      throw error;
    }
  }

  #note(overview) {
    const { uptime_ms: at, now, total, census } = overview;
    // The server was started again: what was counted before says nothing now.
    if (this.history.length > 0 && at < this.history.at(-1).at) this.history = [];
    this.history.push({ at, now, total, census });
    if (this.history.length > POINTS) this.history.shift();
    this.overview = overview;
    this.#ui.state(overview.state === "serving" ? "on" : "busy",
      `${overview.state} · ${overview.node}`);
    for (const watcher of this.#watchers) watcher(overview);
  }

  /** Shows each overview to `watcher`, the last one at once. Answers how to stop. */
  watch(watcher) {
    this.#watchers.add(watcher);
    if (this.overview) watcher(this.overview);
    return () => this.#watchers.delete(watcher);
  }

  /** How fast a total grows, a second, at each point of the history. */
  rates(of) {
    return this.history.slice(1).map((point, n) => {
      const before = this.history[n];
      const seconds = Math.max(point.at - before.at, 1) / 1_000;
      return Math.max(of(point) - of(before), 0) / seconds;
    });
  }

  /** How much a total has grown within the minute before each point of the history. */
  lastMinute(of) {
    let first = 0;
    return this.history.map((point) => {
      while (point.at - this.history[first].at > 60_000) first += 1;
      return Math.max(of(point) - of(this.history[first]), 0);
    });
  }

  /**
   * Does something again and again, as long as the page is looked at. Answers how to stop.
   */
  repeat(run, everyMs = EVERY_MS) {
    let isOver = false;
    let timer = null;
    const turn = async () => {
      clearTimeout(timer);
      if (isOver || document.hidden) return;
      const began = performance.now();
      try {
        await run();
      } catch (error) {
        if (!(error instanceof Refusal) && !(error instanceof TypeError)) throw error;
      }
      clearTimeout(timer);
      if (!isOver) timer = setTimeout(turn, Math.max(everyMs, REST * (performance.now() - began)));
    };
    document.addEventListener("visibilitychange", turn);
    turn();
    return () => {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", turn);
    };
  }

  /** Asks the server, and answers what it says as JSON, if it says anything. */
  async ask(path, options = {}) {
    const response = await this.fetch(path, options);
    return response.status === 204 ? null : response.json();
  }

  /** Asks the server; a refusal is thrown. */
  async fetch(path, options = {}) {
    for (;;) {
      const token = this.#token;
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const response = await fetch(path, { ...options, headers });
      if (response.ok) return response;
      const refusal = new Refusal(response.status, await response.json().catch(() => null));
      if (refusal.status !== 401) throw refusal;
      // Somebody else may have shown a new one meanwhile.
      if (token === this.#token) await this.#askForToken(token ? "That is not the token." : "");
    }
  }

  /** Once, however many questions wait for it. */
  #askForToken(problem) {
    this.#asking ??= this.#ui.token(problem).then((token) => {
      this.#token = token;
      sessionStorage.setItem("innkeeper.token", token);
      this.#asking = null;
    });
    return this.#asking;
  }

  /** Whether whoever looks is sure. */
  sure(question) {
    return this.#ui.sure(question);
  }
}

/** An element with attributes and whatever is to be in it; text is always text. */
export function make(tag, attributes = {}, ...children) {
  const made = element(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** The name of a room, leading to its page. */
export function roomLink(key) {
  const query = new URLSearchParams({ key });
  return make("a", { class: "room-name", href: `#/room?${query}`, dir: "auto" }, key);
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => whole.format(Math.round(number));

/** A number as short as it can be read: `3.4`, `812`, `1.2M`. */
export function brief(number) {
  if (number < 10 && !Number.isInteger(number)) return number.toFixed(1);
  return number < 100_000 ? whole.format(Math.round(number)) : short.format(number);
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${number < 10 && at > 0 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

/** A duration by its two largest units. */
export function ago(ms) {
  const secs = Math.floor(ms / 1_000);
  const [days, hours, minutes] = [
    Math.floor(secs / 86_400), Math.floor(secs / 3_600) % 24, Math.floor(secs / 60) % 60,
  ];
  if (days > 0) return `${days}\u00a0d ${hours}\u00a0h`;
  if (hours > 0) return `${hours}\u00a0h ${minutes}\u00a0min`;
  if (minutes > 0) return `${minutes}\u00a0min ${secs % 60}\u00a0s`;
  return secs < 10 ? `${(ms / 1_000).toFixed(1)}\u00a0s` : `${secs}\u00a0s`;
}

/** A state with a lamp before it; the colour says nothing that the word does not. */
export function stateMark(state) {
  return make("span", { class: "mark", "data-state": state.split(" ")[0] }, state);
}

/** Says in a page that something did not come. */
export function trouble(error) {
  const text = error instanceof Refusal ? error.message : "Nobody answers. This page keeps asking.";
  return make("p", { class: "trouble", role: "alert" }, text);
}
