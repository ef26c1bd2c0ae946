// Rooms: searched, ordered and paged by the server; the page holds what it shows and no more. On a
// cluster, rooms by key are those of all nodes; any other order is that of one node.

import { ago, count, make, roomLink, stateMark, trouble } from "./desk.js";

const ROWS = 50;
const STATES = ["", "live", "starting", "restarting", "stopping", "stopping (stuck)", "parked"];
const COLUMNS = [
  ["Room", "key"], ["State", null], ["Members", "members"], ["Messages", "messages"],
  ["Mailbox", "mailbox"], ["Restarts", "restarts"], ["In this state", "oldest"],
];

function open(desk, main, params) {
  const view = new List(desk, main, params);
  return view.close;
}

class List {
  #desk;
  #query;
  // Where the pages before this one began.
  #trail = [];
  #at = {};
  #next = null;
  #body = make("tbody");
  #caption = make("p", { class: "caption", role: "status" });
  #head = make("tr");
  #back;
  #on;
  #search = make("input", { type: "search", id: "contains", autocomplete: "off",
    spellcheck: "false" });
  #stop;
  #turn = 0;
  #wasWide = false;

  constructor(desk, main, params) {
    this.#desk = desk;
    this.#query = {
      contains: params.get("contains") ?? "", state: params.get("state") ?? "",
      sort: params.get("sort") ?? "key",
    };
    this.#back = make("button", { class: "quiet", type: "button", disabled: true,
      onclick: () => this.#go(this.#trail.pop() ?? {}) }, "← Back");
    this.#on = make("button", { class: "quiet", type: "button", disabled: true,
      onclick: () => this.#forward() }, "On →");
    main.append(
      make("h1", {}, "Rooms"), this.#form(),
      make("div", { class: "scroll" },
        make("table", { class: "rows" }, make("thead", {}, this.#head), this.#body)),
      make("div", { class: "pager" }, this.#caption, this.#back, this.#on),
    );
    this.#showHead();
    const stop = desk.repeat(() => this.#load(), 5_000);
    // Whether there are other nodes is known with the first overview.
    const unwatch = desk.watch(() => {
      if (this.#isWide() !== this.#wasWide) this.#load().catch(() => {});
    });
    this.#stop = () => {
      stop();
      unwatch();
    };
  }

  close = () => this.#stop();

  /** Whether rooms of all nodes are shown. */
  #isWide() {
    const { sort, state } = this.#query;
    return Boolean(this.#desk.overview?.everywhere) && sort === "key" && !state;
  }

  #form() {
    this.#search.value = this.#query.contains;
    const state = make("select", { id: "by-state" }, ...STATES.map((word) =>
      make("option", { value: word, selected: word === this.#query.state }, word || "any state")));
    let timer = null;
    this.#search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#ask({ contains: this.#search.value }), 250);
    });
    state.addEventListener("change", () => this.#ask({ state: state.value }));
    return make("form", { class: "search", role: "search",
      onsubmit: (event) => event.preventDefault() },
      make("label", { for: "contains", class: "visually-hidden" }, "Search by key"), this.#search,
      make("label", { for: "by-state", class: "visually-hidden" }, "State"), state);
  }

  /** Another question begins at its first page; the address says what it is. */
  #ask(change) {
    Object.assign(this.#query, change);
    this.#trail = [];
    this.#at = {};
    const said = Object.entries(this.#query).filter(([, value]) => value && value !== "key");
    const query = new URLSearchParams(said).toString();
    history.replaceState(null, "", `#/rooms${query ? `?${query}` : ""}`);
    this.#showHead();
    this.#load().catch(() => {});
  }

  #forward() {
    this.#trail.push(this.#at);
    this.#go(this.#next);
  }

  #go(at) {
    this.#at = at;
    this.#load().catch(() => {});
    this.#body.closest(".scroll").scrollIntoView({ block: "nearest" });
  }

  async #load() {
    this.#turn += 1;
    const turn = this.#turn;
    const isWide = this.#wasWide = this.#isWide();
    this.#search.placeholder = isWide ? "beginning of a key" : "part of a key";
    const query = new URLSearchParams({ limit: ROWS, sort: this.#query.sort, ...this.#at });
    if (this.#query.contains) query.set(isWide ? "prefix" : "contains", this.#query.contains);
    if (this.#query.state) query.set("state", this.#query.state);
    if (!isWide) query.set("here", "true");
    try {
      const page = await this.#desk.ask(`/api/rooms?${query}`);
      // Meanwhile something else may have been asked.
      if (turn === this.#turn) this.#show(page);
    } catch (error) {
      if (turn === this.#turn) this.#caption.replaceChildren(trouble(error));
      throw error;
    }
  }

  #show({ rooms, next, next_value: value, missing = [] }) {
    this.#next = next === null ? null : { after: next };
    if (this.#next && value !== undefined) this.#next.after_value = value;
    this.#body.replaceChildren(...rooms.map(row));
    this.#back.disabled = this.#trail.length === 0;
    this.#on.disabled = this.#next === null;
    const first = this.#trail.length * ROWS;
    const { everywhere, now } = this.#desk.overview ?? {};
    const open = this.#wasWide ? everywhere.rooms : now?.rooms;
    const all = open === undefined ? "" : ` of ${count(open)} in all`;
    const whose = everywhere && !this.#wasWide ? " on this node" : "";
    const lacks = missing.length > 0 ? ` (not listed: ${missing.join("; ")})` : "";
    const is = this.#query.contains || this.#query.state;
    this.#caption.textContent = (rooms.length === 0
      ? `${is ? "No room is like that" : "No room is open"}${whose}.`
      : `${count(first + 1)} to ${count(first + rooms.length)}${is ? "" : all}${whose}`) + lacks;
  }

  #showHead() {
    this.#head.replaceChildren(...COLUMNS.map(([name, sort]) => {
      if (!sort) return make("th", { scope: "col" }, name);
      const current = this.#query.sort;
      const isAge = sort === "oldest";
      const isHere = current === sort || (isAge && current === "newest");
      const next = isAge && current === "oldest" ? "newest" : sort;
      const up = current === "key" || current === "newest";
      const arrow = make("span", { "aria-hidden": "true" }, isHere ? (up ? " ↑" : " ↓") : "");
      const order = isHere ? (up ? "ascending" : "descending") : null;
      const button = make("button", { type: "button", onclick: () => this.#ask({ sort: next }) },
        name, arrow);
      return make("th", { scope: "col", "aria-sort": order }, button);
    }));
  }
}

function row(room) {
  const cell = (name, value) => make("td", { class: "number", "data-name": name }, value);
  return make("tr", {},
    make("th", { scope: "row" }, roomLink(room.room)),
    make("td", { class: "in-state" }, stateMark(room.state)),
    cell("members", count(room.members)), cell("messages", count(room.messages)),
    cell("mailbox", count(room.mailbox_len)), cell("restarts", count(room.restarts)),
    cell("for", ago(room.uptime_ms)));
}

export const rooms = { title: () => "Rooms", open };
