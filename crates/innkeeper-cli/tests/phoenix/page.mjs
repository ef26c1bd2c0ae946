// The client of the rooms page, outside a browser: what happens to it on bad days. The address of
// the server is in INNKEEPER_URL, the file of the client in INNKEEPER_CHANNEL_JS.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test as unbounded } from "node:test";

import WebSocket from "ws";

import { base, until } from "./member.mjs";

// What the page finds in a browser.
const opened = [];
globalThis.location = new URL(base);
globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    super(address);
    opened.push(this);
  }
};

// Without a package around it, node takes a file for a script of the old kind.
const source = await readFile(process.env.INNKEEPER_CHANNEL_JS, "utf8");
const client = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const sockets = [];

/** Somebody in a room. */
async function join(user, room) {
  const somebody = { joins: [], events: [], errors: [], states: [] };
  somebody.presence = new client.Presence();
  const socket = new client.Socket("/socket/websocket", { user }, (state, detail) =>
    somebody.states.push({ state, ...detail }),
  );
  sockets.push(socket);
  const channel = socket.channel(`room:${room}`);
  channel.onjoin = (welcome) => somebody.joins.push(welcome);
  channel.onerror = (reason) => somebody.errors.push(reason);
  channel.onclose = () => somebody.errors.push("closed");
  channel.onevent = (event, payload) =>
    somebody.presence.take(event, payload) || somebody.events.push(payload);
  channel.join();
  socket.connect();
  await until(() => channel.state === "joined", `${user} is in`);
  return Object.assign(somebody, { socket, channel, ws: opened.at(-1) });
}

const here = ({ presence }) =>
  [...presence.users].map(([user, entries]) => `${user}*${entries.size}`).sort().join(" ");

/** A test that ends, and leaves nobody behind. */
function test(name, run) {
  unbounded(name, { timeout: 60_000 }, () =>
    run().finally(() => {
      for (const socket of sockets.splice(0)) socket.close();
    }),
  );
}

test("it talks, and a refusal says whether it ran", async () => {
  const ann = await join("ann", "words");
  const bob = await join("bob", "words");
  assert.deepEqual(await ann.channel.push("say", { text: "hello" }), { seq: 1 });
  await until(() => bob.events.length === 1, "the line");
  const refused = await ann.channel.push("say", { text: "x".repeat(5000) }).catch((error) => error);
  assert.ok(refused instanceof client.Refused);
  assert.deepEqual([refused.code, refused.ran], ["payload_too_large", "no"]);
  await until(() => here(ann) === "ann*1 bob*1", "both");
  const again = await join("bob", "words");
  await until(() => here(ann) === "ann*1 bob*2" && here(again) === here(ann), "three connections");
  again.channel.leave();
  await until(() => here(ann) === "ann*1 bob*1", "two connections");
  assert.deepEqual(again.errors, [], "its own leave is no close");
});

test("what was sent into a connection that broke is unknown, and it comes back", async () => {
  const ann = await join("ann", "broken");
  const push = ann.channel.push("say", { text: "was it said?" });
  ann.ws.terminate();
  const refused = await push.catch((error) => error);
  assert.deepEqual([refused.code, refused.ran], ["unknown", "unknown"]);
  const offline = await ann.channel.push("say", { text: "now?" }).catch((error) => error);
  assert.deepEqual([offline.code, offline.ran], ["offline", "no"]);
  await until(() => ann.joins.length === 2, "it is back");
  assert.equal(ann.joins[0].incarnation, ann.joins[1].incarnation);
  await until(() => here(ann) === "ann*1", "the broken connection has gone");
});

test("dropped as slow, it joins again on the same socket", async () => {
  const ann = await join("ann", "slow");
  const slow = await join("slow", "slow");
  slow.ws.pause();
  const text = "x".repeat(4000);
  await until(async () => {
    await Promise.all(Array.from({ length: 20 }, () => ann.channel.push("say", { text })));
    return here(ann) === "ann*1";
  }, "it is dropped");
  slow.ws.resume();
  await until(() => slow.joins.length === 2, "it is back");
  assert.deepEqual(slow.errors, [{ reason: "slow_consumer" }]);
  assert.deepEqual(slow.states.map(({ state }) => state), ["connecting", "open"]);
});

test("a room that was stopped is not joined again until it is asked for", async () => {
  const ann = await join("ann", "stopped");
  await fetch(`${base}/api/rooms/stopped`, { method: "DELETE" });
  await until(() => ann.errors.length > 0, "it is told");
  assert.deepEqual([ann.errors, ann.channel.state], [["closed"], "over"]);
  const refused = await ann.channel.push("say", { text: "hm" }).catch((error) => error);
  assert.deepEqual([refused.code, refused.ran], ["unjoined", "no"]);
  ann.channel.join();
  await until(() => ann.joins.length === 2, "it is in again");
  assert.notEqual(ann.joins[0].incarnation, ann.joins[1].incarnation);
});

test("the waits between tries grow, have a bound, and are never the same for all", async () => {
  for (let tries = 0; tries < 100; tries += 1) {
    const full = Math.min(8_000, 200 * 2 ** tries);
    const waits = Array.from({ length: 20 }, () => client.backoff(tries));
    assert.ok(waits.every((wait) => wait >= full / 2 && wait <= full), `${tries}: ${waits}`);
    assert.ok(new Set(waits).size > 1);
  }
});

test("it comes back when the server restarts", async () => {
  const ann = await join("ann", "restart");
  console.log("# please restart the server");
  await until(() => ann.joins.length === 2, "it is back");
  assert.equal(ann.states.find(({ state }) => state === "lost").code, 1012);
  assert.notEqual(ann.joins[0].incarnation, ann.joins[1].incarnation);
});
