// Events: what happens to rooms, buckets and nodes, as it happens, from the moment somebody looks.

import { count, make, roomLink, stateMark } from "./desk.js";
import { soon } from "./talk.js";

// A page that is left open does not grow.
const LINES_MOST = 500;
const AGAIN_MS = 2_000;

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const STATE_OF = { started: "live", restarted: "restarting", parked: "parked", stopped: "stopping",
  moved: "starting", evicted: "stopping", left: "stopping", frozen: "frozen", thawed: "live",
  stuck: "stuck" };

function open(desk, main) {
  const view = new Stream(desk, main);
  view.run();
  return view.close;
}

class Stream {
  #desk;
  #abort = new AbortController();
  #lines = make("ol", { class: "events", "aria-label": "Events, the latest first", tabindex: "0" });
  #state = make("p", { class: "caption", role: "status" }, "Listening from now on.");
  #which = make("select", { id: "which" }, ...["", ...Object.keys(STATE_OF)].map((word) =>
    make("option", { value: word }, word || "all events")));
  #pause = make("button", { class: "quiet", type: "button", "aria-pressed": "false",
    onclick: () => this.#togglePause() }, "Pause");
  #waiting = [];
  #isScheduled = false;
  #isPaused = false;
  #seen = 0;
  #missed = 0;
  // Nodes that could not be heard for a while.
  #unheard = new Set();

  constructor(desk, main) {
    this.#desk = desk;
    main.append(make("h1", {}, "Events"),
      make("div", { class: "search" },
        make("label", { for: "which", class: "visually-hidden" }, "Which events"), this.#which,
        this.#pause, this.#state),
      this.#lines);
  }

  close = () => this.#abort.abort();

  async run() {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        const response = await this.#desk.fetch("/api/events", { signal });
        this.#say();
        await this.#read(response.body.pipeThrough(new TextDecoderStream()).getReader());
      } catch {
        if (signal.aborted) return;
      }
      this.#state.textContent = "The stream has ended; listening again soon.";
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async #read(reader) {
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) this.#hear(part);
    }
  }

  #hear(part) {
    const fields = part.split("\n").map((line) => line.split(/: (.*)/s));
    const of = (name) => fields.find(([field]) => field === name)?.[1];
    const [event, data] = [of("event"), of("data")];
    if (!data) return;
    const said = JSON.parse(data);
    if (event !== "lagged") {
      this.#add(said);
      return;
    }
    if (said.missed === null) this.#unheard.add(said.node);
    else this.#missed += said.missed;
    this.#say();
  }

  #add(event) {
    this.#seen += 1;
    if (this.#which.value && this.#which.value !== event.event) return;
    if (this.#isPaused) return;
    this.#waiting.push({ event, at: new Date() });
    // More than the page shows need not wait.
    if (this.#waiting.length > LINES_MOST) this.#waiting.shift();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(() => this.#show());
  }

  #show() {
    this.#isScheduled = false;
    this.#lines.prepend(...this.#waiting.splice(0).reverse().map(line));
    while (this.#lines.childElementCount > LINES_MOST) this.#lines.lastElementChild.remove();
    this.#say();
  }

  #say() {
    const missed = this.#missed > 0
      ? `; ${count(this.#missed)} were too fast for this page and are not shown`
      : "";
    const unheard = this.#unheard.size > 0
      ? ` Not heard for a while: ${[...this.#unheard].join(", ")}.`
      : "";
    const paused = this.#isPaused ? "Paused: " : "";
    this.#state.textContent = (this.#seen === 0
      ? `${paused}Listening from now on.`
      : `${paused}${count(this.#seen)} since this page was opened${missed}.`) + unheard;
  }

  #togglePause() {
    this.#isPaused = !this.#isPaused;
    this.#pause.setAttribute("aria-pressed", String(this.#isPaused));
    this.#pause.textContent = this.#isPaused ? "Go on" : "Pause";
    this.#say();
  }
}

function line({ event, at }) {
  const state = stateMark(event.event);
  state.dataset.state = STATE_OF[event.event] ?? "";
  const name = event.kind === "room" ? roomLink(event.key) : make("span", { dir: "auto" }, event.key);
  const title = `on ${event.node}` +
    (event.incarnation ? `, incarnation ${event.incarnation}` : "");
  return make("li", { class: "event", title },
    make("time", { datetime: at.toISOString() }, clock.format(at)), state,
    make("span", { class: "whose" }, make("span", { class: "unit" }, `${event.kind} `), name),
    make("span", { class: "why" }, event.reason ?? ""));
}

export const events = { title: () => "Events", open };
