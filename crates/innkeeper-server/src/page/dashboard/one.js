// One room: where it is in its life and since when, who is in it, what waits, how it ended before.

import { Spark } from "./chart.js";
import { Refusal, ago, count, make, stateMark, trouble } from "./desk.js";

const POINTS = 150;
// Who is in it is asked of the room itself, so less often.
const PEOPLE_MS = 5_000;

/** What each state means to whoever waits for the room. */
const MEANING = {
  starting: "Its init is running; whoever asks for it waits for the one start.",
  live: "It handles messages.",
  restarting: "It crashed; the next incarnation is on its way, and messages wait for it.",
  stopping: "It was told to end; whoever asks for it now gets the next one.",
  "stopping (stuck)": "It was killed and its code has not come to an await point: its key stays taken.",
  parked: "It crashed too often and is left alone for a while.",
};

function open(desk, main, params) {
  const key = params.get("key") ?? "";
  const state = make("p", { class: "phase" });
  const facts = make("dl", { class: "facts" });
  const exits = make("ol", { class: "ledger" });
  const people = make("div");
  const problem = make("div");
  const said = [];
  let last = null;
  const spark = new Spark("Messages a second");
  const actions = make("div", { class: "actions" });
  main.append(
    make("header", { class: "door" }, make("h1", { class: "tag", dir: "auto", title: key }, key),
      actions),
    state, problem, facts,
    make("section", { "aria-labelledby": "talk" },
      make("h2", { id: "talk" }, "Messages a second"), make("div", { class: "wide-chart" },
        spark.element)),
    make("section", { "aria-labelledby": "members" },
      make("h2", { id: "members" }, "Members"), people),
    make("section", { "aria-labelledby": "exits" }, make("h2", { id: "exits" }, "Last crashes"),
      exits),
  );
  const show = (room) => {
    problem.replaceChildren();
    state.replaceChildren(stateMark(room.state), ` for ${ago(room.uptime_ms)}. `,
      MEANING[room.state] ?? "");
    const now = performance.now();
    if (last && last.incarnation === room.incarnation) {
      said.push(Math.max(room.messages - last.messages, 0) * 1_000 / (now - last.at));
      if (said.length > POINTS) said.shift();
    }
    last = { incarnation: room.incarnation, messages: room.messages, at: now };
    spark.draw(said, (rate) => rate.toFixed(1));
    showFacts(facts, room, desk.overview?.limits);
    showExits(exits, room);
  };
  const load = async () => {
    try {
      show(await desk.ask(`/api/rooms/${encodeURIComponent(key)}`));
    } catch (error) {
      const isGone = error instanceof Refusal && error.code === "not_found";
      state.textContent = isGone ? "No room runs under this key." : state.textContent;
      problem.replaceChildren(isGone ? "" : trouble(error));
      if (isGone) facts.replaceChildren();
      throw error;
    }
  };
  // Asked of the room itself, which may be busy: what is known without it does not wait for that.
  const meet = async () => {
    try {
      showPeople(people, await desk.ask(`/api/rooms/${encodeURIComponent(key)}/members`));
    } catch (error) {
      const isGone = error instanceof Refusal && error.code === "not_found";
      people.replaceChildren(isGone ? make("p", { class: "about" }, "Nobody.") : trouble(error));
      throw error;
    }
  };
  const stop = desk.repeat(load);
  const part = desk.repeat(meet, PEOPLE_MS);
  const unwatch = desk.watch((overview) => showActions(actions, desk, key, overview, load, problem));
  return () => {
    stop();
    part();
    unwatch();
  };
}

function showFacts(list, room, limits) {
  const of = (value, limit) => (limit ? `${count(value)} of ${count(limit)}` : count(value));
  const facts = [
    ["Members", of(room.members, limits?.members)], ["Messages", count(room.messages)],
    ["Mailbox", of(room.mailbox_len, limits?.mailbox)], ["Restarts", count(room.restarts)],
    ["Node", room.node], ["Epoch", count(room.epoch)], ["Incarnation", room.incarnation],
  ];
  list.replaceChildren(...facts.map(([name, value]) =>
    make("div", { class: "fact" }, make("dt", {}, name), make("dd", {}, value))));
}

function showPeople(place, { members, count: all }) {
  if (all === 0) return place.replaceChildren(make("p", { class: "about" }, "Nobody."));
  const rows = members.map(({ user, since, connections, nodes }) => {
    const times = connections > 1 ? make("span", { class: "unit" }, ` ×${count(connections)}`) : null;
    const here = Date.now() - Date.parse(since);
    return make("tr", {},
      make("th", { scope: "row" }, make("bdi", {}, user), times),
      make("td", { class: "number", "data-name": "for" },
        make("time", { datetime: since, title: since }, ago(Math.max(here, 0)))),
      make("td", { class: "number", "data-name": "from" }, nodes.join(", ")));
  });
  const head = ["Name", "Here for", "From node"].map((name) => make("th", { scope: "col" }, name));
  const rest = all - members.length;
  const more = rest > 0 ? make("p", { class: "about" }, `and ${count(rest)} more`) : "";
  place.replaceChildren(make("div", { class: "scroll" },
    make("table", { class: "rows people" }, make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...rows))), more);
}

function showExits(list, room) {
  const lines = (room.exits ?? []).map((exit) => make("li", { class: "lint", "data-level": "warn" },
    exit.reason, " ", make("code", {}, exit.incarnation)));
  if (lines.length === 0) {
    lines.push(make("li", { class: "lint", "data-level": "good" }, "It has not crashed."));
  }
  list.replaceChildren(...lines);
}

/** What can be done: looking in always, the rest where the server was started to allow it. */
function showActions(place, desk, key, overview, load, problem) {
  const wanted = overview.allow_actions ? "all" : "look";
  // Not made anew under the pointer, or the focus.
  if (place.dataset.shown === wanted) return;
  place.dataset.shown = wanted;
  const path = `/api/rooms/${encodeURIComponent(key)}`;
  const act = async (question, way, options) => {
    if (!(await desk.sure(question))) return;
    try {
      await desk.ask(way, options);
      await load();
    } catch (error) {
      if (!(error instanceof Refusal && error.code === "not_found")) {
        problem.replaceChildren(trouble(error));
      }
    }
  };
  const restart = () => act({
    title: "Restart this room?", yes: "Restart it",
    text: "Its process is killed and what it remembers is gone. Its members come back by themselves.",
  }, `${path}/restart`, { method: "POST" });
  const stop = () => act({
    title: "Stop this room?", yes: "Stop it",
    text: "Its process ends in order and what it remembers is gone. Its members are told, and do not " +
      "come back by themselves.",
  }, path, { method: "DELETE" });
  place.replaceChildren(make("a", { class: "quiet", href: `/#${encodeURIComponent(key)}` }, "Go in"));
  if (!overview.allow_actions) return;
  place.append(
    make("button", { class: "quiet", type: "button", id: "restart", onclick: restart }, "Restart"),
    make("button", { class: "quiet", type: "button", id: "stop", onclick: stop }, "Stop"));
}

export const room = { title: (params) => params.get("key") ?? "Room", open };
