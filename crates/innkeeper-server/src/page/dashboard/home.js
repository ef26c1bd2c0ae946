// Home: how many rooms there are, what is wrong, and how it goes.

import { Figure } from "./chart.js";
import { ago, brief, bytes, count, make, roomLink } from "./desk.js";

const STATES = ["live", "starting", "restarting", "stopping", "parked"];

/** Each figure: its name, its unit, where it comes from, and how it is said. */
const FIGURES = [
  ["Calls", "a second", (desk) => desk.rates((at) => at.total.calls_ok), brief],
  ["Not delivered", "a second",
    (desk) => desk.rates((at) => at.total.calls_not_delivered + at.total.calls_unknown), brief],
  ["Starts", "a second", (desk) => desk.rates((at) => at.total.starts), brief],
  ["Restarts", "in the last minute", (desk) => desk.lastMinute((at) => at.total.restarts), count],
  ["Members", "in all rooms", (desk) => desk.history.map((at) => at.census.members), count],
  ["Waiting", "in mailboxes", (desk) => desk.history.map((at) => at.census.waiting), count],
  ["Sockets", "open", (desk) => desk.history.map((at) => at.now.websocket_connections), count],
  ["Memory", "resident", (desk) => desk.history.map((at) => at.now.memory_bytes ?? 0), bytes],
];

function open(desk, main) {
  const headline = make("h1", { class: "headline" }, "…");
  const about = make("p", { class: "about" });
  const lints = make("ul", { class: "ledger", "aria-live": "polite" });
  const bar = make("div", { class: "states", role: "img" });
  const legend = make("p", { class: "legend" });
  const figures = FIGURES.map(([name, unit]) => new Figure(name, unit));
  main.append(
    make("header", { class: "opening" }, headline, about),
    make("section", { "aria-labelledby": "lints" },
      make("h2", { id: "lints" }, "What is wrong"), lints),
    make("section", { "aria-labelledby": "figures" },
      make("h2", { id: "figures" }, "How it goes"),
      make("dl", { class: "figures" }, ...figures.map((figure) => figure.element))),
    make("section", { "aria-labelledby": "states" },
      make("h2", { id: "states" }, "Rooms by state"), bar, legend),
  );
  return desk.watch((overview) => {
    const { everywhere } = overview;
    const rooms = everywhere?.rooms ?? overview.now.rooms;
    headline.textContent = rooms === 1 ? "1 room is open." : `${count(rooms)} rooms are open.`;
    about.textContent = (everywhere ? ofCluster(everywhere, overview) : "") +
      `innkeeper ${overview.version} on ${overview.node}, up ${ago(overview.uptime_ms)}; ` +
      `${count(overview.now.buckets)} buckets, room for ` +
      `${count(overview.limits.rooms)}. Looked at every room ${ago(overview.census.age_ms)} ago, ` +
      `in ${overview.census.took_ms} ms.`;
    showLints(lints, overview.lints);
    showStates(bar, legend, overview.census.states);
    FIGURES.forEach(([, , values, say], n) => figures[n].show(values(desk), say));
  });
}

/** On a cluster the headline is of all nodes, and the rest of the one that is asked. */
function ofCluster(everywhere, { node, now }) {
  const missing = everywhere.missing ?? [];
  const lacks = missing.length > 0 ? ` Not counted: ${missing.join("; ")}.` : "";
  return `${count(everywhere.nodes)} nodes of ${everywhere.cluster} have them, ${node} has ` +
    `${count(now.rooms)}.${lacks} Everything below is of ${node} alone. `;
}

function showLints(list, lints) {
  const items = lints.map((lint) => {
    const item = make("li", { class: "lint", "data-level": lint.level },
      make("span", { class: "visually-hidden" }, lint.level === "bad" ? "Bad: " : "Warning: "),
      lint.text);
    if (lint.rooms.length > 0) {
      const names = make("span", { class: "names" });
      for (const key of lint.rooms) names.append(roomLink(key), " ");
      item.append(" ", names);
    }
    return item;
  });
  if (items.length === 0) {
    items.push(make("li", { class: "lint", "data-level": "good" }, "Nothing that is known here."));
  }
  const said = items.map((item) => item.textContent).join("\n");
  // What has not changed is not said again.
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  list.replaceChildren(...items);
}

function showStates(bar, legend, states) {
  const there = STATES.filter((state) => states[state] > 0);
  const said = there.map((state) => `${count(states[state])} ${state}`);
  bar.setAttribute("aria-label", said.join(", ") || "no rooms");
  bar.replaceChildren(...there.map((state) => {
    const share = make("span", { class: "share", "data-state": state });
    share.style.flexGrow = String(states[state]);
    return share;
  }));
  legend.replaceChildren(...there.map((state, n) => {
    const query = new URLSearchParams({ state });
    return make("a", { class: "mark", "data-state": state, href: `#/rooms?${query}` }, said[n]);
  }));
  if (there.length === 0) legend.textContent = "There are none.";
}

export const home = { title: () => "Home", open };
