// Nodes and shards: who is in the house, and who has which part of the keys.

import { ago, count, make, stateMark, trouble } from "./desk.js";

// More shards than this are drawn small and named only in words.
const ROOMY = 64;

function open(desk, main) {
  const nodes = make("tbody");
  const board = make("div", { class: "board" });
  const about = make("p", { class: "about" });
  const ledger = new Ledger();
  const problem = make("div");
  const head = ["Node", "State", "Rooms", "Shards", "Weight", "Session left", "Version", "Up for"];
  let drawn = "";
  main.append(
    make("h1", {}, "Nodes"), problem,
    make("div", { class: "scroll" }, make("table", { class: "rows nodes" },
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
      nodes)),
    make("section", { "aria-labelledby": "shards" }, make("h2", { id: "shards" }, "Shards"), about,
      make("div", { class: "scroll" }, board), ledger.element),
  );
  return desk.repeat(async () => {
    try {
      const [list, shards] = await Promise.all([desk.ask("/api/nodes"), desk.ask("/api/shards")]);
      problem.replaceChildren();
      nodes.replaceChildren(...list.map((node) => nodeRow(node, list.length > 1)));
      // There may be thousands of holes: they are not made anew while nothing changes.
      const names = [...new Set(list.map((node) => node.node))];
      const now = JSON.stringify([names, shards]);
      if (now === drawn) return;
      drawn = now;
      about.textContent = said(shards);
      ledger.show(shards);
      board.replaceChildren(...names.map((name) => shardRow(name, shards)));
    } catch (error) {
      problem.replaceChildren(trouble(error));
      throw error;
    }
  });
}

function said(shards) {
  if (shards.length === 1) {
    return "One node: the whole key space is one shard, and it never changes hands.";
  }
  const unowned = shards.filter((shard) => shard.node === null).length;
  const left = unowned > 0 ? ` ${count(unowned)} of them belong to nobody now.` : "";
  return `The keys are spread over ${count(shards.length)} shards. Each belongs to one node, ` +
    `fenced by its epoch.${left}`;
}

/** What a node alone knows of itself is asked of that node; here it is a dash. */
function nodeRow(node, isOfMany) {
  const known = (value, say) => (value == null ? "–" : say(value));
  const cell = (name, value) => make("td", { class: "number", "data-name": name }, value);
  const here = isOfMany && node.here ? make("span", { class: "unit" }, " this node") : null;
  return make("tr", {},
    make("th", { scope: "row" }, node.node, here),
    make("td", { class: "in-state" }, stateMark(node.state)),
    cell("rooms", known(node.rooms, count)), cell("shards", count(node.shards)),
    cell("weight", count(node.weight)), cell("session", known(node.session_left_ms, ago)),
    cell("version", node.version ?? "–"), cell("up", known(node.uptime_ms, ago)));
}

/** What a shard is at; of one that is to go, who keeps it here. */
function inWords({ state, stuck = [] }) {
  return stuck.length > 0 ? `${state}: ${stuck.join(", ")}` : state;
}

/** A row of pigeonholes: a key hangs in those that the node has. */
function shardRow(name, shards) {
  const mine = shards.filter((shard) => shard.node === name);
  const holes = shards.map((shard) => {
    const isMine = shard.node === name;
    const hole = make("span", { class: "hole", "data-mine": isMine || null,
      "data-state": isMine ? shard.state : null });
    hole.title = isMine
      ? `shard ${shard.shard}: ${inWords(shard)}, epoch ${shard.epoch}`
      : `shard ${shard.shard}: of ${shard.node ?? "nobody"}`;
    if (shards.length <= ROOMY) hole.textContent = String(shard.shard);
    return hole;
  });
  const states = Object.entries(Object.groupBy(mine, (shard) => shard.state));
  const words = states.map(([state, list]) => `${count(list.length)} ${state}`).join(", ");
  return make("div", { class: "board-row" },
    make("p", { class: "board-name" }, name, " ", make("span", { class: "unit" }, words)),
    make("div", { class: "holes", role: "img", "data-small": shards.length > ROOMY || null,
      "aria-label": `${name} has ${count(mine.length)} of ${count(shards.length)} shards: ${words}`,
    }, ...holes));
}

/** Each shard in words, with its epoch: for whoever cannot point at a hole. Made when it is opened. */
class Ledger {
  #shards = [];
  #rows = make("tbody");
  element;

  constructor() {
    const head = ["Shard", "State", "Node", "Epoch"].map((name) =>
      make("th", { scope: "col" }, name));
    this.element = make("details", { class: "by-number", hidden: true,
      ontoggle: () => this.#draw() },
      make("summary", {}, "Every shard, with its epoch"),
      make("div", { class: "scroll" }, make("table", { class: "rows" },
        make("thead", {}, make("tr", {}, ...head)), this.#rows)));
  }

  show(shards) {
    this.#shards = shards;
    this.element.hidden = shards.length === 1;
    this.#draw();
  }

  #draw() {
    if (!this.element.open) return;
    this.#rows.replaceChildren(...this.#shards.map(({ shard, node, epoch, state, stuck }) =>
      make("tr", {}, make("th", { scope: "row" }, String(shard)),
        make("td", { class: "in-state", title: inWords({ state, stuck }) }, stateMark(state),
          stuck?.length > 0 ? make("span", { class: "unit" }, ` ${stuck.join(", ")}`) : null),
        make("td", { class: "number", "data-name": "of" }, node ?? "nobody"),
        make("td", { class: "number", "data-name": "epoch" }, count(epoch)))));
  }
}

export const nodes = { title: () => "Nodes", open };
