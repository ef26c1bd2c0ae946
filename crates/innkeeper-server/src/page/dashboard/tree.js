// Tree: who supervises whom. Keys are too many to be drawn; they are counted, and listed elsewhere.

import { ago, count, make, stateMark, trouble } from "./desk.js";

const KINDS = {
  supervisor: "supervisor",
  dynamic_supervisor: "dynamic supervisor",
  keyed: "a process for each key",
  process: "process",
};

function open(desk, main) {
  const tree = make("ul", { class: "tree" });
  const problem = make("div");
  main.append(make("h1", {}, "Tree"),
    make("p", { class: "about" }, "Who supervises whom, in the order of " +
      "their start. They end the other way round."),
    problem, tree);
  return desk.repeat(async () => {
    try {
      const root = await desk.ask("/api/tree");
      problem.replaceChildren();
      tree.replaceChildren(branch(root));
    } catch (error) {
      problem.replaceChildren(trouble(error));
      throw error;
    }
  });
}

function branch(node) {
  const said = [KINDS[node.kind] ?? node.kind];
  if (node.kind === "keyed") said.push(`${count(node.count)} of them now`);
  if (node.restarts > 0) said.push(`restarted ${count(node.restarts)} times`);
  said.push(`for ${ago(node.age_ms)}`);
  const name = node.id === "rooms" ? make("a", { href: "#/rooms" }, node.id) : node.id;
  const item = make("li", {}, make("p", { class: "twig" },
    make("span", { class: "tag" }, name), stateMark(node.state),
    make("span", { class: "unit" }, said.join(" · "))));
  if (node.children.length > 0) item.append(make("ul", {}, ...node.children.map(branch)));
  const rest = node.kind === "keyed" ? 0 : node.count - node.children.length;
  if (rest > 0) item.append(make("p", { class: "unit" }, `and ${count(rest)} more`));
  return item;
}

export const tree = { title: () => "Tree", open };
