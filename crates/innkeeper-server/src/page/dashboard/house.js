// Nodes and shards: who is in the house, and who has which part of the keys.

import { ago, count, make, stateMark, trouble } from "./desk.js";

// More shards than this are drawn small and named only in words.
const ROOMY = 64;

function open(desk, main) {
  const nodes = make("tbody");
  const board = make("div", { class: "board" });
  const about = make("p", { class: "about" });
  const problem = make("div");
  const head = ["Node", "State", "Version", "Rooms", "Shards", "Up for"];
  main.append(
    make("h1", {}, "Nodes"), problem,
    make("div", { class: "scroll" }, make("table", { class: "rows nodes" },
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
      nodes)),
    make("section", { "aria-labelledby": "shards" }, make("h2", { id: "shards" }, "Shards"), about,
      make("div", { class: "scroll" }, board)),
  );
  return desk.repeat(async () => {
    try {
      const [list, shards] = await Promise.all([desk.ask("/api/nodes"), desk.ask("/api/shards")]);
      problem.replaceChildren();
      nodes.replaceChildren(...list.map(nodeRow));
      about.textContent = shards.length === 1
        ? "One node: the whole key space is one shard, and it never changes hands."
        : `The keys are spread over ${count(shards.length)} shards. Each belongs to one node, ` +
          "fenced by its epoch.";
      board.replaceChildren(...list.map((node) => shardRow(node, shards)));
    } catch (error) {
      problem.replaceChildren(trouble(error));
      throw error;
    }
  });
}

function nodeRow(node) {
  const cell = (name, value) => make("td", { class: "number", "data-name": name }, value);
  return make("tr", {},
    make("th", { scope: "row" }, node.node),
    make("td", { class: "in-state" }, stateMark(node.state)), cell("version", node.version),
    cell("rooms", count(node.rooms)), cell("shards", count(node.shards)),
    cell("up", ago(node.uptime_ms)));
}

/** A row of pigeonholes: a key hangs in those that the node has. */
function shardRow(node, shards) {
  const mine = shards.filter((shard) => shard.node === node.node);
  const holes = shards.map((shard) => {
    const isMine = shard.node === node.node;
    const hole = make("span", { class: "hole", "data-mine": isMine || null,
      "data-state": isMine ? shard.state : null });
    hole.title = isMine
      ? `shard ${shard.shard}: ${shard.state}, epoch ${shard.epoch}`
      : `shard ${shard.shard}: of ${shard.node}`;
    if (shards.length <= ROOMY) hole.textContent = String(shard.shard);
    return hole;
  });
  const states = Object.entries(Object.groupBy(mine, (shard) => shard.state));
  const said = states.map(([state, list]) => `${count(list.length)} ${state}`).join(", ");
  return make("div", { class: "board-row" },
    make("p", { class: "board-name" }, node.node, " ", make("span", { class: "unit" }, said)),
    make("div", { class: "holes", role: "img", "data-small": shards.length > ROOMY || null,
      "aria-label": `${node.node} has ${count(mine.length)} of ${count(shards.length)} shards: ${said}`,
    }, ...holes));
}

export const nodes = { title: () => "Nodes", open };
