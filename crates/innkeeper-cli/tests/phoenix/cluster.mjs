// The published client at three nodes of a cluster, while things are done to the nodes.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { Member, stopAll, until } from "./member.mjs";

const nodes = JSON.parse(process.env.INNKEEPER_NODES);
const session_ms = 5_000;

afterEach(stopAll);

/** Has something done to a node by whoever runs this, and goes on. */
function please(what, node) {
  console.log(`# please ${what} ${node}`);
}

/** Waits until every node takes work, and the shards are where they belong. */
async function settled() {
  await until(async () => {
    const ready = await Promise.all(
      nodes.map(({ url }) => fetch(`${url}/readyz`).then((answer) => answer.ok, () => false)),
    );
    return ready.every(Boolean);
  }, "every node is ready");
}

/** A member at each node, all in one room; the one at the room's own node comes first. */
async function crowd(key) {
  await settled();
  const members = [];
  for (const { name, url } of nodes) {
    const member = await Member.connect(`at-${name}`, { url, reconnectAfterMs: () => 100, rejoinAfterMs: () => 100 });
    member.node = name;
    await member.join(`room:${key}`);
    members.push(member);
  }
  const owner = members[0].welcome.node;
  members.sort((a, b) => (b.node === owner) - (a.node === owner));
  assert.equal(members[0].node, owner);
  return members;
}

/** Waits until they are all in one room, other than the one before. */
async function together(members, before) {
  await until(() => {
    const now = members.map((member) => member.channel.state === "joined" && member.welcome.incarnation);
    return now.every((one) => one && one === now[0] && one !== before);
  }, "all are in one room again");
}

/** Everybody says something, and everybody hears the same. */
async function talk(members) {
  const heard = members.map((member) => member.said.length);
  for (const member of members) await member.say(`from ${member.node}`);
  const lines = (member, at) => JSON.stringify(member.said.slice(heard[at]));
  await until(
    () => members.every((member, at) => member.said.length === heard[at] + members.length),
    "everybody hears everybody",
  );
  for (const [at, member] of members.entries()) assert.equal(lines(member, at), lines(members[0], 0));
}

test("members at three nodes are in one room", async () => {
  const members = await crowd("lobby");
  assert.equal(new Set(members.map((member) => member.welcome.incarnation)).size, 1);
  await talk(members);
  const all = nodes.map(({ name }) => `at-${name}`).sort().join(" ");
  for (const member of members) await until(() => member.here() === all, "everybody sees everybody");
  await members[2].leave();
  const rest = all.split(" ").filter((user) => user !== `at-${members[2].node}`).join(" ");
  for (const member of members.slice(0, 2)) await until(() => member.here() === rest, "one has left");
});

test("a node of a cluster shows what only such a one has", async () => {
  await settled();
  const shards = new Set();
  for (const { name, url } of nodes) {
    const metrics = await fetch(`${url}/metrics`).then((answer) => answer.text());
    for (const metric of ["shards_owned", "session_remaining_seconds", "gate_shut_total"]) {
      assert.match(metrics, new RegExp(`^innkeeper_${metric} [0-9.]+$`, "m"));
    }
    const here = await fetch(`${url}/api/nodes`).then((answer) => answer.json());
    assert.deepEqual(here.map(({ node }) => node).sort(), nodes.map((one) => one.name).sort());
    assert.equal(here.find(({ node }) => node === name).here, true);
    const owned = await fetch(`${url}/api/shards`).then((answer) => answer.json());
    shards.add(JSON.stringify(owned.map(({ node, epoch }) => [node, epoch])));
  }
  assert.equal(shards.size, 1, "every node names the same owners");
});

test("when the node of a room drains, its members go on in the room of another node", async () => {
  const members = await crowd("drained");
  const [owner, ...others] = members;
  const before = owner.welcome.incarnation;
  please("TERM", owner.node);
  await until(() => owner.closeCodes.includes(1012), "the drained node says goodbye");
  owner.socket.disconnect();
  await together(others, before);
  assert.ok(others.every((member) => member.welcome.node !== owner.node));
  await talk(others);
  please("start", owner.node);
  await settled();
});

test("when the node of a room is killed, its members meet again at another node", async () => {
  const members = await crowd("killed");
  const [owner, ...others] = members;
  const began = Date.now();
  please("KILL", owner.node);
  owner.socket.disconnect();
  await together(others, owner.welcome.incarnation);
  console.log(`# together again after ${Date.now() - began} ms, of a session of ${session_ms} ms`);
  await talk(others);
  const here = others.map((member) => `at-${member.node}`).sort().join(" ");
  for (const member of others) await until(() => member.here() === here, "who was lost is not there");
  please("start", owner.node);
  await settled();
});

test("whoever is at a node that stands still ends in no other room than the others", async () => {
  const members = await crowd("stopped");
  const [owner, ...others] = members;
  const before = owner.welcome.incarnation;
  please("STOP", owner.node);
  await together(others, before);
  await talk(others);
  // Said to the room that was, which must not take it.
  const late = owner.say("too late").then(() => "taken", () => "refused");
  please("CONT", owner.node);
  assert.equal(await late, "refused");
  await together(members, before);
  await talk(members);
  assert.ok(others.every((member) => member.said.every((line) => line.text !== "too late")));
});

test("when etcd stands still, members are let go, and come back to the same room", async () => {
  const members = await crowd("frozen");
  const before = members[0].welcome.incarnation;
  await talk(members);
  please("STOP", "etcd");
  await until(() => members.every((member) => member.errors.length > 0), "they are let go");
  assert.equal(members[0].errors[0], "frozen");
  please("CONT", "etcd");
  await until(
    () => members.every((member) => member.joins > 1 && member.channel.state === "joined"),
    "they are back",
  );
  assert.ok(members.every((member) => member.welcome.incarnation === before));
  assert.equal(members[0].welcome.history.length, members.length, "the room has its state");
  await talk(members);
});

test("when a node is gone, who was there is not present any more", async () => {
  const members = await crowd("edge");
  const edge = members[2];
  please("KILL", edge.node);
  edge.socket.disconnect();
  const began = Date.now();
  const rest = members.slice(0, 2);
  const here = rest.map((member) => `at-${member.node}`).sort().join(" ");
  for (const member of rest) await until(() => member.here() === here, "who was lost is not there");
  console.log(`# gone after ${Date.now() - began} ms, of a session of ${session_ms} ms`);
  assert.ok(rest.every((member) => member.errors.length === 0), "the others stay");
  please("start", edge.node);
  await settled();
  await pause(0);
});
